"""RoIAlign: averages over grids of bilinear samples (`cpu/roi_bins.py`), or their maxima."""

import numpy as np

from arrayvision.cpu import kernel, roi_bins
from arrayvision.cpu.bilinear import (
    all_finite,
    by_image,
    channels_last,
    check_batch,
    neighbours,
    pool_nothing,
    reach,
    room,
    samples,
    scatter_four,
    weighted_sum,
)
from arrayvision.cpu.roi_bins import Align, frame, pooling
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.transposes import transpose

SMALL = 40_000


@kernel(fastmath={"contract"})
def forward_few(x, rois, scale, sampling, aligned, out):
    """Average, of few regions and channels, all in one call: a plane's rows first, then what they add up to. (What turns
    channels last pays only for more.) False, and nothing is computed, if a region names no image."""
    pooling = Align(scale, sampling, aligned, 0.0)  # to be given a record takes longer
    channels, height, width, oh, ow = x.shape[1], x.shape[2], x.shape[3], out.shape[2], out.shape[3]
    if check_batch(rois, x.shape[0]) >= 0:
        return False
    line, many = np.empty(width, out.dtype), np.empty(oh + ow, np.int64)
    for r in range(rois.shape[0]):
        roi, pooled = rois[r], out[r].reshape(channels * oh * ow)
        if not all_finite(roi):
            for k in range(pooled.shape[0]):
                pooled[k] = np.nan
            continue
        y0, x0, bh, bw, gh, gw = frame(pooling, roi, oh, ow)
        ry, rx = room(gh, height), room(gw, width)
        index, weight = np.empty(oh * ry + ow * rx, np.int64), np.empty(oh * ry + ow * rx, out.dtype)
        for i in range(oh):
            a, b = i * ry, (i + 1) * ry
            many[i] = samples(y0 + i * bh, bh, gh, height, index[a:b], weight[a:b])
        left, right = width, 0
        for j in range(ow):
            a, b = oh * ry + j * rx, oh * ry + (j + 1) * rx
            n = samples(x0 + j * bw, bw, gw, width, index[a:b], weight[a:b])
            many[oh + j] = n
            for k in range(a, a + n):
                left, right = min(left, index[k]), max(right, index[k] + 1)
        sums = line[: max(right - left, 0)]
        k = 0
        for c in range(channels):
            plane = x[int(roi[0]), c, :, left : max(left, right)]
            for i in range(oh):
                for m in range(sums.shape[0]):
                    sums[m] = 0
                weighted_sum(sums, plane, index[i * ry :], weight[i * ry :], many[i])
                for j in range(ow):
                    total, a = sums.dtype.type(0), oh * ry + j * rx
                    for b in range(a, a + many[oh + j]):
                        total += weight[b] * sums[index[b] - left]
                    pooled[k] = total
                    k += 1
    return True


def few(x, shape):
    """Whether `forward_few` is for features x (B, C, H, W) and a result of this shape."""
    count, channels, oh, ow = shape
    return 0 < count * channels * oh * (x.shape[3] + 4 * ow) < SMALL and x.size > 0


def forward(x, last, rois, scale, sampling, aligned, out):
    """Average: x (B, H, W, C) if `last` else (B, C, H, W), rois (K, 5), out (K, C, oh, ow)."""
    if not last and few(x, out.shape):
        forward_few(x, rois, scale, sampling, aligned, out)
    else:
        roi_bins.forward(pooling(Align, scale, sampling, aligned), x, last, rois, None, out)


