"""Filters of images, beyond what `test_cases.py` tests of every operator."""

import numpy as np
import pytest

from arrayvision import get_num_threads, ops, set_num_threads
from arrayvision.cases.upfirdn2d import plain
from arrayvision.cpu import fir
from tests import golden
from tests.conftest import on

GOLDEN = golden.cases("upfirdn2d")
RNG = np.random.default_rng(0)
LINE = RNG.uniform(0.5, 1, 12)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.name)
def test_golden(case, backend):
    out = on(backend, ops.upfirdn2d)(**case.inputs, **case.args)
    np.testing.assert_allclose(out, case.outputs["0"], rtol=1e-6, atol=1e-6)
    shape = case.inputs["input"].shape
    grad = on(backend, ops.upfirdn2d_backward)(case.cots["0"], case.inputs["filter"], shape, **case.args)
    np.testing.assert_allclose(grad, case.grads["input"], rtol=1e-6, atol=1e-6)


FILTERS = {
    "any": RNG.standard_normal((5, 3)),
    "of rank 1": np.outer(LINE[:9], LINE[:7]),
    "of one axis": LINE,
    "a column": LINE[:5, None],
    "a row": LINE[None, :5],
    "one number": np.array([[2.0]]),
    "zeros": np.zeros((9, 9)),
    "none": None,
}
FACTORS = [((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 2)), ((3, 2), (2, 3)), ((4, 6), (6, 4)), ((1, 5), (3, 1))]


@pytest.mark.parametrize("name", FILTERS)
def test_every_kind_of_filter_with_every_factor(name):
    """Of several bands and planes, with paddings on both sides of 0."""
    x = RNG.standard_normal((2, 2, 83, 150))
    for k, (up, down) in enumerate(FACTORS):
        padding = ((0, 0, 0, 0), (5, -2, -3, 30), (-4, 9, 11, -1))[k % 3]
        call = dict(up=up, down=down, padding=padding, flip_filter=k % 2 == 0, gain=-0.5)
        expected = plain(x, FILTERS[name], **call)
        out = ops.upfirdn2d(x, FILTERS[name], **call)
        np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
        rounded = None if FILTERS[name] is None else FILTERS[name].astype(np.float32)
        small = ops.upfirdn2d(x.astype(np.float32), rounded, **call)
        assert small.dtype == np.float32
        np.testing.assert_allclose(small, expected, rtol=1e-5, atol=2e-5)


def test_the_gradient_is_the_transposed_operator(backend):
    """sum(upfirdn2d(x) * g) is sum(x * backward(g)), whatever falls off the ends."""
    for seed in range(40 if backend == "cpu" else 8):
        rng = np.random.default_rng(seed)
        h, w, fh, fw, ux, uy, dx, dy = (int(v) for v in rng.integers(1, (9, 9, 6, 6, 4, 4, 4, 4)))
        x, filter = rng.standard_normal((1, 2, h, w)), rng.standard_normal((fh, fw) if seed % 3 else fh)
        padding = [int(v) for v in rng.integers(-1, 7, 4)]
        call = dict(up=(ux, uy), down=(dx, dy), padding=padding, flip_filter=bool(seed % 2))
        try:
            out = on(backend, ops.upfirdn2d)(x, filter, **call)
        except ValueError as error:
            assert "must fit into the padded input" in str(error)
            continue
        np.testing.assert_allclose(out, plain(x, filter, **call), rtol=1e-12, atol=1e-12)
        g = rng.standard_normal(out.shape)
        back = on(backend, ops.upfirdn2d_backward)(g, filter, x.shape, **call)
        np.testing.assert_allclose((x * back).sum(), (out * g).sum(), rtol=1e-10, atol=1e-10)


def test_a_filter_is_split_where_it_is_a_product_and_that_is_less_work():
    def steps(weights, up=1, down=1):
        return fir.way(weights, False, 1.0, (up, up), (down, down), (0, 0), (8, 8), 8).steps

    product = np.outer(LINE, LINE)
    assert steps(product) == steps(product, 2) == steps(product, 1, 2) == steps(LINE) == 2
    bent = product.copy()
    bent[3, 3] *= 1 + 1e-14
    assert steps(bent) == steps(np.full((9, 9), np.nan)) == steps(np.zeros((9, 9))) == 1
    assert steps(bent.astype(np.float32)) == 2  # as near as float32 says
    assert steps(product[:4, :4], 2) == steps(LINE[:4], 2) == 1


