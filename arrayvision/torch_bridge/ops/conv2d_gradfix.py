"""Convolutions whose gradients for the weights can be left out for a while: a penalty on the gradient for images, or for
latents, needs none of them in its first backward pass, and they take a third of its time.

Three functions are each other's gradients: a convolution, its gradient for the input and that for the weight. Each is linear
in two of (input, weight, gradient of the result), so all can be differentiated any number of times.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from arrayvision import check
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.torch_bridge.library import _in_functorch

MOST = 65536  # of strides, paddings and the like
enabled = True  # older code sets it; of no influence
weight_gradients_disabled = False  # in all threads: backward passes on a GPU run in threads of their own


@contextlib.contextmanager
def no_weight_gradients(disable: bool = True) -> Iterator[None]:
    """While this is entered, backward passes through `conv2d` and `conv_transpose2d` compute no gradients for weights, which
    get None; in all threads.

    Parameters
    ----------
    disable : bool
        False changes nothing.

    Examples
    --------
    >>> import torch
    >>> image, weight = torch.ones(1, 1, 2, 2, requires_grad=True), torch.ones(1, 1, 1, 1, requires_grad=True)
    >>> with no_weight_gradients():
    ...     conv2d(image, weight).sum().backward()
    >>> image.grad is None, weight.grad is None
    (False, True)
    """
    global weight_gradients_disabled
    before = weight_gradients_disabled
    weight_gradients_disabled = before or check.flag("no_weight_gradients", "disable", disable)
    try:
        yield
    finally:
        weight_gradients_disabled = before


class _How(NamedTuple):
    """What `torch.convolution` takes behind the bias."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    transposed: bool
    output_padding: tuple[int, int]
    groups: int


def _apply(function, *args):
    if torch.compiler.is_compiling() or _in_functorch():
        return function.apply(*args)
    return super(torch.autograd.Function, function).apply(
        *args
    )  # without binding arguments by their names, which takes 15 us


def _backward(grad, input, weight, how, mask):
    """torch's own gradients; an argument that is a shape stands for a tensor whose values aren't needed."""
    input, weight = (
        grad.new_empty(()).expand(tuple(x)) if not isinstance(x, torch.Tensor) else x for x in (input, weight)
    )
    return torch.ops.aten.convolution_backward(grad, input, weight, None, *how, mask)


