"""Content-aware reassembly: channels stay first, and the lanes of all sums are neighbouring columns of the result.

Rows of the maps are enlarged, each pixel so many times, into memory that stays in the cache; from there a tap reads the row
so many places further on. Weights outside the map are copied as zeros. Groups of channels are images of their own here.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.blocks import BYTES, products_1x8, products_2x5, products_2x6
from arrayvision.cpu.threads import claim, parallel_for

COLUMNS = 128  # of the result that are worked on together, about
ROWS = 8  # of the map
CHANNELS = 24  # a multiple of 6 and of 8
SUMS = {"contract"}


@kernel
def enlarge(x, channel, many, y, rows, left, s, pitch, target):
    """target[c, v, t] = x[channel + c, y + v, left + t // s] for v < rows and t < pitch, in strides of rows * pitch and pitch;
    0 outside."""
    height, width = x.shape[1], x.shape[2]
    count = (pitch + s - 1) // s
    low, high = min(max(-left, 0), count), max(min(width - left, count), 0)
    for c in range(many):
        for v in range(rows):
            row = target[(c * rows + v) * pitch : (c * rows + v + 1) * pitch]
            inside = 0 <= y + v < height and low < high
            first, last = (low * s, min(high * s, pitch)) if inside else (pitch, pitch)
            for t in range(first):
                row[t] = 0
            for t in range(last, pitch):
                row[t] = 0
            if inside:
                values, part = x[channel + c, y + v, left + low : left + high], row[first:last]
                whole = part.shape[0] // s
                if s == 2:
                    for t in range(whole):
                        part[2 * t] = values[t]
                        part[2 * t + 1] = values[t]
                else:
                    for q in range(s):
                        for t in range(whole):
                            part[t * s + q] = values[t]
                for t in range(whole * s, part.shape[0]):
                    part[t] = values[whole]


@kernel
def copy_part(values, first, to, count, target):
    """target[to + t] = values[first + t] for t < count, 0 in the rest of target."""
    for t in range(to):
        target[t] = 0
    source, part = values[first : first + count], target[to : to + count]
    for t in range(part.shape[0]):
        part[t] = source[t]
    for t in range(to + count, target.shape[0]):
        target[t] = 0


@kernel
def inside(first, count, move, s, width):
    """Which of `count` columns of the result from `first` on, a multiple of s, have a pixel that is `move` further on."""
    low = min(max(-move * s - first, 0), count)
    return low, max(min((width - move) * s - first, count), low)


@kernel(fastmath=SUMS)
def reassemble(x, masks, k, s, out, turn, grain, n):
    """out (N, C, H * s, W * s) of x (N, C, H, W) and masks (N, k * k, H * s, W * s); a task is a part of an image's channels,
    rows and columns."""
    channels, height, width = x.shape[1:]
    lanes, r = BYTES // out.itemsize, k // 2
    across, down = min(max(1, COLUMNS // s), width), min(ROWS, height)
    parts = (channels + CHANNELS - 1) // CHANNELS
    blocks, stretches = (height + down - 1) // down, (width + across - 1) // across
    wide = (across * s + lanes - 1) // lanes * lanes
    pitch, tall = wide + (k - 1) * s, down + k - 1
    many_most = min(CHANNELS, (channels + 5) // 6 * 6)
    pixels = np.zeros(many_most * tall * pitch, out.dtype)
    weights, sums = np.zeros(2 * k * k * wide, out.dtype), np.empty(12 * lanes, out.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, stretch = task // (stretches * blocks * parts), task % stretches
            left = stretch * across
            top, channel = task // stretches % blocks * down, task // (stretches * blocks) % parts * CHANNELS
            count, many = min(across, width - left) * s, min(CHANNELS, channels - channel)
            enlarge(x[image], channel, many, top - r, tall, left - r, s, pitch, pixels)
            for y in range(top, min(top + down, height)):
                for p in range(0, s, 2):
                    pair = min(2, s - p)
                    for u in range(pair):
                        for i in range(k):
                            for j in range(k):
                                low, high = inside(left * s, count, j - r, s, width)
                                if not 0 <= y + i - r < height:
                                    low = high = 0
                                at = (u * k * k + i * k + j) * wide
                                row = masks[image, i * k + j, y * s + p + u]
                                copy_part(row, left * s + low, low, high - low, weights[at : at + wide])
                    for c in range(0, many, 6):
                        for t in range(0, count, lanes):
                            products_2x6(
                                weights, t, k * k * wide, k * wide, wide,
                                pixels, (c * tall + y - top) * pitch + t, tall * pitch, pitch, s, k, k,
                                sums, 0, 6 * lanes, lanes, False,
                            )  # fmt: skip
                            for u in range(pair):
                                for m in range(min(6, many - c)):
                                    target = out[image, channel + c + m, y * s + p + u, left * s + t : left * s + count]
                                    found = sums[(u * 6 + m) * lanes : (u * 6 + m + 1) * lanes]
                                    for l in range(min(lanes, target.shape[0])):  # noqa: E741
                                        target[l] = found[l]
        start = claim(turn, grain)


@kernel(fastmath=SUMS)
def spread(grad, masks, k, s, out, turn, grain, n):
    """out (N, C, H, W), the maps' gradient, of grad (N, C, H * s, W * s) and masks (N, k * k, H * s, W * s). Sums are made for
    each column of the result, and those of a pixel added in the end."""
    channels, height, width = out.shape[1:]
    lanes, r = BYTES // out.itemsize, k // 2
    across, down = min(max(1, COLUMNS // s), width), min(max(1, 2 * ROWS // s), height)
    parts = (channels + CHANNELS - 1) // CHANNELS
    blocks, stretches = (height + down - 1) // down, (width + across - 1) // across
    wide = (across * s + lanes - 1) // lanes * lanes
    pitch, tall = wide + (k - 1) * s, (down + k - 1) * s
    grads = np.zeros(min(CHANNELS, (channels + 7) // 8 * 8) * tall * pitch, out.dtype)
    weights, sums = np.zeros(k * k * s * wide, out.dtype), np.empty(8 * wide, out.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, stretch = task // (stretches * blocks * parts), task % stretches
            left = stretch * across
            top, channel = task // stretches % blocks * down, task // (stretches * blocks) % parts * CHANNELS
            count, many = min(across, width - left), min(CHANNELS, channels - channel)
            enlarge(grad[image], channel, many, (top - r) * s, tall, (left - r) * s, 1, pitch, grads)
            for y in range(top, min(top + down, height)):
                # Tap (i, j) of the weights lies r - i and r - j pixels away: what is copied is in the order of rows and columns.
                for v in range(k * s):
                    row = (y - r) * s + v
                    for j in range(k):
                        low, high = inside(left * s, count * s, j - r, s, width)
                        if not 0 <= row < height * s:
                            low = high = 0
                        at = (v * k + j) * wide
                        values = masks[image, (k - 1 - v // s) * k + k - 1 - j, min(max(row, 0), height * s - 1)]
                        copy_part(values, (left + j - r) * s + low, low, high - low, weights[at : at + wide])
                for c in range(0, many, 8):
                    for t in range(0, count * s, lanes):
                        products_1x8(
                            weights, t, 0, k * wide, wide,
                            grads, (c * tall + (y - top) * s) * pitch + t, tall * pitch, pitch, s, k * s, k,
                            sums, t, 0, wide, False,
                        )  # fmt: skip
                    for m in range(min(8, many - c)):
                        target, found = out[image, channel + c + m, y, left : left + count], sums[m * wide :]
                        for l in range(target.shape[0]):  # noqa: E741
                            target[l] = found[l * s]
                        for q in range(1, s):
                            for l in range(target.shape[0]):  # noqa: E741
                                target[l] += found[l * s + q]
        start = claim(turn, grain)


@kernel
def rows_compared(k, s):
    """How many rows of a map have their weights' sums in memory at a time."""
    return max(1, min(ROWS, 2048 // (k * k)) // s)


@kernel(fastmath=SUMS)
def compare(grad, x, k, s, out, turn, grain, n):
    """out (N, k * k, H * s, W * s), the masks' gradient, of grad (N, C, H * s, W * s) and x (N, C, H, W)."""
    channels, height, width = x.shape[1:]
    lanes, r = BYTES // out.itemsize, k // 2
    across, down = min(max(1, COLUMNS // s), width), min(rows_compared(k, s), height)
    blocks, stretches = (height + down - 1) // down, (width + across - 1) // across
    wide = (across * s + lanes - 1) // lanes * lanes
    pitch, tall, rows = wide + (k - 1) * s, down + k - 1, down * s
    broad = (k + 4) // 5 * 5
    most = min(CHANNELS, channels)
    pixels, grads = np.zeros(most * tall * pitch + 4 * s, out.dtype), np.zeros((most * rows + 1) * wide, out.dtype)
    each = k * broad * wide  # sums of a row; behind the last row are those of a row that isn't there
    sums = np.zeros((rows + 1) * each, out.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, top, left = (
                task // (stretches * blocks),
                task // stretches % blocks * down,
                task % stretches * across,
            )
            count, last = min(across, width - left) * s, min(down, height - top)
            for channel in range(0, channels, CHANNELS):
                many = min(CHANNELS, channels - channel)
                enlarge(x[image], channel, many, top - r, tall, left - r, s, pitch, pixels)
                enlarge(grad[image], channel, many, top * s, rows, left * s, 1, wide, grads)
                for pair in range(last * ((s + 1) // 2)):
                    y, p = pair // ((s + 1) // 2), pair % ((s + 1) // 2) * 2
                    v = y * s + p
                    for i in range(k):
                        for j in range(0, k, 5):
                            for t in range(0, count, lanes):
                                products_2x5(
                                    grads, v * wide + t, wide, 0, rows * wide,
                                    pixels, (y + i) * pitch + j * s + t, s, 0, tall * pitch, 1, many,
                                    sums, v * each + (i * broad + j) * wide + t, each if p + 1 < s else (rows - v) * each, wide,
                                    channel > 0,
                                )  # fmt: skip
            for v in range(last * s):
                for i in range(k):
                    for j in range(k):
                        low, high = inside(left * s, count, j - r, s, width)
                        if not 0 <= top + v // s + i - r < height:
                            low = high = 0
                        at = v * each + (i * broad + j) * wide
                        target = out[image, i * k + j, top * s + v, left * s : left * s + count]
                        copy_part(sums[at : at + wide], low, low, high - low, target)
        start = claim(turn, grain)


def forward(x, masks, k, s, out):
    """Fill out (N, C, H * s, W * s) with sums of x (N, C, H, W) weighted by masks (N, k * k, H * s, W * s)."""
    if out.size:
        images, channels, height, width = x.shape
        across, n = _split(images, height, width, s, ROWS)
        n *= -(-channels // CHANNELS)
        cost = 0.03 * k * k * s * s * min(height, ROWS) * min(width, across) * min(channels, CHANNELS)
        parallel_for(reassemble, n, 1, x, masks, k, s, out, cost=cost)


def features_backward(grad, masks, k, s, out):
    """Fill out (N, C, H, W) with the gradient for the maps."""
    if out.size:
        images, channels, height, width = out.shape
        down = max(1, 2 * ROWS // s)
        across, n = _split(images, height, width, s, down)
        n *= -(-channels // CHANNELS)
        cost = 0.03 * k * k * s * s * min(height, down) * min(width, across) * min(channels, CHANNELS)
        parallel_for(spread, n, 1, grad, masks, k, s, out, cost=cost)


def masks_backward(grad, x, k, s, out):
    """Fill out (N, k * k, H * s, W * s) with the gradient for the weights."""
    if out.size:
        images, channels, height, width = x.shape
        down = rows_compared(k, s)
        across, n = _split(images, height, width, s, down)
        cost = (0.03 * channels + 1) * k * k * s * s * min(height, down) * min(width, across)
        parallel_for(compare, n, 1, grad, x, k, s, out, cost=cost)


def _split(images, height, width, s, down):
    """How many columns of a map are worked on together, and how many parts there are."""
    across = max(1, COLUMNS // s)
    return across, images * -(-height // down) * -(-width // across)
