"""RoIAlign of rotated regions, and its rotation-invariant kin, which also turns groups of orientation channels."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.bilinear import (
    all_finite,
    by_image,
    channels_last,
    neighbours,
    pool_nothing,
    reach,
    scatter,
    weighted_sum,
    window,
)
from arrayvision.cpu.roi_bins import NONE, TASK_CHANNELS, transpose_all
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.transposes import transpose


@kernel
def frame(roi, scale, sampling, aligned, oh, ow):
    """(y, x) of the centre, a bin's height and width, samples in a bin along the region's own axes."""
    one, s = roi.dtype.type(1), roi.dtype.type(scale)
    w, h = roi[3] * s, roi[4] * s
    width, height = np.float64(roi[3]) * scale, np.float64(roi[4]) * scale
    half = 0.5 if aligned else 0.0
    if not aligned:
        w, h, width, height = max(w, one), max(h, one), max(width, 1.0), max(height, 1.0)
    gh = np.float64(sampling if sampling > 0 else np.ceil(h / roi.dtype.type(oh)))
    gw = np.float64(sampling if sampling > 0 else np.ceil(w / roi.dtype.type(ow)))
    return roi[2] * np.float64(scale) - half, roi[1] * np.float64(scale) - half, height / oh, width / ow, gh, gw


@kernel
def row_bounds(yy, y0, y1, x0, x1, c, s):
    """Where along a row of samples, at yy in the region's frame, the map lies."""
    a, b = -np.inf, np.inf
    if s != 0:
        p, q = (yy * c - y0) / s, (yy * c - y1) / s
        a, b = min(p, q), max(p, q)
    if c != 0:
        p, q = (x0 - yy * s) / c, (x1 - yy * s) / c
        a, b = max(a, min(p, q)), min(b, max(p, q))
    return a, b


@kernel
def taps(y, x, bh, bw, gh, gw, c, s, i, j, oh, ow, height, width, top, left, stride, index, weight):
    """The pixels that a bin's samples touch, as positions in a window at (top, left), and their weights. Returns the two
    arrays, larger ones if need be, and how many there are."""
    start_y, start_x = (i - 0.5 * oh) * bh, (j - 0.5 * ow) * bw
    # A little more than the map: rounding must not lose a sample on its border; each is looked at again below.
    y0, y1, x0, x1 = -1.001 - y, height + 0.001 - y, -1.001 - x, width + 0.001 - x
    low = min(y0 * c, y1 * c) + min(x0 * s, x1 * s)
    high = max(y0 * c, y1 * c) + max(x0 * s, x1 * s)
    from_y, ny = reach(start_y, bh, gh, low, high)
    n, share = 0, 1 / gh / gw
    for u in range(ny):
        yy = start_y + (from_y + u + 0.5) * (bh / gh)
        a, b = row_bounds(yy, y0, y1, x0, x1, c, s)
        from_x, nx = reach(start_x, bw, gw, a, b)
        if a > b:
            continue
        if n + 4 * nx > index.shape[0]:
            more = 2 * (n + 4 * nx)
            old_index, old_weight = index, weight
            index, weight = np.empty(more, np.int64), np.empty(more, old_weight.dtype)
            index[:n], weight[:n] = old_index[:n], old_weight[:n]
        for v in range(nx):
            xx = start_x + (from_x + v + 0.5) * (bw / gw)
            yl, yh, fy = neighbours(yy * c - xx * s + y, height)
            xl, xh, fx = neighbours(yy * s + xx * c + x, width)
            if yl < 0 or xl < 0:
                continue
            first, second = (yl - top) * stride - left, (yh - top) * stride - left
            index[n], weight[n] = first + xl, (1 - fy) * (1 - fx) * share
            n += 1
            if fx > 0:
                index[n], weight[n] = first + xh, (1 - fy) * fx * share
                n += 1
            if fy > 0:
                index[n], weight[n] = second + xl, fy * (1 - fx) * share
                n += 1
                if fx > 0:
                    index[n], weight[n] = second + xh, fy * fx * share
                    n += 1
    return index, weight, n


@kernel
def hull(y, x, bh, bw, oh, ow, c, s, height, width):
    """Rows and columns that the region can touch: first and last of each."""
    ry = 0.5 * (abs(bh * oh * c) + abs(bw * ow * s)) + 1
    rx = 0.5 * (abs(bh * oh * s) + abs(bw * ow * c)) + 1
    top, bottom = max(min(np.floor(y - ry), height - 1.0), 0.0), max(min(np.ceil(y + ry), height - 1.0), 0.0)
    left, right = max(min(np.floor(x - rx), width - 1.0), 0.0), max(min(np.ceil(x + rx), width - 1.0), 0.0)
    return int(top), int(bottom), int(left), int(right)


@kernel
def angle(roi, clockwise):
    theta = np.float64(-roi[5] if clockwise else roi[5])
    return np.cos(theta), np.sin(theta)


