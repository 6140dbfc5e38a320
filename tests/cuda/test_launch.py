"""How kernels are launched, shown with a stub driver and a stand-in for CuPy: kernels run in the emulator, on the CPU's
memory. What it can't show is a GPU's own part; tests marked cuda do.
"""

import contextlib
import ctypes
import sys
import threading
import types

import numpy as np
import pytest

from arrayvision import array, ops, warmup
from arrayvision.bench import stub
from arrayvision.cuda import driver, emulator, nvrtc, runtime
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

    def item(self):
        return self.host.item()

    def fill(self, value):
        self.host.fill(value)


class Stub:
    """The stub driver: what was launched, and kernels that run in the emulator on the CPU's memory."""

    def __init__(self):
        self.library = ctypes.CDLL(str(stub.build()))
        self.library.stub_current.argtypes = [ctypes.c_void_p]
        self.launched, self.files, self.lock = [], {}, threading.Lock()
        self.hook(self.run)

    def hook(self, function):
        self._hook = stub.Hook(function)  # kept: the driver calls it
        self.library.stub_hook(self._hook)

    def serve(self, kernels):
        for expression, symbol in kernels.compile(90)[1].items():
            self.files[symbol] = kernels, expression

    def run(self, symbol, grid, block, shared, stream, table):
        kernels, expression = self.files[symbol.decode()]
        with self.lock:
            self.launched.append((expression, stream))
        launch, _ = kernels.emulated().kernels[expression]
        sizes = [(ctypes.c_uint * 3)(*(t[i] for i in range(3))) for t in (grid, block)]
        return 1 if launch(*sizes, shared, 0, 1, 1, table) else 0

    def counts(self):
        """Of modules loaded, functions loaded before their launch, and attributes set."""
        found = (ctypes.c_int * 3)()
        self.library.stub_counts(found)
        return tuple(found)


@pytest.fixture
def driven(monkeypatch):
    """The stub driver in place of NVIDIA's."""
    found = Stub()
    monkeypatch.setenv("ARRAYVISION_CUDA_DRIVER", found.library._name)
    driver.driver.cache_clear()
    yield found
    found.library.stub_current(None)
    driver.driver.cache_clear()


@pytest.fixture
def cupy(driven, monkeypatch):
    """A module `cupy` whose arrays lie in the CPU's memory, and the driver that launches on them."""

    class Device(contextlib.nullcontext):
        def __init__(self, ordinal=0):
            super().__init__(self)

    module = types.ModuleType("cupy")
    module.ndarray = FakeArray
    module.empty = lambda shape, dtype: FakeArray(np.empty(shape, dtype))
    module.asarray = lambda x, dtype, order: x if x.dtype == dtype else FakeArray(x.host.astype(dtype))
    module.argsort = lambda x: FakeArray(np.argsort(x.host, kind="stable"))
    module.cuda = types.SimpleNamespace(Device=Device, get_current_stream=lambda: types.SimpleNamespace(ptr=1234))
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(array, "_of_type", {np.ndarray: array.NumPy()})
    monkeypatch.setattr(array, "EMULATED", False)
    array.library.cache_clear()
    for file in ("bbox_overlaps", "nms", "rotated_boxes"):
        kernels = warmup.cuda_kernels(file)
        driven.serve(kernels)
        monkeypatch.setattr(kernels, "_loaded", {k: v for k, v in kernels._loaded.items() if k == "emulated"})
    yield driven
    array.library.cache_clear()


@pytest.fixture
def own(driven, tmp_path):
    """Kernels of the test's own, which the driver launches."""

    def make(text, *expressions):
        source = tmp_path / "own.cu"
        source.write_text('#include "prelude.cuh"\n' + text)
        kernels = runtime.Kernels(source, expressions)
        driven.serve(kernels)
        return kernels

    return make


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
    ranked = ["rank_few"] if dtype != "float64" else ["score_keys", "prepare"]  # one block sorts keys of 32 bits
    rows = "take_counted" if dtype != "float64" else "take_rows"  # before it is known how many there are, or after
    assert names == ["all_pairs", *ranked, "find_overlaps", "resolve_band", rows]
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


