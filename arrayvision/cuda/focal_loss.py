"""Launches of focal_loss.cu; the functions and arguments of `cpu/focal_loss.py`."""

import math

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.types import FLOATS, c_type

BLOCK, BLOCKS = (constant("focal_loss.cu", name) for name in ("BLOCK", "BLOCKS"))
_NAMES = (
    "sigmoid_each",
    "sigmoid_sums",
    "sigmoid_gradient",
    "softmax_each",
    "softmax_sums",
    "softmax_gradient",
    "add_sums",
)
KERNELS = runtime.Kernels("focal_loss.cu", [f"{name}<{T}>" for name in _NAMES for T in FLOATS])


def _loss(kind, items, threads, x, target, gamma, alpha, weight, reduction, out):
    n, classes = x.shape
    T, weighted = c_type(x), weight is not None
    arguments = items, classes, x, target, gamma, alpha, weighted, weight if weighted else x
    if reduction == "none":
        KERNELS.launch(f"{kind}_each<{T}>", threads, *arguments, out, block=BLOCK)
        return
    blocks = min(-(-threads // BLOCK), BLOCKS)
    sums = runtime.empty(x, (max(blocks, 1),), "float64")
    KERNELS.launch(f"{kind}_sums<{T}>", (blocks,), *arguments, sums, block=BLOCK)
    factor = (1 / n if n else math.nan) if reduction == "mean" else 1.0
    KERNELS.launch(f"add_sums<{T}>", (1,), blocks, sums, factor, out, block=BLOCK)


def _gradient(kind, items, threads, grad, x, target, gamma, alpha, weight, reduction, out):
    n, classes = x.shape
    weighted, share = weight is not None, 1 / n if reduction == "mean" else 1.0
    KERNELS.launch(
        f"{kind}_gradient<{c_type(x)}>", threads, items, classes, grad, x, target, gamma, alpha, weighted,
        weight if weighted else x, reduction == "none", share, out, block=BLOCK,
    )  # fmt: skip


def sigmoid_focal_loss(input, *arguments):
    """Fill out (N, C), or out () with the sum, or the sum over N."""
    size = math.prod(input.shape)
    _loss("sigmoid", size, size, input, *arguments)


def sigmoid_focal_loss_backward(grad, input, *arguments):
    """Fill out (N, C) with gradients."""
    size = math.prod(input.shape)
    _gradient("sigmoid", size, size, grad, input, *arguments)


def softmax_focal_loss(input, *arguments):
    """Fill out (N,), or out () with the sum, or the sum over N."""
    _loss("softmax", len(input), WARP * len(input), input, *arguments)


def softmax_focal_loss_backward(grad, input, *arguments):
    """Fill out (N, C) with gradients."""
    _gradient("softmax", len(input), WARP * len(input), grad, input, *arguments)