@kernel
def forward_some(x, planes, rois, scale, sampling, aligned, clockwise, height, width, out, turn, grain, n):
    """out (K, C, oh, ow) from x (B * H * W, C) or, where that is empty, from planes (B, C, H, W)."""
    channels, oh, ow = out.shape[1], out.shape[2], out.shape[3]
    windows = x.shape[0] == 0
    bins = np.empty((oh * ow, channels), out.dtype)
    index, weight = np.empty(64, np.int64), np.empty(64, out.dtype)
    start = claim(turn, grain)
    while start < n:
        for r in range(start, min(start + grain, n)):
            roi, target = rois[r], out[r].reshape(channels, oh * ow)
            if not all_finite(roi):
                target[:] = np.nan
                continue
            image = int(roi[0])
            cy, cx, bh, bw, gh, gw = frame(roi, scale, sampling, aligned, oh, ow)
            c, s = angle(roi, clockwise)
            top, left, stride = 0, 0, width
            if windows:
                top, bottom, left, right = hull(cy, cx, bh, bw, oh, ow, c, s, height, width)
                stride = right - left + 1
                cut = np.empty(((bottom - top + 1) * stride, channels), out.dtype)
                window(planes[image], top, left, bottom - top + 1, stride, cut)
                source = cut
            else:
                source = x[image * height * width : (image + 1) * height * width]
            for i in range(oh):
                for j in range(ow):
                    index, weight, count = taps(
                        cy, cx, bh, bw, gh, gw, c, s, i, j, oh, ow, height, width, top, left, stride, index, weight
                    )
                    bins[i * ow + j] = 0
                    weighted_sum(bins[i * ow + j], source, index, weight, count)
            transpose(bins, target)
        start = claim(turn, grain)


@kernel
def backward_some(grad, rois, order, starts, scale, sampling, aligned, clockwise, out, blocks, turn, grain, n):
    """out (B, C, H, W), a task for each image and `TASK_CHANNELS` channels."""
    oh, ow = grad.shape[2], grad.shape[3]
    channels, height, width = out.shape[1], out.shape[2], out.shape[3]
    most = min(TASK_CHANNELS, channels)
    memory, small = np.empty(height * width * most, out.dtype), np.empty(oh * ow * most, out.dtype)
    index, weight = np.empty(64, np.int64), np.empty(64, out.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, first = task // blocks, (task % blocks) * TASK_CHANNELS
            last = min(first + TASK_CHANNELS, channels)
            total = memory[: height * width * (last - first)].reshape(height * width, last - first)
            bins = small[: oh * ow * (last - first)].reshape(oh * ow, last - first)
            total[:] = 0
            for q in range(starts[image], starts[image + 1]):
                r = order[q]
                roi = rois[r]
                if not all_finite(roi):
                    continue
                cy, cx, bh, bw, gh, gw = frame(roi, scale, sampling, aligned, oh, ow)
                c, s = angle(roi, clockwise)
                transpose(grad[r, first:last].reshape(last - first, oh * ow), bins)
                for i in range(oh):
                    for j in range(ow):
                        index, weight, count = taps(
                            cy, cx, bh, bw, gh, gw, c, s, i, j, oh, ow, height, width, 0, 0, width, index, weight
                        )
                        scatter(total, index, weight, count, bins[i * ow + j])
            transpose_all(total, out[image, first:last].reshape(last - first, height * width))
        start = claim(turn, grain)


@kernel
def areas(rois, scale, sampling, aligned, clockwise, oh, ow, height, width):
    """About how many pixels the RoIs' windows have in all."""
    total = 0.0
    for r in range(rois.shape[0]):
        if all_finite(rois[r]):
            cy, cx, bh, bw, _, _ = frame(rois[r], scale, sampling, aligned, oh, ow)
            c, s = angle(rois[r], clockwise)
            top, bottom, left, right = hull(cy, cx, bh, bw, oh, ow, c, s, height, width)
            total += np.float64(bottom - top + 1) * (right - left + 1)
    return total


def forward(x, last, rois, scale, sampling, aligned, clockwise, out):
    """Pool features x, (B, H, W, C) if `last` else (B, C, H, W), into out (K, C, oh, ow); rois (K, 6)."""
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
        total = areas(rois, scale, sampling, aligned, clockwise, oh, ow, height, width)
        windows = total < 0.5 * batch * height * width
        if not windows:
            x = channels_last(x)
    none = NONE[x.dtype]
    x, planes = (none.reshape(0, 1), x) if windows else (x.reshape(batch * height * width, channels), none)
    each = 200 + oh * ow * (100 + 3 * channels)
    parallel_for(
        forward_some, len(rois), max(1, min(16, 50_000 // each)),
        x, planes, rois, scale, sampling, aligned, clockwise, height, width, out, cost=each,
    )  # fmt: skip


def backward(grad, rois, scale, sampling, aligned, clockwise, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    batch, channels, height, width = out.shape
    if not (out.size and grad.size):
        out[:] = 0
        return
    order, starts = by_image(rois, batch)
    blocks = -(-channels // TASK_CHANNELS)
    each = height * width * 40 + len(rois) * grad.shape[2] * grad.shape[3] * 300 // batch
    parallel_for(
        backward_some, batch * blocks, 1,
        grad, rois, order, starts, scale, sampling, aligned, clockwise, out, blocks, cost=each,
    )  # fmt: skip
