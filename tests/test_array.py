"""The array layer: which library, views without copies, results of the same library, and what is refused."""

import sys
import warnings

import numpy as np
import pytest
import torch

from arrayvision import array, check, ops
from arrayvision.array import arrays

BOXES = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]], np.float32)
SCORES = np.array([0.6, 0.9, 0.3], np.float32)


def pointer(x):
    return x.data_ptr() if isinstance(x, torch.Tensor) else np.from_dlpack(x).ctypes.data


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "array_api_strict"])
def test_a_contiguous_input_is_not_copied(name, monkeypatch):
    from tests.conftest import Library

    monkeypatch.setattr(array, "EMULATED", False)
    x = Library(name, "cpu").asarray(np.zeros((8, 4), np.float32))
    view = arrays("f", x=x).read(x, "float32")
    assert view.ctypes.data == pointer(x)
    assert not view.flags.writeable and type(view) is np.ndarray
    if name == "numpy":
        assert x.flags.writeable


def test_a_result_is_filled_in_the_callers_memory():
    at = arrays("f", x=torch.zeros(3))
    out = at.empty((5,), "float32")
    out.view[:] = 7
    assert out.result().data_ptr() == out.view.ctypes.data and (out.result() == 7).all()


def test_a_result_keeps_no_larger_buffer_alive():
    dets, inds = ops.nms(torch.from_numpy(BOXES), torch.from_numpy(SCORES), 0.5)
    assert dets.untyped_storage().nbytes() == 2 * 5 * 4 and inds.untyped_storage().nbytes() == 2 * 8
    dets, inds = ops.nms(BOXES, SCORES, 0.5)
    assert dets.base is None and inds.base is None


@pytest.mark.parametrize(
    "x", [BOXES[:, ::-1], BOXES[::-1], np.asfortranarray(BOXES), BOXES.astype(">f4"), BOXES[:, :2]]
)
def test_other_layouts_become_contiguous(x):
    view = arrays("f", x=x).read(x, "float32")
    assert view.flags.c_contiguous and view.flags.aligned and view.dtype == np.float32 and view.dtype.isnative
    np.testing.assert_array_equal(view, x)


def test_negated_tensors_are_read_right():
    x = torch.complex(torch.zeros(4), torch.arange(4.0)).conj().imag  # a view with the negative bit set
    assert x.is_neg()
    np.testing.assert_array_equal(arrays("f", x=x).read(x, "float32"), -np.arange(4))


def test_bfloat16_and_float16(backend):
    if backend == "cuda":
        pytest.skip("reads in the CPU's memory")
    for dtype, name in ((torch.bfloat16, "bfloat16"), (torch.float16, "float16")):
        x = torch.tensor([1.5, -2.25, 300.0], dtype=dtype)
        at = arrays("f", x=x)
        assert at.dtype(x) == name == at.floats(x=x)
        view = at.read(x, name)
        assert view.dtype == (np.float32 if backend == "cpu" else array.numpy_dtype(name))
        np.testing.assert_array_equal(view.astype(np.float32), x.float().numpy())
        out = at.empty((3,), name)
        out.view[...] = view
        assert out.result().dtype is dtype and (out.result() == x).all()


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
        assert arrays("f", a=a, b=b).floats(a=a, b=b) == expected
    edge = np.array([2**24, 2**24 + 1])
    assert arrays("f", a=edge).floats(a=edge[:1]) == "float32"
    assert arrays("f", a=edge).floats(a=edge) == "float64"
    assert arrays("f", a=-edge).floats(a=-edge) == "float64"


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_whole_numbers_that_do_not_fit(library):
    """They were cast in silence: two labels of 1e30 became one class, an index of 2**32 + 5 became 5."""
    xp = pytest.importorskip(library) if library != "jax" else pytest.importorskip("jax.numpy")
    make = xp.asarray
    boxes, scores = make(BOXES), make(SCORES)
    labels = np.zeros(len(SCORES))
    for bad in (1e30, -1e30, np.inf, 2.0**63):
        labels[0] = bad
        with pytest.raises(ValueError, match=r"idxs must hold (numbers that int64 holds|whole numbers)"):
            ops.batched_nms(boxes, scores, make(labels), dict(iou_threshold=0.5))
    labels[0] = np.nan
    with pytest.raises(ValueError, match="idxs must hold whole numbers"):
        ops.batched_nms(boxes, scores, make(labels), dict(iou_threshold=0.5))
    if library != "jax":  # without 64-bit integers
        big = make(np.full((1, 1, 1, 1), 2**32 + 5))
        with pytest.raises(ValueError, match="argmax must hold numbers that int32 holds, got 4"):
            ops.roi_pool_backward(make(np.ones((1, 1, 1, 1))), big, make(np.array([[0, 0, 0, 3, 3.0]])), (1, 1, 4, 4))


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_torchs_unsigned_integers(dtype):
    torch = pytest.importorskip("torch")
    boxes = torch.from_numpy(BOXES.astype(dtype))
    assert torch.equal(
        ops.nms(boxes, torch.from_numpy(SCORES), 0.5)[1], ops.nms(boxes.long(), torch.from_numpy(SCORES), 0.5)[1]
    )
    labels = torch.from_numpy(np.full(len(SCORES), np.iinfo(dtype).max, dtype))
    if dtype == "uint64":
        with pytest.raises(ValueError, match="idxs must hold numbers that int64 holds"):
            ops.batched_nms(boxes, torch.from_numpy(SCORES), labels, dict(iou_threshold=0.5))
    else:
        ops.batched_nms(boxes, torch.from_numpy(SCORES), labels, dict(iou_threshold=0.5))