EVERY = """
__global__ void __launch_bounds__(64) every(int8_t a, int16_t b, int c, int64_t d, uint8_t e, uint16_t f, unsigned g,
                                            uint64_t h, bool i, float j, double k, const double* in, double* out) {
  const double values[] = {double(a), double(b), double(c), double(d), double(e), double(f), double(g), double(h),
                           double(i), j, k};
  for (int n = 0; n < 11; ++n) out[n] = values[n] + in[0];
}
"""
PUT = "__global__ void __launch_bounds__(64) put(int value, int64_t n, int* out) { for (int i = 0; i < n; ++i) out[i] = value; }"


def test_arguments_of_every_type_arrive(own, cupy):
    kernels = own(EVERY, "every")
    out = FakeArray(np.zeros(11))
    given = -3, -300, 2**31 - 1, -(2**62), 255, 65535, 2**32 - 1, 2**63, True, 0.5, 1e300
    kernels.launch("every", 1, *given, FakeArray(np.zeros(1)), out, block=1)
    np.testing.assert_array_equal(out.host, np.array(given, np.float64))
    large = (
        np.int8(-3),
        np.int64(-300),
        np.int32(7),
        np.int64(1),
        0,
        0,
        0,
        0,
        np.False_,
        np.float64(1e39),
        np.float32(2),
    )
    kernels.launch("every", 1, *large, FakeArray(np.zeros(1)), out, block=1)
    np.testing.assert_array_equal(out.host, [-3, -300, 7, 1, 0, 0, 0, 0, 0, np.inf, 2])  # too large for a float


@pytest.mark.parametrize(("place", "value"), [(0, 128), (2, 2**31), (4, -1), (7, -1), (3, 1.5)])
def test_an_integer_that_does_not_fit_is_an_error(own, cupy, place, value):
    kernels = own(EVERY, "every")
    given = [0] * 8 + [True, 0.0, 0.0]
    given[place] = value
    for to in (FakeArray, np.asarray):  # on a GPU, and in the emulator
        with pytest.raises(ValueError, match=rf"every: {value} does not fit u?int"):
            kernels.launch("every", 1, *given, to(np.zeros(1)), to(np.zeros(11)), block=1)


def test_threads_launch_at_once(own, cupy):
    """Autograd's threads do: each has its own arguments."""
    kernels = own(PUT, "put")
    outs, wrong = [FakeArray(np.zeros(50, np.int32)) for _ in range(8)], []

    def work(k):
        for n in range(200):
            kernels.launch("put", 1, 1000 * k + n, 50, outs[k], block=1)
            if not (outs[k].host == 1000 * k + n).all():
                wrong.append((k, n))
        wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wrong) == list(range(8))  # that is, each came to its end


def test_the_arrays_device_is_current_while_a_kernel_is_launched(own, cupy):
    """Another's may be, or none, in a thread that CUDA hasn't seen; afterwards the one before is again."""
    kernels, seen, current = own(PUT, "put"), [], ctypes.c_void_p()

    def context():
        cupy.library.cuCtxGetCurrent(ctypes.byref(current))
        return current.value

    def run(*args):
        seen.append(context())
        return cupy.run(*args)

    cupy.hook(run)
    contexts = [driver.driver().device(k).context for k in (0, 1)]
    out = [FakeArray(np.zeros(1, np.int32), k) for k in (0, 1)]
    cupy.library.stub_current(contexts[0])
    for k in (1, 0):
        kernels.launch("put", 1, 7, 1, out[k], block=1)
        assert seen.pop() == contexts[k] and context() == contexts[0] and out[k].host[0] == 7
    cupy.library.stub_current(None)
    kernels.launch("put", 1, 8, 1, out[1], block=1)
    assert seen.pop() == contexts[1] == context()


def test_what_the_driver_refuses_is_said_in_words(own, cupy):
    kernels = own("__global__ void put(int* out) { *out = 1; }", "put")
    out = FakeArray(np.zeros(1, np.int32))
    refused = r"put: CUDA refuses .*\(1, 1, 1\) blocks of 2048 threads \(CUDA_ERROR_INVALID_VALUE, invalid argument\)"
    with pytest.raises(driver.DriverError, match=refused):
        kernels.launch("put", (1,), out, block=2048)
    with pytest.raises(ValueError, match="put: a grid may have 2147483647 x 65535 x 65535 blocks, not"):
        kernels.launch("put", (1, 70000), out, block=1)
    with pytest.raises(TypeError, match="put takes 1 arguments, not 2"):
        kernels.launch("put", 1, np.zeros(1, np.int32), 5, block=1)


