"""Pooling of upright bins: RoIAlign, its deformable and Bezier kin, and the exact integral (Precise RoI pooling).

A bin is a product of an interval in y and one in x, so its weights are products of weights along the axes
(`cpu/bilinear.py`). The kinds differ in where bins lie and in how an interval weighs pixels; all else is here, once.

Features are (B, H, W, C), or (B, C, H, W), of which then each RoI's window alone is turned channels-last: for few RoIs
that is less work than to turn all.
"""

import functools
from typing import NamedTuple

import numpy as np
from numba import extending

from arrayvision.cpu import direct, kernel
from arrayvision.cpu.bilinear import (
    all_finite,
    by_image,
    channels_last,
    dot,
    outer,
    pool_nothing,
    room,
    samples,
    scatter,
    slopes,
    weighted_sum,
    window,
)
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.transposes import transpose

TASK_CHANNELS = 64  # channels that a task of the backward pass owns


class Pooling(NamedTuple):
    """How regions are cut into bins, and bins into samples: its class says where bins lie and how pixels are weighed.

    Kernels are compiled for a class, so that an operator doesn't wait for what the others need.
    """

    scale: float  # pixels of the features for a unit of the regions' coordinates
    sampling: int  # samples along each axis of a bin; 0 for as many as it has pixels
    aligned: bool  # whether pixels' centres lie at half numbers
    gamma: float  # what a bin's offset is multiplied by, beside the region's size


class Align(Pooling):
    """Bins beside one another, averaged over a grid of samples."""


class Moved(Pooling):
    """The same, each bin moved by its offset."""


class Precise(Pooling):
    """Bins beside one another, averaged exactly."""


class Bezier(Pooling):
    """Bins between two curves, averaged over a grid of samples."""


@functools.lru_cache(64)
def pooling(kind, scale, sampling=0, aligned=True, gamma=0.0):
    """A record of this class with fields of one type each, so that kernels are compiled once."""
    return kind(float(scale), int(sampling), bool(aligned), float(gamma))


def by_kind(function, **kinds):
    """Let kernels that call `function` call the one for the class of its first argument, a `Pooling`."""
    function.kinds = tuple(kinds.values())  # for `cpu/writes.py`
    options = dict(nogil=True, error_model="numpy", pipeline_class=direct.Compiler)
    extending.overload(function, jit_options=options, strict=False)(
        lambda pooling, *_: kinds[pooling.instance_class.__name__]
    )


def frame(pooling, roi, oh, ow):
    """(y, x) of the first bin's corner, a bin's height and width, samples in a bin along y and x (0 where none are taken).

    Sizes from which the number of samples follows are computed in the RoI's own dtype, as everyone does: the count jumps.
    """


def upright_frame(pooling, roi, oh, ow):
    scale, _, aligned, _ = pooling
    s, off = roi.dtype.type(scale), roi.dtype.type(0.5 if aligned else 0)
    w = (roi[3] * s - off) - (roi[1] * s - off)
    h = (roi[4] * s - off) - (roi[2] * s - off)
    half = 0.5 if aligned else 0.0
    y, x = roi[2] * np.float64(scale) - half, roi[1] * np.float64(scale) - half
    width = (np.float64(roi[3]) - np.float64(roi[1])) * scale
    height = (np.float64(roi[4]) - np.float64(roi[2])) * scale
    return y, x, *spaced(pooling, h, w, height, width, oh, ow)


def exact_frame(pooling, roi, oh, ow):
    scale = pooling.scale
    height = (np.float64(roi[4]) - np.float64(roi[2])) * scale
    width = (np.float64(roi[3]) - np.float64(roi[1])) * scale
    return roi[2] * scale, roi[1] * scale, max(height, 0.0) / oh, max(width, 0.0) / ow, 0.0, 0.0


def curved_frame(pooling, roi, oh, ow):
    s = roi.dtype.type(pooling.scale)
    w = max(abs(roi[1] * s - roi[7] * s), abs(roi[15] * s - roi[9] * s))
    h = max(abs(roi[2] * s - roi[8] * s), abs(roi[16] * s - roi[10] * s))
    return 0.0, 0.0, *spaced(pooling, h, w, np.float64(h), np.float64(w), oh, ow)


