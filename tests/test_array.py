"""The array layer: which library, views without copies, results of the same library, and what is refused."""

import sys

import numpy as np
import pytest
import torch

from arrayvision import array, ops
from arrayvision.array import place

BOXES = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]], np.float32)
SCORES = np.array([0.6, 0.9, 0.3], np.float32)


def pointer(x):
    return x.data_ptr() if isinstance(x, torch.Tensor) else np.from_dlpack(x).ctypes.data


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "array_api_strict"])
def test_a_contiguous_input_is_not_copied(name, monkeypatch):
    from tests.conftest import Library

    monkeypatch.setattr(array, "EMULATED", False)
    x = Library(name, "cpu").asarray(np.zeros((8, 4), np.float32))
    view = place("f", x=x).read(x, "float32")
    assert view.ctypes.data == pointer(x)
    assert not view.flags.writeable and type(view) is np.ndarray
    if name == "numpy":
        assert x.flags.writeable


def test_a_result_is_filled_in_the_callers_memory():
    at = place("f", x=torch.zeros(3))
    out = at.empty((5,), "float32")
    out.view[:] = 7
    assert out.give().data_ptr() == out.view.ctypes.data and (out.give() == 7).all()


def test_a_result_keeps_no_larger_buffer_alive():
    dets, inds = ops.nms(torch.from_numpy(BOXES), torch.from_numpy(SCORES), 0.5)
    assert dets.untyped_storage().nbytes() == 2 * 5 * 4 and inds.untyped_storage().nbytes() == 2 * 8
    dets, inds = ops.nms(BOXES, SCORES, 0.5)
    assert dets.base is None and inds.base is None


@pytest.mark.parametrize(
    "x", [BOXES[:, ::-1], BOXES[::-1], np.asfortranarray(BOXES), BOXES.astype(">f4"), BOXES[:, :2]]
)
def test_other_layouts_become_contiguous(x):
    view = place("f", x=x).read(x, "float32")
    assert view.flags.c_contiguous and view.flags.aligned and view.dtype == np.float32 and view.dtype.isnative
    np.testing.assert_array_equal(view, x)


def test_negated_tensors_are_read_right():
    x = torch.complex(torch.zeros(4), torch.arange(4.0)).conj().imag  # a view with the negative bit set
    assert x.is_neg()
    np.testing.assert_array_equal(place("f", x=x).read(x, "float32"), -np.arange(4))


def test_bfloat16_and_float16(backend):
    if backend == "cuda":
        pytest.skip("reads in the CPU's memory")
    for dtype, name in ((torch.bfloat16, "bfloat16"), (torch.float16, "float16")):
        x = torch.tensor([1.5, -2.25, 300.0], dtype=dtype)
        at = place("f", x=x)
        assert at.dtype(x) == name == at.floats("f", x=x)
        view = at.read(x, name)
        assert view.dtype == (np.float32 if backend == "cpu" else array.numpy_dtype(name))
        np.testing.assert_array_equal(view.astype(np.float32), x.float().numpy())
        out = at.empty((3,), name)
        out.view[...] = view
        assert out.give().dtype is dtype and (out.give() == x).all()


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_subclasses_of_ndarray_and_lists():
    dets, _ = ops.nms(np.matrix(BOXES), SCORES, 0.5)
    assert type(dets) is np.ndarray
    with pytest.raises(TypeError, match=r"nms: boxes must be an array .*got list"):
        ops.nms(BOXES.tolist(), SCORES.tolist(), 0.5)


