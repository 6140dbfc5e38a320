"""Launches of correlation.cu; the functions and arguments of `cpu/correlation.py`."""

import itertools

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.types import FLOATS, c_type

SHARE = constant("correlation.cu", "SHARE")
KERNELS = runtime.Kernels("correlation.cu", [f"{name}<{T}>" for name in ("correlate", "spread") for T in FLOATS])


def forward(a, b, how, out):
    """Fill out (N, P, P, h, w) with sums of products of a and b (N, C, H, W); `how` has pairs: the kernel's size, stride,
    padding and dilation, and the distance of displacements."""
    batch, patch, _, rows, columns = out.shape
    n = batch * patch * -(-patch // SHARE) * rows * columns
    sizes = (*a.shape[1:], patch, rows, columns)
    KERNELS.launch(f"correlate<{c_type(a)}>", n, n, a, b, *sizes, *itertools.chain(*how), out)


def backward(grad, other, first, how, out):
    """Fill out (N, C, H, W) with the gradient for the first map, or the second; `other` is the other one."""
    batch, channels, height, width = out.shape
    n = batch * -(-channels // SHARE) * height * width
    sizes = (*out.shape[1:], grad.shape[1], *grad.shape[3:])
    how = itertools.chain(*how)
    KERNELS.launch(f"spread<{c_type(grad)}>", n, n, grad, other, 1 if first else -1, *sizes, *how, out)
