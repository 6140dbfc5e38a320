"""Launches of roi_bins.cuh's kernels for regions of each kind (region_*.cuh); the functions and arguments of `cpu/roi_bins.py`."""

import functools

from arrayvision.array import library_of
from arrayvision.cuda import loops
from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.loops import rows
from arrayvision.cuda.runtime import deterministic, empty
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.turned import TURN, channels_last, last_sums, turn_sums
from arrayvision.cuda.types import FLOATS, SIXTEEN, accumulator, c_type, together

ALIGN, PRECISE, BEZIER, ROTATED = (f"regions::{kind}" for kind in ("Align", "Precise", "Bezier", "Rotated"))
SHARES = constant("roi_bins.cuh", "SHARES")  # lanes of a bin whose channels are summed and don't lie last
UPRIGHT = (ALIGN, PRECISE)  # whose bins, unless they are moved, are rows times columns of weights (roi_upright.cuh)
CHANNELS = constant("roi_bins.cuh", "CHANNELS")  # of a thread
BLOCK_CHANNELS, TOGETHER = (
    constant("roi_last.cuh", "CHANNELS"),
    constant("roi_upright.cuh", "TOGETHER"),
)  # of a block; at once
SIDE, GATHERED = (constant("roi_in_order.cuh", name) for name in ("SIDE", "CHANNELS"))  # of a tile that is gathered
SAMPLED = (ROTATED,)  # whose samples are listed where a bin has few (roi_samples.cuh)
SAMPLES = constant("roi_samples.cuh", "SIDE")  # along an axis, at most
SHARED = 48 << 10  # bytes of shared memory that a block may take


def expressions(kind):
    """The kernels that a file needs for a kind of region."""
    kernels, lasts = [f"pool<{T}, {kind}>" for T in FLOATS], ["pool_last"]
    if kind in UPRIGHT:
        kernels += [f"pool_upright<{T}, {kind}>" for T in FLOATS]
        lasts.append("pool_upright_last")
    if kind in SAMPLED:
        lasts.append("pool_samples")
    kernels += [f"{kernel}<{T}, {v}, {kind}>" for kernel in lasts for T in FLOATS for v in (1, SIXTEEN[T])]
    return [*kernels, *gradient_expressions(kind, FLOATS)]


def gradient_expressions(kind, types):
    """Those of them for `backward`, of gradients of these types."""
    kernels = ["spread", "gather_in_order", *["spread_upright"] * (kind in UPRIGHT)]
    expressions = [f"{kernel}<{T}, {kind}>" for kernel in kernels for T in types]
    expressions += [f"find_extents<{A}, {kind}>" for A in ("float", "double")]
    if kind in SAMPLED:
        expressions += [f"spread_samples<{T}, {v}, {kind}>" for T in types for v in (1, sampled_together(4, T))]
    return [*expressions, *TURN, *ROUND_SUMS]


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