@pytest.mark.filterwarnings("ignore:torch.quantize")
def test_what_torch_cannot_give():
    boxes, scores = torch.from_numpy(BOXES), torch.from_numpy(SCORES)
    leaf = boxes.clone().requires_grad_()
    with pytest.raises(TypeError, match=r"nms: boxes requires grad.*boxes\.detach\(\)"):
        ops.nms(leaf, scores, 0.5)
    with torch.no_grad():
        assert len(ops.nms(leaf, scores, 0.5)[1]) == 2
    assert len(ops.nms(torch.nn.Parameter(boxes, requires_grad=False), scores, 0.5)[1]) == 2
    with pytest.raises(TypeError, match="boxes is a sparse tensor"):
        ops.nms(boxes.to_sparse(), scores, 0.5)
    with pytest.raises(TypeError, match="boxes has no values"):
        ops.nms(boxes.to("meta"), scores.to("meta"), 0.5)
    with pytest.raises(TypeError, match="boxes is quantized"):
        ops.nms(torch.quantize_per_tensor(boxes, 0.1, 0, torch.qint8), scores, 0.5)
    with pytest.raises(TypeError, match=r"boxes is traced by torch\.func"):
        torch.vmap(lambda b: ops.nms(b, scores, 0.5)[1])(boxes[None])
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(boxes, torch.ones_like(boxes))
        with pytest.raises(TypeError, match="boxes carries a forward-mode tangent"):
            ops.nms(dual, scores, 0.5)
    with torch._subclasses.fake_tensor.FakeTensorMode(), pytest.raises(TypeError, match="boxes is a fake tensor"):
        ops.nms(torch.empty(3, 4), torch.empty(3), 0.5)
    with pytest.raises(TypeError, match="boxes must hold real numbers, got dtype complex64"):
        ops.nms(boxes.to(torch.complex64), scores, 0.5)


def test_what_jax_cannot_give():
    import jax

    boxes, scores = jax.numpy.asarray(BOXES), jax.numpy.asarray(SCORES)
    with pytest.raises(TypeError, match="boxes is traced by JAX"):
        jax.jit(lambda b: ops.nms(b, scores, 0.5))(boxes)
    _, inds = ops.nms(boxes, scores, 0.5)
    assert inds.dtype == np.int32  # JAX without x64


def test_a_library_known_by_dlpack_alone(monkeypatch):
    """Any module with from_dlpack whose arrays have __dlpack__."""
    module = type(sys)("tinyarrays")

    class Tiny:
        __module__ = "tinyarrays"

        def __init__(self, x):
            self.x = x
            self.shape, self.dtype = x.shape, x.dtype.name

        def __dlpack__(self, **kwargs):
            return self.x.__dlpack__(**kwargs)

        def __dlpack_device__(self):
            return self.x.__dlpack_device__()

    module.from_dlpack = lambda x: Tiny(np.from_dlpack(x))
    monkeypatch.setitem(sys.modules, "tinyarrays", module)
    dets, inds = ops.nms(Tiny(BOXES), Tiny(SCORES), 0.5)
    assert type(dets) is Tiny and inds.x.tolist() == [1, 2]


def test_two_libraries_are_an_error_that_names_both():
    import array_api_strict as strict
    import jax

    others = [torch.from_numpy(SCORES), jax.numpy.asarray(SCORES), strict.asarray(SCORES)]
    for other, words in zip(others, ["a torch tensor", "a JAX array", "an array of array_api_strict"], strict=True):
        with pytest.raises(TypeError, match=f"boxes is a NumPy array, scores is {words}"):
            ops.nms(BOXES, other, 0.5)


@pytest.mark.cuda
def test_two_devices_are_an_error_that_names_both():
    with pytest.raises(TypeError, match="boxes is on cpu, scores is on cuda:0"):
        ops.nms(torch.from_numpy(BOXES), torch.from_numpy(SCORES).cuda(), 0.5)


def test_promotion():
    f = {name: np.zeros(2, name) for name in ("float16", "float32", "float64", "int32", "uint8", "int64")}
    f["bfloat16"] = np.zeros(2, array.numpy_dtype("bfloat16"))
    for pair, expected in {
        ("float16", "float16"): "float16", ("float16", "bfloat16"): "float32", ("bfloat16", "float32"): "float32",
        ("float16", "float64"): "float64", ("int32", "float16"): "float32", ("uint8", "int64"): "float32",
    }.items():  # fmt: skip
        a, b = f[pair[0]], f[pair[1]]
        assert place("f", a=a, b=b).floats("f", a=a, b=b) == expected
    edge = np.array([2**24, 2**24 + 1])
    assert place("f", a=edge).floats("f", a=edge[:1]) == "float32"
    assert place("f", a=edge).floats("f", a=edge) == "float64"
    assert place("f", a=-edge).floats("f", a=-edge) == "float64"
