"""Leaky ReLUs between two filters, on tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from arrayvision import ops
from arrayvision.ops import _fir
from arrayvision.ops.filtered_lrelu import geometry
from arrayvision.torch_bridge.library import Gradient, register, result_dtype

_NAME = "filtered_lrelu"
_REST = (
    "Tensor? filter_up, Tensor? filter_down, Tensor? bias, SymInt[] up, SymInt[] down, SymInt[] padding, float gain, "
    "float slope, float? clamp, bool flip_filter"
)


def _dtype(*tensors):
    return result_dtype(*[x for x in tensors if x is not None])


def _fake(input, filter_up, filter_down, bias, up, down, padding, *_):
    size = geometry(_NAME, input.shape[2:], filter_up, filter_down, up, down, padding).result
    return input.new_empty((*input.shape[:2], *size), dtype=_dtype(input, bias))


def _fake_tangent(tangent, input, filter_up, filter_down, bias, *rest):
    made = _fake(input, filter_up, filter_down, bias, *rest)
    return made.new_empty(made.shape, dtype=_dtype(tangent, input, bias))


def _fake_backward(grad, input, filter_up, filter_down, bias, *_):
    return input.new_empty(input.shape, dtype=_dtype(grad, input, bias))


def _gradients(call, grad):
    input, filter_up, filter_down, bias, *rest = call.args
    found = _backward(grad, input, filter_up, filter_down, bias, *rest)
    of_bias = None if bias is None else found.sum((0, 2, 3)).to(result_dtype(bias))
    return found.to(result_dtype(input)), None, None, of_bias


def _of_linear(other):
    """The gradient of an operator that is linear in its first argument; its slopes in the others are 0 nearly everywhere."""

    def gradients(call, grad):
        _, input, filter_up, filter_down, bias, *rest = call.args
        nothing = [None if x is None else x.new_zeros((), dtype=result_dtype(x)).expand(x.shape) for x in (input, bias)]
        linear = other()(grad, input, filter_up, filter_down, bias, *rest) if call.needed[0] else None
        return linear, nothing[0], None, None, nothing[1]

    return Gradient(gradients, once=False)


_tangent: Callable[..., Tensor]
_filtered_lrelu = register(
    f"filtered_lrelu(Tensor input, {_REST}) -> Tensor", ops.filtered_lrelu, _fake, Gradient(_gradients, once=False)
)
_backward = register(
    f"filtered_lrelu_backward(Tensor grad, Tensor input, {_REST}) -> Tensor",
    ops.filtered_lrelu_backward,
    _fake_backward,
    _of_linear(lambda: _tangent),
)
_tangent = register(
    f"filtered_lrelu_tangent(Tensor tangent, Tensor input, {_REST}) -> Tensor",
    ops.filtered_lrelu_tangent,
    _fake_tangent,
    _of_linear(lambda: _backward),
)


def filtered_lrelu(
    input: Tensor,
    filter_up: Tensor | None = None,
    filter_down: Tensor | None = None,
    bias: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    gain: float = 2**0.5,
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
    use_custom_op: bool = True,
) -> Tensor:
    """`arrayvision.ops.filtered_lrelu` on tensors, differentiable in `input` and `bias` any number of times; the filters are
    constant."""
    factors, around = (
        [_fir.factors(_NAME, n, v) for n, v in (("up", up), ("down", down))],
        _fir.paddings(_NAME, padding),
    )
    return _filtered_lrelu(input, filter_up, filter_down, bias, *factors, around, gain, slope, clamp, flip_filter)
