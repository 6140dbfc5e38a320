"""Leaky ReLUs between two filters, beyond what `test_cases.py` tests of every operator."""

import numpy as np
import pytest

from arrayvision import get_num_threads, ops, set_num_threads
from arrayvision.cpu import filtered_lrelu as kernels
from arrayvision.cuda import filtered_lrelu as launches
from tests.conftest import on

RNG = np.random.default_rng(0)


def composed(x, filter_up, filter_down, bias, up, down, padding, gain, slope, clamp, flip):
    """What it is short for."""
    x = x if bias is None else x + bias[:, None, None]
    x = ops.upfirdn2d(x, filter_up, up, 1, padding, flip, up**2)
    x = ops.bias_act(x, act="lrelu", alpha=slope, gain=gain, clamp=clamp)
    return ops.upfirdn2d(x, filter_down, 1, down, 0, flip)


def call(seed):
    """Random arguments."""
    rng = np.random.default_rng(seed)
    filters = [rng.standard_normal((n, n) if (seed + k) % 3 else n) for k, n in enumerate(rng.integers(1, 9, 2))]
    if seed % 5 == 0:  # of rank 1
        filters[seed % 2] = np.outer(rng.uniform(0.5, 1, 7), rng.uniform(0.5, 1, 9))
    up, down = (int(v) for v in rng.integers(1, 4, 2))
    x = rng.standard_normal((2, 3, *rng.integers(9, 30, 2)))
    bias = rng.standard_normal(3) if seed % 2 else None
    padding = [int(v) for v in rng.integers(-1, 12, 4)]
    return x, (*filters, bias, up, down, padding, 1.3, 0.2, 1.5 if seed % 4 else None, seed % 2 == 0)


@pytest.mark.parametrize("seed", range(12))
def test_it_is_what_it_is_short_for(seed, backend, monkeypatch):
    """Also in many bands, and few planes at once."""
    monkeypatch.setattr(kernels, "BETWEEN", 500)
    monkeypatch.setattr(launches, "BETWEEN", 5000)
    if backend != "cpu" and seed > 3:
        pytest.skip("the same arguments as on the CPU, which takes all")
    x, rest = call(seed)
    expected = composed(x, *rest)
    out = on(backend, ops.filtered_lrelu)(x, *rest)
    np.testing.assert_allclose(out, expected, rtol=1e-11, atol=1e-11)
    # its derivative along a direction, and the same the other way round
    v, g, h = RNG.standard_normal(x.shape), RNG.standard_normal(out.shape), 1e-7
    along = on(backend, ops.filtered_lrelu_tangent)(v, x, *rest)
    difference = (composed(x + h * v, *rest) - composed(x - h * v, *rest)) / (2 * h)
    assert np.median(np.abs(along - difference)) < 1e-6  # not where a kink lies between
    back = on(backend, ops.filtered_lrelu_backward)(g, x, *rest)
    np.testing.assert_allclose((back * v).sum(), (along * g).sum(), rtol=1e-9)


def test_large_inputs_on_any_number_of_threads():
    x, line = RNG.standard_normal((1, 2, 60, 150), np.float32), RNG.uniform(0, 0.2, 12).astype(np.float32)
    before, found = get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            out = ops.filtered_lrelu(x, line, line, None, 4, 2, 11)
            found.append(out.tobytes() + ops.filtered_lrelu_backward(out, x, line, line, None, 4, 2, 11).tobytes())
    finally:
        set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_without_filters_it_is_the_activation(backend):
    x, bias = RNG.standard_normal((2, 3, 4, 5)), RNG.standard_normal(3)
    out = on(backend, ops.filtered_lrelu)(x, None, None, bias, clamp=1)
    np.testing.assert_allclose(out, ops.bias_act(x, bias, act="lrelu", clamp=1))


def test_zeros_round_an_image_have_no_bias(backend):
    out = on(backend, ops.filtered_lrelu)(np.zeros((1, 1, 1, 1)), None, None, np.ones(1), padding=1, gain=1)
    np.testing.assert_array_equal(out[0, 0], [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


X, LINE = np.zeros((1, 2, 5, 6)), np.ones(3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(up=-1), ValueError, "up must be at least 1, got -1"),
        (dict(down=0), ValueError, "down must be at least 1, got 0"),
        (dict(filter_up=np.ones(9)), ValueError, "filter_up must fit into the padded input of 5 x 6, got 9 x 9"),
        (
            dict(filter_down=np.ones((1, 5))),
            ValueError,
            "filter_down must fit into the padded input of 3 x 4, got 1 x 5",
        ),
        (dict(filter_up=np.ones((40, 40))), ValueError, "filter_up must have 1 to 1,024 numbers"),
        (dict(filter_down=np.ones(1025)), ValueError, "filter_down must have 1 to 1,024 numbers"),
        (dict(filter_down=np.ones((1, 1, 1))), ValueError, r"filter_down must have shape \(n,\) or \(rows, columns\)"),
        (dict(padding=(1, 2, 3)), ValueError, "padding must be an int, two .* or four .*, got 3 numbers"),
        (dict(bias=np.ones(3)), ValueError, r"bias must have shape \(2,\), got \(3,\)"),
        (dict(gain=0), ValueError, "gain must be greater than 0, got 0"),
        (dict(slope=-0.1), ValueError, "slope must be at least 0, got -0.1"),
        (dict(clamp=-1), ValueError, "clamp must be at least 0, got -1"),
        (dict(flip_filter=None), TypeError, "flip_filter must be True or False, got NoneType"),
        (dict(input=None), TypeError, "input must be an array, got None"),
        (dict(input=X[0]), ValueError, r"input must have shape \(N, C, H, W\), got \(2, 5, 6\)"),
    ],
)
def test_refuses(arguments, error, message, backend):
    with pytest.raises(error, match=rf"^filtered_lrelu: .*{message}"):
        on(backend, ops.filtered_lrelu)(**{"input": X, "filter_up": LINE, **arguments})


def test_gradients_refuse(backend):
    for name, shape in (("backward", r"\(1, 2, 3, 4\)"), ("tangent", r"\(1, 2, 5, 6\)")):
        function = f"filtered_lrelu_{name}"
        argument = "grad" if name == "backward" else "tangent"
        with pytest.raises(ValueError, match=rf"^{function}: {argument} must have shape {shape}, got \(1, 2, 2, 2\)"):
            on(backend, getattr(ops, function))(X[:, :, :2, :2], X, LINE)