def sharing(bins, last):
    """Threads for so many bins of all regions, whose channels are summed (roi_bins::Sharing)."""
    return -(-bins // (1 if last else WARP // SHARES)) * WARP


def layout(x, last):
    """(B, C, H, W) of features that lie so, or as (B, H, W, C)."""
    b, *rest = x.shape
    return (b, rest[2], rest[0], rest[1]) if last else (b, *rest)


@functools.lru_cache(256)
def worth_turning(features, pooled):
    """Whether maps (B, C, H, W) are turned channels-last before they are pooled into (K, C, oh, ow).

    A bin's pixels lie apart, and memory is read 32 bytes at a time: eight channels of a pixel, or a pixel and seven that nobody
    asked for. On an H100 a bin of a channel took 29 ps and 10 ps where channels lie last; to turn the map takes 3 ps a number.
    """
    (batch, _, h, w), (regions, _, oh, ow) = features, pooled
    return 4 * regions * oh * ow > batch * h * w


def laid_last(kernels, x, last, pooled):
    """Maps as they are, or turned where that pays before they are pooled into (K, C, oh, ow); and whether channels lie last."""
    return (channels_last(kernels, x), True) if not last and worth_turning(x.shape, pooled) else (x, last)


def blocks(pooled):
    """The grid of kernels of such maps: a block has a region and BLOCK_CHANNELS channels (include/roi_last.cuh)."""
    regions, channels, oh, ow = pooled
    return regions, -(-channels // BLOCK_CHANNELS) if oh * ow else 0


def listed(features, pooled, sampling):
    """Whether kernels of roi_samples.cuh pool maps (B, C, H, W) into (K, C, oh, ow), and what they divide by; else None."""
    _, channels, h, w = features
    if not 0 < sampling <= SAMPLES or not 0 < h * w * channels < loops.LIMIT // 4 or 0 in pooled:
        return None
    return tuple(loops.divider("uint32_t", n) for n in (pooled[3], sampling**2, sampling))


def sampled_together(channels, kind):
    """How many channels of a pixel a thread of spread_samples adds to."""
    return 1 if channels % 4 else 2 if accumulator(kind) == "double" else 4


def forward(kernels, kind, x, last, rois, offsets, scale, sampling, aligned, clockwise, gamma, out):
    """Pool features x, (B, H, W, C) if `last` else (B, C, H, W), into out (K, C, oh, ow)."""
    pooled = out.shape
    x, last = laid_last(kernels, x, last, pooled)
    each = together(pooled[1], x) if last else 0
    moved = offsets is not None
    if kind in UPRIGHT and not moved:
        launch = _upright(c_type(x), kind, x.shape, pooled, each)
        if launch is not None:
            name, grid, numbers, sizes, shared = launch
            kernels.launch(name, grid, *numbers, x, rois, *sizes, scale, sampling, aligned, out, shared=shared)
            return
    oh, ow = pooled[2:]
    shape = layout(x, last)
    args = *shape, oh, ow, scale, sampling, aligned, clockwise, gamma
    dividers = listed(shape, pooled, sampling) if last and kind in SAMPLED else None
    if dividers is not None:
        kernels.launch(
            f"pool_samples<{c_type(x)}, {each}, {kind}>", blocks(pooled), *dividers, x, rois, *args[:-1], out
        )
        return
    if last:
        kernels.launch(
            f"pool_last<{c_type(x)}, {each}, {kind}>", blocks(pooled), loops.divider("uint32_t", ow), x, rois, moved, offsets if moved else rois,
            *args, out,
        )  # fmt: skip
        return
    for n, divided, part in tasks(rois.shape[0], shape[1], oh * ow, False):
        kernels.launch(
            f"pool<{c_type(x)}, {kind}>", n, *divided, x, rows(rois, part), moved, rows(offsets if moved else rois, part),
            *args, rows(out, part),
        )  # fmt: skip


@functools.lru_cache(256)
def _lists(kind, h, w, oh, ow):
    """Bytes of a block's shared memory: of the lists of weights, and with what a gradient needs; None where they don't fit."""
    width = 8 if kind == "double" else 4
    taps = (h + 1 + 3 * oh) + (w + 1 + 3 * ow)
    lists = taps * 2 * width + 8 * (oh + ow)
    tile = BLOCK_CHANNELS * 33 * 8  # of pool_upright_last, at most
    more = TOGETHER * oh * ow * width + 8 * (h + w) + 4 * (oh + ow)
    small = h * w < loops.LIMIT and oh * ow < loops.LIMIT // BLOCK_CHANNELS
    return (lists if small and lists + tile <= SHARED else None), (
        lists + more if small and lists + more <= SHARED else None
    )


def _some(regions, channels):
    """Channels of a block: fewer where there are few regions, so that all of a GPU's multiprocessors have some."""
    return BLOCK_CHANNELS if regions * channels > 512 * BLOCK_CHANNELS else BLOCK_CHANNELS // 4


@functools.lru_cache(256)
def _upright(kind, region, features, pooled, each):
    """The launch that pools upright regions, of `each` channels a load where these lie last, else 0: (kernel, grid, numbers
    that come first, (B, C, H, W, oh, ow), bytes of shared memory); None where lists don't fit."""
    (b, *rest), (regions, channels, oh, ow) = features, pooled
    h, w = rest[:2] if each else rest[1:]
    lists, _ = _lists(kind, h, w, oh, ow)
    if lists is None or 0 in (channels, regions, oh, ow):
        return None
    by_columns, sizes = loops.divider("uint32_t", ow), (b, channels, h, w, oh, ow)
    if each:
        return f"pool_upright_last<{kind}, {each}, {region}>", blocks(pooled), (by_columns,), sizes, lists
    some = _some(regions, channels)
    numbers = some, loops.divider("uint32_t", oh * ow), by_columns
    return f"pool_upright<{kind}, {region}>", (regions, -(-channels // some)), numbers, sizes, lists


def backward(kernels, kind, grad, rois, offsets, scale, sampling, aligned, clockwise, gamma, out):
    """Fill out (B, C, H, W) with the gradient of `forward` for its features, given that of its result."""
    oh, ow = grad.shape[2:]
    moved = offsets is not None
    arguments = *out.shape, oh, ow, scale, sampling, aligned, clockwise, gamma
    if deterministic(grad):
        _gather(kernels, kind, grad, rois, offsets if moved else rois, moved, arguments, out)
        return
    dividers = listed(out.shape, grad.shape, sampling) if kind in SAMPLED else None
    if dividers is not None and worth_turning(out.shape, grad.shape):
        sums = last_sums(out)
        each = sampled_together(out.shape[1], c_type(grad))
        kernels.launch(
            f"spread_samples<{c_type(grad)}, {each}, {kind}>",
            blocks(grad.shape),
            *dividers,
            grad,
            rois,
            *arguments[:-1],
            sums,
        )
        turn_sums(kernels, sums, out)
        return
    sums = zero_sums(out)
    if kind in UPRIGHT and not moved and (shared := _lists(c_type(grad), *out.shape[2:], oh, ow)[1]) is not None:
        some = _some(*grad.shape[:2])
        grid = grad.shape[0], -(-grad.shape[1] // some)
        args = some, grad, rois, *out.shape, oh, ow, scale, sampling, aligned, sums
        kernels.launch(f"spread_upright<{c_type(grad)}, {kind}>", grid, *args, shared=shared)
    else:
        for n, divided, part in tasks(rois.shape[0], out.shape[1], oh * ow, False):
            kernels.launch(
                f"spread<{c_type(grad)}, {kind}>", n, *divided, rows(grad, part), rows(rois, part), moved,
                rows(offsets, part) if moved else rois, *arguments, sums,
            )  # fmt: skip
    round_sums(kernels, sums, out)


def _gather(kernels, kind, grad, rois, offsets, moved, arguments, out):
    """The same in a fixed order."""
    if 0 in grad.shape:
        library_of(out).zero(out)
        return
    batch = out.shape[0]
    extents = empty(out, (len(rois), 4), "int32")
    kernels.launch(
        f"find_extents<{accumulator(c_type(grad))}, {kind}>", (len(rois),), rois, moved, offsets, batch, *arguments[2:], extents,
        block=64,
    )  # fmt: skip
    grid, across = _tiles(out)
    kernels.launch(
        f"gather_in_order<{c_type(grad)}, {kind}>", grid, len(rois), across, grad, rois, extents, moved, offsets, *arguments, out,
    )  # fmt: skip


def _tiles(out):
    """The grid of kernels that gather (B, C, H, W), a block a tile of pixels and some channels; and how many tiles lie in a row."""
    batch, channels, h, w = out.shape
    across = -(-w // SIDE)
    some = GATHERED if accumulator(c_type(out)) == "float" else GATHERED // 2
    return (across * -(-h // SIDE), -(-channels // some), min(batch, 65535)), across


def maxima_expressions(kind):
    """The kernels that a file needs for `gather_maxima`."""
    gather = [f"gather_maxima<{T}, {kind}<{accumulator(T)}>>" for T in FLOATS]
    return [*gather, *(f"find_choices<{A}, {kind}<{A}>>" for A in ("float", "double"))]


def gather_maxima(kernels, kind, grad, which, rois, scale, sampling, aligned, out):
    """Fill out (B, C, H, W) with the gradient of maxima in a fixed order (maxima_in_order.cuh)."""
    if 0 in grad.shape or 0 in out.shape:
        library_of(out).zero(out)
        return
    T, (oh, ow) = c_type(grad), grad.shape[2:]
    real, how = accumulator(T), (*out.shape, oh, ow, scale, sampling, aligned)
    extents = empty(out, (len(rois), oh * ow + 1, 4), "int32")
    kernels.launch(f"find_choices<{real}, {kind}<{real}>>", (len(rois),), which, rois, *how, extents)
    grid, across = _tiles(out)
    kernels.launch(
        f"gather_maxima<{T}, {kind}<{real}>>", grid, len(rois), across, grad, which, rois, extents, *how, out
    )
