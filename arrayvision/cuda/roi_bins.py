"""Launches of roi_bins.cuh's kernels for regions of each kind (region_*.cuh); the functions and arguments of `cpu/roi_bins.py`."""

from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, c_type

ALIGN, PRECISE, BEZIER, ROTATED = (f"regions::{kind}" for kind in ("Align", "Precise", "Bezier", "Rotated"))
CHANNELS = constant("roi_bins.cuh", "CHANNELS")  # of a thread


def expressions(kind):
    """The kernels that a file needs for a kind of region."""
    kernels = [f"{kernel}<{T}, {kind}>" for kernel in ("pool", "spread", "spread_in_order") for T in FLOATS]
    return [*kernels, *ROUND_SUMS]


def tasks(regions, channels, bins, last):
    """How many threads pool."""
    each = -(-channels // (WARP * CHANNELS)) * WARP if last else -(-channels // CHANNELS)
    return regions * bins * each


def layout(x, last):
    """(B, C, H, W) of features that lie so, or as (B, H, W, C)."""
    b, *rest = x.shape
    return (b, rest[2], rest[0], rest[1]) if last else (b, *rest)


def forward(kernels, kind, x, last, rois, offsets, scale, sampling, aligned, clockwise, gamma, out):
    """Pool features x, (B, H, W, C) if `last` else (B, C, H, W), into out (K, C, oh, ow)."""
    oh, ow = out.shape[2:]
    shape = layout(x, last)
    kernels.launch(
        f"pool<{c_type(x)}, {kind}>", tasks(len(rois), shape[1], oh * ow, last),
        tasks(len(rois), shape[1], oh * ow, last), x, last, rois, offsets is not None,
        rois if offsets is None else offsets, *shape, oh, ow, scale, sampling, aligned, clockwise, gamma, out,
    )  # fmt: skip


def backward(kernels, kind, grad, rois, offsets, scale, sampling, aligned, clockwise, gamma, out):
    """Fill out (B, C, H, W) with the gradient of `forward` for its features, given that of its result."""
    oh, ow = grad.shape[2:]
    sums = zero_sums(out)
    if deterministic(grad):
        kernel, n = "spread_in_order", out.shape[0] * out.shape[1] if len(rois) else 0
        first = n, len(rois)
    else:
        kernel, n = "spread", tasks(len(rois), out.shape[1], oh * ow, False)
        first = (n,)
    kernels.launch(
        f"{kernel}<{c_type(grad)}, {kind}>", n, *first, grad, rois, offsets is not None,
        rois if offsets is None else offsets, *out.shape, oh, ow, scale, sampling, aligned, clockwise, gamma, sums,
    )  # fmt: skip
    round_sums(kernels, sums, out)