def test_sizes():
    at = arrays("f", unknown=np.zeros((2, 5, 3)), known=np.zeros((2, 7, 3)), mask=None)
    n = at.sizes(unknown="B N 3", known="B M 3", mask="B N?")
    assert (n.B, n.N, n.M) == (2, 5, 7)
    for wanted, message in {
        ("B N 3", "C M 4"): r"f: known must have shape \(C, M, 4\), got \(2, 7, 3\)",
        ("B N", "B M 3"): r"f: unknown must have shape \(B, N\), got \(2, 5, 3\)",
        ("B N 3", "B N 3"): r"f: known must have shape \(B, 5, 3\), got \(2, 7, 3\) \(5 is unknown's N\)",
        ("N B 3", "B N 3"): r"f: known must have shape \(5, N, 3\), got \(2, 7, 3\) \(5 is unknown's B\)",
    }.items():
        with pytest.raises(ValueError, match=message):
            at.sizes(unknown=wanted[0], known=wanted[1])
    with pytest.raises(TypeError, match="f: mask must be an array, got None"):
        at.sizes(mask="N")
    with pytest.raises(ValueError, match="f: b must have as many rows as a, got 3 and 2"):
        arrays("f", a=np.zeros(2), b=np.zeros(3)).sizes(a="N", b="N")


def test_integers():
    x = np.array([0, 3], np.int32)
    at = arrays("f", x=x)
    assert at.integers(None, x=x, below=4).dtype == np.int32 and at.integers(None, x=x).base is x
    assert at.integers(x=x, least=0).dtype == np.int64 and at.integers(None, x=x.astype(np.uint8)).dtype == np.int64
    for limits, message in {
        (0, 3): "f: x must hold numbers at least 0 and below 3, got 0 to 3",
        (1, None): "f: x must hold numbers at least 1, got 0 to 3",
        (None, 3): "f: x must hold numbers below 3, got 0 to 3",
    }.items():
        with pytest.raises(ValueError, match=message):
            at.integers(x=x, least=limits[0], below=limits[1])
    with pytest.raises(TypeError, match="f: x must hold integers, got dtype complex128"):
        at.integers(x=x.astype(complex))


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (np.True_, TypeError), (True, TypeError), (1j, TypeError), (np.complex64(1), TypeError), ("1", TypeError),
        (np.array([True]), TypeError), (np.array(["1"]), TypeError), (10**400, ValueError), (np.nan, ValueError),
        (np.zeros(2), TypeError), (None, TypeError),
    ],
)  # fmt: skip
def test_what_is_no_number(value, error):
    with pytest.raises(error, match=r"^f: x must be a number"):
        check.number("f", "x", value)


@pytest.mark.parametrize("value", [np.float32(2), np.int64(2), np.array([2]), np.array(2.0), 2])
def test_what_is_a_number(value):
    assert check.number("f", "x", value) == 2.0


@pytest.mark.parametrize("value", [np.array([True]), np.array([1, 2]), np.True_, True, 1.0, None])
def test_what_is_no_integer(value):
    with pytest.raises(TypeError, match=r"^f: x must be an int, got"):
        check.integer("f", "x", value)


def test_thresholds_beyond_the_dtype_are_infinite():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(ops.nms(BOXES, SCORES, 0.5, score_threshold=1e39)[1]) == 0
        assert len(ops.soft_nms(BOXES, SCORES, 0.5, sigma=1e39)[1]) == len(SCORES)


@pytest.mark.parametrize(
    ("value", "hint"), [([1.0], r"give np\.asarray\(boxes\)"), ("text", "got str$"), (None, "got None$")]
)
def test_what_to_give_instead(value, hint):
    with pytest.raises(TypeError, match=f"^nms: boxes must be an array.*{hint}"):
        ops.nms(value, SCORES, 0.5)


def test_what_to_give_instead_of_a_picture_or_a_table():
    class Table:
        def to_numpy(self):
            return BOXES

    image = pytest.importorskip("PIL.Image").new("RGB", (4, 4))
    with pytest.raises(TypeError, match=r"got Image: give np\.asarray\(boxes\)"):
        ops.nms(image, SCORES, 0.5)
    with pytest.raises(TypeError, match=r"got Table: give boxes\.to_numpy\(\)"):
        ops.nms(Table(), SCORES, 0.5)