def backward(grad, rois, scale, sampling, aligned, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    roi_bins.backward(pooling(Align, scale, sampling, aligned), grad, rois, None, out)


@kernel
def period(g, length):
    """Samples along one axis are numbered modulo this: more than lie inside the map at once, so it is one number for one
    sample, and one that fits an int32. It says nothing of where the border lies, which back ends may round differently."""
    return g if g <= 1024 else min(g, 2.0 * length + 8)


@kernel
def positions(start, size, g, length):
    """The positions of a bin's samples along one axis that lie inside, the first one's number, and whether all do."""
    first, many = reach(start, size, g, -1.0, np.float64(length))
    found, n, before = np.empty(many, np.float64), 0, first
    for k in range(many):
        p = start + (first + k + 0.5) * (size / g)
        if p >= -1 and p <= length:
            found[n] = p
            n += 1
        elif n == 0:
            before += 1
    return found[:n], int(before % max(period(g, length), 1.0)), n == g


@kernel
def greater(best, which, p, q, r, s, a, b, c, d, number):
    """Where a sample, interpolated from four pixels, is greater than the best so far (or the first NaN), it is the best."""
    for i in range(best.shape[0]):
        v = a * p[i] + b * q[i] + c * r[i] + d * s[i]
        if not (v <= best[i]) and best[i] == best[i]:
            best[i], which[i] = v, number


@kernel
def nothing(best, which):
    """A sample outside the map is 0."""
    for i in range(best.shape[0]):
        if best[i] < 0:
            best[i], which[i] = 0, -1


@kernel
def forward_max_some(pooling, x, rois, out, which, turn, grain, n):
    height, width, channels, oh, ow = x.shape[1], x.shape[2], x.shape[3], out.shape[2], out.shape[3]
    bins, numbers = np.empty((oh * ow, channels), out.dtype), np.empty((oh * ow, channels), np.int32)
    start = claim(turn, grain)
    while start < n:
        for r in range(start, min(start + grain, n)):
            roi = rois[r]
            if not all_finite(roi):
                out[r], which[r] = np.nan, -1
                continue
            image = x[int(roi[0])]
            y0, x0, bh, bw, gh, gw = frame(pooling, roi, oh, ow)
            rows, columns = int(period(gh, height)), int(period(gw, width))
            for i in range(oh):
                ys, first_y, all_y = positions(y0 + i * bh, bh, gh, height)
                for j in range(ow):
                    xs, first_x, all_x = positions(x0 + j * bw, bw, gw, width)
                    best, number = bins[i * ow + j], numbers[i * ow + j]
                    if gh > 0 and gw > 0:
                        best[:], number[:] = -np.inf, -1
                    else:
                        best[:], number[:] = 0, -1
                    for u in range(ys.shape[0]):
                        yl, yh, fy = neighbours(ys[u], height)
                        row = (first_y + u) % rows
                        for v in range(xs.shape[0]):
                            xl, xh, fx = neighbours(xs[v], width)
                            a, b = out.dtype.type((1 - fy) * (1 - fx)), out.dtype.type((1 - fy) * fx)
                            c, d = out.dtype.type(fy * (1 - fx)), out.dtype.type(fy * fx)
                            p, q, s, t = image[yl, xl], image[yl, xh], image[yh, xl], image[yh, xh]
                            greater(
                                best, number, p, q, s, t, a, b, c, d, np.int32(row * columns + (first_x + v) % columns)
                            )
                    if not (all_y and all_x):
                        nothing(best, number)
            transpose(bins, out[r].reshape(channels, oh * ow))
            transpose(numbers, which[r].reshape(channels, oh * ow))
        start = claim(turn, grain)


@kernel
def backward_max_some(pooling, grad, which, rois, order, starts, out, turn, grain, n):
    """A task for each image and channel."""
    channels, height, width, oh, ow = out.shape[1], out.shape[2], out.shape[3], grad.shape[2], grad.shape[3]
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, c = task // channels, task % channels
            total = out[image, c]
            total[:] = 0
            for q in range(starts[image], starts[image + 1]):
                r = order[q]
                if not all_finite(rois[r]):
                    continue
                y0, x0, bh, bw, gh, gw = frame(pooling, rois[r], oh, ow)
                if not (gh > 0 and gw > 0):
                    continue
                rows, columns = int(period(gh, height)), int(period(gw, width))
                for i in range(oh):
                    ys, first_y, _ = positions(y0 + i * bh, bh, gh, height)
                    for j in range(ow):
                        number, g = which[r, c, i, j], grad[r, c, i, j]
                        if number < 0:
                            continue
                        xs, first_x, _ = positions(x0 + j * bw, bw, gw, width)
                        u, v = (number // columns - first_y) % rows, (number % columns - first_x) % columns
                        if (
                            number // columns >= rows or u >= ys.shape[0] or v >= xs.shape[0]
                        ):  # not of this forward pass
                            continue
                        yl, yh, fy = neighbours(ys[u], height)
                        xl, xh, fx = neighbours(xs[v], width)
                        scatter_four(total, yl, yh, fy, xl, xh, fx, g)
        start = claim(turn, grain)


def forward_max(x, last, rois, scale, sampling, aligned, out, which):
    """Maximum; `which` (K, C, oh, ow) gets the number of the sample it is (see `period`), -1 for none inside."""
    if not out.size:
        return
    if not x.size:
        which[:] = -1
        pool_nothing(rois, out)
        return
    if not last:
        x = channels_last(x)
    each = out.shape[2] * out.shape[3] * (200 + 20 * out.shape[1])
    parallel_for(
        forward_max_some, len(rois), max(1, min(16, 50_000 // each)),
        pooling(Align, scale, sampling, aligned), x, rois, out, which, cost=each,
    )  # fmt: skip


def backward_max(grad, which, rois, scale, sampling, aligned, out):
    """Fill out (B, C, H, W) with the features' gradient of `forward_max`."""
    batch, channels, height, width = out.shape
    if not (out.size and grad.size):
        out[:] = 0
        return
    order, starts = by_image(rois, batch)
    each = height * width + len(rois) * grad.shape[2] * grad.shape[3] * 40 // batch
    parallel_for(
        backward_max_some, batch * channels, max(1, 50_000 // each),
        pooling(Align, scale, sampling, aligned), grad, which, rois, order, starts, out, cost=each,
    )  # fmt: skip
