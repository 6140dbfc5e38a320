"""The RoI operators against plain loops in float64 (`pooling.py`) and the golden data."""

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

import arrayvision
from arrayvision import array, ops
from arrayvision.cases import regions as plain
from arrayvision.cuda import emulator, roi_bins as cuda_bins
from arrayvision.ops import _roi
from tests.conftest import on, use
from tests.golden import cases

SIZE = plain.SIZE
X = plain.features()


class Op(NamedTuple):
    """An operator that pools regions, with arguments, its gradient and what it should give."""

    label: str
    regions: np.ndarray
    function: Callable  # of (features, regions, *arguments): the result, or that and what the gradient needs
    arguments: tuple
    plain: Callable  # the same in float64, of (features, regions, *plain_arguments)
    plain_arguments: tuple
    gradient: Callable  # of what `takes` names, and of gradient_arguments
    takes: str
    gradient_arguments: tuple
    few: bool = False  # whether it stands for its like where all combinations would be many

    @property
    def name(self):
        return self.function.__name__.removesuffix("_with_argmax")

    def call(self, x, r):
        """The result, and what its gradient needs (None for most)."""
        given = self.function(x, r, *self.arguments)
        return given if isinstance(given, tuple) else (given, None)

    def exact(self, x, r):
        return self.plain(x, r, *self.plain_arguments)

    def back(self, grad, features, regions, argmax):
        """The features' gradient."""
        given = dict(grad=grad, features=features, regions=regions, argmax=argmax, shape=tuple(features.shape))
        result = self.gradient(*(given[n] for n in self.takes.split()), *self.gradient_arguments)
        return result[0] if isinstance(result, tuple) else result


BOXES, ROTATED, CURVES = plain.upright(), plain.rotated(), plain.curves()
USUAL, OF_MAXIMA, OF_FEATURES = "grad regions shape", "grad argmax regions shape", "grad features regions"
OPERATORS = []
for aligned in (True, False):
    for ratio in (0, 2):
        how, label, few = (0.5, ratio, aligned), f"{aligned}-{ratio}", aligned and ratio == 0
        turned = (*how, ratio == 2)
        OPERATORS += [
            Op(
                f"roi_align-{label}", BOXES, ops.roi_align, (SIZE, 0.5, ratio, "avg", aligned),
                plain.roi_align, (SIZE, *how), ops.roi_align_backward, USUAL, how, few,
            ),
            Op(
                f"roi_align_max-{label}", BOXES, ops.roi_align_with_argmax, (SIZE, *how),
                plain.roi_align, (SIZE, *how, "max"), ops.roi_align_max_backward, OF_MAXIMA, how, few,
            ),
            Op(
                f"bezier_align-{label}", CURVES, ops.bezier_align, (SIZE, *how),
                plain.bezier_align, (SIZE, *how), ops.bezier_align_backward, USUAL, how, few,
            ),
            Op(
                f"roi_align_rotated-{label}", ROTATED, ops.roi_align_rotated, (SIZE, *turned),
                plain.roi_align_rotated, (SIZE, *turned), ops.roi_align_rotated_backward, USUAL, turned, few,
            ),
        ]  # fmt: skip
for label, turned, few in (("", (0.5, 2, 4, False), True), ("-clockwise", (0.5, 0, 8, True), False)):
    OPERATORS.append(
        Op(
            f"riroi_align_rotated{label}", ROTATED, ops.riroi_align_rotated, (SIZE, *turned),
            plain.riroi_align_rotated, (SIZE, *turned), ops.riroi_align_rotated_backward, USUAL, turned, few,
        )
    )  # fmt: skip
