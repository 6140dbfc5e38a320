"""Launches of rotated_feature_align.cu; the functions and arguments of `cpu/rotated_feature_align.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels(
    "rotated_feature_align.cu", [*(f"{k}<{T}>" for k in ("align", "spread_aligned") for T in FLOATS), *ROUND_SUMS]
)


def forward(x, last, boxes, scale, points, out):
    """x (B, H, W, C) if `last` else (B, C, H, W), boxes (B, H, W, 5), out (B, C, H, W)."""
    batch, channels, h, w = out.shape
    n = batch * channels * h * w
    KERNELS.launch(f"align<{c_type(x)}>", n, n, x, last, boxes, channels, h, w, scale, points, out)


def backward(grad, boxes, scale, points, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    batch, channels, h, w = out.shape
    sums, ordered = zero_sums(out), deterministic(grad)
    n = batch * channels * (1 if ordered else h * w)
    KERNELS.launch(
        f"spread_aligned<{c_type(grad)}>",
        n if h * w else 0,
        n,
        ordered,
        grad,
        boxes,
        channels,
        h,
        w,
        scale,
        points,
        sums,
    )
    round_sums(KERNELS, sums, out)
