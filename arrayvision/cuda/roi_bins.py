"""Launches of roi_bins.cuh's kernels for regions of each kind (region_*.cuh); the functions and arguments of `cpu/roi_bins.py`."""

import functools

from arrayvision.cuda import loops
from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.loops import rows
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, SIXTEEN, c_type, together

ALIGN, PRECISE, BEZIER, ROTATED = (f"regions::{kind}" for kind in ("Align", "Precise", "Bezier", "Rotated"))
UPRIGHT = (ALIGN, PRECISE)  # whose bins, unless they are moved, are rows times columns of weights (roi_upright.cuh)
CHANNELS = constant("roi_bins.cuh", "CHANNELS")  # of a thread
BLOCK_CHANNELS = constant("roi_upright.cuh", "CHANNELS")  # of a block
SHARED = 48 << 10  # bytes of shared memory that a block may take


def expressions(kind):
    """The kernels that a file needs for a kind of region."""
    kernels = [f"{kernel}<{T}, {kind}>" for kernel in ("pool", "spread", "spread_in_order") for T in FLOATS]
    if kind in UPRIGHT:
        kernels += [f"pool_upright<{T}, {kind}>" for T in FLOATS]
        kernels += [f"pool_upright_last<{T}, {v}, {kind}>" for T in FLOATS for v in (1, SIXTEEN[T])]
    return [*kernels, *ROUND_SUMS]


def tasks(regions, channels, bins, last):
    """Launches that pool regions: (threads, the kernel's arguments of them, a slice of the regions for `rows`) of each."""
    return _tasks(regions, channels, bins, last, loops.LIMIT)


@functools.lru_cache(256)
def _tasks(regions, channels, bins, last, limit):
    made = []
    groups = -(-channels // ((WARP if last else 1) * CHANNELS))
    each = bins * groups * (WARP if last else 1)
    for some, part in loops.parts(regions, each):
        n = some * each
        made.append((n, (n, loops.divider("uint32_t", bins), loops.divider("uint32_t", groups)), part))
    return made


def layout(x, last):
    """(B, C, H, W) of features that lie so, or as (B, H, W, C)."""
    b, *rest = x.shape
    return (b, rest[2], rest[0], rest[1]) if last else (b, *rest)


def forward(kernels, kind, x, last, rois, offsets, scale, sampling, aligned, clockwise, gamma, out):
    """Pool features x, (B, H, W, C) if `last` else (B, C, H, W), into out (K, C, oh, ow)."""
    oh, ow = out.shape[2:]
    shape = layout(x, last)
    lists = _lists(c_type(x), *shape[2:], oh, ow)
    if kind in UPRIGHT and offsets is None and lists is not None and 0 not in out.shape:
        _forward_upright(kernels, kind, x, last, rois, shape, scale, sampling, aligned, lists, out)
        return
    for n, divided, part in tasks(rois.shape[0], shape[1], oh * ow, last):
        kernels.launch(
            f"pool<{c_type(x)}, {kind}>", n, *divided, x, last, rows(rois, part), offsets is not None,
            rois if offsets is None else rows(offsets, part), *shape, oh, ow, scale, sampling, aligned, clockwise, gamma,
            rows(out, part),
        )  # fmt: skip


@functools.lru_cache(256)
def _lists(kind, h, w, oh, ow):
    """Bytes of the lists of weights in a block's shared memory; None if they don't fit."""
    taps = (h + 1 + 3 * oh) + (w + 1 + 3 * ow)
    room = taps * (16 if kind == "double" else 8) + 8 * (oh + ow)
    tile = BLOCK_CHANNELS * 33 * 8  # of pool_upright_last, at most
    return room if room + tile <= SHARED and h * w < loops.LIMIT and oh * ow < loops.LIMIT // BLOCK_CHANNELS else None


def _forward_upright(kernels, kind, x, last, rois, shape, scale, sampling, aligned, lists, out):
    regions, channels, oh, ow = out.shape
    by_bins, by_columns = (loops.divider("uint32_t", size) for size in (oh * ow, ow))
    args = x, rois, *shape, oh, ow, scale, sampling, aligned, out
    if last:
        grid = regions, -(-channels // BLOCK_CHANNELS)
        name = f"pool_upright_last<{c_type(x)}, {together(channels, x)}, {kind}>"
        kernels.launch(name, grid, by_columns, *args, shared=lists)
        return
    # Fewer channels a block where there are few regions, so that all of a GPU's multiprocessors have some.
    some = BLOCK_CHANNELS if regions * channels > 512 * BLOCK_CHANNELS else BLOCK_CHANNELS // 4
    grid = regions, -(-channels // some)
    kernels.launch(f"pool_upright<{c_type(x)}, {kind}>", grid, some, by_bins, by_columns, *args, shared=lists)


def backward(kernels, kind, grad, rois, offsets, scale, sampling, aligned, clockwise, gamma, out):
    """Fill out (B, C, H, W) with the gradient of `forward` for its features, given that of its result."""
    oh, ow = grad.shape[2:]
    sums = zero_sums(out)
    arguments = *out.shape, oh, ow, scale, sampling, aligned, clockwise, gamma, sums
    moved = offsets is not None
    if deterministic(grad):
        n = out.shape[0] * out.shape[1] if len(rois) else 0
        kernels.launch(
            f"spread_in_order<{c_type(grad)}, {kind}>", n, n, len(rois), grad, rois, moved, offsets if moved else rois,
            *arguments,
        )  # fmt: skip
    else:
        for n, divided, part in tasks(rois.shape[0], out.shape[1], oh * ow, False):
            kernels.launch(
                f"spread<{c_type(grad)}, {kind}>", n, *divided, rows(grad, part), rows(rois, part), moved,
                rows(offsets, part) if moved else rois, *arguments,
            )  # fmt: skip
    round_sums(kernels, sums, out)