OPERATORS += [
    Op(
        "roi_pool", BOXES, ops.roi_pool_with_argmax, (SIZE, 0.5),
        plain.roi_pool, (SIZE, 0.5), ops.roi_pool_backward, OF_MAXIMA, (), True,
    ),
    Op(
        "prroi_pool", BOXES, ops.prroi_pool, (SIZE, 0.5),
        plain.prroi_pool, (SIZE, 0.5), ops.prroi_pool_backward, OF_FEATURES, (0.5,), True,
    ),
    Op(
        "deform_roi_pool", BOXES, ops.deform_roi_pool, (None, SIZE, 0.5, 2),
        plain.roi_align, (SIZE, 0.5, 2, True), ops.deform_roi_pool_backward, OF_FEATURES, (None, 0.5, 2), True,
    ),
    Op(
        "border_align", plain.boxes(), ops.border_align_with_argmax, (4,),
        plain.border_align, (4,), ops.border_align_backward, OF_MAXIMA, (4,), True,
    ),
]  # fmt: skip
for points in (1, 5):
    OPERATORS.append(
        Op(
            f"rotated_feature_align-{points}", plain.positions(), ops.rotated_feature_align, (0.5, points),
            plain.rotated_feature_align, (0.5, points),
            ops.rotated_feature_align_backward, "grad regions", (0.5, points), points == 5,
        )
    )  # fmt: skip
FEW = [op for op in OPERATORS if op.few]


def each(operators):
    """A test for each of these operators."""
    return pytest.mark.parametrize("op", operators, ids=[op.label for op in operators])


# Half a unit in the last place of storage, plus float32's sums where that computes.
ROUNDING = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 2**-18, "float64": 2**-44}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@each(FEW)
def test_plain_loops_every_library_and_dtype(op, dtype, library):
    if not library.has(dtype):
        pytest.skip("the library has no such dtype")
    x, r = library.asarray(X, dtype), library.asarray(op.regions, "float32" if dtype != "float64" else dtype)
    out, which = op.call(x, r)
    exact = op.exact(library.numpy(x).astype(np.float64), library.numpy(r).astype(np.float64))
    assert library.owns(out) and str(out.dtype).rsplit(".", 1)[-1] == dtype and tuple(out.shape) == exact.shape
    tolerance = ROUNDING[dtype]
    np.testing.assert_allclose(library.numpy(out).astype(np.float64), exact, rtol=tolerance, atol=tolerance)

    g = library.asarray(np.random.default_rng(9).standard_normal(exact.shape), dtype)
    gradient = op.back(g, x, r, which)
    assert library.owns(gradient) and tuple(gradient.shape) == tuple(x.shape)
    assert str(gradient.dtype).rsplit(".", 1)[-1] == dtype
    # The operators are linear (maxima: in what they selected), so that <gradient, x> = <g, f(x)>.
    terms = library.numpy(gradient).astype(np.float64) * library.numpy(x).astype(np.float64)
    other = library.numpy(g).astype(np.float64) * exact
    assert abs(terms.sum() - other.sum()) <= 4 * tolerance * (abs(terms).sum() + abs(other).sum())


def on_backend(op, backend):
    """An operator's functions on NumPy arrays; on a GPU through CuPy."""
    if backend != "cuda":
        return op
    import cupy

    def through(function):
        @functools.wraps(function)
        def call(*args):
            out = function(*[cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in args])
            return tuple(o.get() for o in out if o is not None) if isinstance(out, tuple) else out.get()

        return call

    return op._replace(function=through(op.function), gradient=through(op.gradient))


@each(OPERATORS)
def test_plain_loops(op, backend):
    op = on_backend(op, backend)
    out, which = op.call(X, op.regions)
    np.testing.assert_allclose(out, op.exact(X, op.regions), rtol=0, atol=2**-44)
    g = np.random.default_rng(9).standard_normal(out.shape)
    gradient = op.back(g, X, op.regions, which)
    rng = np.random.default_rng(10)
    for c in rng.integers(0, X.shape[1], 2):  # one channel at a time: what else would go where it shouldn't
        only = np.zeros_like(X)
        only[:, c] = 1e-3 * rng.standard_normal(X[:, c].shape)
        moved = (op.exact(X + only, op.regions) - op.exact(X - only, op.regions)) / 2
        assert abs((gradient * only).sum() - (g * moved).sum()) < (1e-9 if which is None else 1e-3)