def test_a_percentage_is_no_threshold():
    for call in (
        lambda: ops.nms(BOXES, SCORES, 50),
        lambda: ops.soft_nms(BOXES, SCORES, 50),
        lambda: ops.nms_match(np.zeros((2, 5)), 50),
        lambda: ops.nms_rotated(np.zeros((2, 5)), np.zeros(2), 50),
        lambda: ops.batched_nms(BOXES, SCORES, SCORES // 1, dict(iou_threshold=50)),
    ):
        with pytest.raises(ValueError, match="iou_threshold must be at most 1, got 50"):
            call()
    with pytest.raises(TypeError, match=r"nms_cfg has no iou_treshold .*\(did you mean iou_threshold\?\)"):
        ops.batched_nms(BOXES, SCORES, None, dict(iou_treshold=0.5), True)
    with pytest.raises(ValueError, match="output_size must be at least 1, got 0"):
        ops.roi_align(np.zeros((1, 1, 4, 4)), np.zeros((1, 5)), 0)


def test_small_calls_take_usual_arrays_alone(monkeypatch):
    """`quick` computes what the long way does and leaves it what is unusual; what is remembered takes no check's place."""
    taken, module = [], sys.modules["arrayvision.ops.bias_act"]

    def quick(*args, **more):
        taken.append(array.quick(*args, **more))
        return taken[-1]

    monkeypatch.setattr(array, "EMULATED", False)
    monkeypatch.setattr(module, "quick", quick)
    rng = np.random.default_rng(0)
    x, bias = (rng.standard_normal(shape).astype(np.float32) for shape in ((3, 3, 3, 3), 3))
    expected, (a, b) = x + bias.reshape(1, 3, 1, 1), map(torch.from_numpy, (x, bias))
    array.library_of(a)  # torch is known from now on
    for given, wanted in (((x, bias), expected), ((a, b), expected), ((x,), x), ((a,), x)):
        np.testing.assert_array_equal(ops.bias_act(*given), wanted)
        assert taken[-1] is not None
    for first, second, wanted in (
        (a.double(), b, expected),
        (a.transpose(2, 3), b, (x.swapaxes(2, 3) + bias.reshape(1, 3, 1, 1))),
        (torch.complex(a, -a).conj().imag, b, expected),  # with the negative bit set
        (x[:, :, ::-1], bias, expected[:, :, ::-1]),
        (x.astype(">f4"), bias, expected),
    ):
        np.testing.assert_allclose(ops.bias_act(first, second), wanted, rtol=1e-6)
        assert taken[-1] is None
    with pytest.raises(TypeError, match="dim must be an int, got bool"):
        ops.bias_act(x, bias, True)
    with pytest.raises(ValueError, match="gather_points: indices must hold numbers at least 0 and below 3, got 0 to 3"):
        ops.gather_points(x[0], np.array([[0, 3], [0, 0], [0, 0]]))
    with pytest.raises(TypeError, match=r"input is traced by torch\.func"):
        torch.func.vmap(lambda part: ops.bias_act(part, b))(a)
    with pytest.raises(TypeError, match="input requires grad"):
        ops.bias_act(a.clone().requires_grad_(), b)


def test_results_that_a_dtype_doesnt_hold_become_infinite_without_a_warning():
    x = np.full((1, 1, 2, 2), 6e4, np.float16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(ops.upfirdn2d(x, None, gain=4)).all()


MANY, EACH = 2**16, 2**31 - 1  # together more than memory has addresses
ROOMY = {
    "voxelization: max_points": lambda: ops.voxelization(np.ones((2, 4)), (1, 1, 1), (0, 0, 0, 4, 4, 4), 2**50),
    "ball_query: sample_num": lambda: ops.ball_query(0, 1, EACH, np.ones((1, 2, 3)), np.ones((1, MANY, 3))),
    "furthest_point_sample: num_points": lambda: ops.furthest_point_sample(np.ones((MANY, 2, 3)), EACH),
    "furthest_point_sample_with_dist: num_points": lambda: ops.furthest_point_sample_with_dist(np.ones((MANY, 2, 2)), EACH),
    "roipoint_pool3d: num_sampled_points": lambda: ops.roipoint_pool3d(
        np.ones((1, 2, 3)), np.ones((1, 2, 1)), np.ones((1, MANY, 7)), EACH
    ),
    "roiaware_pool3d: out_size": lambda: ops.roiaware_pool3d(
        np.ones((MANY, 7)), np.ones((2, 3)), np.ones((2, 1)), (1, 1, EACH), 1
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROOMY)
def test_a_result_that_no_memory_holds_names_the_argument_that_makes_it_so_large(name):
    with pytest.raises(ValueError, match=f"^{name} must be so small that the result fits in memory, got") as raised:
        ROOMY[name]()
    assert isinstance(raised.value, MemoryError)


def test_a_result_of_no_voxels_takes_no_memory():
    voxels, coors, counts = ops.voxelization(np.full((2, 4), np.nan), (1, 1, 1), (0, 0, 0, 4, 4, 4), 2**31, 2**62)
    assert voxels.shape == (0, 2**31, 4) and coors.shape == (0, 3) and counts.shape == (0,)
