"""Rotated feature alignment: each position's features and those at its box's centre (and corners), added."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.bilinear import all_finite, channels_last, neighbours, scatter, weighted_sum
from arrayvision.cpu.roi_bins import TASK_CHANNELS, transpose_all
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.transposes import transpose

BLOCK = 32


@kernel
def taps(box, scale, points, here, height, width, index, weight):
    """The pixels that a position takes, itself (`here`) first, and their weights. Returns how many.

    The first two numbers of a box are its centre's y and x."""
    index[0], weight[0], n = here, 1, 1
    y, x = np.float64(box[0]) * scale, np.float64(box[1]) * scale
    w, h, theta = 0.5 * np.float64(box[2]) * scale, 0.5 * np.float64(box[3]) * scale, np.float64(box[4])
    c, s = np.cos(theta), np.sin(theta)
    for k in range(points):
        a = 0.0 if k == 0 else (1.0 if k == 1 or k == 4 else -1.0)
        b = 0.0 if k == 0 else (1.0 if k <= 2 else -1.0)
        yl, yh, fy = neighbours(y + a * s * w + b * c * h, height)
        xl, xh, fx = neighbours(x + a * c * w - b * s * h, width)
        if yl < 0 or xl < 0:
            continue
        index[n], weight[n] = yl * width + xl, (1 - fy) * (1 - fx)
        n += 1
        if fx > 0:  # pixels without a share count for nothing, whatever they hold
            index[n], weight[n] = yl * width + xh, (1 - fy) * fx
            n += 1
        if fy > 0:
            index[n], weight[n] = yh * width + xl, fy * (1 - fx)
            n += 1
        if fx > 0 and fy > 0:
            index[n], weight[n] = yh * width + xh, fy * fx
            n += 1
    return n


@kernel
def forward_some(x, boxes, scale, points, height, width, out, blocks, turn, grain, n):
    """out (B, C, P), x (B, P, C), boxes (B, P, 5); a task for each `BLOCK` positions of an image."""
    channels, size = x.shape[2], x.shape[1]
    index, weight = np.empty(21, np.int64), np.empty(21, out.dtype)
    rows = np.empty((BLOCK, channels), out.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, first = task // blocks, (task % blocks) * BLOCK
            last = min(first + BLOCK, size)
            for p in range(first, last):
                row = rows[p - first]
                if all_finite(boxes[image, p]):
                    row[:] = 0
                    weighted_sum(
                        row, x[image], index, weight,
                        taps(boxes[image, p], scale, points, p, height, width, index, weight),
                    )  # fmt: skip
                else:
                    row[:] = np.nan
            transpose(rows[: last - first], out[image, :, first:last])
        start = claim(turn, grain)


@kernel
def backward_some(grad, boxes, scale, points, height, width, out, blocks, turn, grain, n):
    """out and grad (B, C, P); a task for each image and `TASK_CHANNELS` channels."""
    channels, size = out.shape[1], out.shape[2]
    most = min(TASK_CHANNELS, channels)
    index, weight = np.empty(21, np.int64), np.empty(21, out.dtype)
    memory, small = np.empty(size * most, out.dtype), np.empty(BLOCK * most, out.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, c = task // blocks, (task % blocks) * TASK_CHANNELS
            d = min(c + TASK_CHANNELS, channels)
            total = memory[: size * (d - c)].reshape(size, d - c)
            rows = small[: BLOCK * (d - c)].reshape(BLOCK, d - c)
            total[:] = 0
            for first in range(0, size, BLOCK):
                last = min(first + BLOCK, size)
                transpose(grad[image, c:d, first:last], rows[: last - first])
                for p in range(first, last):
                    if all_finite(boxes[image, p]):
                        count = taps(boxes[image, p], scale, points, p, height, width, index, weight)
                        scatter(total, index, weight, count, rows[p - first])
            transpose_all(total, out[image, c:d])
        start = claim(turn, grain)


def forward(x, last, boxes, scale, points, out):
    """x (B, H, W, C) if `last` else (B, C, H, W), boxes (B, H, W, 5), out (B, C, H, W)."""
    if not out.size:
        return
    if not last:
        x = channels_last(x)
    batch, channels, height, width = out.shape
    blocks = -(-height * width // BLOCK)
    parallel_for(
        forward_some, batch * blocks, 4,
        x.reshape(batch, height * width, channels), boxes.reshape(batch, height * width, 5), scale, points,
        height, width, out.reshape(batch, channels, height * width), blocks, cost=BLOCK * (50 + channels * points),
    )  # fmt: skip


def backward(grad, boxes, scale, points, out):
    """Fill out (B, C, H, W) with the features' gradient."""
    if not out.size:
        return
    batch, channels, height, width = out.shape
    blocks = -(-channels // TASK_CHANNELS)
    parallel_for(
        backward_some, batch * blocks, 1,
        grad.reshape(batch, channels, height * width), boxes.reshape(batch, height * width, 5), scale, points,
        height, width, out.reshape(batch, channels, height * width), blocks, cost=height * width * 300,
    )  # fmt: skip
