"""Launches of carafe.cu; the functions and arguments of `cpu/carafe.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.loops import LIMIT, divider
from arrayvision.cuda.types import FLOATS, aligned, c_type

SHARE = constant("carafe.cu", "SHARE")
NAMES = ("reassemble", "reassemble_doubled", "spread", "compare")
KERNELS = runtime.Kernels("carafe.cu", [f"{name}<{T}>" for name in NAMES for T in FLOATS])


def forward(x, masks, k, s, out):
    """Fill out (N, C, H * s, W * s) with sums of x (N, C, H, W) weighted by masks (N, k * k, H * s, W * s)."""
    images, channels, height, width = x.shape
    parts, tiles = -(-channels // SHARE), -(-width // WARP)
    warps = images * parts * height * tiles
    if s == 2 and warps * WARP < LIMIT and aligned(masks, out):
        by = [divider("uint32_t", size) for size in (parts, tiles, height)]
        args = x, masks, channels, height, width, k, out
        KERNELS.launch(f"reassemble_doubled<{c_type(x)}>", warps * WARP, warps, *by, *args)
        return
    n = images * parts * height * s * width * s
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
