"""Attention masks over maps: for each row of pixels and each row that they see, a tile of masks is copied and read askew.

A mask's number `m` over the pixel `u` of its row belongs to the pixel `w = u + middle - m`.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.addresses import listed, longs_at, numbers_at, room_at
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def lay(x, collect, out, turn, grain, n):
    height, width, h, w = x.shape[1:]
    above, before = (height - 1) // 2, (width - 1) // 2
    tile = np.empty((width, w), out.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, v, y = task // (h * h), task // h % h, task % h
            row = v - y + above
            if 0 <= row < height:
                for m in range(width):
                    copied, values = tile[m], x[image, row, m, y]
                    for k in range(w):
                        copied[k] = values[k]
            for i in range(w):
                # The pixel that is seen, or the one that sees.
                target = out[image, v, i, y] if collect else out[image, y, i, v]
                first, last = 0, 0
                if 0 <= row < height:
                    if collect:
                        first, last = max(i + before - width + 1, 0), min(i + before + 1, w)
                    else:
                        first, last = max(i - before, 0), min(i - before + width, w)
                for k in range(first):
                    target[k] = 0
                if collect:
                    for k in range(first, last):
                        target[k] = tile[i - k + before, k]
                else:
                    for k in range(first, last):
                        target[k] = tile[k - i + before, i]
                for k in range(last, w):
                    target[k] = 0
        start = claim(turn, grain)


@kernel
def lay_at(x, out, how):
    """All of them without threads, at addresses; at `how` are the numbers of `small`."""
    numbers = longs_at(how, (6,))
    count, height, width, h, w, collect = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5] != 0
    source, target, n = numbers_at(x, (count, height, width, h, w)), room_at(out, (count, h, w, h, w)), count * h * h
    lay(source, collect, target, np.zeros(1, np.int64), n, n)


@kernel
def take(grad, collect, out, turn, grain, n):
    height, width, h, w = out.shape[1:]
    above, before = (height - 1) // 2, (width - 1) // 2
    tile = np.empty((w, w), out.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, row, y = task // (height * h), task // h % height, task % h
            v = row + y - above
            if 0 <= v < h:
                for i in range(w):
                    copied, values = tile[i], grad[image, v, i, y] if collect else grad[image, y, i, v]
                    for k in range(w):
                        copied[k] = values[k]
            for m in range(width):
                target, first, last = out[image, row, m, y], 0, 0
                if 0 <= v < h:
                    first, last = max(before - m, 0), min(w + before - m, w)
                    last = max(first, last)
                for k in range(min(first, w)):
                    target[k] = 0
                if collect:
                    for k in range(first, last):
                        target[k] = tile[k + m - before, k]
                else:
                    for k in range(first, last):
                        target[k] = tile[k, k + m - before]
                for k in range(last, w):
                    target[k] = 0
        start = claim(turn, grain)


def small(count, height, width, h, w, collect):
    """The address of the numbers that `lay_at` reads, and the array that they are in."""
    return listed(count, height, width, h, w, collect)


def forward(x, collect, out):
    """Fill out (N, H, W, H, W), pixels seen or seeing first, with masks x (N, height, width, H, W)."""
    if out.size:
        n, h, w = out.shape[:3]
        each = w * (w + x.shape[2] // 4)
        parallel_for(lay, n * h * h, max(1, 16384 // each), x, collect, out, cost=each)


def backward(grad, collect, out):
    """Fill out (N, height, width, H, W) with the masks' gradient, from that of the result (N, H, W, H, W)."""
    if out.size:
        n, height, width, h, w = out.shape
        each = w * (width + w // 4)
        parallel_for(take, n * height * h, max(1, 16384 // each), grad, collect, out, cost=each)