@kernel
def spaced(pooling, h, w, height, width, oh, ow):
    """A bin's height and width, and samples along them, of a region's size: in its own dtype, and in float64."""
    one = type(h)(1)
    if not pooling.aligned:
        h, w = max(h, one), max(w, one)
        height, width = max(height, 1.0), max(width, 1.0)
    sampling = pooling.sampling
    gh = np.float64(sampling if sampling > 0 else np.ceil(h / type(h)(oh)))
    gw = np.float64(sampling if sampling > 0 else np.ceil(w / type(h)(ow)))
    return height / oh, width / ow, gh, gw


by_kind(frame, Align=upright_frame, Moved=upright_frame, Precise=exact_frame, Bezier=curved_frame)


@kernel
def curve(a, b, c, d, u):
    v = 1 - u
    return v * v * v * a + 3 * u * v * v * b + 3 * u * u * v * c + u * u * u * d


@kernel
def between(roi, scale, i, oh, j, ow):
    """The point of a bin (i, j) between the upper curve (points 0 to 3) and the lower one (points 7 to 4)."""
    u, v = j / ow, i / oh
    r = roi
    x0, y0 = curve(r[1], r[3], r[5], r[7], u), curve(r[2], r[4], r[6], r[8], u)
    x1, y1 = curve(r[15], r[13], r[11], r[9], u), curve(r[16], r[14], r[12], r[10], u)
    return (y1 * v + y0 * (1 - v)) * scale, (x1 * v + x0 * (1 - v)) * scale


@kernel
def ramp(u):
    """The integral of the hat function max(0, 1 - |t|) up to u."""
    if u <= -1:
        return 0.0
    if u >= 1:
        return 1.0
    return 0.5 * (1 + u) * (1 + u) if u < 0 else 1 - 0.5 * (1 - u) * (1 - u)


@kernel
def hat(t):
    return max(0.0, 1 - abs(t))


@kernel
def share_of(start, size, pixel):
    """The average of a pixel's hat function over [start, start + size], and its derivatives by where that starts and stops.

    Small intervals are those of a line or a parabola: differences of integrals, divided by the size twice, would be noise.
    """
    a = start - pixel
    b = a + size
    if b <= -1 or a >= 1:
        return 0.0, 0.0, 0.0
    if a >= -1 and b <= 0:
        return 0.5 * (hat(a) + hat(b)), 0.5, 0.5
    if a >= 0 and b <= 1:
        return 0.5 * (hat(a) + hat(b)), -0.5, -0.5
    if a >= -1 and b <= 1:
        less = (a * a + b * b) / (2 * size)
        return 1 - less, (-a - less) / size, (less - b) / size
    if b <= 0:
        part = (b + 1) * (b + 1) / (2 * size)
        return part, part / size, (b + 1 - part) / size
    if a >= 0:
        part = (1 - a) * (1 - a) / (2 * size)
        return part, (part - (1 - a)) / size, -part / size
    part = (ramp(b) - ramp(a)) / size
    return part, (part - hat(a)) / size, (hat(b) - part) / size


@kernel
def integral(start, size, length, index, weight):
    """The exact average of the interpolated line over [start, start + size], 0 outside the map, as `samples`."""
    if not (size > 0 and np.isfinite(size)):
        return 0
    n = 0
    first, last = max(np.floor(start), 0.0), min(np.ceil(start + size), length - 1.0)
    for k in range(int(max(last - first + 1, 0.0))):
        pixel = int(first) + k
        index[n] = pixel
        weight[n] = share_of(start, size, pixel)[0]
        n += 1
    return n


def axes(pooling, roi, offset, oh, ow, height, width):
    """The taps along y and x: rows, weights and counts of each list; bin (i, j)'s lists are i and j, or both
    i * ow + j where each bin has its own (the first that is given)."""


@kernel
def lists(many, most, dtype):
    """Room for so many lists of taps: pixels, weights, how many there are."""
    return np.empty((many, most), np.int64), np.empty((many, most), dtype), np.empty(many, np.int64)


def aligned_axes(pooling, roi, offset, oh, ow, height, width):
    y, x, bh, bw, gh, gw = frame(pooling, roi, oh, ow)
    rows, wy, ny = lists(oh, room(gh, height), roi.dtype)
    cols, wx, nx = lists(ow, room(gw, width), roi.dtype)
    for i in range(oh):
        ny[i] = samples(y + i * bh, bh, gh, height, rows[i], wy[i])
    for j in range(ow):
        nx[j] = samples(x + j * bw, bw, gw, width, cols[j], wx[j])
    return False, rows, wy, ny, cols, wx, nx