@pytest.mark.parametrize("name", ["roi_align", "roi_align_rotated", "bezier_align", "rotated_feature_align"])
def test_golden(name, backend):
    for case in cases(name):
        x, r = case.inputs.values()
        args, tolerance = dict(case.args), 1e-12
        if name == "roi_align":
            size, mode = args.pop("output_size"), args.pop("pool_mode")
            if mode == "max":
                forward = on(backend, ops.roi_align_with_argmax)
                out, which = forward(x, r, size, **args)
                gradient = on(backend, ops.roi_align_max_backward)(case.cots["0"], which, r, x.shape, **args)
            else:
                out = on(backend, ops.roi_align)(x, r, size, **args)
                gradient = on(backend, ops.roi_align_backward)(case.cots["0"], r, x.shape, **args)
        elif name == "rotated_feature_align":
            tolerance = 2e-6  # the reference takes sine and cosine in float32
            out = on(backend, ops.rotated_feature_align)(x, r, **args)
            gradient = on(backend, ops.rotated_feature_align_backward)(case.cots["0"], r, **args)
        else:
            size = args.pop("output_size")
            out = on(backend, getattr(ops, name))(x, r, size, **args)
            gradient = on(backend, getattr(ops, f"{name}_backward"))(case.cots["0"], r, x.shape, **args)
        np.testing.assert_allclose(out, case.outputs["0"], rtol=0, atol=tolerance, err_msg=case.name)
        np.testing.assert_allclose(gradient, next(iter(case.grads.values())), rtol=0, atol=tolerance, err_msg=case.name)


# ---- layouts, threads, emptiness ----------------------------------------------------------------------------------------
@each(FEW)
def test_layouts(op, backend):
    if backend == "cuda":
        pytest.skip("NumPy layouts")
    expected, _ = op.call(X, op.regions)
    misaligned = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float64).reshape(X.shape)
    for x in (
        np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        np.asfortranarray(X),
        X[:, :, ::-1][:, :, ::-1],
        np.repeat(X, 2, 3)[..., ::2],
        X.astype(">f8"),
        misaligned,
    ):
        x.flags.writeable = False
        np.testing.assert_allclose(op.call(x, op.regions)[0], expected, rtol=0, atol=2**-48)


def test_channels_last_is_used_in_place():
    x = np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    at = array.arrays("test", x=x)
    view, last = _roi.read(at, x, "float64")
    assert last and np.shares_memory(view, x) and view.shape == (2, 9, 11, 8)
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(2, 8, 5, 6).contiguous(memory_format=torch.channels_last)
    view, last = _roi.read(array.arrays("test", x=tensor), tensor, "float32")
    assert last and view.ctypes.data == tensor.data_ptr()


@each(FEW)
def test_same_bits_for_any_number_of_threads(op):
    x = np.repeat(np.repeat(X, 12, 1), 3, 3).astype(np.float32)  # enough for helpers to be asked
    regions = op.regions.astype(np.float32)
    if op.name == "rotated_feature_align":
        regions = np.repeat(regions, 3, 2)
    elif op.name == "border_align":
        regions = np.tile(regions, (1, 40, 1))
    else:
        regions = np.tile(regions, (40, 1))
    results, before = [], arrayvision.get_num_threads()
    try:
        for threads in (1, 2, 5):
            arrayvision.set_num_threads(threads)
            out, which = op.call(x, regions)
            results.append(
                (out, op.back(np.sin(np.arange(out.size, dtype=np.float32)).reshape(out.shape), x, regions, which))
            )
    finally:
        arrayvision.set_num_threads(before)
    for out, gradient in results[1:]:
        assert out.tobytes() == results[0][0].tobytes() and gradient.tobytes() == results[0][1].tobytes()


@each(FEW)
def test_deterministic_algorithms(op, backend, monkeypatch):
    """Asked for by torch's switch, gradients are summed in a fixed order: the same bits whatever order threads run in."""
    torch = pytest.importorskip("torch")
    to = (lambda a: torch.from_numpy(a).cuda()) if backend == "cuda" else torch.from_numpy
    x, regions = to(X.astype(np.float32)), to(op.regions.astype(np.float32))
    out, which = op.call(x, regions)
    g = torch.randn(out.shape, device=out.device)
    loose = op.back(g, x, regions, which)
    results = []
    torch.use_deterministic_algorithms(True)
    if backend == "emulated":  # its kernels see NumPy arrays, which have no such switch
        monkeypatch.setattr(array.NumPy, "deterministic", lambda self: True)
    try:
        for order in emulator.ORDERS:
            monkeypatch.setattr(emulator, "orders", (order,))
            results.append(op.back(g, x, regions, which))
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(results[0], loose, rtol=2**-18, atol=2**-18)
    assert all(torch.equal(r, results[0]) for r in results[1:])


