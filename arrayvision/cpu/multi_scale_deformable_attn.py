"""Multi-scale deformable attention: each query's heads sum samples of all levels' maps.

A head's channels lie together, so a pixel is a run of them. The pixels and weights of a head's samples, of all levels and
points, are found in one vectorized loop, and summed up in registers.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.runs import add_scaled, dots, gather
from arrayvision.cpu.threads import claim, parallel_for

SUMS = {"contract", "nsz"}


@kernel(fastmath=SUMS)
def places(locations, scale, heights, widths, starts, lines, index, weight, shares):
    """The four pixels round each sample, and their weights.

    locations (samples * 2) are (x, y) as shares of a map's width and height, `scale` what a sample counts; heights, widths,
    starts and lines (a row's pixels) those of its level. index is (4, samples), -1 for a pixel outside, weight too, shares
    (2, samples) how far the sample lies from the first pixel.
    """
    one, zero, half, none = weight.dtype.type(1), weight.dtype.type(0), weight.dtype.type(0.5), np.int32(-1)
    for k in range(scale.shape[0]):
        height, width, m = heights[k], widths[k], scale[k]
        x, y = locations[2 * k] * width - half, locations[2 * k + 1] * height - half
        inside = (y > -1) & (x > -1) & (y < height) & (x < width)  # not, if it is NaN
        y, x = y if inside else -one, x if inside else -one
        top, left = np.floor(y), np.floor(x)
        fy, fx = y - top, x - left
        above, before = inside & (top >= 0), left >= 0
        below, behind = inside & (top < height - one), left < width - one
        p = np.int32(starts[k] + np.int32(np.int32(top) * lines[k]) + np.int32(left))
        index[0, k] = p if above & before else none
        index[1, k] = np.int32(p + 1) if above & behind else none
        index[2, k] = np.int32(p + lines[k]) if below & before else none
        index[3, k] = np.int32(p + lines[k] + 1) if below & behind else none
        weight[0, k] = (one - fy) * (one - fx) * m if above & before else zero
        weight[1, k] = (one - fy) * fx * m if above & behind else zero
        weight[2, k] = fy * (one - fx) * m if below & before else zero
        weight[3, k] = fy * fx * m if below & behind else zero
        shares[0, k], shares[1, k] = fy, fx


@kernel
def forward_some(value, locations, weights, levels, out, turn, grain, n):
    """A task for each query. value (B, S, heads, channels), locations (B * Q, heads * samples * 2), weights (B * Q, heads * samples),
    levels what `places` wants to know of each sample's."""
    keys, heads, channels = value.shape[1:]
    queries, samples = n // len(value), weights.shape[1]
    heights, widths, starts, lines = levels
    kind = value.dtype
    index, weight, shares = np.empty((4, samples), np.int32), np.empty((4, samples), kind), np.empty((2, samples), kind)
    flat, sums, all_index, all_weight = value.reshape(-1), out.reshape(-1), index.reshape(-1), weight.reshape(-1)
    some = samples // heads
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            places(locations[task], weights[task], heights, widths, starts, lines, index, weight, shares)
            at = task // queries * keys * heads * channels
            for m in range(heads):
                gather(
                    flat, at + m * channels, heads * channels, all_index, all_weight, m * some, some, samples,
                    sums, (task * heads + m) * channels, channels,
                )  # fmt: skip
        start = claim(turn, grain)


@kernel
def zero_some(out, size, turn, grain, n):
    """A task for each `size` numbers."""
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            part = out[task * size : (task + 1) * size]
            for k in range(len(part)):
                part[k] = 0
        start = claim(turn, grain)


@kernel(fastmath=SUMS)
def backward_some(grad, value, locations, weights, levels, out, out_locations, out_weights, turn, grain, n):
    """A task for each head of an image, whose pixels' gradients (zeros, before) it alone adds to; locations (B, Q, heads, samples * 2) and
    weights (B, Q, heads, samples), the others as in `forward_some`."""
    keys, heads, channels = value.shape[1:]
    queries, samples = weights.shape[1], weights.shape[3]
    heights, widths, starts, lines = levels
    kind = value.dtype
    index, weight, shares = np.empty((4, samples), np.int32), np.empty((4, samples), kind), np.empty((2, samples), kind)
    ones, one, zero = np.ones(samples, kind), kind.type(1), kind.type(0)
    flat, given, sums = value.reshape(-1), grad.reshape(-1), out.reshape(-1)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            b, m = task // heads, task % heads
            at, line = (b * keys * heads + m) * channels, heads * channels
            for q in range(queries):
                g = ((b * queries + q) * heads + m) * channels
                places(locations[b, q, m], ones, heights, widths, starts, lines, index, weight, shares)
                for k in range(samples):
                    i, j, p, r = index[0, k], index[1, k], index[2, k], index[3, k]
                    found = out_locations[b, q, m, 2 * k : 2 * k + 2]
                    if max(max(i, j), max(p, r)) < 0:
                        found[0] = found[1] = out_weights[b, q, m, k] = zero
                        continue
                    a, c, d, e = dots(
                        flat, at + max(i, 0) * line, at + max(j, 0) * line, at + max(p, 0) * line, at + max(r, 0) * line,
                        given, g, channels,
                    )  # fmt: skip
                    a, c, d, e = (
                        a if i >= 0 else zero,
                        c if j >= 0 else zero,
                        d if p >= 0 else zero,
                        e if r >= 0 else zero,
                    )
                    fy, fx, scale = shares[0, k], shares[1, k], weights[b, q, m, k]
                    found[0] = scale * widths[k] * ((one - fy) * (c - a) + (fy * (e - d) if fy > 0 else zero))
                    found[1] = scale * heights[k] * ((one - fx) * (d - a) + (fx * (e - c) if fx > 0 else zero))
                    total = (one - fy) * ((one - fx) * a + (fx * c if fx > 0 else zero))
                    total += fy * ((one - fx) * d + (fx * e if fx > 0 else zero)) if fy > 0 else zero
                    out_weights[b, q, m, k] = total
                    for corner in range(4):
                        w = weight[corner, k] * scale
                        if weight[corner, k] != 0 and w != 0:  # 0 times NaN is NaN
                            add_scaled(given, g, w, sums, at + index[corner, k] * line, channels)
        start = claim(turn, grain)


def _levels(shapes, starts, points, kind):
    """Of each sample of a head: its level's height, width, first key, and a row's pixels."""
    sizes = shapes[:, 0] * shapes[:, 1]
    starts = np.cumsum(sizes) - sizes if starts is None else starts
    floats = (np.repeat(shapes[:, k], points).astype(kind) for k in (0, 1))
    return *floats, *(np.repeat(a.astype(np.int32), points) for a in (starts, shapes[:, 1]))


def forward(value, shapes, starts, locations, weights, out):
    """value (B, S, heads, channels), shapes (L, 2), starts (L,) or None, locations (B, Q, heads, L, P, 2), weights (B, Q, heads, L, P),
    out (B, Q, heads * channels)."""
    if not out.size:
        return
    batch, queries, heads, levels, points = weights.shape
    n, samples = batch * queries, heads * levels * points
    parallel_for(
        forward_some, n, 16, value, locations.reshape(n, samples * 2), weights.reshape(n, samples),
        tuple(np.tile(a, heads) for a in _levels(shapes, starts, points, value.dtype)), out,
        cost=samples * (4 + 0.1 * value.shape[3]),
    )  # fmt: skip


def backward(grad, value, shapes, starts, locations, weights, out, out_locations, out_weights):
    """Fill the gradients of value, locations and weights; grad is (B, Q, heads * channels)."""
    batch, queries, heads, levels, points = weights.shape
    channels, n, samples = value.shape[3], batch * heads, levels * points
    moves, shares = (batch, queries, heads, samples * 2), (batch, queries, heads, samples)
    size = 65536
    parallel_for(zero_some, -(-out.size // size), 4, out.reshape(-1), size, cost=5000)
    if n:
        parallel_for(
            backward_some, n, 1, grad, value, locations.reshape(moves), weights.reshape(shares),
            _levels(shapes, starts, points, value.dtype), out, out_locations.reshape(moves), out_weights.reshape(shares),
            cost=queries * samples * (10 + 0.5 * channels),
        )  # fmt: skip