def test_centred_filters_keep_where_things_are(backend):
    """A single pixel: its picture's centre of mass stays, in the pixels of the result."""
    x = np.zeros((1, 1, 9, 12))
    x[0, 0, 4, 6] = 1
    for filter in (np.ones((3, 5)), np.ones((4, 4)), LINE[:3], None):
        size = (1, 1) if filter is None else (filter.shape[-1], filter.shape[0])
        out = on(backend, ops.filter2d)(x, filter)
        assert out.shape == x.shape
        padding = (size[0] // 2, (size[0] - 1) // 2, size[1] // 2, (size[1] - 1) // 2)
        np.testing.assert_allclose(out, plain(x, filter, padding=padding))
        assert on(backend, ops.upsample2d)(x, filter, (3, 2)).shape == (1, 1, 18, 36)
        assert on(backend, ops.downsample2d)(x, filter, (4, 3)).shape == (1, 1, 3, 3)
    flat = np.full((1, 1, 8, 8), 3.0)
    smooth = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(on(backend, ops.upsample2d)(flat, smooth)[inner], 3)
    np.testing.assert_allclose(on(backend, ops.downsample2d)(flat, smooth)[..., 1:-1, 1:-1], 3)


def test_nan_spreads_as_far_as_the_filter(backend):
    x = np.zeros((1, 1, 7, 7))
    x[0, 0, 3, 3] = np.nan
    for filter in (np.ones((3, 3)), np.ones(5)):
        out = on(backend, ops.filter2d)(x, filter)
        n = len(filter)
        assert np.isnan(out).sum() == n * n and np.isnan(out[0, 0, 3, 3])


IMAGE, FILTER = np.zeros((1, 2, 5, 6)), np.ones((3, 3))


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        ("upfirdn2d", dict(up=-1), ValueError, "up must be at least 1, got -1"),
        ("upfirdn2d", dict(up=0), ValueError, "up must be at least 1, got 0"),
        ("upfirdn2d", dict(up=(2, -3)), ValueError, "up must be at least 1, got -3"),
        ("upfirdn2d", dict(up=(1, 2, 3)), ValueError, r"up must be an int or two \(columns, rows\), got 3 numbers"),
        ("upfirdn2d", dict(down=0), ValueError, "down must be at least 1, got 0"),
        ("upfirdn2d", dict(down=2**40), ValueError, "down must be at most 1024"),
        ("upfirdn2d", dict(up=1.5), TypeError, "up must be an int, got float"),
        ("upfirdn2d", dict(padding=(1, 2, 3)), ValueError, "padding must be an int, two .* or four .*, got 3 numbers"),
        ("upfirdn2d", dict(padding=10**6), ValueError, "padding must be at most 65536"),
        ("upfirdn2d", dict(padding=None), TypeError, "padding must be an int, got NoneType"),
        ("upfirdn2d", dict(padding=(-2, -2, 0, 0)), ValueError, "fit into the padded input of 5 x 2, got 3 x 3"),
        ("upfirdn2d", dict(filter=np.ones((6, 2))), ValueError, "fit into the padded input of 5 x 6, got 6 x 2"),
        ("upfirdn2d", dict(filter=np.ones((33, 32))), ValueError, r"have 1 to 1,024 numbers, got shape \(33, 32\)"),
        ("upfirdn2d", dict(filter=np.ones(1025)), ValueError, r"have 1 to 1,024 numbers, got shape \(1025,\)"),
        ("upfirdn2d", dict(filter=np.ones((0, 3))), ValueError, r"have 1 to 1,024 numbers, got shape \(0, 3\)"),
        ("upfirdn2d", dict(filter=np.ones((1, 3, 3))), ValueError, r"must have shape \(n,\) or \(rows, columns\)"),
        ("upfirdn2d", dict(filter=3), TypeError, "filter must be an array"),
        ("upfirdn2d", dict(flip_filter=1), TypeError, "flip_filter must be True or False, got int"),
        ("upfirdn2d", dict(gain="2"), TypeError, "gain must be a number, got str"),
        ("upfirdn2d", dict(input=IMAGE[0]), ValueError, r"input must have shape \(N, C, H, W\), got \(2, 5, 6\)"),
        ("filter2d", dict(padding=-3), ValueError, "filter must fit into the padded input"),
        ("filter2d", dict(filter=np.ones((64, 64))), ValueError, "filter must have 1 to 1,024 numbers"),
        ("upsample2d", dict(up=-2), ValueError, "up must be at least 1, got -2"),
        ("downsample2d", dict(down=(1, 0)), ValueError, "down must be at least 1, got 0"),
        ("downsample2d", dict(padding=-4), ValueError, "filter must fit into the padded input"),
    ],
)
def test_refuses(function, arguments, error, message, backend):
    with pytest.raises(error, match=rf"^{function}: .*{message}"):
        on(backend, getattr(ops, function))(**{"input": IMAGE, "filter": FILTER, **arguments})


def test_gradients_refuse(backend):
    backward = on(backend, ops.upfirdn2d_backward)
    with pytest.raises(
        ValueError, match=r"^upfirdn2d_backward: grad must have shape \(1, 2, 3, 4\), got \(1, 2, 5, 6\)"
    ):
        backward(IMAGE, FILTER, IMAGE.shape)
    with pytest.raises(ValueError, match=r"^upfirdn2d_backward: input_shape must be four ints, got 3"):
        backward(IMAGE, FILTER, (2, 5, 6))


def test_as_large_as_is_allowed():
    """A filter of 1,024 numbers along both axes, and factors of 1,024."""
    x, line = RNG.standard_normal((1, 1, 3, 2)), RNG.standard_normal(1024)
    whole = np.apply_along_axis(np.convolve, 2, np.apply_along_axis(np.convolve, 3, x, line), line)
    np.testing.assert_allclose(ops.upfirdn2d(x, line, padding=1023), whole, rtol=1e-10, atol=1e-10)
    wide = ops.upfirdn2d(x, FILTER, up=1024, padding=(2, 0, 2, 0))
    assert wide.shape == (1, 1, 3072, 2048)
    np.testing.assert_array_equal(wide[:, :, :3, :3], x[:, :, :1, :1] * FILTER)
    np.testing.assert_array_equal(ops.upfirdn2d(wide, FILTER[:1, :1], down=1024, padding=(-2, 2, -2, 2)), x)


def test_large_planes_on_any_number_of_threads():
    x, g = RNG.standard_normal((3, 40, 300), np.float32), RNG.standard_normal((4, 4), np.float32)
    before, found = get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            found.append([ops.upfirdn2d(x[None], f, 2, 1, 3).tobytes() for f in (g, LINE.astype(np.float32))])
    finally:
        set_num_threads(before)
    assert found[0] == found[1] == found[2]