@each(FEW)
def test_empty(op, library):
    empty = op.regions[:0] if op.name not in ("border_align", "rotated_feature_align") else op.regions[:, :0]
    x = X[:, :, :0] if op.name == "rotated_feature_align" else X
    x, r = library.asarray(x, "float32"), library.asarray(empty, "float32")
    out, which = op.call(x, r)
    assert 0 in out.shape and library.owns(out)
    gradient = op.back(out, x, r, which)
    assert tuple(gradient.shape) == tuple(x.shape) and not library.numpy(gradient).any()
    if op.name != "rotated_feature_align":
        none = library.asarray(X[:, :0], "float32")
        out, which = op.call(none, library.asarray(op.regions, "float32"))
        assert out.shape[1] == 0
        nowhere = library.asarray(X[:, :, :0], "float32")
        out, _ = op.call(nowhere, library.asarray(op.regions, "float32"))
        assert not np.nan_to_num(library.numpy(out)).any()


# ---- values that make no region -----------------------------------------------------------------------------------------
REGIONS = [op for op in FEW if op.name not in ("border_align", "rotated_feature_align")]


@each(FEW)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(op, bad, backend):
    op = on_backend(op, backend)
    regions = op.regions.copy()
    rows = regions.reshape(-1, regions.shape[-1])
    rows[2, 3] = bad
    out, which = op.call(X, regions)
    expected, _ = op.call(X, op.regions)
    changed = np.isnan(out)
    if op.name == "border_align":
        assert changed[0, :, 2].all() and changed.sum() == changed[0, :, 2].size
    elif op.name == "rotated_feature_align":
        assert changed[0, :, 0, 2].all() and changed.sum() == changed[0, :, 0, 2].size
    else:
        assert changed[2].all() and changed.sum() == changed[2].size
    np.testing.assert_array_equal(out[~changed], expected[~changed])
    assert np.isfinite(op.back(np.ones_like(out), X, regions, which)).all()


@each(REGIONS)
@pytest.mark.parametrize("index", [2, -1, 1e30, np.nan])
def test_batch_index(op, index, backend):
    op = on_backend(op, backend)
    regions = op.regions.copy()
    regions[1, 0] = index
    if backend == "cpu":
        with pytest.raises(ValueError, match=r"\[1\] has batch index .*, which must be within \[0, 2\)"):
            op.call(X, regions)
    else:  # a kernel can't raise
        out, which = op.call(X, regions)
        assert np.isnan(out[1]).all() and np.isfinite(np.delete(out, 1, 0)).all()
        assert np.isfinite(op.back(np.ones_like(out), X, regions, which)).all()


@each(REGIONS)
@pytest.mark.parametrize("size", [1e4, 1e9, 1e30])
def test_absurd_size(op, size, backend):
    """It takes no absurd time, and means what it says: with a fixed number of samples, or a maximum, or huge bins."""
    op = on_backend(op, backend)
    regions = op.regions[:2].copy()
    regions[:, 1:5] = -size, -size, size, size
    if op.name.endswith("rotated"):
        regions[:, 1:5] = 5, 5, size, size
    elif op.name == "bezier_align":
        regions[:, 1:] = np.array([-1, -1, -0.3, -1, 0.3, -1, 1, -1, 1, 1, 0.3, 1, -0.3, 1, -1, 1]) * size
    for dtype in ("float32", "float64"):
        out, which = op.call(X.astype(dtype), op.regions.astype(dtype))  # compiles the kernels
        op.back(out, X.astype(dtype), op.regions.astype(dtype), which)
    start = time.perf_counter()
    for dtype in ("float32", "float64"):
        out, which = op.call(X.astype(dtype), regions.astype(dtype))
        gradient = op.back(np.ones_like(out), X.astype(dtype), regions.astype(dtype), which)
        assert np.isfinite(out).all() and np.isfinite(gradient).all()
    assert time.perf_counter() - start < 3