def moved_axes(pooling, roi, offset, oh, ow, height, width):
    y, x, bh, bw, gh, gw = frame(pooling, roi, oh, ow)
    rows, wy, ny = lists(oh * ow, room(gh, height), roi.dtype)
    cols, wx, nx = lists(oh * ow, room(gw, width), roi.dtype)
    for i in range(oh):
        for j in range(ow):
            k = i * ow + j
            top = y + i * bh + pooling.gamma * bh * oh * offset[1, i, j]
            left = x + j * bw + pooling.gamma * bw * ow * offset[0, i, j]
            ny[k] = samples(top, bh, gh, height, rows[k], wy[k])
            nx[k] = samples(left, bw, gw, width, cols[k], wx[k])
    return True, rows, wy, ny, cols, wx, nx


def exact_axes(pooling, roi, offset, oh, ow, height, width):
    y, x, bh, bw, _, _ = frame(pooling, roi, oh, ow)
    rows, wy, ny = lists(oh, int(min(bh + 3, height + 2.0)), roi.dtype)
    cols, wx, nx = lists(ow, int(min(bw + 3, width + 2.0)), roi.dtype)
    for i in range(oh):
        ny[i] = integral(y + i * bh, bh, height, rows[i], wy[i])
    for j in range(ow):
        nx[j] = integral(x + j * bw, bw, width, cols[j], wx[j])
    return False, rows, wy, ny, cols, wx, nx


def curved_axes(pooling, roi, offset, oh, ow, height, width):
    _, _, bh, bw, gh, gw = frame(pooling, roi, oh, ow)
    rows, wy, ny = lists(oh * ow, room(gh, height), roi.dtype)
    cols, wx, nx = lists(oh * ow, room(gw, width), roi.dtype)
    half = 0.5 if pooling.aligned else 0.0
    for i in range(oh):
        for j in range(ow):
            k = i * ow + j
            y, x = between(roi, pooling.scale, i, oh, j, ow)
            ny[k] = samples(y - half - 0.5 * bh, bh, gh, height, rows[k], wy[k])
            nx[k] = samples(x - half - 0.5 * bw, bw, gw, width, cols[k], wx[k])
    return True, rows, wy, ny, cols, wx, nx


by_kind(axes, Align=aligned_axes, Moved=moved_axes, Precise=exact_axes, Bezier=curved_axes)


@kernel
def extent(index, count):
    """The least and the greatest pixel of all lists; (0, -1) of none."""
    least, greatest = 2**62, -1
    for i in range(count.shape[0]):
        for k in range(count[i]):
            least, greatest = min(least, index[i, k]), max(greatest, index[i, k])
    return (least, greatest) if greatest >= 0 else (0, -1)


@kernel
def forward_some(pooling, x, planes, rois, offsets, height, width, out, turn, grain, n):
    """out (K, C, oh, ow) from x (B * H * W, C) or, where that is empty, from planes (B, C, H, W)."""
    channels, oh, ow = out.shape[1], out.shape[2], out.shape[3]
    windows = x.shape[0] == 0
    bins = np.empty((oh * ow, channels), out.dtype)
    start = claim(turn, grain)
    while start < n:
        for r in range(start, min(start + grain, n)):
            roi, target = rois[r], out[r].reshape(channels, oh * ow)
            offset = offsets[min(r, offsets.shape[0] - 1)]
            if not all_finite(roi):
                for c in range(channels):
                    for b in range(oh * ow):
                        target[c, b] = np.nan
                continue
            image = int(roi[0])
            own, rows, wy, ny, cols, wx, nx = axes(pooling, roi, offset, oh, ow, height, width)
            top, left, stride = 0, 0, width
            if windows:
                top, bottom = extent(rows, ny)
                left, right = extent(cols, nx)
                stride = right - left + 1
                cut = np.empty(((bottom - top + 1) * stride, channels), out.dtype)
                window(planes[image], top, left, bottom - top + 1, stride, cut)
                source = cut
            else:
                source = x[image * height * width : (image + 1) * height * width]
            index, weight = (
                np.empty(rows.shape[1] * cols.shape[1], np.int64),
                np.empty(rows.shape[1] * cols.shape[1], out.dtype),
            )
            for i in range(oh):
                for j in range(ow):
                    a, b = (i * ow + j, i * ow + j) if own else (i, j)
                    count = outer(rows[a], wy[a], ny[a], cols[b], wx[b], nx[b], top, left, stride, index, weight)
                    total = bins[i * ow + j]
                    for c in range(channels):
                        total[c] = 0
                    weighted_sum(total, source, index, weight, count)
            transpose(bins, target)
        start = claim(turn, grain)


