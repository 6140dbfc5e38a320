"""Launches of focal_loss.cu; the functions and arguments of `cpu/focal_loss.py`."""

import math

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.loops import INDICES, divider, index
from arrayvision.cuda.types import FLOATS, c_type

BLOCK, BLOCKS = (constant("focal_loss.cu", name) for name in ("BLOCK", "BLOCKS"))
_SIGMOID, _SOFTMAX = ([f"{kind}_{does}" for does in ("each", "sums", "gradient")] for kind in ("sigmoid", "softmax"))
KERNELS = runtime.Kernels(
    "focal_loss.cu",
    [
        *(f"{name}<{T}, {kind}>" for name in _SIGMOID for T in FLOATS for kind in INDICES),
        *(f"{name}<{T}>" for name in (*_SOFTMAX, "add_sums") for T in FLOATS),
    ],
)


def _types(kind, x):
    """The template arguments of a kernel, and how it takes the number of classes."""
    if kind == "softmax":
        return c_type(x), x.shape[1]
    width = index(math.prod(x.shape), x.shape[1])
    return f"{c_type(x)}, {width}", divider(width, x.shape[1])


def _loss(kind, items, threads, x, target, gamma, alpha, weight, reduction, out):
    n, weighted = len(x), weight is not None
    types, classes = _types(kind, x)
    arguments = items, classes, x, target, gamma, alpha, weighted, weight if weighted else x
    if reduction == "none":
        KERNELS.launch(f"{kind}_each<{types}>", threads, *arguments, out, block=BLOCK)
        return
    blocks = min(-(-threads // BLOCK), BLOCKS)
    sums = runtime.empty(x, (max(blocks, 1),), "float64")
    KERNELS.launch(f"{kind}_sums<{types}>", (blocks,), *arguments, sums, block=BLOCK)
    factor = (1 / n if n else math.nan) if reduction == "mean" else 1.0
    KERNELS.launch(f"add_sums<{c_type(x)}>", (1,), blocks, sums, factor, out, block=BLOCK)


def _gradient(kind, items, threads, grad, x, target, gamma, alpha, weight, reduction, out):
    types, classes = _types(kind, x)
    weighted, share = weight is not None, 1 / len(x) if reduction == "mean" else 1.0
    KERNELS.launch(
        f"{kind}_gradient<{types}>", threads, items, classes, grad, x, target, gamma, alpha, weighted,
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
