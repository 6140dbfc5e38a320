"""Launches of carafe.cu; the functions and arguments of `cpu/carafe.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.types import FLOATS, c_type

SHARE = constant("carafe.cu", "SHARE")
KERNELS = runtime.Kernels("carafe.cu", [f"{name}<{T}>" for name in ("reassemble", "spread", "compare") for T in FLOATS])


def forward(x, masks, k, s, out):
    """Fill out (N, C, H * s, W * s) with sums of x (N, C, H, W) weighted by masks (N, k * k, H * s, W * s)."""
    images, channels, height, width = x.shape
    n = images * -(-channels // SHARE) * height * s * width * s
    KERNELS.launch(f"reassemble<{c_type(x)}>", n, n, x, masks, channels, height, width, k, s, out)


def features_backward(grad, masks, k, s, out):
    """Fill out (N, C, H, W) with the gradient for the maps."""
    images, channels, height, width = out.shape
    n = images * -(-channels // SHARE) * height * width
    KERNELS.launch(f"spread<{c_type(grad)}>", n, n, grad, masks, channels, height, width, k, s, out)


def masks_backward(grad, x, k, s, out):
    """Fill out (N, k * k, H * s, W * s) with the gradient for the weights."""
    images, channels, height, width = x.shape
    n = images * k * -(-k // SHARE) * height * s * width * s
    KERNELS.launch(f"compare<{c_type(x)}>", n, n, grad, x, channels, height, width, k, s, out)
