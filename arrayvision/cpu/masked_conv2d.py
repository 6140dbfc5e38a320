"""Convolution at some positions: their columns, of a few channels at a time, are multiplied by the filters in the cache."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.products import BYTES, lanes, product, rounded
from arrayvision.cpu.threads import claim, parallel_for

SUMS = {"contract"}
BLOCK = 4  # panels of positions that are worked on together, at most
DEPTH = 512  # rows of columns that are there at a time, about


@kernel(fastmath=SUMS)
def convolve(x, positions, weights, bias, filters, padding, deep, block, out, turn, grain, n):
    """A task is a block of positions (M, 3) in images x (N, C, H, W); `deep` channels are multiplied at a time by weights
    (rows, C * height * width), of which there are whole tiles."""
    channels, height, width = x.shape[1:]
    taps, depth, lanes = filters[0] * filters[1], weights.shape[1], BYTES // out.itemsize
    leap = deep * taps * lanes
    pixels, matrix = x.reshape(-1), weights.reshape(-1)
    columns, sums = np.empty(block // lanes * leap, out.dtype), np.zeros(weights.shape[0] * block, out.dtype)
    index = np.empty((taps, block), np.int64)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            first = task * block
            count = min(block, positions.shape[0] - first)
            wide = (count + lanes - 1) // lanes * lanes
            for t in range(taps):
                down, right = t // filters[1] - padding[0], t % filters[1] - padding[1]
                for k in range(wide):
                    place = positions[first + min(k, count - 1)]
                    i, j = place[1] + down, place[2] + right
                    inside = (k < count) & (i >= 0) & (i < height) & (j >= 0) & (j < width)
                    index[t, k] = (place[0] * channels * height + i) * width + j if inside else -1
            for c in range(0, channels, deep):
                many = min(deep, channels - c)
                for row in range(many * taps):
                    values = pixels[(c + row // taps) * height * width :]
                    for panel in range(0, wide, lanes):
                        at = panel // lanes * leap + row * lanes
                        target, where = columns[at : at + lanes], index[row % taps, panel : panel + lanes]
                        for k in range(target.shape[0]):
                            value = values[max(where[k], 0)]
                            target[k] = value if where[k] >= 0 else 0
                product(
                    matrix, c * taps, depth, 1, columns, 0, leap, many * taps, sums, 0, block, weights.shape[0], wide, c > 0
                )  # fmt: skip
            for o in range(out.shape[1]):
                own, found = bias[o], sums[o * block :]
                for k in range(count):
                    place = positions[first + k]
                    out[place[0], o, place[1], place[2]] = found[k] + own
        start = claim(turn, grain)


def forward(x, mask, weight, bias, padding, out):
    """Fill out (N, O, h, w) at positions where mask (N, H, W) is above 0, with 0 elsewhere."""
    out[:] = 0
    planes, channels, height, width = weight.shape
    positions = np.argwhere(mask[:, : out.shape[2], : out.shape[3]] > 0)
    if not (planes and len(positions)):
        return
    taps, wide = height * width, lanes(out.dtype)
    filters = np.zeros((rounded(planes), channels * taps), out.dtype)
    filters[:planes] = weight.reshape(planes, channels * taps)
    bias = np.zeros(planes, out.dtype) if bias is None else bias
    block = wide * min(BLOCK, max(1, len(positions) // (8 * wide)))
    deep = min(max(1, DEPTH // taps), max(channels, 1))
    parallel_for(
        convolve, -(-len(positions) // block), 1, x, positions, filters, bias, (height, width), padding, deep, block, out,
        cost=block * planes * channels * taps * 0.02,
    )  # fmt: skip
