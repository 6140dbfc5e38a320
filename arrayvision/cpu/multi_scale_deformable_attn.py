"""Multi-scale deformable attention: each query's heads sum samples of all levels' maps.

A head's channels lie together, so a pixel is a run of them. The pixels and weights of a head's samples, of all levels and
points, are found in one vectorized loop, and summed up in registers.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.runs import add_scaled, dots, dots_and_add, gather
from arrayvision.cpu.threads import claim, parallel_for

SUMS = {"contract", "nsz"}
SAMPLES = 128  # whose places are found in one loop


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
def slopes(products, index, shares, scale, heights, widths, moves, totals):
    """The gradients of locations (moves, two for each sample) and weights (totals), from products (4, samples) of the result's
    gradient and the four pixels; index and shares are as `places` gave them."""
    one, zero = scale.dtype.type(1), scale.dtype.type(0)
    for k in range(scale.shape[0]):
        a = products[0, k] if index[0, k] >= 0 else zero
        b = products[1, k] if index[1, k] >= 0 else zero
        c = products[2, k] if index[2, k] >= 0 else zero
        d = products[3, k] if index[3, k] >= 0 else zero
        touched = (index[0, k] & index[1, k] & index[2, k] & index[3, k]) >= 0
        fy, fx, factor = shares[0, k], shares[1, k], scale[k] if touched else zero
        across, down = b - a, d - c
        down = fy * down if fy > 0 else zero
        moves[2 * k] = factor * widths[k] * ((one - fy) * across + down)
        across, down = c - a, d - b
        down = fx * down if fx > 0 else zero
        moves[2 * k + 1] = factor * heights[k] * ((one - fx) * across + down)
        b, d = fx * b if fx > 0 else zero, fx * d if fx > 0 else zero
        below = fy * ((one - fx) * c + d)
        totals[k] = (one - fy) * ((one - fx) * a + b) + (below if fy > 0 else zero)


@kernel(fastmath=SUMS)
def backward_some(
    grad, value, locations, weights, levels, some, together, out, out_locations, out_weights, turn, grain, n
):
    """A task for each head of an image, whose pixels' gradients it alone adds to; locations (B, Q, heads, samples * 2) and weights
    (B, Q, heads, samples), `levels` what `places` wants to know of the samples of `some` queries, the others as in `forward_some`.

    If `together`, the head's pixels and their gradients are laid side by side: with other heads' between them they would share
    a few lines of the caches. Else gradients must be zeros before.
    """
    keys, heads, channels = value.shape[1:]
    queries, samples = weights.shape[1], weights.shape[3]
    heights, widths, starts, lines = levels
    kind, many, room = value.dtype, some * samples, keys * channels if together else 0
    index, weight, shares = np.empty((4, many), np.int32), np.empty((4, many), kind), np.empty((2, many), kind)
    products, moves, scale = np.empty((4, many), kind), np.zeros(2 * many, kind), np.zeros(many, kind)
    totals, ones, zero = np.empty(many, kind), np.ones(many, kind), kind.type(0)
    pixels, shifts, given = np.empty(room, kind), np.empty(room, kind), grad.reshape(-1)
    flat, sums = (pixels, shifts) if together else (value.reshape(-1), out.reshape(-1))
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            b, m = task // heads, task % heads
            at, line = (b * keys * heads + m) * channels, heads * channels
            if together:
                at, line = 0, channels
                for s in range(keys):
                    x, part, shift = value[b, s, m], pixels[s * channels :], shifts[s * channels :]
                    for c in range(channels):
                        part[c], shift[c] = x[c], zero
            for first in range(0, queries, some):
                count = min(some, queries - first)
                for s in range(count):
                    x, part = locations[b, first + s, m], moves[2 * s * samples :]
                    for k in range(2 * samples):
                        part[k] = x[k]
                    x, part = weights[b, first + s, m], scale[s * samples :]
                    for k in range(samples):
                        part[k] = x[k]
                places(moves, ones, heights, widths, starts, lines, index, weight, shares)
                for corner in range(4):
                    part = weight[corner]
                    for k in range(many):
                        share = part[k]
                        part[k] = share * scale[k] if share != 0 else zero  # 0 times NaN is NaN
                for s in range(count):
                    g = ((b * queries + first + s) * heads + m) * channels
                    for k in range(s * samples, (s + 1) * samples):
                        i, j, p, r = index[0, k], index[1, k], index[2, k], index[3, k]
                        if max(max(i, j), max(p, r)) < 0:
                            continue
                        u, v, w, z = weight[0, k], weight[1, k], weight[2, k], weight[3, k]
                        i, j, p, r = max(i, 0), max(j, 0), max(p, 0), max(r, 0)
                        if (u != 0) & (v != 0) & (w != 0) & (z != 0):
                            a, c, d, e = dots_and_add(
                                flat, at + i * line, at + j * line, at + p * line, at + r * line, given, g, u, v, w, z,
                                sums, at + i * line, at + j * line, at + p * line, at + r * line, channels,
                            )  # fmt: skip
                        else:
                            a, c, d, e = dots(
                                flat, at + i * line, at + j * line, at + p * line, at + r * line, given, g, channels
                            )
                            for corner in range(4):
                                if weight[corner, k] != 0:
                                    add_scaled(
                                        given, g, weight[corner, k], sums, at + index[corner, k] * line, channels
                                    )
                        products[0, k], products[1, k], products[2, k], products[3, k] = a, c, d, e
                slopes(products, index, shares, scale, heights, widths, moves, totals)
                for s in range(count):
                    x, part = out_locations[b, first + s, m], moves[2 * s * samples :]
                    for k in range(2 * samples):
                        x[k] = part[k]
                    x, part = out_weights[b, first + s, m], totals[s * samples :]
                    for k in range(samples):
                        x[k] = part[k]
            if together:
                for s in range(keys):
                    x, part = out[b, s, m], shifts[s * channels :]
                    for c in range(channels):
                        x[c] = part[c]
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
    size, some, together = 65536, max(1, SAMPLES // max(samples, 1)), queries * samples > value.shape[1]
    if not together:
        parallel_for(zero_some, -(-out.size // size), 4, out.reshape(-1), size, cost=5000)
    if n:
        parallel_for(
            backward_some, n, 1, grad, value, locations.reshape(moves), weights.reshape(shares),
            tuple(np.tile(a, some) for a in _levels(shapes, starts, points, value.dtype)), some, together,
            out, out_locations.reshape(moves), out_weights.reshape(shares),
            cost=queries * samples * (10 + 0.5 * channels),
        )  # fmt: skip
