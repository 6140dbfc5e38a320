"""How kernels are launched through CuPy, shown with a stand-in for it: its device is the emulator, its memory the CPU's.

What it can't show is a GPU's own part; tests marked cuda do.
"""

import contextlib
import ctypes
import pathlib
import sys
import types

import numpy as np
import pytest

from arrayvision import array, ops
from arrayvision.cuda import emulator, runtime
from tests.ops.test_nms import make, plain_nms


class FakeArray:
    """An array that only says where it is."""

    def __init__(self, x, device=0):
        self.host = np.ascontiguousarray(x)
        self.device = types.SimpleNamespace(id=device)

    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)
    data = property(lambda self: types.SimpleNamespace(ptr=self.host.ctypes.data))

    def __len__(self):
        return len(self.host)

    def __getitem__(self, key):
        return FakeArray(self.host[key])

    def __int__(self):
        return int(self.host.item())

    def fill(self, value):
        self.host.fill(value)


@pytest.fixture
def cupy(monkeypatch):
    """A module `cupy`, and a record of what was launched on which stream."""
    launched, current = [], []

    class Function:
        def __init__(self, module, expression):
            self.launch, self.signature = module.kernels[expression]
            self.expression = expression

        def __call__(self, grid, block, args, shared_mem=0):
            assert len(args) == len(self.signature)
            for a, wanted in zip(args, self.signature, strict=True):  # CuPy packs NumPy scalars by their own type
                assert a.dtype.str[1:] == ("u8" if wanted[0] == "*" else wanted), self.expression
            launched.append((self.expression, current[-1] if current else None))
            held = [np.asarray(a) for a in args]
            table = (ctypes.c_void_p * len(held))(*[h.ctypes.data for h in held])
            sizes = [(ctypes.c_uint * 3)(*t, *(1,) * (3 - len(t))) for t in (grid, block)]
            error = self.launch(*sizes, shared_mem, 0, 1, 1, table)
            assert not error, error

    class RawModule:
        def __init__(self, path):
            assert pathlib.Path(path).read_bytes()[:4] == b"\x7fELF"
            stem = path.rsplit("/", 1)[-1].split("-")[0]
            self.kernels = next(k for k in files if k.source.stem == stem)

        def get_function(self, symbol):
            expression = next(e for e, s in self.kernels.compile(90)[1].items() if s == symbol)
            return Function(self.kernels.emulated(), expression)

    class Device(contextlib.nullcontext):
        compute_capability = "90"

        def __init__(self, ordinal=0):
            super().__init__(self)

    class ExternalStream:
        def __init__(self, pointer, ordinal):
            self.pointer = pointer

        def __enter__(self):
            current.append(self.pointer)

        def __exit__(self, *error):
            current.pop()

    module = types.ModuleType("cupy")
    module.ndarray, module.RawModule = FakeArray, RawModule
    module.empty = lambda shape, dtype: FakeArray(np.empty(shape, dtype))
    module.ascontiguousarray = lambda x, dtype: x if x.dtype == dtype else FakeArray(x.host.astype(dtype))
    module.argsort = lambda x: FakeArray(np.argsort(x.host, kind="stable"))
    module.cuda = types.SimpleNamespace(
        Device=Device, ExternalStream=ExternalStream, get_current_stream=lambda: types.SimpleNamespace(ptr=1234)
    )
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(array, "_of_type", {np.ndarray: array.NumPy()})
    monkeypatch.setattr(array, "EMULATED", False)
    array.library.cache_clear()
    from arrayvision import warmup

    files = [warmup.cuda_kernels(f) for f in ("bbox_overlaps", "nms", "rotated_boxes")]
    for kernels in files:
        monkeypatch.setattr(kernels, "_loaded", {k: v for k, v in kernels._loaded.items() if k == "emulated"})
    yield types.SimpleNamespace(launched=launched)
    array.library.cache_clear()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_an_operator_through_cupy(cupy, dtype):
    boxes, scores = make(700, 0, "spread")
    boxes, scores = boxes.astype(dtype), scores.astype(dtype)
    out = ops.bbox_overlaps(FakeArray(boxes[:30]), FakeArray(boxes))
    assert type(out) is FakeArray
    np.testing.assert_array_equal(out.host, ops.bbox_overlaps(boxes[:30], boxes))
    dets, inds = ops.nms(FakeArray(boxes), FakeArray(scores), 0.5, score_threshold=0.1)
    wide = np.promote_types(dtype, np.float32)
    np.testing.assert_array_equal(
        inds.host, plain_nms(boxes.astype(wide), scores.astype(wide), 0.5, score_threshold=0.1)
    )
    assert dets.dtype == dtype
    names = [name.split("<")[0] for name, _ in cupy.launched]
    assert names[0] == "all_pairs" and names.count("strike_tile") == -(-700 // 256)
    assert {stream for _, stream in cupy.launched} == {1234}  # the caller's current one


def test_arrays_on_two_devices(cupy):
    boxes = make(5)[0]
    with pytest.raises(TypeError, match="bboxes1 is on 0, bboxes2 is on 1"):
        ops.bbox_overlaps(FakeArray(boxes, 0), FakeArray(boxes, 1))


def test_without_cupy_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r'pip install "arrayvision\[cuda13\]"'):
        array.import_cupy()


def test_the_emulator_is_not_asked_for_a_gpus_arrays(cupy, monkeypatch):
    """`ARRAYVISION_CUDA=emulate` is for arrays in the CPU's memory."""
    monkeypatch.setattr(array, "EMULATED", True)
    monkeypatch.setattr(emulator, "orders", ("ascending",))
    boxes = make(5)[0]
    ops.bbox_overlaps(FakeArray(boxes), FakeArray(boxes))
    assert [name for name, _ in cupy.launched] == ["all_pairs<float>"]
    ops.bbox_overlaps(boxes, boxes)
    assert len(cupy.launched) == 1 and runtime.ARCHITECTURES[0] == 75
