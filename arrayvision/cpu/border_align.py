"""BorderAlign: the maximum of bilinear samples along each border of boxes."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.bilinear import all_finite, channels_last, neighbours, scatter_four
from arrayvision.cpu.roi_align import greater, nothing
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.transposes import transpose

BLOCK = 16


@kernel
def point(box, border, step):
    """The (y, x) of a border's sample, `step` (0 to 1) of the way: top, left from the first corner; bottom, right from the
    second."""
    x1, y1, x2, y2 = np.float64(box[0]), np.float64(box[1]), np.float64(box[2]), np.float64(box[3])
    if border == 0:
        return y1, x1 + (x2 - x1) * step
    if border == 1:
        return y1 + (y2 - y1) * step, x1
    if border == 2:
        return y2, x2 - (x2 - x1) * step
    return y2 - (y2 - y1) * step, x2


@kernel
def forward_some(x, boxes, pool_size, out, which, blocks, turn, grain, n):
    """out and which (B, C, N * 4); a task for each `BLOCK` boxes of an image."""
    height, width, channels, count = x.shape[1], x.shape[2], out.shape[1], boxes.shape[1]
    kind = out.dtype.type
    best, number = np.empty((4 * BLOCK, channels), out.dtype), np.empty((4 * BLOCK, channels), np.int32)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, first = task // blocks, (task % blocks) * BLOCK
            last = min(first + BLOCK, count)
            for r in range(first, last):
                box = boxes[image, r]
                for border in range(4):
                    value, step = best[(r - first) * 4 + border], number[(r - first) * 4 + border]
                    if not all_finite(box):
                        value[:], step[:] = np.nan, -1
                        continue
                    value[:], step[:] = -np.inf, -1
                    some = slice(border * channels, (border + 1) * channels)
                    outside = False
                    for k in range(pool_size + 1):
                        y, across = point(box, border, k / pool_size)
                        yl, yh, fy = neighbours(y, height)
                        xl, xh, fx = neighbours(across, width)
                        if yl < 0 or xl < 0:
                            outside = True
                            continue
                        greater(
                            value, step,
                            x[image, yl, xl, some], x[image, yl, xh, some],
                            x[image, yh, xl, some], x[image, yh, xh, some],
                            kind((1 - fy) * (1 - fx)), kind((1 - fy) * fx), kind(fy * (1 - fx)), kind(fy * fx),
                            np.int32(k),
                        )  # fmt: skip
                    if outside:
                        nothing(value, step)
            transpose(best[: (last - first) * 4], out[image, :, first * 4 : last * 4])
            transpose(number[: (last - first) * 4], which[image, :, first * 4 : last * 4])
        start = claim(turn, grain)


@kernel
def backward_some(grad, which, boxes, pool_size, out, turn, grain, n):
    """out (B, 4, C, H, W), grad and which (B, C, N, 4); a task for each image and channel."""
    channels, height, width = out.shape[2], out.shape[3], out.shape[4]
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, c = task // channels, task % channels
            for border in range(4):
                out[image, border, c] = 0
            for r in range(boxes.shape[1]):
                if not all_finite(boxes[image, r]):
                    continue
                for border in range(4):
                    step, g = which[image, c, r, border], grad[image, c, r, border]
                    if step < 0 or step > pool_size:
                        continue
                    y, x = point(boxes[image, r], border, step / pool_size)
                    yl, yh, fy = neighbours(y, height)
                    xl, xh, fx = neighbours(x, width)
                    if yl < 0 or xl < 0:
                        continue
                    scatter_four(out[image, border, c], yl, yh, fy, xl, xh, fx, g)
        start = claim(turn, grain)


def forward(x, last, boxes, pool_size, out, which):
    """x (B, H, W, 4C) if `last` else (B, 4C, H, W), boxes (B, N, 4); out and which (B, C, N, 4)."""
    if not out.size:
        return
    if not x.size:
        out[:] = np.where(np.isfinite(boxes).all(2), 0, np.nan)[:, None, :, None]
        which[:] = -1
        return
    if not last:
        x = channels_last(x)
    batch, channels, count, _ = out.shape
    blocks = -(-count // BLOCK)
    flat = batch, channels, count * 4
    parallel_for(
        forward_some, batch * blocks, 1,
        x, boxes, pool_size, out.reshape(flat), which.reshape(flat), blocks,
        cost=BLOCK * 4 * (pool_size + 1) * (50 + channels),
    )  # fmt: skip


def backward(grad, which, boxes, pool_size, out):
    """Fill out (B, 4C, H, W) with the features' gradient."""
    if not (out.size and grad.size):
        out[:] = 0
        return
    batch, channels, count, _ = grad.shape
    each = out.shape[2] * out.shape[3] + count * 80
    parallel_for(
        backward_some, batch * channels, max(1, 50_000 // each),
        grad, which, boxes, pool_size, out.reshape(batch, 4, channels, *out.shape[2:]), cost=each,
    )  # fmt: skip
