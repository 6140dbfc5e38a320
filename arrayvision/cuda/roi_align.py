"""Launches of roi_align.cu; the functions and arguments of `cpu/roi_align.py`."""

from arrayvision.cuda import roi_bins, runtime
from arrayvision.cuda.loops import rows
from arrayvision.cuda.roi_bins import ALIGN, layout, tasks
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels(
    "roi_align.cu",
    [*roi_bins.expressions(ALIGN), *(f"{kernel}<{T}>" for kernel in ("pool_max", "spread_max") for T in FLOATS)],
)


def forward(x, last, rois, scale, sampling, aligned, out):
    """Average: x (B, H, W, C) if `last` else (B, C, H, W), rois (K, 5), out (K, C, oh, ow)."""
    roi_bins.forward(KERNELS, ALIGN, x, last, rois, None, scale, sampling, aligned, False, 0.0, out)


def backward(grad, rois, scale, sampling, aligned, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    roi_bins.backward(KERNELS, ALIGN, grad, rois, None, scale, sampling, aligned, False, 0.0, out)


def forward_max(x, last, rois, scale, sampling, aligned, out, which):
    """Maximum; `which` (K, C, oh, ow) gets the number of the sample it is, -1 for none inside the map."""
    oh, ow = out.shape[2:]
    shape = layout(x, last)
    for n, divided, part in tasks(rois.shape[0], shape[1], oh * ow, last):
        KERNELS.launch(
            f"pool_max<{c_type(x)}>", n, *divided, x, last, rows(rois, part), *shape, oh, ow, scale, sampling, aligned, rows(out, part),
            rows(which, part),
        )  # fmt: skip


def backward_max(grad, which, rois, scale, sampling, aligned, out):
    """Fill out (B, C, H, W) with the features' gradient of `forward_max`."""
    regions, channels, oh, ow = grad.shape
    sums, ordered = zero_sums(out), deterministic(grad)
    n = out.shape[0] * channels if ordered else regions * channels * oh * ow
    KERNELS.launch(
        f"spread_max<{c_type(grad)}>", n if regions else 0, n, regions, ordered, grad, which, rois, *out.shape, oh, ow,
        scale, sampling, aligned, sums,
    )  # fmt: skip
    round_sums(KERNELS, sums, out)
