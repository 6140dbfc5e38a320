"""Convolution at some positions: their columns, a few at a time, are multiplied by the filters and laid where they belong."""

import numpy as np

from arrayvision.array import NUMPY
from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for

MEMORY = 2**20  # numbers of columns that are there at a time


@kernel
def fill_columns(x, positions, filters, padding, columns, turn, grain, n):
    """columns (C * height * width, M) of positions (M, 3) in images; a row is a pixel of the filters."""
    height, width = filters
    start = claim(turn, grain)
    while start < n:
        for row in range(start, min(start + grain, n)):
            c, i, j = row // (height * width), row // width % height - padding[0], row % width - padding[1]
            target = columns[row]
            for k in range(target.shape[0]):
                y, u = positions[k, 1] + i, positions[k, 2] + j
                inside = y >= 0 and y < x.shape[2] and u >= 0 and u < x.shape[3]
                target[k] = x[positions[k, 0], c, y, u] if inside else 0
        start = claim(turn, grain)


@kernel
def lay_out(found, positions, bias, out, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for o in range(start, min(start + grain, n)):
            values, own = found[o], bias[o]
            for k in range(values.shape[0]):
                out[positions[k, 0], o, positions[k, 1], positions[k, 2]] = values[k] + own
        start = claim(turn, grain)


def forward(x, mask, weight, bias, padding, out):
    """Fill out (N, O, h, w) at positions where mask (N, H, W) is above 0, with 0 elsewhere."""
    out[:] = 0
    planes, channels, height, width = weight.shape
    positions = np.argwhere(mask[:, : out.shape[2], : out.shape[3]] > 0)
    if not (planes and len(positions)):
        return
    bias = np.zeros(planes, out.dtype) if bias is None else bias
    depth = channels * height * width
    filters = weight.reshape(planes, depth)
    most = max(16, MEMORY // max(depth, planes))
    columns, found = np.empty(depth * most, out.dtype), np.empty(planes * most, out.dtype)
    for first in range(0, len(positions), most):
        some = positions[first : first + most]
        count = len(some)
        taken, products = columns[: depth * count].reshape(depth, count), found[: planes * count].reshape(planes, count)
        if depth:
            grain = max(1, 16384 // count)
            parallel_for(fill_columns, depth, grain, x, some, (height, width), padding, taken, cost=2 * count)
        NUMPY.matmul(filters, taken, products)
        parallel_for(lay_out, planes, max(1, 16384 // count), products, some, bias, out, cost=2 * count)