@kernel
def backward_some(pooling, grad, rois, order, starts, offsets, out, blocks, turn, grain, n):
    """out (B, C, H, W), a task for each image and `TASK_CHANNELS` channels; RoIs in their order, so sums don't depend on tasks."""
    oh, ow = grad.shape[2], grad.shape[3]
    channels, height, width = out.shape[1], out.shape[2], out.shape[3]
    most = min(TASK_CHANNELS, channels)
    memory, small = np.empty(height * width * most, out.dtype), np.empty(oh * ow * most, out.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, c = task // blocks, (task % blocks) * TASK_CHANNELS
            d = min(c + TASK_CHANNELS, channels)
            total = memory[: height * width * (d - c)].reshape(height * width, d - c)
            bins = small[: oh * ow * (d - c)].reshape(oh * ow, d - c)
            total[:] = 0
            for q in range(starts[image], starts[image + 1]):
                r = order[q]
                roi = rois[r]
                if not all_finite(roi):
                    continue
                offset = offsets[min(r, offsets.shape[0] - 1)]
                own, rows, wy, ny, cols, wx, nx = axes(pooling, roi, offset, oh, ow, height, width)
                transpose(grad[r, c:d].reshape(d - c, oh * ow), bins)
                index, weight = (
                    np.empty(rows.shape[1] * cols.shape[1], np.int64),
                    np.empty(rows.shape[1] * cols.shape[1], out.dtype),
                )
                for i in range(oh):
                    for j in range(ow):
                        a, b = (i * ow + j, i * ow + j) if own else (i, j)
                        count = outer(rows[a], wy[a], ny[a], cols[b], wx[b], nx[b], 0, 0, width, index, weight)
                        scatter(total, index, weight, count, bins[i * ow + j])
            transpose_all(total, out[image, c:d].reshape(d - c, height * width))
        start = claim(turn, grain)


@kernel
def transpose_all(src, dst):
    for p in range(0, src.shape[0], 64):
        for c in range(0, src.shape[1], 16):
            transpose(src[p : p + 64, c : c + 16], dst[c : c + 16, p : p + 64])


@kernel
def areas(rois, scale, height, width):
    """About how many pixels the RoIs' windows have in all: those round their points, (x, y) after the image's index."""
    total = 0.0
    for r in range(rois.shape[0]):
        left = right = np.float64(rois[r, 1])
        top = bottom = np.float64(rois[r, 2])
        for k in range(3, rois.shape[1] - 1, 2):
            x, y = np.float64(rois[r, k]), np.float64(rois[r, k + 1])
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
        across, down = (right - left) * scale + 2, (bottom - top) * scale + 2
        if across == across and down == down:
            total += min(down, np.float64(height)) * min(across, np.float64(width))
    return total


NONE = {np.dtype(t): np.empty((0, 1, 1, 1), t) for t in ("float32", "float64")}
UNMOVED = {np.dtype(t): np.empty((1, 1, 1, 1), t) for t in ("float32", "float64")}  # offsets that no region reads


def forward(pooling, x, last, rois, offsets, out):
    """Pool features x, (B, H, W, C) if `last` else (B, C, H, W), into out (K, C, oh, ow)."""
    if not out.size:
        return
    if last:
        batch, height, width, channels = x.shape
    else:
        batch, channels, height, width = x.shape
    if not height * width:
        pool_nothing(rois, out)
        return
    oh, ow = out.shape[2:]
    windows = False
    if not last:
        windows = areas(rois, pooling.scale, height, width) < 0.5 * batch * height * width
        if not windows:
            x = channels_last(x)
    none = NONE[x.dtype]
    x, planes = (none.reshape(0, 1), x) if windows else (x.reshape(batch * height * width, channels), none)
    if offsets is None:
        offsets = UNMOVED[x.dtype]
    each = 200 + oh * ow * (40 + 2 * channels)
    parallel_for(
        forward_some, len(rois), max(1, min(16, 50_000 // each)),
        pooling, x, planes, rois, offsets, height, width, out, cost=each,
    )  # fmt: skip


def backward(pooling, grad, rois, offsets, out):
    """Fill out (B, C, H, W) with the gradient of `forward` for its features, given that of its result."""
    batch, channels, height, width = out.shape
    if not (out.size and grad.size):
        out[:] = 0
        return
    order, starts = by_image(rois, batch)
    blocks = -(-channels // TASK_CHANNELS)
    if offsets is None:
        offsets = UNMOVED[grad.dtype]
    each = height * width * 40 + len(rois) * grad.shape[2] * grad.shape[3] * 200 // batch
    parallel_for(
        backward_some, batch * blocks, 1,
        pooling, grad, rois, order, starts, offsets, out, blocks, cost=each,
    )  # fmt: skip


def pulls(pooling, start, size, g, length, index, weights):
    """A bin's taps along one axis, as `axes` gives them: weights (3, most), and their derivatives by where the bin starts and
    by where it stops, or by its offset alone (and zeros). How many taps there are."""


def exact_pulls(pooling, start, size, g, length, index, weights):
    count = integral(start, size, length, index, weights[0])
    for k in range(count):
        _, weights[1, k], weights[2, k] = share_of(start, size, index[k])
    return count


def moved_pulls(pooling, start, size, g, length, index, weights):
    return slopes(start, size, g, length, index, weights[0], weights[1])


by_kind(pulls, Moved=moved_pulls, Precise=exact_pulls)


@kernel
def share(weight, value):
    """Their product; a pixel without a share counts for nothing, whatever it holds."""
    return weight * value if weight != 0 else 0.0


@kernel
def edges_some(pooling, grad, x, rois, offsets, height, width, out, turn, grain, n):
    """What a change of a bin's place does to sum(grad * result). `Precise`: out (K, 4, oh, ow) by top, bottom, left, right.
    `Moved`: out (K, 2, oh, ow) by its offset along x and y."""
    channels, oh, ow = grad.shape[1], grad.shape[2], grad.shape[3]
    moved = offsets.shape[0] > 0
    bins = np.empty((oh * ow, channels), out.dtype)
    start = claim(turn, grain)
    while start < n:
        for r in range(start, min(start + grain, n)):
            roi = rois[r]
            if not all_finite(roi):
                out[r] = 0
                continue
            image = int(roi[0])
            source = x[image * height * width : (image + 1) * height * width]
            transpose(grad[r].reshape(channels, oh * ow), bins)
            y, left, bh, bw, gh, gw = frame(pooling, roi, oh, ow)
            by_y, by_x = pooling.gamma * bh * oh, pooling.gamma * bw * ow
            ry, rx = int(min(bh + 3, height + 2.0)), int(min(bw + 3, width + 2.0))
            if moved:
                ry, rx = room(gh, height), room(gw, width)
            rows, cols = np.empty(ry, np.int64), np.empty(rx, np.int64)
            ty, tx = np.zeros((3, ry), np.float64), np.zeros((3, rx), np.float64)
            for i in range(oh):
                for j in range(ow):
                    top, at = y + i * bh, left + j * bw
                    if moved:
                        top += by_y * offsets[r, 1, i, j]
                        at += by_x * offsets[r, 0, i, j]
                    ny, nx = pulls(pooling, top, bh, gh, height, rows, ty), pulls(pooling, at, bw, gw, width, cols, tx)
                    a = b = c = d = 0.0
                    for p in range(ny):
                        for q in range(nx):
                            value = np.float64(dot(source[rows[p] * width + cols[q]], bins[i * ow + j]))
                            a += share(ty[1, p] * tx[0, q], value)
                            b += share(ty[2, p] * tx[0, q], value)
                            c += share(ty[0, p] * tx[1, q], value)
                            d += share(ty[0, p] * tx[2, q], value)
                    if moved:
                        out[r, 0, i, j], out[r, 1, i, j] = c * by_x, a * by_y
                    else:
                        out[r, 0, i, j], out[r, 1, i, j], out[r, 2, i, j], out[r, 3, i, j] = a, b, c, d
        start = claim(turn, grain)


def edges(pooling, grad, x, last, rois, offsets, out):
    """Fill out with `edges_some`."""
    if not (x.size and grad.size):
        out[:] = 0
        return
    if not last:
        x = channels_last(x)
    batch, height, width, channels = x.shape
    if offsets is None:
        offsets = NONE[x.dtype]
    each = grad.shape[2] * grad.shape[3] * (100 + 8 * channels)
    parallel_for(
        edges_some, len(rois), max(1, min(16, 50_000 // each)),
        pooling, grad, x.reshape(batch * height * width, channels), rois, offsets, height, width, out, cost=each,
    )  # fmt: skip