def test_large_region_is_exact(backend):
    """Samples far outside are skipped, not forgotten: their number still divides the sum."""
    rois = np.array([[0, -800.0, -600, 900, 700], [1, -3000, 2, 3000, 9]])
    out = on(backend, ops.roi_align)(X, rois, SIZE, 0.5, 0)
    np.testing.assert_allclose(out, plain.roi_align(X, rois, SIZE, 0.5, 0, True), rtol=2**-40, atol=0)
    turned = np.array([[0, 5.0, 4, 500, 300, 0.3]])
    out = on(backend, ops.roi_align_rotated)(X, turned, (1, 1), 0.5, 0)
    expected = plain.roi_align_rotated(X, turned, (1, 1), 0.5, 0, True, False)
    np.testing.assert_allclose(out, expected, rtol=2**-36, atol=0)


def test_nan_features(backend):
    x = X.copy()
    x[0, 3, 4, 4] = np.nan
    rois = np.array([[0, 6.0, 6, 14, 14], [1, 6, 6, 14, 14]])
    for out in (
        on(backend, ops.roi_align)(x, rois, 1, 0.5),
        on(backend, ops.roi_align)(x, rois, 1, 0.5, 0, "max"),
        on(backend, ops.roi_pool)(x, rois, 1, 0.5),
        on(backend, ops.prroi_pool)(x, rois, 1, 0.5),
    ):
        expected = np.zeros(out.shape, bool)
        expected[0, 3] = True
        np.testing.assert_array_equal(np.isnan(out), expected)


# ---- the other gradients ------------------------------------------------------------------------------------------------
def difference(f, at, direction, step=1e-6):
    return (f(at + step * direction) - f(at - step * direction)) / (2 * step)


def test_prroi_pool_moves_its_regions(backend):
    rng = np.random.default_rng(3)
    g = rng.standard_normal((len(BOXES), X.shape[1], *SIZE))
    _, gradient = on(backend, ops.prroi_pool_backward)(g, X, BOXES, 0.5)
    assert not gradient[:, 0].any() and not gradient[-1].any() and abs(gradient[1:-1]).min(0)[1:].max() > 0
    for _ in range(3):
        direction = rng.standard_normal(BOXES.shape) * (0, 1, 1, 1, 1)
        direction[-1] = 0  # without an area: 0, and no derivative
        slope = difference(lambda r: (g * plain.prroi_pool(X, r, SIZE, 0.5)).sum(), BOXES, direction)
        assert abs((gradient * direction).sum() - slope) < 1e-6 * abs(gradient).sum()


@pytest.mark.parametrize("ratio", [0, 2])
def test_deform_roi_pool_offset(ratio, backend):
    rng = np.random.default_rng(4)
    offset, g = rng.standard_normal((len(BOXES), 2, *SIZE)), rng.standard_normal((len(BOXES), X.shape[1], *SIZE))

    def value(o):
        return plain.roi_align(X, BOXES, SIZE, 0.5, ratio, True, offset=o, gamma=0.3)

    out = on(backend, ops.deform_roi_pool)(X, BOXES, offset, SIZE, 0.5, ratio, 0.3)
    np.testing.assert_allclose(out, value(offset), rtol=0, atol=2**-44)
    for_x, gradient = on(backend, ops.deform_roi_pool_backward)(g, X, BOXES, offset, 0.5, ratio, 0.3)
    assert abs((for_x * X).sum() - (g * out).sum()) < 1e-9
    for _ in range(3):
        direction = rng.standard_normal(offset.shape)
        slope = difference(lambda o: (g * value(o)).sum(), offset, direction)
        assert abs((gradient * direction).sum() - slope) < 1e-6 * abs(gradient).sum()


# ---- known values -----------------------------------------------------------------------------------------------------
def test_constant_features_pool_to_the_constant(backend):
    x = np.full((2, 4, 9, 11), 3.5, np.float32)
    inside = np.array([[0, 2.0, 2, 16, 14], [1, 4, 3, 12, 11]], np.float32)
    for out in (
        on(backend, ops.roi_align)(x, inside, 3, 0.5),
        on(backend, ops.roi_pool)(x, inside, 3, 0.5),
        on(backend, ops.prroi_pool)(x, inside, 3, 0.5),
        on(backend, ops.roi_align_rotated)(x, np.array([[0, 10, 9, 5, 4, 0.7]], np.float32), 3, 0.5),
    ):
        np.testing.assert_allclose(out, 3.5, rtol=2**-21)


