"""Correlation of feature maps, on tensors."""

from __future__ import annotations

from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.ops.correlation import MOST, arguments, displacements, size
from arrayvision.torch_bridge.library import bilinear
from arrayvision.torch_bridge.ops._modules import shown


def _shape(input1, input2, kernel_size, max_displacement, *others):
    patch, how = 2 * max_displacement + 1, (kernel_size, *others)
    return (input1.shape[0], patch, patch, *size("correlation", input1.shape[2], input1.shape[3], how))


def _gradient(first):
    def backward(grad, other, kernel_size, max_displacement, stride, padding, dilation, dilation_patch, shape):
        pairs = [tuple(pair) for pair in (kernel_size, stride, padding, dilation, dilation_patch)]
        return ops.correlation_backward(grad, other, first, shape, pairs[0], max_displacement, *pairs[1:])

    return backward


def _forward(input1, input2, kernel_size, max_displacement, *others):
    return ops.correlation(input1, input2, tuple(kernel_size), max_displacement, *map(tuple, others))


_correlation = bilinear(
    "correlation",
    "SymInt[] kernel_size, int max_displacement, SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt[] dilation_patch",
    _forward,
    _gradient(True),
    _gradient(False),
    _shape,
)


def correlation(
    input1: Tensor,
    input2: Tensor,
    kernel_size: int | tuple[int, int] = 1,
    max_displacement: int = 1,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    dilation_patch: int | tuple[int, int] = 1,
) -> Tensor:
    """`arrayvision.ops.correlation` on tensors, differentiable in both maps any number of times.

    Parameters
    ----------
    input1, input2 : Tensor (N, C, H, W)
        Feature maps.
    kernel_size, max_displacement, stride, padding, dilation, dilation_patch
        As there.

    Returns
    -------
    Tensor (N, P, P, h, w)
        As there.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    kernel, *others = arguments("correlation", kernel_size, stride, padding, dilation, dilation_patch)
    displacements("correlation", max_displacement)
    return _correlation(input1, input2, kernel, max_displacement, *others)


class Correlation(nn.Module):
    """`correlation` as a module.

    Parameters
    ----------
    kernel_size, max_displacement, stride, padding, dilation, dilation_patch
        As of `correlation`.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int] = 1,
        max_displacement: int = 1,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        dilation_patch: int | tuple[int, int] = 1,
    ) -> None:
        super().__init__()
        arguments("Correlation", kernel_size, stride, padding, dilation, dilation_patch)
        self.kernel_size = kernel_size
        self.max_displacement = check.integer("Correlation", "max_displacement", max_displacement, 0, MOST)
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.dilation_patch = dilation_patch

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, P, P, h, w)."""
        return correlation(
            input1,
            input2,
            self.kernel_size,
            self.max_displacement,
            self.stride,
            self.padding,
            self.dilation,
            self.dilation_patch,
        )

    def __repr__(self):
        return shown(self, "kernel_size", "max_displacement", "stride", "padding", "dilation", "dilation_patch")
