"""Launches of roi_align.cu; the functions and arguments of `cpu/roi_align.py`."""

import math

from arrayvision.cuda import roi_bins, runtime
from arrayvision.cuda.loops import divider, rows
from arrayvision.cuda.roi_bins import ALIGN, BLOCK_CHANNELS, blocks, gather_maxima, laid_last, layout, tasks
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, SIXTEEN, accumulator, c_type, together

KERNELS = runtime.Kernels(
    "roi_align.cu",
    [
        *roi_bins.expressions(ALIGN),
        *(f"{kernel}<{T}>" for kernel in ("pool_max", "spread_max") for T in FLOATS),
        *roi_bins.maxima_expressions("ChosenSamples"),
        *(f"pool_max_last<{T}, {v}>" for T in FLOATS for v in (1, SIXTEEN[T])),
    ],
)


def forward(x, last, rois, scale, sampling, aligned, out):
    """Average: x (B, H, W, C) if `last` else (B, C, H, W), rois (K, 5), out (K, C, oh, ow)."""
    roi_bins.forward(KERNELS, ALIGN, x, last, rois, None, scale, sampling, aligned, False, 0.0, out)


def backward(grad, rois, scale, sampling, aligned, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    roi_bins.backward(KERNELS, ALIGN, grad, rois, None, scale, sampling, aligned, False, 0.0, out)


def _room(kind, h, w, oh, ow, sampling):
    """How many samples' places a block needs for rows of bins, for all, and in bytes of shared memory; None where they don't fit.

    With as many samples as a bin has pixels, two lie at least half a pixel apart, unless a bin has one.
    """
    of = [bins * sampling if sampling else 2 * (length + 2) + 3 * bins for bins, length in ((oh, h), (ow, w))]
    width = 8 if accumulator(kind) == "double" else 4
    shared = sum(of) * (12 + width + 12 % width) + 8 * (oh + ow)
    tiles = BLOCK_CHANNELS * 33 * (8 + 4)
    return (of[0], sum(of), shared) if shared + tiles <= roi_bins.SHARED else None


def forward_max(x, last, rois, scale, sampling, aligned, out, which):
    """Maximum; `which` (K, C, oh, ow) gets the number of the sample it is, -1 for none inside the map."""
    oh, ow = out.shape[2:]
    shape = layout(x, last)
    x, last = laid_last(KERNELS, x, last, out.shape)
    room = _room(c_type(x), *shape[2:], oh, ow, sampling) if last else None
    if room is not None:
        rows_room, all_room, shared = room
        KERNELS.launch(
            f"pool_max_last<{c_type(x)}, {together(shape[1], x)}>", blocks(out.shape), divider("uint32_t", ow), rows_room, all_room,
            x, rois, *shape, oh, ow, scale, sampling, aligned, out, which, shared=shared,
        )  # fmt: skip
        return
    for n, divided, part in tasks(rois.shape[0], shape[1], oh * ow, last):
        KERNELS.launch(
            f"pool_max<{c_type(x)}>", n, *divided, x, last, rows(rois, part), *shape, oh, ow, scale, sampling, aligned, rows(out, part),
            rows(which, part),
        )  # fmt: skip


def backward_max(grad, which, rois, scale, sampling, aligned, out):
    """Fill out (B, C, H, W) with the features' gradient of `forward_max`."""
    if deterministic(grad):
        gather_maxima(KERNELS, "ChosenSamples", grad, which, rois, scale, sampling, aligned, out)
        return
    sums, n = zero_sums(out), math.prod(grad.shape)
    KERNELS.launch(
        f"spread_max<{c_type(grad)}>",
        n,
        n,
        grad,
        which,
        rois,
        *out.shape,
        *grad.shape[2:],
        scale,
        sampling,
        aligned,
        sums,
    )
    round_sums(KERNELS, sums, out)
