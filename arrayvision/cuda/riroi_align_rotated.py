"""Launches of riroi_align_rotated.cu; the functions and arguments of `cpu/riroi_align_rotated.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.roi_bins import layout
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels(
    "riroi_align_rotated.cu", [*(f"{k}<{T}>" for k in ("pool_turned", "spread_turned") for T in FLOATS), *ROUND_SUMS]
)


def forward(x, last, rois, scale, samples, orientations, clockwise, out):
    """Pool x, (B, H, W, C) if `last` else (B, C, H, W), into out (K, C, oh, ow)."""
    k, channels, oh, ow = out.shape
    n = k * channels * oh * ow
    KERNELS.launch(
        f"pool_turned<{c_type(x)}>", n, n, x, last, rois, *layout(x, last), oh, ow, scale, samples, orientations,
        clockwise, out,
    )  # fmt: skip


def backward(grad, rois, scale, samples, orientations, clockwise, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    k, channels, oh, ow = grad.shape
    sums, ordered = zero_sums(out), deterministic(grad)
    n = out.shape[0] * channels // orientations if ordered else k * channels * oh * ow
    KERNELS.launch(
        f"spread_turned<{c_type(grad)}>", n if k else 0, n, k, ordered, grad, rois, *out.shape, oh, ow, scale, samples,
        orientations, clockwise, sums,
    )  # fmt: skip
    round_sums(KERNELS, sums, out)
