"""Launches of diff_iou_rotated.cu; the functions and arguments of `cpu/diff_iou_rotated.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels(
    "diff_iou_rotated.cu", [*(f"ious<{T}>" for T in FLOATS), *(f"gradients<{T}>" for T in FLOATS)]
)


def iou(first, second, out):
    """Fill out (N,) with the IoUs of boxes (N, 5) or (N, 7)."""
    n, width = first.shape
    KERNELS.launch(f"ious<{c_type(first)}>", n, n, width, first, second, out, block=128)


def iou_backward(grad, first, second, out_first, out_second):
    """Fill the gradients for the boxes, from the gradient (N,) of the IoUs."""
    n, width = first.shape
    KERNELS.launch(f"gradients<{c_type(first)}>", n, n, width, grad, first, second, out_first, out_second, block=128)