class _Convolution(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(input, weight, bias, how):
        return torch.convolution(input, weight, bias, *how)

    @staticmethod
    def setup_context(ctx, inputs, output):
        input, weight, _, ctx.how = inputs
        ctx.save_for_backward(input, weight)

    @staticmethod
    def backward(ctx, grad):
        input, weight = ctx.saved_tensors
        needs_input, needs_weight, needs_bias, _ = ctx.needs_input_grad
        return (
            _apply(_InputGradient, grad, weight, input.shape, ctx.how) if needs_input else None,
            _apply(_WeightGradient, grad, input, weight.shape, ctx.how)
            if needs_weight and not weight_gradients_disabled
            else None,
            grad.sum((0, 2, 3)) if needs_bias else None,
            None,
        )


class _InputGradient(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(grad, weight, shape, how):
        return _backward(grad, shape, weight, how, [True, False, False])[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        grad, weight, _, ctx.how = inputs
        ctx.save_for_backward(grad, weight)

    @staticmethod
    def backward(ctx, further):
        grad, weight = ctx.saved_tensors
        needs_grad, needs_weight, *_ = ctx.needs_input_grad
        return (
            _apply(_Convolution, further, weight, None, ctx.how) if needs_grad else None,
            _apply(_WeightGradient, grad, further, weight.shape, ctx.how)
            if needs_weight and not weight_gradients_disabled
            else None,
            None,
            None,
        )


class _WeightGradient(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(grad, input, shape, how):
        return _backward(grad, input, shape, how, [False, True, False])[1]

    @staticmethod
    def setup_context(ctx, inputs, output):
        grad, input, _, ctx.how = inputs
        ctx.save_for_backward(grad, input)

    @staticmethod
    def backward(ctx, further):
        grad, input = ctx.saved_tensors
        needs_grad, needs_input, *_ = ctx.needs_input_grad
        return (
            _apply(_Convolution, input, further, None, ctx.how) if needs_grad else None,
            _apply(_InputGradient, grad, further, input.shape, ctx.how) if needs_input else None,
            None,
            None,
        )


def _pair(name, argument, value, least):
    """As torch takes it: an int or two, or one in a list. Symbolic sizes of a graph stay so: `check.integer` would fix them."""
    found = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(found) == 1:
        found *= 2
    if len(found) != 2:
        raise InvalidValue(f"{name}: {argument} must be an int or two, got {len(found)} numbers")
    return tuple(v if isinstance(v, torch.SymInt) else check.integer(name, argument, v, least, MOST) for v in found)


def _convolve(name, input, weight, bias, stride, padding, dilation, output_padding, groups, transposed):
    how = _How(
        _pair(name, "stride", stride, 1), _pair(name, "padding", padding, 0), _pair(name, "dilation", dilation, 1),
        transposed, _pair(name, "output_padding", output_padding, 0), check.integer(name, "groups", groups, 1),
    )  # fmt: skip
    _check(name, input, weight, bias, how)
    device = input.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        input, weight, bias = (x if x is None else x.to(dtype) for x in (input, weight, bias))
    one = input.dim() == 3
    input = input[None] if one else input
    if (torch.is_grad_enabled() and weight.requires_grad) or torch._C._are_functorch_transforms_active():
        out = _apply(_Convolution, input, weight, bias, how)
    else:
        out = torch.convolution(input, weight, bias, *how)
    return out[0] if one else out


def _check(name, input, weight, bias, how):
    for argument, x in (("input", input), ("weight", weight), ("bias", bias)):
        if x is None and argument == "bias":
            continue
        if not isinstance(x, torch.Tensor):
            raise InvalidKind(f"{name}: {argument} must be a tensor, got {type(x).__name__}")
        if x.layout is not torch.strided or x.is_quantized or not (x.is_floating_point() or x.is_complex()):
            raise InvalidKind(f"{name}: {argument} must be a dense tensor of floats, got {x.dtype}, {x.layout}")
        if x.device != input.device:
            raise InvalidKind(
                f"{name}: input is on {input.device}, {argument} is on {x.device}: give both on one device"
            )
        if x.dtype is not input.dtype and not torch.is_autocast_enabled(input.device.type):
            raise InvalidKind(f"{name}: {argument} must have input's dtype {input.dtype}, got {x.dtype}")
    if input.dim() not in (3, 4):
        raise InvalidValue(f"{name}: input must have shape (N, C, H, W) or (C, H, W), got {tuple(input.shape)}")
    inner = "(C, K, height, width)" if how.transposed else "(K, C, height, width)"
    if weight.dim() != 4 or 0 in weight.shape:
        raise InvalidValue(f"{name}: weight must have shape {inner}, without sizes of 0, got {tuple(weight.shape)}")
    channels = input.shape[-3]
    wanted = weight.shape[0] if how.transposed else weight.shape[1] * how.groups
    if channels != wanted or weight.shape[0] % how.groups:
        raise InvalidValue(
            f"{name}: weight must fit input's {channels} channels in {how.groups} groups, got {tuple(weight.shape)}"
        )
    made = weight.shape[1] * how.groups if how.transposed else weight.shape[0]
    if bias is not None and tuple(bias.shape) != (made,):
        raise InvalidValue(f"{name}: bias must have shape ({made},), got {tuple(bias.shape)}")
    for size, kernel, stride, padding, dilation, more in zip(
        input.shape[-2:], weight.shape[-2:], how.stride, how.padding, how.dilation, how.output_padding, strict=True
    ):
        reach = dilation * (kernel - 1) + 1
        if how.transposed:
            result = (size - 1) * stride - 2 * padding + reach + more
            if more >= max(stride, dilation):
                raise InvalidValue(f"{name}: output_padding must be less than stride or dilation, got {more}")
        else:
            result = (size + 2 * padding - reach) // stride + 1
        if result < 1 or size < 1:
            raise InvalidValue(
                f"{name}: input must give a result of at least 1 x 1, got {tuple(input.shape)} for a weight {tuple(weight.shape)}"
            )


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv2d`, which `no_weight_gradients` can keep from computing gradients for its weight.

    Parameters
    ----------
    input : Tensor (N, C, H, W) or (C, H, W)
        Images.
    weight : Tensor (K, C / groups, height, width)
        In the dtype of input; under autocast both are cast.
    bias : Tensor (K,), optional
        Added to each of the K channels.
    stride, padding, dilation : int or (int, int)
        For rows and columns.
    groups : int
        In how many groups the channels are.

    Returns
    -------
    Tensor (N, K, height, width)
        Differentiable in input, weight and bias any number of times.

    Raises
    ------
    TypeError, ValueError
        If a tensor is of a wrong kind, dtype, device or shape, or a number is wrong.

    Notes
    -----
    torch.compile takes it as it stands when it compiles whether gradients for weights are wanted.

    Examples
    --------
    >>> import torch
    >>> conv2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    tensor([[[[4.]]]])
    """
    return _convolve("conv2d", input, weight, bias, stride, padding, dilation, 0, groups, False)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
) -> Tensor:
    """`torch.nn.functional.conv_transpose2d`, which `no_weight_gradients` can keep from computing gradients for its weight.

    Parameters
    ----------
    input : Tensor (N, C, H, W) or (C, H, W)
        Images.
    weight : Tensor (C, K / groups, height, width)
        In the dtype of input; under autocast both are cast.
    bias : Tensor (K,), optional
        Added to each of the K channels.
    stride, padding, output_padding, dilation : int or (int, int)
        For rows and columns.
    groups : int
        In how many groups the channels are.

    Returns
    -------
    Tensor (N, K, height, width)
        Differentiable in input, weight and bias any number of times.

    Raises
    ------
    TypeError, ValueError
        If a tensor is of a wrong kind, dtype, device or shape, or a number is wrong.

    Examples
    --------
    >>> import torch
    >>> conv_transpose2d(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 2))
    tensor([[[[1., 1.]]]])
    """
    return _convolve("conv_transpose2d", input, weight, bias, stride, padding, dilation, output_padding, groups, True)