def test_much_shared_memory_is_asked_for(own, cupy):
    text = "__global__ void put(int* out) { DYNAMIC_SHARED(int, all); all[threadIdx.x] = 1; *out = all[0]; }"
    kernels, out = own(text, "put"), FakeArray(np.zeros(1, np.int32))
    before, asked = cupy.counts()[2], []
    cupy.hook(lambda symbol, grid, block, shared, stream, table: asked.append(shared) or 0)
    kernels.launch("put", (1,), out, block=1, shared=1024)
    assert cupy.counts()[2] == before
    kernels.launch("put", (1,), out, block=1, shared=64 << 10)
    assert cupy.counts()[2] == before + 1 and asked == [1024, 64 << 10]


def test_slow_doubles_are_asked_of_the_driver(cupy):
    """Of the card itself, for code that was compiled for one with fast doubles may run on it."""
    boxes = np.random.default_rng(0).uniform(1, 9, (40, 5)).astype(np.float32)
    expected = ops.box_iou_rotated(boxes, boxes)
    gpu = driver.driver().device(0)
    assert gpu.ratio == 2
    for ratio, shape in ((2, "Rotated"), (64, "RotatedPairs")):
        gpu.ratio = ratio
        out = ops.box_iou_rotated(FakeArray(boxes), FakeArray(boxes))
        assert cupy.launched[-1][0] == f"all_pairs<float, polygons::{shape}>"
        np.testing.assert_allclose(out.host, expected, rtol=2**-23, atol=1e-12)


def test_load_loads_whole_and_once(own, cupy):
    """Before a graph is captured: CUDA else loads a function at its first launch, which ends the capture."""
    kernels = own(PUT + "\n__global__ void other(int* out) { *out = 2; }", "put", "other")
    loads, preloads, _ = cupy.counts()
    kernels.load(0)
    assert cupy.counts()[:2] == (loads + 1, preloads + 2)
    kernels.launch("put", 1, 1, 1, FakeArray(np.zeros(1, np.int32)), block=1)
    assert cupy.counts()[0] == loads + 1


@pytest.mark.parametrize(
    ("compiler", "supported", "words"),
    [
        ((12, 9), 12080, r'NVRTC 12.9 .* CUDA 12.8 at most. .* driver, or .* "nvidia-cuda-nvrtc-cu12==12.8.\*"$'),
        ((13, 1), 13000, r'NVRTC 13.1 .* CUDA 13.0 at most. .* driver, or .* "nvidia-cuda-nvrtc==13.0.\*"$'),
        ((13, 0), 12080, r'NVRTC 13.0 .* CUDA 12.8 at most. .* driver, or .* "arrayvision\[cuda12\]"$'),
        ((12, 9), 11080, r"NVRTC 12.9 .* CUDA 11.8 at most. Install a newer driver$"),
        (
            (12, 9),
            13000,
            r"refuses own.cu, compiled by NVRTC 12.9 \(CUDA_ERROR_INVALID_PTX, a PTX JIT compilation failed\)$",
        ),
    ],
)
def test_code_that_the_driver_refuses_says_why(own, cupy, monkeypatch, compiler, supported, words):
    kernels = own(PUT, "put")
    cupy.library.stub_set(supported, 90, 1)
    monkeypatch.setattr(nvrtc, "version", lambda: compiler)
    monkeypatch.setattr(kernels, "compile", lambda arch: (b"code", {"put": "put"}))
    try:
        with pytest.raises(RuntimeError, match=words):
            kernels.load(0)
    finally:
        cupy.library.stub_set(13000, 90, 0)


def test_without_a_driver_the_error_says_so(monkeypatch):
    monkeypatch.setenv("ARRAYVISION_CUDA_DRIVER", "/nowhere/libcuda.so.1")
    driver.driver.cache_clear()
    with pytest.raises(ImportError, match="arrays on a GPU need NVIDIA's driver, which can't be loaded"):
        driver.driver()
    driver.driver.cache_clear()
