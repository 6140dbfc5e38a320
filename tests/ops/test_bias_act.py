"""Biases and activations, beyond what `test_cases.py` tests of every operator."""

import math

import numpy as np
import pytest

from arrayvision import get_num_threads, ops, set_num_threads
from arrayvision.cases.bias_act import plain
from arrayvision.cpu import bias_act as kernels
from arrayvision.ops.bias_act import ACTIVATIONS, KINDS
from tests.conftest import on

RNG = np.random.default_rng(0)


def test_kinds_have_the_same_numbers_everywhere():
    assert [getattr(kernels, name.upper()) for name in KINDS] == list(KINDS.values())
    source = (kernels.__file__).replace("cpu/bias_act.py", "cuda/bias_act.cu")
    with open(source) as file:
        assert f"enum Kind {{ {', '.join(KINDS).upper()} }};" in file.read()


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_accurate(act, dtype, backend):
    """Within a few roundings of the value itself, near 0 and where it nears 0."""
    size = np.geomspace(1e-6, 80, 300 if backend != "cpu" else 3000)
    x = np.concatenate([-size[::-1], [0], size]).astype(dtype)
    out = on(backend, ops.bias_act)(x, act=act, gain=1)
    exact = np.float64 if dtype == np.float32 else np.longdouble
    t = x.astype(exact)
    expected = plain(t, act=act, gain=1)
    if act in ("sigmoid", "swish"):  # where tanh of the oracle rounds to -1
        expected = np.exp(np.minimum(t, 0)) / (1 + np.exp(-np.abs(t))) * (t if act == "swish" else 1)
    np.testing.assert_allclose(out, expected.astype(np.float64), rtol=8 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_derivatives_of_any_order(act, backend):
    """Against differences of the next lower order."""
    x, h = RNG.normal(0, 2, 50), 1e-5
    one = np.ones_like(x)
    derivative = on(backend, ops.bias_act_backward)
    for order in range(1, 6 if backend == "cpu" else 3):
        below = (
            (lambda t: plain(t, act=act))
            if order == 1
            else (lambda t, o=order - 1: derivative(one, t, act=act, order=o))
        )
        slope = (below(x + h) - below(x - h)) / (2 * h)
        np.testing.assert_allclose(derivative(one, x, act=act, order=order), slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_infinite_values_and_nan(act, backend):
    for dtype in (np.float32, np.float64):
        x = np.array([-np.inf, np.inf, np.nan], dtype)
        out = on(backend, ops.bias_act)(x, act=act, gain=1)
        low = {"linear": -np.inf, "lrelu": -np.inf, "tanh": -1, "elu": -1, "selu": -1.7580993408473766}.get(act, 0)
        high = {"tanh": 1, "sigmoid": 1}.get(act, np.inf)
        np.testing.assert_allclose(out, [low, high, np.nan], rtol=1e-6)
        slopes = on(backend, ops.bias_act_backward)(np.ones(3, dtype), x, act=act, gain=1)
        below = {"linear": 1, "lrelu": 0.2}.get(act, 0)
        above = {"tanh": 0, "sigmoid": 0, "selu": 1.0507009873554805}.get(act, 1)
        np.testing.assert_allclose(slopes[:2], [below, above], rtol=1e-6)
        clamped = on(backend, ops.bias_act)(x, act=act, clamp=0.25)
        np.testing.assert_allclose(clamped, np.clip([low, high, np.nan], -0.25, 0.25), rtol=1e-6)


SHAPES = [
    ((3, 5), 1), ((3, 5), 0), ((1009, 3), 1), ((7, 2, 9), 1), ((2, 3, 5000), 1), ((2, 3, 5000), 2), ((5, 6000), 1), ((4, 70, 64), 1),
    ((1, 1, 1), 1), ((9000,), 0), ((2, 3, 4, 5), 3), ((3, 9000), 1), ((2, 1500, 4), 1), ((2, 200, 49), 1), ((700, 16, 3), 1),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "dim"), SHAPES, ids=str)
def test_biases_along_every_axis(shape, dim):
    """Short rows and long, few channels and many: the ways in which kernels take them."""
    x, g, bias = RNG.standard_normal(shape), RNG.standard_normal(shape), RNG.standard_normal(shape[dim])
    for act, clamp in (("lrelu", None), ("swish", 0.75)):
        out = ops.bias_act(x, bias, dim, act, clamp=clamp)
        np.testing.assert_allclose(out, plain(x, bias, dim, act, clamp=clamp), rtol=1e-14, atol=1e-14)
        wide = np.broadcast_to(bias.reshape([-1 if k == dim else 1 for k in range(len(shape))]), shape)
        alone = ops.bias_act_backward(g, x + wide, act=act, clamp=clamp)
        np.testing.assert_allclose(
            ops.bias_act_backward(g, x, bias, dim, act, clamp=clamp), alone, rtol=1e-13, atol=1e-13
        )


def test_small_calls_give_what_others_give():
    """They take a shorter way."""
    x, bias = RNG.standard_normal((4, 6, 5), np.float32), RNG.standard_normal(6, np.float32)
    for call in (
        dict(),
        dict(act="lrelu", alpha=1, gain=2, clamp=1),
        dict(act="softplus", clamp=0.5),
        dict(act="selu"),
    ):
        short = ops.bias_act(x, bias, **call)
        long = ops.bias_act(x[::-1].copy()[::-1], bias, **call)
        assert short.dtype == np.float32 and short.tobytes() == np.ascontiguousarray(long).tobytes()
        assert ops.bias_act(x, **call).tobytes() == ops.bias_act(x, np.zeros(6, np.float32), **call).tobytes()


def test_large_inputs_on_any_number_of_threads():
    x, bias = RNG.standard_normal((2, 3, 400_000), np.float32), RNG.standard_normal(3, np.float32)
    before, found = get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            found.append(
                [
                    f(x)
                    for f in (
                        lambda x: ops.bias_act(x, bias, act="swish"),
                        lambda x: ops.bias_act_backward(x, x, bias, act="tanh"),
                    )
                ]
            )
    finally:
        set_num_threads(before)
    assert all(a.tobytes() == b.tobytes() for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_gains_and_slopes_are_those_of_the_paper(backend):
    x = np.array([[-1.0, 2]])
    root = math.sqrt(2)
    expected = {"linear": [-1, 2], "relu": [0, 2 * root], "lrelu": [-0.2 * root, 2 * root], "tanh": np.tanh([-1, 2])}
    for act, values in expected.items():
        np.testing.assert_allclose(on(backend, ops.bias_act)(x, act=act)[0], values)
    np.testing.assert_allclose(on(backend, ops.fused_bias_leakyrelu)(x, np.array([0.0, 1]))[0], [-0.2 * root, 3 * root])


X, BIAS = np.zeros((2, 3, 4)), np.zeros(3)


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        ("bias_act", dict(act="gelu"), ValueError, "act must be 'linear', .* or 'swish', got 'gelu'"),
        ("bias_act", dict(act=None), ValueError, "act must be 'linear'"),
        (
            "bias_act",
            dict(bias=np.zeros(4)),
            ValueError,
            r"bias must have shape \(3,\), input's size along axis 1, got \(4,\)",
        ),
        ("bias_act", dict(dim=2), ValueError, r"bias must have shape \(4,\), input's size along axis 2, got \(3,\)"),
        ("bias_act", dict(bias=np.zeros((3, 1))), ValueError, r"bias must have shape \(3,\), .*, got \(3, 1\)"),
        ("bias_act", dict(dim=3), ValueError, "dim must be an axis of input, which has 3, got 3"),
        ("bias_act", dict(dim=-1), ValueError, "dim must be an axis of input, which has 3, got -1"),
        ("bias_act", dict(dim=1.5), TypeError, "dim must be an int, got float"),
        ("bias_act", dict(clamp=-1), ValueError, "clamp must be at least 0, got -1"),
        ("bias_act", dict(clamp="1"), TypeError, "clamp must be a number, got str"),
        ("bias_act", dict(gain=1j), TypeError, "gain must be a number, got complex"),
        ("bias_act", dict(alpha=float("nan")), ValueError, "alpha must be a number, got nan"),
        (
            "bias_act",
            dict(input=X.astype(np.float32), bias=None, alpha=float("nan")),
            ValueError,
            "alpha must be a number, got nan",
        ),
        ("bias_act", dict(input=X.astype(np.float32), bias=None, gain=10**400), ValueError, "that a float holds"),
        ("bias_act", dict(input=3.0), TypeError, "input must be an array"),
        ("bias_act", dict(input=None), TypeError, "input must be an array, got None"),
        ("fused_bias_leakyrelu", dict(bias=None), TypeError, "bias must be an array, got None"),
        ("fused_bias_leakyrelu", dict(bias=np.zeros(2)), ValueError, r"bias must have shape \(3,\)"),
        ("fused_bias_leakyrelu", dict(scale=None), TypeError, "scale must be a number, got NoneType"),
        ("fused_bias_leakyrelu", dict(input=np.zeros(3)), ValueError, "dim must be an axis of input"),
    ],
)
def test_refuses(function, arguments, error, message, backend):
    with pytest.raises(error, match=rf"^{function}: .*{message}"):
        on(backend, getattr(ops, function))(**{"input": X, "bias": BIAS, **arguments})


def test_gradients_refuse(backend):
    backward = on(backend, ops.bias_act_backward)
    with pytest.raises(ValueError, match=r"^bias_act_backward: grad must have shape \(2, 3, 4\), got \(2, 3\)"):
        backward(X[..., 0], X)
    with pytest.raises(ValueError, match=r"^bias_act_backward: order must be at least 1, got 0"):
        backward(X, X, order=0)
