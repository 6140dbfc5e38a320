"""Attention along each pixel's column and row, without all of its weights in memory.

A pass over columns takes a few neighbouring ones at a time, which are the lanes of all that it computes; a pass over rows
takes a row at a time, whose pixels are the lanes, and before does so with one or a few columns that are left. The first leaves what it has summed, the greatest energy and the sum of
weights of each pixel; the second puts its own with that. Weights are computed anew for the gradients. What both go through
lies in short pieces far apart, so that of the next channels is asked for while those before are multiplied.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.blocks import (
    BYTES,
    LEFT,
    RIGHT,
    block_of_lanes,
    block_of_lanes_asking,
    block_of_numbers,
    block_of_numbers_6x3_asking,
    block_of_numbers_asking,
    move,
)
from arrayvision.cpu.elementary import exp_down
from arrayvision.cpu.runs import mix
from arrayvision.cpu.threads import claim, parallel_for

WHOLE = 12  # a multiple of LEFT and of RIGHT
WEIGHTS = 2**20  # bytes of weights that are there at a time
PART = 48  # rows of a column whose values stay in the nearest cache
FEW = 4  # columns that are left and worked on as lines
CHANNELS = 24  # that gradients take together, a multiple of WHOLE
SUMS = {"contract"}


@kernel
def rounded(n, step):
    return (n + step - 1) // step * step


@kernel
def copy_columns(x, channel, many, w, count, tall, lanes, target):
    """target[c, h] = x[channel + c, h, w : w + count], in strides of `tall` and `lanes`; nothing for channels there are not."""
    flat, height, width = x.reshape(-1), x.shape[1], x.shape[2]
    for c in range(min(many, x.shape[0] - channel)):
        for h in range(height):
            at, to = ((channel + c) * height + h) * width + w, (c * tall + h) * lanes
            if count == lanes:
                move(flat, at, target, to)
            else:
                for k in range(count):
                    target[to + k] = flat[at + k]


@kernel
def copy_row(x, channel, many, h, pitch, target):
    """target[c] = x[channel + c, h], in strides of `pitch`."""
    width = x.shape[2]
    for c in range(min(many, x.shape[0] - channel)):
        values, part = x[channel + c, h], target[c * pitch :]
        for k in range(width):
            part[k] = values[k]


@kernel
def column_energies(q, k, channels, tall, first, rows, lanes, out):
    """out[h, i] for `rows` rows h from `first` on and all i."""
    for h in range(0, rows, LEFT):
        for i in range(0, tall, RIGHT):
            block_of_lanes(
                q, (first + h) * lanes, lanes, tall * lanes, k, i * lanes, lanes, tall * lanes, channels,
                out, (h * tall + i) * lanes, tall * lanes, lanes, False,
            )  # fmt: skip


@kernel
def multiply(a, at, a_step, a_next, lefts, b, count, wide, lanes, out, ask, then, offsets):
    """out[t, w] = the sum of a[at + t * a_step + k * a_next] * b[k, w] over k < count, for t < lefts (whole LEFTs) and all w < wide.

    Meanwhile memory is asked for: what lies `offsets` behind the address `ask` and, later, behind `then`, `a_step` further on
    for each t.
    """
    narrow, w = -(wide // lanes) % RIGHT, 0
    while w < wide:
        for t in range(0, lefts, LEFT):
            first, place, what = at + t * a_step, t * wide + w, (ask if w == 0 else then) + t * a_step * out.itemsize
            if narrow:
                block_of_numbers_6x3_asking(
                    a, first, a_step, a_next, b, w, lanes, wide, count, out, place, wide, lanes, False, what, offsets
                )
            else:
                block_of_numbers_asking(
                    a, first, a_step, a_next, b, w, lanes, wide, count, out, place, wide, lanes, False, what, offsets
                )
        w += 3 * lanes if narrow else RIGHT * lanes
        narrow = max(0, narrow - 1)


@kernel
def whole_lanes(width, lanes):
    """Lanes that hold a row: of 3 or 4 vectors, or a sum of such numbers."""
    many = (width + lanes - 1) // lanes
    return (3 if many < 3 else 6 if many == 5 else many) * lanes


@kernel(fastmath=SUMS)
def columns(q, k, v, out, tops, totals, turn, grain, n):
    """Heights are at least 2. A weight of (h, i, lane) lies at ((h // RIGHT * tall + i) * RIGHT + h % RIGHT) * lanes + lane."""
    depth, height, width, channels = q.shape[1], q.shape[2], q.shape[3], v.shape[1]
    lanes, tall = BYTES // out.itemsize, rounded(height, WHOLE)
    group = min(tall, max(WHOLE, WEIGHTS // (tall * BYTES) // WHOLE * WHOLE))
    many, parts = RIGHT * lanes, max(1, height // PART)
    part = (height + parts - 1) // parts
    offsets = np.zeros(part, np.int64)
    for place in range(min(part, 2 * RIGHT * LEFT)):  # both ends of pieces in RIGHT rows of LEFT channels
        t, s, end = place // (2 * RIGHT), place // 2 % RIGHT, place % 2
        offsets[place] = ((t * height + s) * width + end * (lanes - 1)) * out.itemsize
    values, flat = v.reshape(-1), out.reshape(-1)
    of_values, of_results = np.int64(values.ctypes.data), np.int64(flat.ctypes.data)
    own, others = np.zeros(depth * tall * lanes, out.dtype), np.zeros(depth * tall * lanes, out.dtype)
    weights, slab = np.zeros(group * tall * lanes, out.dtype), np.zeros(LEFT * tall * lanes, out.dtype)
    found = np.zeros(LEFT * group * lanes, out.dtype)
    greatest, total = np.empty(many, out.dtype), np.empty(many, out.dtype)
    blocks = n // q.shape[0]
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, w = task // blocks, task % blocks * lanes
            count = min(lanes, width - w)
            copy_columns(q[image], 0, depth, w, count, tall, lanes, own)
            copy_columns(k[image], 0, depth, w, count, tall, lanes, others)
            for first in range(0, height, group):
                rows = min(group, height - first)
                for h in range(0, rows, RIGHT):
                    block = weights[h * tall * lanes : (h + RIGHT) * tall * lanes]
                    for i in range(0, height, LEFT):
                        block_of_lanes(
                            others, i * lanes, lanes, tall * lanes, own, (first + h) * lanes, lanes, tall * lanes, depth,
                            block, i * many, many, lanes, False,
                        )  # fmt: skip
                    for s in range(min(RIGHT, rows - h)):  # a pixel counts in its row
                        same = block[(first + h + s) * many + s * lanes :]
                        for x in range(lanes):
                            same[x] = -np.inf
                    for x in range(many):
                        greatest[x], total[x] = -np.inf, 0
                    for i in range(height):
                        energies = block[i * many : (i + 1) * many]
                        for x in range(many):
                            e = energies[x]
                            greatest[x] = e if (e > greatest[x]) | (e != e) else greatest[x]
                    for i in range(height):
                        energies = block[i * many : (i + 1) * many]
                        for x in range(many):
                            weight = exp_down(energies[x] - greatest[x])
                            energies[x] = weight
                            total[x] += weight
                    for s in range(min(RIGHT, rows - h)):
                        for x in range(count):
                            tops[image, first + h + s, w + x] = greatest[s * lanes + x]
                            totals[image, first + h + s, w + x] = total[s * lanes + x]
                for c in range(0, channels, LEFT):
                    copy_columns(v[image], c, LEFT, w, count, tall, lanes, slab)
                    ahead = ((image * channels + c + LEFT) * height + first) * width + w  # what comes next
                    for i in range(0, height, part):
                        source = of_values if i == 0 else of_results
                        for h in range(0, rows, RIGHT):
                            block_of_lanes_asking(
                                slab, i * lanes, tall * lanes, lanes, weights, (h * tall + i * RIGHT) * lanes, lanes, many,
                                min(part, height - i), found, h * lanes, group * lanes, lanes, i > 0,
                                source + (ahead + h * width) * out.itemsize, offsets,
                            )  # fmt: skip
                    for t in range(min(LEFT, channels - c)):
                        for h in range(rows):
                            at, to = (
                                (t * group + h) * lanes,
                                ((image * channels + c + t) * height + first + h) * width + w,
                            )
                            if count == lanes:
                                move(found, at, flat, to)
                            else:
                                for x in range(count):
                                    flat[to + x] = found[at + x]
        start = claim(turn, grain)


@kernel
def copy_line(x, channel, many, at, step, length, pitch, target):
    """target[c, k] = x[channel + c, at + k * step], in rows of `pitch`; nothing for channels there are not."""
    for c in range(min(many, x.shape[0] - channel)):
        values, part = x[channel + c, at:], target[c * pitch :]
        if step == 1:
            for k in range(length):
                part[k] = values[k]
        else:
            for k in range(length):
                part[k] = values[k * step]


@kernel(fastmath=SUMS)
def lines(q, k, v, out, tops, totals, width, upright, first, turn, grain, n):
    """The rows of maps (N, channels, H * width), which leave logarithms of sums of exponentials in `tops`; or, before, `upright`,
    columns from the `first` on."""
    depth, area, channels = q.shape[1], q.shape[2], v.shape[1]
    lanes, height = BYTES // out.itemsize, area // width
    count, length, step = (width - first, height, width) if upright else (height, width, 1)
    values, flat = v.reshape(-1), out.reshape(-1)
    of_values, of_results = np.int64(values.ctypes.data), np.int64(flat.ctypes.data)
    wide, broad = whole_lanes(length, lanes), rounded(length, LEFT)
    own, others = np.zeros(depth * wide, out.dtype), np.zeros(depth * wide + LEFT, out.dtype)
    weights, some = np.zeros(broad * wide, out.dtype), np.zeros(WHOLE * wide, out.dtype)
    found, before, after = np.zeros(WHOLE * wide, out.dtype), np.empty(length, out.dtype), np.empty(length, out.dtype)
    top, total = np.empty(length, out.dtype), np.empty(length, out.dtype)
    pieces, piece = (length, width) if upright else ((length + lanes - 1) // lanes, lanes)
    offsets, none = np.zeros(length, np.int64), np.zeros(depth, np.int64)
    for place in range(min(length, LEFT * pieces)):  # of LEFT channels
        offsets[place] = (place // pieces * area + place % pieces * piece) * out.itemsize
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, at = task // count, first + task % count if upright else task % count * width
            copy_line(q[image], 0, depth, at, step, length, wide, own)
            copy_line(k[image], 0, depth, at, step, length, wide, others)
            multiply(others, 0, 1, wide, broad, own, depth, wide, lanes, weights, of_values, of_values, none)
            for x in range(length):
                if upright:  # the first sums; and a pixel counts in its row
                    top[x], total[x], weights[x * wide + x] = -np.inf, 0, -np.inf
                else:
                    top[x], total[x] = tops[image, at + x * step], totals[image, at + x * step]
                before[x] = top[x]
            for j in range(length):
                energies = weights[j * wide :]
                for x in range(length):
                    e = energies[x]
                    top[x] = e if (e > top[x]) | (e != e) else top[x]
            for x in range(length):
                before[x] = exp_down(before[x] - top[x])
                total[x] *= before[x]
            for j in range(length):
                energies = weights[j * wide :]
                for x in range(length):
                    weight = exp_down(energies[x] - top[x])
                    energies[x] = weight
                    total[x] += weight
            for x in range(length):
                after[x] = 1 / total[x]
                before[x] *= after[x]
                tops[image, at + x * step] = top[x] if upright else top[x] + np.log(total[x])
                totals[image, at + x * step] = total[x]
            for j in range(0 if upright else length):
                shares = weights[j * wide :]
                for x in range(length):
                    shares[x] *= after[x]
            for c in range(0, channels, WHOLE):
                place = (image * channels + c) * area + at
                ahead = (place + WHOLE * area) * out.itemsize
                ask, then = of_values + ahead, of_results + ahead  # for what comes next
                if c + WHOLE <= channels:
                    multiply(values, place, area, step, WHOLE, weights, length, wide, lanes, found, ask, then, offsets)
                else:
                    copy_line(v[image], c, WHOLE, at, step, length, wide, some)
                    multiply(some, 0, wide, 1, WHOLE, weights, length, wide, lanes, found, ask, then, offsets)
                for t in range(min(WHOLE, channels - c)):
                    if upright:
                        target, part = out[image, c + t, at:], found[t * wide :]
                        for x in range(length):
                            target[x * step] = part[x]
                    else:  # What columns found is left out where it weighs nothing, whatever it is.
                        mix(found, t * wide, before, flat, (image * channels + c + t) * area + at, length)
        start = claim(turn, grain)


def forward(q, k, v, out, logs):
    """Fill out (N, C, H, W) and logs (N, H, W), the logarithms of sums of exponentials, from q and k (N, K, H, W) and v."""
    if not logs.size:
        return
    images, depth, h, w = q.shape
    lanes = BYTES // out.itemsize
    totals, each = np.empty_like(logs), 0.03 * h * w * (depth + v.shape[1])
    flat = tuple(x.reshape(*x.shape[:-2], h * w) for x in (q, k, v, out, logs, totals))
    if h > 1:
        alone = w % lanes if w % lanes <= FEW else 0
        tasks = images * -(-(w - alone) // lanes)
        if tasks:
            parallel_for(columns, tasks, 1, q, k, v, out, logs, totals, cost=each * h * min(lanes, w) / w)
        if alone:
            parallel_for(lines, images * alone, 1, *flat, w, True, w - alone, cost=each * h / w)
    else:
        logs[...], totals[...] = -np.inf, 0
    parallel_for(lines, images * h, 1, *flat, w, False, 0, cost=each)


@kernel
def add_columns(found, x, channel, first, many, w, count, lanes):
    """Add found[t, s] to x[channel + t, first + s, w : w + count] for t < LEFT and s < many; no more than there are."""
    flat, height, width = x.reshape(-1), x.shape[1], x.shape[2]
    for t in range(min(LEFT, x.shape[0] - channel)):
        for s in range(min(RIGHT, many)):
            at, to = (t * RIGHT + s) * lanes, ((channel + t) * height + first + s) * width + w
            for k in range(count):
                flat[to + k] += found[at + k]


@kernel
def add_row(found, x, channel, h, wide):
    """Add found[t] to x[channel + t, h] for t < LEFT; no more than there are."""
    for t in range(min(LEFT, x.shape[0] - channel)):
        target, part = x[channel + t, h], found[t * wide :]
        for k in range(target.shape[0]):
            target[k] += part[k]


@kernel(fastmath=SUMS)
def spread_columns(grad, q, k, v, logs, shared, to_q, to_k, to_v, turn, grain, n):
    """`shared` (N, H, W) are the sums of products of the gradient and the result over channels."""
    depth, height, width, channels = q.shape[1], q.shape[2], q.shape[3], v.shape[1]
    lanes, tall = BYTES // v.itemsize, rounded(height, WHOLE)
    deep = rounded(depth, WHOLE)
    group = min(tall, max(WHOLE, WEIGHTS // (tall * BYTES) // WHOLE * WHOLE))
    own, others = np.zeros(deep * tall * lanes, v.dtype), np.zeros(deep * tall * lanes, v.dtype)
    weights, slopes = np.zeros(group * tall * lanes, v.dtype), np.zeros(group * tall * lanes, v.dtype)
    values, grads = np.zeros(CHANNELS * tall * lanes, v.dtype), np.zeros(CHANNELS * tall * lanes, v.dtype)
    found = np.zeros(LEFT * RIGHT * lanes, v.dtype)
    blocks = (width + lanes - 1) // lanes
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, w = task // blocks, task % blocks * lanes
            count = min(lanes, width - w)
            for target in (to_q, to_k, to_v):
                for c in range(target.shape[1]):
                    for h in range(height):
                        for x in range(count):
                            target[image, c, h, w + x] = 0
            copy_columns(q[image], 0, depth, w, count, tall, lanes, own)
            copy_columns(k[image], 0, depth, w, count, tall, lanes, others)
            for first in range(0, height, group):
                rows = min(group, height - first)
                column_energies(own, others, depth, tall, first, rows, lanes, weights)
                for h in range(rows):
                    for i in range(tall):
                        part = weights[(h * tall + i) * lanes :]
                        for x in range(lanes):
                            least = logs[image, first + h, min(w + x, width - 1)]
                            weight = exp_down(min(part[x] - least, v.dtype.type(0)))
                            part[x] = weight if (i != first + h) & (i < height) else v.dtype.type(0)
                for c in range(0, channels, CHANNELS):
                    many = min(CHANNELS, channels - c)
                    copy_columns(v[image], c, many, w, count, tall, lanes, values)
                    copy_columns(grad[image], c, many, w, count, tall, lanes, grads)
                    for h in range(0, rows, LEFT):
                        for i in range(0, tall, RIGHT):
                            block_of_lanes(
                                grads, (first + h) * lanes, lanes, tall * lanes, values, i * lanes, lanes, tall * lanes,
                                many, slopes, (h * tall + i) * lanes, tall * lanes, lanes, c > 0,
                            )  # fmt: skip
                    for t in range(0, many, LEFT):
                        for i in range(0, height, RIGHT):
                            block_of_lanes(
                                grads, (t * tall + first) * lanes, tall * lanes, lanes, weights, i * lanes, lanes,
                                tall * lanes, rows, found, 0, RIGHT * lanes, lanes, False,
                            )  # fmt: skip
                            add_columns(found, to_v[image, : c + many], c + t, i, height - i, w, count, lanes)
                for h in range(rows):
                    for i in range(tall):
                        part, weight = slopes[(h * tall + i) * lanes :], weights[(h * tall + i) * lanes :]
                        for x in range(lanes):
                            own_share = shared[image, first + h, min(w + x, width - 1)]
                            part[x] = weight[x] * (part[x] - own_share) if weight[x] != 0 else v.dtype.type(0)
                for c in range(0, depth, LEFT):
                    for h in range(0, rows, RIGHT):
                        block_of_lanes(
                            others, c * tall * lanes, tall * lanes, lanes, slopes, h * tall * lanes, tall * lanes, lanes,
                            height, found, 0, RIGHT * lanes, lanes, False,
                        )  # fmt: skip
                        add_columns(found, to_q[image], c, first + h, rows - h, w, count, lanes)
                    for i in range(0, height, RIGHT):
                        block_of_lanes(
                            own, (c * tall + first) * lanes, tall * lanes, lanes, slopes, i * lanes, lanes, tall * lanes,
                            rows, found, 0, RIGHT * lanes, lanes, False,
                        )  # fmt: skip
                        add_columns(found, to_k[image], c, i, height - i, w, count, lanes)
        start = claim(turn, grain)


@kernel
def row_energies(q, k, channels, wide, broad, lanes, out):
    """out[j, w] for all j and w."""
    for j in range(0, broad, LEFT):
        for w in range(0, wide, RIGHT * lanes):
            block_of_numbers(
                k, j, 1, wide, q, w, lanes, wide, channels, out, j * wide + w, wide, lanes, False
            )  # fmt: skip


@kernel
def turn_round(x, wide, width, out):
    """out[w, j] = x[j, w], both in rows of `wide`."""
    for j in range(width):
        for w in range(width):
            out[w * wide + j] = x[j * wide + w]


@kernel(fastmath=SUMS)
def spread_rows(grad, q, k, v, logs, shared, to_q, to_k, to_v, turn, grain, n):
    """Adds to what the columns left."""
    depth, height, width, channels = q.shape[1], q.shape[2], q.shape[3], v.shape[1]
    lanes = BYTES // v.itemsize
    wide, broad, deep = rounded(width, max(RIGHT * lanes, WHOLE)), rounded(width, LEFT), rounded(depth, WHOLE)
    own, others = np.zeros(deep * wide + LEFT, v.dtype), np.zeros(deep * wide + LEFT, v.dtype)
    weights, slopes = np.zeros(broad * wide, v.dtype), np.zeros(broad * wide, v.dtype)
    turned = np.zeros(width * wide, v.dtype)
    values, grads = np.zeros(CHANNELS * wide + LEFT, v.dtype), np.zeros(CHANNELS * wide + LEFT, v.dtype)
    found = np.zeros(LEFT * wide, v.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, h = task // height, task % height
            copy_row(q[image], 0, depth, h, wide, own)
            copy_row(k[image], 0, depth, h, wide, others)
            row_energies(own, others, depth, wide, broad, lanes, weights)
            least, share = logs[image, h], shared[image, h]
            for j in range(width):
                part = weights[j * wide :]
                for x in range(width):
                    part[x] = exp_down(min(part[x] - least[x], v.dtype.type(0)))
            turn_round(weights, wide, width, turned)
            for c in range(0, channels, CHANNELS):
                many = min(CHANNELS, channels - c)
                copy_row(v[image], c, many, h, wide, values)
                copy_row(grad[image], c, many, h, wide, grads)
                for w in range(0, wide, RIGHT * lanes):
                    for j in range(0, broad, LEFT):
                        block_of_numbers(
                            values, j, 1, wide, grads, w, lanes, wide, many, slopes, j * wide + w, wide, lanes, c > 0
                        )  # fmt: skip
                for t in range(0, many, LEFT):
                    for w in range(0, wide, RIGHT * lanes):
                        block_of_numbers(
                            grads, t * wide, wide, 1, turned, w, lanes, wide, width, found, w, wide, lanes, False
                        )  # fmt: skip
                    add_row(found, to_v[image, : c + many], c + t, h, wide)
            for j in range(width):
                part, weight = slopes[j * wide :], weights[j * wide :]
                for x in range(width):
                    part[x] = weight[x] * (part[x] - share[x]) if weight[x] != 0 else v.dtype.type(0)
            turn_round(slopes, wide, width, turned)
            for c in range(0, depth, LEFT):
                for w in range(0, wide, RIGHT * lanes):
                    block_of_numbers(
                        others, c * wide, wide, 1, slopes, w, lanes, wide, width, found, w, wide, lanes, False
                    )  # fmt: skip
                add_row(found, to_q[image], c, h, wide)
                for w in range(0, wide, RIGHT * lanes):
                    block_of_numbers(
                        own, c * wide, wide, 1, turned, w, lanes, wide, width, found, w, wide, lanes, False
                    )  # fmt: skip
                add_row(found, to_k[image], c, h, wide)
        start = claim(turn, grain)


@kernel
def shared_sums(grad, found, out, turn, grain, n):
    """out[image, h, w] = the sum over channels of products."""
    height = grad.shape[2]
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, h = task // height, task % height
            target = out[image, h]
            for x in range(target.shape[0]):
                target[x] = 0
            for c in range(grad.shape[1]):
                a, b = grad[image, c, h], found[image, c, h]
                for x in range(target.shape[0]):
                    target[x] += a[x] * b[x]
        start = claim(turn, grain)


def backward(grad, q, k, v, found, logs, to_q, to_k, to_v):
    """Fill the gradients for q, k and v from that of the result `found`, and from `logs`."""
    if not logs.size:
        return
    images, depth, h, w = q.shape
    lanes, shared = BYTES // v.itemsize, np.empty_like(logs)
    parallel_for(shared_sums, images * h, 8, grad, found, shared, cost=0.3 * v.shape[1] * w)
    each = 0.08 * h * w * (depth + v.shape[1])
    given = grad, q, k, v, logs, shared, to_q, to_k, to_v
    parallel_for(spread_columns, images * -(-w // lanes), 1, *given, cost=each * h * min(lanes, w) / max(w, 1))
    parallel_for(spread_rows, images * h, 1, *given, cost=each)
