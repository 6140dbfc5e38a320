"""Launches of focal_loss.cu; the functions and arguments of `cpu/focal_loss.py`."""

import math

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.loops import INDICES, divider, index
from arrayvision.cuda.types import FLOATS, SIXTEEN, aligned, c_type

BLOCK, BLOCKS = (constant("focal_loss.cu", name) for name in ("BLOCK", "BLOCKS"))
_SIGMOID, _SOFTMAX = ([f"{kind}_{does}" for does in ("each", "sums", "gradient")] for kind in ("sigmoid", "softmax"))
KERNELS = runtime.Kernels(
    "focal_loss.cu",
    [
        *(f"{name}<{T}, {kind}>" for name in _SIGMOID for T in FLOATS for kind in INDICES),
        *(f"{name}<{T}>" for name in (*_SOFTMAX, "add_sums") for T in FLOATS),
    ],
)


def _elements(x, *others):
    """The template arguments of a sigmoid's kernel, its threads, and how many elements of how many classes it takes."""
    n, classes, kind = math.prod(x.shape), x.shape[1], c_type(x)
    width = index(n, classes)
    return f"{kind}, {width}", -(-n // SIXTEEN[kind]), (n, aligned(x, *others), divider(width, classes))


def _rows(x):
    """The same of a softmax's: a warp a row."""
    return c_type(x), WARP * len(x), x.shape


def _loss(kind, of, x, target, gamma, alpha, weight, reduction, out):
    n, weighted = len(x), weight is not None
    types, threads, sizes = of
    arguments = *sizes, x, target, gamma, alpha, weighted, weight if weighted else x
    if reduction == "none":
        KERNELS.launch(f"{kind}_each<{types}>", threads, *arguments, out, block=BLOCK)
        return
    blocks = min(-(-threads // BLOCK), BLOCKS)
    sums = runtime.empty(x, (max(blocks, 1),), "float64")
    KERNELS.launch(f"{kind}_sums<{types}>", (blocks,), *arguments, sums, block=BLOCK)
    factor = (1 / n if n else math.nan) if reduction == "mean" else 1.0
    KERNELS.launch(f"add_sums<{c_type(x)}>", (1,), blocks, sums, factor, out, block=BLOCK)


def _gradient(kind, of, grad, x, target, gamma, alpha, weight, reduction, out):
    types, threads, sizes = of
    weighted, share = weight is not None, 1 / len(x) if reduction == "mean" else 1.0
    KERNELS.launch(
        f"{kind}_gradient<{types}>", threads, *sizes, grad, x, target, gamma, alpha, weighted,
        weight if weighted else x, reduction == "none", share, out, block=BLOCK,
    )  # fmt: skip


def sigmoid_focal_loss(input, target, gamma, alpha, weight, reduction, out):
    """Fill out (N, C), or out () with the sum, or the sum over N."""
    of = _elements(input, *([out] if reduction == "none" else []))
    _loss("sigmoid", of, input, target, gamma, alpha, weight, reduction, out)


def sigmoid_focal_loss_backward(grad, input, target, gamma, alpha, weight, reduction, out):
    """Fill out (N, C) with gradients."""
    of = _elements(input, out, *([grad] if reduction == "none" else []))
    _gradient("sigmoid", of, grad, input, target, gamma, alpha, weight, reduction, out)


def softmax_focal_loss(input, *arguments):
    """Fill out (N,), or out () with the sum, or the sum over N."""
    _loss("softmax", _rows(input), input, *arguments)


def softmax_focal_loss_backward(grad, input, *arguments):
    """Fill out (N, C) with gradients."""
    _gradient("softmax", _rows(input), grad, input, *arguments)