def test_a_quarter_turn_of_orientations(backend):
    channels = np.arange(8.0).reshape(1, 8, 1, 1) * np.ones((1, 1, 6, 6))
    out = on(backend, ops.riroi_align_rotated)(channels, np.array([[0, 3, 3, 2, 2, np.pi / 2]]), 1, 1.0, 2, 4)
    np.testing.assert_allclose(out.ravel(), [3, 0, 1, 2, 7, 4, 5, 6], atol=1e-12)


# ---- bad arguments ----------------------------------------------------------------------------------------------------
BAD = [
    (lambda: ops.roi_align(X, BOXES[:, :4], 2), ValueError, r"roi_align: rois must have shape \(K, 5\), got \(7, 4\)"),
    (lambda: ops.roi_align(X[0], BOXES, 2), ValueError, r"roi_align: input must have shape \(B, C, H, W\), got"),
    (lambda: ops.roi_align(X, BOXES, (2, 2, 2)), ValueError, "output_size must be an int or two, got 3 numbers"),
    (lambda: ops.roi_align(X, BOXES, -1), ValueError, "output_size must be at least 1, got -1"),
    (lambda: ops.roi_align(X, BOXES, 2.5), TypeError, "output_size must be an int or two, got float"),
    (lambda: ops.roi_align(X, BOXES, "7"), TypeError, "output_size must be an int or two, got str"),
    (lambda: ops.roi_align(X, BOXES, 2, np.nan), ValueError, "spatial_scale must be a number, got nan"),
    (lambda: ops.roi_align(X, BOXES, 2, np.inf), ValueError, "spatial_scale must be finite, got inf"),
    (lambda: ops.roi_align(X, BOXES, 2, 1.0, 1.5), TypeError, "sampling_ratio must be an int, got float"),
    (lambda: ops.roi_align(X, BOXES, 2, 1.0, 10**9), ValueError, "sampling_ratio must be at most 1024"),
    (lambda: ops.roi_align(X, BOXES, 2, pool_mode="sum"), ValueError, "pool_mode must be 'avg' or 'max', got 'sum'"),
    (lambda: ops.roi_align(X, BOXES, 2, aligned="yes"), TypeError, "aligned must be True or False"),
    (
        lambda: ops.roi_align(X.astype(complex), BOXES, 2),
        TypeError,
        "input must hold real numbers, got dtype complex128",
    ),
    (lambda: ops.roi_align(X, BOXES.astype("U"), 2), TypeError, "rois must hold real numbers"),
    (lambda: ops.roi_align(X.tolist(), BOXES, 2), TypeError, "input must be an array"),
    (
        lambda: ops.roi_align_backward(X[:5], BOXES, X.shape),
        ValueError,
        "grad must have as many rows as rois, got 2 and 7",
    ),
    (lambda: ops.roi_align_backward(np.ones((7, 3, 2, 2)), BOXES, X.shape), ValueError, "8 channels, got 3"),
    (
        lambda: ops.roi_align_backward(np.ones((7, 8, 2, 2)), BOXES, (2, 8, 9)),
        ValueError,
        "input_shape must be four ints",
    ),
    (
        lambda: ops.roi_align_max_backward(np.ones((7, 8, 2, 2)), np.ones((7, 8, 2, 1)), BOXES, X.shape),
        ValueError,
        "argmax",
    ),
    (lambda: ops.roi_align_rotated(X, BOXES, 2, 1.0), ValueError, r"rois must have shape \(K, 6\), got \(7, 5\)"),
    (lambda: ops.riroi_align_rotated(X, ROTATED, 2, 1.0, 0, 3), ValueError, "a multiple of 3 channels, got 8"),
    (
        lambda: ops.riroi_align_rotated(X, ROTATED, 2, 1.0, 0, 0),
        ValueError,
        "num_orientations must be at least 1, got 0",
    ),
    (lambda: ops.bezier_align(X, BOXES, 2), ValueError, r"beziers must have shape \(K, 17\), got \(7, 5\)"),
    (
        lambda: ops.deform_roi_pool(X, BOXES, np.zeros((7, 2, 3, 3)), 2),
        ValueError,
        r"offset must have shape \(7, 2, 2, 2\), got \(7, 2, 3, 3\)",
    ),
    (lambda: ops.deform_roi_pool(X, BOXES, None, 2, gamma=np.nan), ValueError, "gamma must be a number, got nan"),
    (lambda: ops.border_align(X[:, :6], plain.boxes(), 3), ValueError, "a multiple of 4 channels, got 6"),
    (lambda: ops.border_align(X, plain.boxes(), 0), ValueError, "pool_size must be at least 1, got 0"),
    (
        lambda: ops.border_align(X, plain.boxes()[:1], 3),
        ValueError,
        r"boxes must have shape \(2, N, 4\), got \(1, 6, 4\)",
    ),
    (lambda: ops.rotated_feature_align(X, plain.positions(), 1.0, 3), ValueError, "points must be 1 or 5, got 3"),
    (
        lambda: ops.rotated_feature_align(X, plain.positions()[:, 1:]),
        ValueError,
        r"best_rbboxes must have shape \(2, 9, 11, 5\)",
    ),
    (lambda: ops.prroi_pool_backward(np.ones((7, 7, 2, 2)), X, BOXES), ValueError, "8 channels, got 7"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_argmax_of_another_call_reads_no_foreign_memory(backend):
    nonsense = np.full((7, 8, 2, 2), 2**31 - 1)
    g = np.ones((7, 8, 2, 2))
    assert np.isfinite(on(backend, ops.roi_align_max_backward)(g, nonsense, BOXES, X.shape)).all()
    assert not on(backend, ops.roi_pool_backward)(g, nonsense, BOXES, X.shape).any()
    border = on(backend, ops.border_align_backward)
    assert not border(np.ones((2, 2, 6, 4)), np.full((2, 2, 6, 4), 99), plain.boxes(), X.shape, 3).any()


def test_mixed_libraries():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="input is a NumPy array, rois is a torch tensor"):
        ops.roi_align(X, torch.from_numpy(BOXES), 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_regions_as_many(dtype):
    """The kernel for few regions and channels gives what the one for many does."""
    from arrayvision.cpu import roi_align as kernels, roi_bins

    rng = np.random.default_rng(0)
    for k in range(60):
        shape = 2, int(rng.integers(1, 6)), int(rng.integers(1, 12)), int(rng.integers(1, 12))
        x = rng.standard_normal(shape).astype(dtype)
        rois = np.concatenate([rng.integers(0, 2, (4, 1)), rng.uniform(-8, 20, (4, 4))], 1).astype(dtype)
        if k % 5 == 0:
            rois[0, 1 + k % 4] = (np.nan, np.inf)[k % 2]
            x[0, 0, 0, 0] = (np.inf, np.nan)[k % 2]
        size = int(rng.integers(1, 5)), int(rng.integers(1, 5))
        x.flags.writeable = rois.flags.writeable = False
        few, many = (np.full((4, shape[1], *size), 7, dtype) for _ in range(2))
        how = (0.3, 1.0, 2.5)[k % 3], (0, 1, 3)[k // 3 % 3], bool(k % 2)
        assert kernels.few(x, few.shape)
        assert kernels.forward_few(x, rois, *how, few)
        roi_bins.forward(roi_bins.pooling(roi_bins.Align, *how), x, False, rois, None, many)
        rounding = 64 * np.finfo(dtype).eps
        np.testing.assert_allclose(few, many, rtol=rounding, atol=rounding, equal_nan=True)


@pytest.mark.parametrize("channels, bins", [(1, (1, 1)), (5, (9, 11)), (68, (2, 3)), (144, (3, 2))])
@pytest.mark.parametrize("last", [False, True])
def test_weights_of_rows_times_columns(last, channels, bins, monkeypatch):
    """Lists of weights in shared memory, and samples one by one where these don't fit, give the same."""
    use("emulated", monkeypatch)
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 9, 12, channels) if last else (2, channels, 9, 12), dtype=np.float32)
    x = x.transpose(0, 3, 1, 2) if last else x
    corner = rng.uniform(-6, 12, (14, 2))
    rois = np.concatenate([rng.integers(0, 2, (14, 1)), corner, corner + rng.uniform(-3, 12, (14, 2))], 1)
    rois[10] = 0, -1e30, 2, 1e30, 5
    rois[11] = 1, -3000, -2000, 4000, 5000
    rois[12] = 5, 0, 0, 3, 3
    rois[13] = 0, np.nan, 0, 3, 3
    rois = rois.astype(np.float32)
    grad = rng.standard_normal((14, channels, *bins), dtype=np.float32)

    def results():
        hows = [(0.75, ratio, "avg", aligned) for ratio in (0, 3) for aligned in (True, False)]
        found = [ops.roi_align(x, rois, bins, *how) for how in hows]
        found.append(ops.prroi_pool(x, rois, bins, 0.75))
        for ratio in (0, 3):
            found += ops.roi_align_with_argmax(x, rois, bins, 0.75, ratio)
        back = [ops.roi_align_backward(grad, rois, x.shape, how[0], how[1], aligned=how[3]) for how in hows]
        return found, [*back, ops.prroi_pool_backward(grad, x, rois, 0.75)[0]]

    lists, gradients = results()
    monkeypatch.setattr(cuda_bins, "SHARED", 0)
    for kept in (cuda_bins._lists, cuda_bins._upright):
        kept.cache_clear()
    try:
        one_by_one, others = results()
    finally:
        for kept in (cuda_bins._lists, cuda_bins._upright):
            kept.cache_clear()
    for a, b in zip(lists, one_by_one, strict=True):
        if a.dtype == np.int32:  # of a maximum
            np.testing.assert_array_equal(a, b)
            continue
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)
        assert np.isnan(a[12:]).all() and not np.isnan(a[:10]).any()
    for a, b in zip(gradients, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels, bins, count", [(1, (1, 1), 0), (18, (2, 3), 300), (3, (17, 16), 4)])
def test_gradients_in_order_are_those_of_atomics(channels, bins, count, monkeypatch):
    """Several tiles of pixels, more regions, bins and samples than a block has threads or lists at a time, and none."""
    use("emulated", monkeypatch)
    rng = np.random.default_rng(7)
    shape = 2, channels, 21, 37
    corner = rng.uniform(-4, 30, (count, 2))
    rois = np.concatenate([rng.integers(0, 2, (count, 1)), corner, corner + rng.uniform(-3, 30, (count, 2))], 1)
    if count:
        rois[0] = 0, -3, -2, 60, 50
        rois[1], rois[2] = (2, 0, 0, 9, 9), (0, np.nan, 0, 9, 9)
    turned = np.concatenate([rois, rng.uniform(-4, 4, (count, 1))], 1)
    moves = rng.standard_normal((count, 2, *bins)).astype(np.float32)
    grad = rng.standard_normal((count, channels, *bins)).astype(np.float32)
    x = rng.standard_normal(shape).astype(np.float32)

    own = rois.astype(np.float32)
    own[1:2, 0] = 0  # the forward pass has no image 2
    greatest, pixels = (
        ops.roi_align_with_argmax(x, own, bins, 1.0, 3)[1],
        ops.roi_pool_with_argmax(x, own, bins, 1.0)[1],
    )

    def results():
        return [
            ops.roi_align_max_backward(grad, greatest, rois.astype(np.float32), shape, 1.0, 3),
            ops.roi_pool_backward(grad, pixels, rois.astype(np.float32), shape),
            ops.roi_align_backward(grad, rois.astype(np.float32), shape, 1.0, 0),
            ops.roi_align_rotated_backward(grad, turned.astype(np.float32), shape, 1.0, 3),
            ops.deform_roi_pool_backward(grad, x, rois.astype(np.float32), moves, 1.0, 2, 0.1)[0],
            ops.prroi_pool_backward(grad, x, rois.astype(np.float32), 1.0)[0],
        ]

    usual = results()
    monkeypatch.setattr(array.NumPy, "deterministic", lambda self: True)
    for a, b in zip(results(), usual, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
