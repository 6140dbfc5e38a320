"""Launches of border_align.cu; the functions and arguments of `cpu/border_align.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.roi_bins import layout
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels(
    "border_align.cu", [*(f"{k}<{T}>" for k in ("pool_borders", "spread_borders") for T in FLOATS), *ROUND_SUMS]
)


def forward(x, last, boxes, pool_size, out, which):
    """x (B, H, W, 4C) if `last` else (B, 4C, H, W), boxes (B, N, 4); out and which (B, C, N, 4)."""
    batch, channels, count, _ = out.shape
    _, _, h, w = layout(x, last)
    n = batch * channels * count * 4
    KERNELS.launch(f"pool_borders<{c_type(x)}>", n, n, x, last, boxes, channels, count, h, w, pool_size, out, which)


def backward(grad, which, boxes, pool_size, out):
    """Fill out (B, 4C, H, W) with the features' gradient."""
    batch, channels, count, _ = grad.shape
    sums, ordered = zero_sums(out), deterministic(grad)
    n = batch * channels * 4 * (1 if ordered else count)
    h, w = out.shape[2:]
    KERNELS.launch(
        f"spread_borders<{c_type(grad)}>", n if h * w else 0, n, ordered, grad, which, boxes, channels, count, h, w,
        pool_size, sums,
    )  # fmt: skip
    round_sums(KERNELS, sums, out)
