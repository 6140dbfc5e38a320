"""Calls of `bias_act` and `fused_bias_leakyrelu`."""

import functools
import math

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed


def plain(input, bias=None, dim=1, act="linear", alpha=0.2, gain=None, clamp=None):
    """The formulas of the activations, in float64."""
    t = input if bias is None else input + bias.reshape([-1 if axis == dim else 1 for axis in range(input.ndim)])
    sigmoid = 0.5 + 0.5 * np.tanh(t / 2)
    default = math.sqrt(2) if act in ("relu", "lrelu", "swish") else 1
    decay = np.expm1(np.minimum(t, 0))
    activated = {
        "linear": t,
        "relu": np.maximum(t, 0),
        "lrelu": np.maximum(t, 0) + alpha * np.minimum(t, 0),
        "tanh": np.tanh(t),
        "sigmoid": sigmoid,
        "elu": np.maximum(t, 0) + decay,
        "selu": 1.0507009873554805 * (np.maximum(t, 0) + 1.6732632423543772 * decay),
        "softplus": np.logaddexp(t, 0),
        "swish": t * sigmoid,
    }[act]
    out = activated * (default if gain is None else gain)
    return out if clamp is None else np.clip(out, -clamp, clamp)


def leaky(input, bias, negative_slope=0.2, scale=2**0.5):
    return plain(input, bias, 1, "lrelu", negative_slope, scale)


_RNG = np.random.default_rng(0)
_IMAGE = dict(input=_RNG.normal(0, 2, (2, 3, 4, 5)), bias=_RNG.normal(0, 1, 3))
_VECTOR = dict(input=_RNG.normal(0, 2, (4, 3)), bias=_RNG.normal(0, 1, 3))


def _both(grad, input, bias, dim=1, **call):
    found = ops.bias_act_backward(grad, input, bias, dim, **call)
    return np.sum(found, tuple(axis for axis in range(input.ndim) if axis != dim), dtype=found.dtype), found


def _case(act, inputs=_IMAGE, shape="N C H W", **call):
    return Case(
        f"bias_act, {act}", "bias_act", inputs, dict(input=shape, bias=shape.split()[call.get("dim", 1)]), plain,
        dict(act=act, **call), wrt=("input", "bias"), backward=lambda grad, **given: _both(grad, **given),
    )  # fmt: skip


CASES = (
    _case("linear", clamp=2.0, gain=1.5),
    _case("relu", dict(_IMAGE, bias=_RNG.normal(0, 1, 2)), dim=0),
    _case("lrelu", _VECTOR, "N C", alpha=0.3, gain=0.5, clamp=1.0),
    _case("tanh", gain=2.0, clamp=1.75),
    _case("sigmoid", dict(_IMAGE, bias=_RNG.normal(0, 1, 5)), dim=3),
    _case("elu", _VECTOR, "N C"),
    _case("selu", clamp=1.0),
    _case("softplus", _VECTOR, "N C", gain=-0.5),
    _case("swish"),
    Case(
        "fused_bias_leakyrelu", "fused_bias_leakyrelu", _IMAGE, dict(input="N C H W", bias="C"), leaky,
        dict(negative_slope=0.1, scale=1.25), wrt=("input", "bias"),
        backward=lambda grad, input, bias, negative_slope, scale: _both(
            grad, input, bias, act="lrelu", alpha=negative_slope, gain=scale
        ),
    ),
)  # fmt: skip


def _composed(act, torch, input, bias):
    """torch's operations one after the other."""
    functional = torch.nn.functional
    t = input + bias.view(-1, *[1] * (input.dim() - 2))
    if act == "lrelu":
        return functional.leaky_relu(t, 0.2) * math.sqrt(2)
    if act == "swish":
        return functional.silu(t) * math.sqrt(2)
    if act == "linear":
        return t
    return {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "elu": functional.elu, "softplus": functional.softplus}[act](
        t
    )


def timed():
    for shape in ((1, 16, 8, 8), (16, 512), (4, 64, 64, 64), (8, 128, 128, 128)):
        inputs = dict(input=_RNG.standard_normal(shape, np.float32), bias=_RNG.standard_normal(shape[1], np.float32))
        for act in ("linear", "lrelu", "tanh", "sigmoid", "elu", "softplus", "swish"):
            peers = {"torch": ("torch", functools.partial(_composed, act))}
            yield Timed(f"bias_act {act}, {'x'.join(map(str, shape))}", "bias_act", inputs, dict(act=act), peers)
