"""Biases and activations on tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.errors import InvalidKind
from arrayvision.torch_bridge.library import Gradient, register, result_dtype

_REST = "int dim, str act, float? alpha, float? gain, float? clamp"
_STRAIGHT = ("linear", "relu", "lrelu")  # whose second derivatives are 0


def _fake(input, bias, *_):
    return input.new_empty(input.shape, dtype=result_dtype(*[x for x in (input, bias) if x is not None]))


def _for_both(values, input, bias, dim):
    """The gradients for input and bias from that for their sum."""
    if bias is None:
        return values.to(result_dtype(input)), None
    others = [axis for axis in range(values.dim()) if axis != dim]
    return values.to(result_dtype(input)), (values.sum(others) if others else values).to(result_dtype(bias))


def _first(call, grad):
    input, bias, dim, act, alpha, gain, clamp = call.args
    if act == "linear" and clamp is None:
        values = grad if gain is None or gain == 1 else grad * gain
    else:
        values = _derivative(grad, input, bias, dim, act, alpha, gain, clamp, 1)
    return _for_both(values, input, bias, dim)


def _further(call, grad):
    """Of the gradient, which is linear in the one that it is given; in the others it is another derivative."""
    given, input, bias, dim, act, alpha, gain, clamp, order = call.args
    linear = _derivative(grad, input, bias, dim, act, alpha, gain, clamp, order) if call.needed[0] else None
    if act in _STRAIGHT:
        values = input.new_zeros((), dtype=result_dtype(input)).expand(input.shape)
    else:
        values = _derivative(grad * given, input, bias, dim, act, alpha, gain, clamp, order + 1)
    return linear, *_for_both(values, input, bias, dim)


_bias_act = register(
    f"bias_act(Tensor input, Tensor? bias, {_REST}) -> Tensor", ops.bias_act, _fake, Gradient(_first, once=False)
)
_derivative = register(
    f"bias_act_backward(Tensor grad, Tensor input, Tensor? bias, {_REST}, int order) -> Tensor",
    ops.bias_act_backward,
    lambda grad, input, bias, *_: _fake(
        input, grad if bias is None else grad.new_empty(0, dtype=result_dtype(grad, bias))
    ),
    Gradient(_further, once=False),
)


def bias_act(
    input: Tensor,
    bias: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    use_custom_op: bool = True,
) -> Tensor:
    """`arrayvision.ops.bias_act` on tensors, differentiable in `input` and `bias` any number of times."""
    return _bias_act(input, bias, dim, act, alpha, gain, clamp)


def fused_bias_leakyrelu(input: Tensor, bias: Tensor, negative_slope: float = 0.2, scale: float = 2**0.5) -> Tensor:
    """`arrayvision.ops.fused_bias_leakyrelu` on tensors, differentiable in both any number of times."""
    name = "fused_bias_leakyrelu"
    if not isinstance(bias, torch.Tensor):
        raise InvalidKind(f"{name}: bias must be a tensor, got {type(bias).__name__}")
    slope, scale = check.number(name, "negative_slope", negative_slope), check.number(name, "scale", scale)
    return _bias_act(input, bias, 1, "lrelu", slope, scale, None)


class FusedBiasLeakyReLU(nn.Module):
    """`fused_bias_leakyrelu` with a bias that is learned.

    Parameters
    ----------
    num_channels : int
        The features' channels, each of which has a bias, 0 at first.
    negative_slope, scale
        As of `fused_bias_leakyrelu`.

    Shape
    -----
    (N, num_channels, ...) -> the same.
    """

    def __init__(self, num_channels: int, negative_slope: float = 0.2, scale: float = 2**0.5):
        super().__init__()
        name = "FusedBiasLeakyReLU"
        self.bias = nn.Parameter(torch.zeros(check.integer(name, "num_channels", num_channels, 0)))
        self.negative_slope = check.number(name, "negative_slope", negative_slope)
        self.scale = check.number(name, "scale", scale)

    def forward(self, input: Tensor) -> Tensor:
        return fused_bias_leakyrelu(input, self.bias, self.negative_slope, self.scale)

    def extra_repr(self) -> str:
        return f"{len(self.bias)}, negative_slope={self.negative_slope:g}, scale={self.scale:g}"
