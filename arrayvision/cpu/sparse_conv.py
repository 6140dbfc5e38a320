"""Sparse convolution: pairs by merging sorted keys, then products of gathered rows by blocks of outputs.

A site's key is its batch index and coordinates side by side, with room for a step over the edge, so a tap of the filter adds
a constant to the key, or changes its fields in a way that keeps the order: the sites that a tap moves stay sorted, and their
partners are found by walking along two sorted lists. Sites of the result are the union of these lists, found axis by axis.

A block of outputs belongs to one thread, which adds the taps' products in their order.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.keys import keys_for, sorted_rows
from arrayvision.cpu.products import lanes, panels, product, rounded
from arrayvision.cpu.threads import claim, parallel_for

SUMS = {"contract", "nsz"}
GROUP = 96  # pairs that are multiplied at once
MEMORY = 16 * 2**20  # bytes for parts of the weights' gradients
CHUNK = 8192  # sites of a task that looks for pairs
SOME = 1024  # partners that are listed at once


# ---- keys --------------------------------------------------------------------------------------------------------------
@kernel
def pack_fields(rows, sizes, shifts, keys, wrong, turn, grain, n):
    """keys[i] = the fields of rows[i] at their places; wrong[block] = how many rows of a block aren't within `sizes`."""
    start = claim(turn, grain)
    while start < n:
        count = 0
        for i in range(start, min(start + grain, n)):
            row, key, inside = rows[i], np.int64(0), True
            for a in range(sizes.shape[0]):
                value = np.int64(row[a])
                inside = inside and value >= 0 and value < sizes[a]
                key |= value << shifts[a]
            keys[i] = key
            count += not inside
        wrong[start // grain] = count
        start = claim(turn, grain)


@kernel
def equal_neighbours(keys):
    """(whether keys rise, how many are equal to the one before)."""
    rise, equal = True, 0
    for i in range(1, keys.shape[0]):
        rise = rise and keys[i - 1] <= keys[i]
        equal += keys[i - 1] == keys[i]
    return rise, equal


def sites(indices, sizes, shifts, bits):
    """((the sorted keys, the rows in their order), how many rows lie outside, how many are there twice)."""
    n = len(indices)
    keys, wrong = keys_for(n, 1 << bits), np.zeros(n // CHUNK + 1, np.int64)
    parallel_for(pack_fields, n, CHUNK, indices, np.array(sizes), np.array(shifts), keys, wrong, cost=8)
    outside = int(wrong.sum())
    if outside:
        return None, outside, 0
    rise, equal = equal_neighbours(keys)
    if rise:
        order = np.arange(n, dtype=np.int32)
    else:
        keys, order = sorted_rows(keys, 1 << bits)
        _, equal = equal_neighbours(keys)
    return (keys.astype(np.int64), order), 0, int(equal)


@kernel
def unpack_fields(keys, sizes, shifts, out, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            key, row = keys[i], out[i]
            for a in range(shifts.shape[0]):
                row[a] = key >> shifts[a]
                if a + 1 < shifts.shape[0]:
                    key -= np.int64(row[a]) << shifts[a]
        start = claim(turn, grain)


def coordinates(keys, sizes, shifts, out):
    """Fill out (M, 1 + D) with the sites of keys."""
    parallel_for(unpack_fields, len(keys), CHUNK, keys, np.array(sizes), np.array(shifts), out, cost=8)


@kernel
def first_from(keys, key):
    """The first position whose key is at least this one."""
    low, high = -1, keys.shape[0]
    while high - low > 1:
        middle = (low + high) // 2
        if keys[middle] >= key:
            high = middle
        else:
            low = middle
    return high


@kernel
def moved(place, tap, stride, padding, dilation, size, transposed):
    """Where a tap moves a coordinate; -1 for nowhere."""
    place = place * stride - padding + tap * dilation if transposed else place + padding - tap * dilation
    if place < 0:
        return np.int64(-1)
    if not transposed and stride == 2:  # the usual one, without a division
        if place & 1:
            return np.int64(-1)
        place >>= 1
    elif not transposed and stride > 1:
        quotient = place // stride
        if quotient * stride != place:
            return np.int64(-1)
        place = quotient
    return place if place < size else np.int64(-1)


# ---- the result's sites ------------------------------------------------------------------------------------------------
@kernel
def moved_along(keys, shift, width, taps, stride, padding, dilation, size, transposed):
    """The sorted keys of all sites that some tap of one axis moves the given ones to."""
    mask = (np.int64(1) << width) - 1
    found, some = np.empty(0, np.int64), np.empty(keys.shape[0], np.int64)
    for t in range(taps):
        count = 0
        for i in range(keys.shape[0]):
            place = (keys[i] >> shift) & mask
            to = moved(place, t, stride, padding, dilation, size, transposed)
            some[count] = keys[i] + ((to - place) << shift)
            count += to >= 0
        if found.shape[0] == 0:
            found = some[:count].copy()
            continue
        both = np.empty(found.shape[0] + count, np.int64)
        i = j = total = 0
        while i < found.shape[0] and j < count:
            a, b = found[i], some[j]
            both[total] = min(a, b)
            total += 1
            i += a <= b
            j += b <= a
        while i < found.shape[0]:
            both[total] = found[i]
            i, total = i + 1, total + 1
        while j < count:
            both[total] = some[j]
            j, total = j + 1, total + 1
        found = both[:total].copy()
    return found


def reached(found, shifts, widths, how, transposed):
    """The sorted keys of all sites that the filter reaches; how is ((kernel, stride, padding, dilation, result's size) an axis)."""
    keys = found[0]
    for shift, width, (taps, stride, padding, dilation, size) in reversed(
        list(zip(shifts[1:], widths[1:], how, strict=True))
    ):
        keys = moved_along(keys, shift, width, taps, stride, padding, dilation, size, transposed)
    return keys


# ---- pairs -------------------------------------------------------------------------------------------------------------
@kernel
def match_moved(keys, outs, how, shifts, widths, transposed, table, turn, grain, n):
    """table[k, i] = the output to which tap k moves the i-th input, -1 for none."""
    axes = how.shape[0]
    last = how[axes - 1, 0]
    fields = np.empty((how[:, 0].sum(), grain), np.int64)
    lead, some = np.empty(grain, np.int64), np.empty(grain, np.int64)
    groups = table.shape[0] // last
    start = claim(turn, grain)
    while start < n:
        size = min(grain, n - start)
        row = 0
        for a in range(axes):
            taps, stride, padding, dilation, most = how[a]
            shift, mask = shifts[a + 1], (np.int64(1) << widths[a + 1]) - 1
            for t in range(taps):
                field = fields[row]
                for i in range(size):
                    to = moved((keys[start + i] >> shift) & mask, t, stride, padding, dilation, most, transposed)
                    field[i] = to << shift if to >= 0 else np.int64(-1)
                row += 1
        first_last = row - last
        for g in range(groups):
            count = size  # of the sites that all axes but the last lead to one
            for i in range(size):
                some[i], lead[i] = i, keys[start + i] >> shifts[0] << shifts[0]
            left, row = g, first_last
            for a in range(axes - 2, -1, -1):
                row -= how[a, 0]
                field = fields[row + left % how[a, 0]]
                left //= how[a, 0]
                kept = 0
                for e in range(count):
                    to = field[some[e]]
                    some[kept], lead[kept] = some[e], lead[e] + to
                    kept += to >= 0
                count = kept
            for t in range(last):
                target, field = table[g * last + t], fields[first_last + t]
                for i in range(start, start + size):
                    target[i] = -1
                j = np.int64(-1)
                for e in range(count):
                    i = some[e]
                    if field[i] < 0:
                        continue
                    key = lead[e] + field[i]
                    if j < 0:
                        j = first_from(outs, key)
                    while outs[j] < key:
                        j += 1
                    target[start + i] = j
        start = claim(turn, grain)


@kernel
def match_neighbours(keys, order, deltas, last, step, mirrored, table, size, turn, grain, n):
    """table[k, order[i]] = the input at a tap's distance from the i-th one; the table begins as -1.

    deltas[g] is how far the first of `last` taps is, which lie `step` from each other. If `mirrored`, a pair serves the opposite
    tap as well, and only the second half of the groups is gone through. A task is a group and `size` inputs.
    """
    taps = table.shape[0]
    blocks = (keys.shape[0] + size - 1) // size
    first = deltas.shape[0] - n // blocks
    task = claim(turn, grain)
    while task < n:
        g, start = first + task // blocks, task % blocks * size
        stop = min(start + size, keys.shape[0])
        begin = max(0, taps // 2 - g * last) if mirrored else 0
        delta = deltas[g] + begin * step
        j = first_from(keys, keys[start] + delta)
        for i in range(start, stop):
            key = keys[i] + delta
            while j < keys.shape[0] and keys[j] < key:
                j += 1
            q = j
            for t in range(begin, last):
                while q < keys.shape[0] and keys[q] < key:
                    q += 1
                if q == keys.shape[0]:
                    break
                if keys[q] == key:
                    k = g * last + t
                    table[k, order[i]] = order[q]
                    if mirrored:
                        table[taps - 1 - k, order[q]] = order[i]
                key += step
        task = claim(turn, grain)


@kernel
def count_found(table, counts, turn, grain, n):
    k = claim(turn, grain)
    while k < n:
        row, count = table[k], 0
        for i in range(row.shape[0]):
            count += row[i] >= 0
        counts[k] = count
        k = claim(turn, grain)


@kernel
def list_found(table, order, starts, given, found, turn, grain, n):
    """The pairs of tap k from starts[k] on: given is order[i], found is table[k, i]."""
    own, partners = np.empty(SOME, np.int32), np.empty(SOME, np.int32)
    k = claim(turn, grain)
    while k < n:
        row, at = table[k], starts[k]
        for first in range(0, row.shape[0], SOME):
            count = 0
            for i in range(first, min(first + SOME, row.shape[0])):
                own[count], partners[count] = order[i], row[i]  # without a branch, which couldn't be foretold
                count += row[i] >= 0
            a, b = given[at : at + count], found[at : at + count]
            for i in range(count):
                a[i], b[i] = own[i], partners[i]
            at += count
        k = claim(turn, grain)


def match(found, outs, shifts, widths, how, subm, transposed):
    """(a table of partners, the rows that its columns stand for, how many pairs each tap has); outs are the result's keys."""
    keys, order = found
    n, taps = len(keys), int(np.prod([axis[0] for axis in how]))
    table, counts = np.empty((taps, n), np.int32), np.empty(taps, np.int64)
    if n == 0:
        counts.fill(0)
    elif subm:
        table.fill(-1)
        deltas = np.zeros(1, np.int64)
        for shift, (count, _, padding, dilation, _) in zip(shifts[1:-1], how[:-1], strict=True):
            far = [t * dilation - padding for t in range(count)]
            deltas = (deltas[:, None] + (np.array(far, np.int64) << shift)).ravel()
        last, _, padding, dilation, _ = how[-1]
        mirrored = all(axis[0] % 2 for axis in how)
        tasks = (len(deltas) // 2 + 1 if mirrored else len(deltas)) * -(-n // CHUNK)
        args = keys, order, deltas - padding, last, dilation, mirrored, table, CHUNK
        parallel_for(match_neighbours, tasks, 1, *args, cost=20 * min(n, CHUNK))
    else:
        args = keys, outs, np.array(how, np.int64), np.array(shifts), np.array(widths), transposed, table
        parallel_for(match_moved, n, CHUNK // 2, *args, cost=8 * taps)
    if n:
        parallel_for(count_found, taps, 1, table, counts, cost=n / 4)
    return table, (np.arange(n, dtype=np.int32) if subm else order), counts


def pairs(table, rows, counts, subm, out):
    """Fill out (2, P) with the rows of inputs and of outputs, tap by tap, by rising outputs."""
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    given, found = (out[1], out[0]) if subm else (out[0], out[1])
    parallel_for(list_found, len(table), 1, table, rows, starts, given, found, cost=table.shape[1])


def put(counts, out):
    """Fill out (K,) with the counts."""
    out[:] = counts


# ---- who owns what -----------------------------------------------------------------------------------------------------
@kernel
def divide(owners, starts, rows, bounds, rising, turn, grain, n):
    """bounds[k, b] = where the pairs of tap k whose owners are in block b begin; rising[k] = whether its owners rise."""
    k = claim(turn, grain)
    while k < n:
        row, blocks, rise = bounds[k], bounds.shape[1] - 1, True
        b, before = 0, np.int32(-1)
        for p in range(starts[k], starts[k + 1]):
            owner = owners[p]
            rise = rise and owner >= before
            before = owner
            while b < blocks and b * rows <= owner:
                row[b] = p
                b += 1
        while b <= blocks:
            row[b] = starts[k + 1]
            b += 1
        rising[k] = rise
        k = claim(turn, grain)


@kernel
def sort_by_owner(owners, others, starts, size, out_owners, out_others, turn, grain, n):
    places = np.empty(size + 1, np.int64)
    k = claim(turn, grain)
    while k < n:
        for i in range(size + 1):
            places[i] = 0
        for p in range(starts[k], starts[k + 1]):
            places[owners[p] + 1] += 1
        places[0] = starts[k]
        for i in range(size):
            places[i + 1] += places[i]
        for p in range(starts[k], starts[k + 1]):
            at = places[owners[p]]
            places[owners[p]] = at + 1
            out_owners[at], out_others[at] = owners[p], others[p]
        k = claim(turn, grain)


def owned(owners, others, counts, size, rows):
    """(owners, others, bounds): pairs by rising owners within each tap, and where blocks of `rows` owners begin."""
    taps = len(counts)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    bounds, rising = np.empty((taps, -(-size // rows) + 1), np.int64), np.empty(taps, np.bool_)
    cost = len(owners) / max(1, taps)
    parallel_for(divide, taps, 1, owners, starts, rows, bounds, rising, cost=cost)
    if not rising.all():
        sorted_owners, sorted_others = np.empty_like(owners), np.empty_like(others)
        args = owners, others, starts, size, sorted_owners, sorted_others
        parallel_for(sort_by_owner, taps, 1, *args, cost=4 * cost + size)
        owners, others = _as_given(sorted_owners), _as_given(sorted_others)
        parallel_for(divide, taps, 1, owners, starts, rows, bounds, rising, cost=cost)
    return owners, others, bounds


def _as_given(x):
    """Read-only, as inputs are, so that kernels are compiled for one kind of array."""
    x = x.view()
    x.setflags(write=False)
    return x


def block(size, channels):
    """How many outputs a thread owns at a time."""
    return max(64, min(1024, 2**16 // max(1, channels), -(-size // 8)))


# ---- products ----------------------------------------------------------------------------------------------------------
@kernel(fastmath=SUMS)
def multiply(x, channels, factors, made, wide, owners, others, bounds, bias, out, rows, turn, grain, n):
    """out[owner] = the sum over taps of x[other] times that tap's matrix; x, factors (panels) and out one-dimensional."""
    given = np.zeros(GROUP * channels, x.dtype)
    sums = np.empty(GROUP * wide, x.dtype)
    columns = 128 // x.itemsize
    leap = channels * columns
    size = out.shape[0] // made
    b = claim(turn, grain)
    while b < n:
        block = out[b * rows * made : min((b + 1) * rows, size) * made]
        for i in range(block.shape[0]):
            block[i] = 0
        for k in range(bounds.shape[0]):
            first, stop = bounds[k, b], bounds[k, b + 1]
            while first < stop:
                count = min(GROUP, stop - first)
                for i in range(count):
                    at = np.int64(others[first + i]) * channels
                    source, target = x[at : at + channels], given[i * channels : (i + 1) * channels]
                    for c in range(channels):
                        target[c] = source[c]
                product(
                    given, 0, channels, 1, factors, k * wide * channels, leap, channels, sums, 0, wide, count, wide, False
                )  # fmt: skip
                for i in range(count):
                    at = np.int64(owners[first + i]) * made
                    target, source = out[at : at + made], sums[i * wide : i * wide + made]
                    for c in range(made):
                        target[c] += source[c]
                first += count
        if bias.shape[0]:
            for i in range(0, block.shape[0], made):
                target = block[i : i + made]
                for c in range(made):
                    target[c] += bias[c]
        b = claim(turn, grain)


def _multiply(x, weight, bias, owners, others, counts, out):
    size, made = out.shape
    channels = x.shape[1]
    rows = block(size, made)
    owners, others, bounds = owned(owners, others, counts, size, rows)
    factors = _as_given(panels(weight))
    args = (
        x.reshape(-1), channels, factors.reshape(-1), made, factors.shape[1] * lanes(x.dtype), owners, others, bounds, bias,
        out.reshape(-1), rows,
    )  # fmt: skip
    parallel_for(multiply, -(-size // rows), 1, *args)


def forward(x, weight, bias, pairs, counts, out):
    """x (N, C), weight (K, C, O), bias (O,) or None, pairs (2, P), counts (K,), out (M, O)."""
    if 0 in out.shape:
        return
    none = _as_given(np.empty(0, x.dtype)) if bias is None else bias
    if 0 in x.shape or not len(weight) or not pairs.shape[1]:
        out.fill(0)
        if bias is not None:
            out += bias
        return
    _multiply(x, weight, none, pairs[1], pairs[0], counts, out)


def backward_features(grad, weight, pairs, counts, out):
    """Fill out (N, C) from grad (M, O)."""
    if 0 in out.shape:
        return
    if 0 in grad.shape or not pairs.shape[1]:
        out.fill(0)
        return
    _multiply(grad, weight.swapaxes(1, 2), _as_given(np.empty(0, grad.dtype)), pairs[0], pairs[1], counts, out)


@kernel(fastmath=SUMS)
def multiply_transposed(x, channels, deep, grad, made, wide, inputs, outputs, bounds, run, parts, turn, grain, n):
    """parts[task, k] = the sum over the pairs of tap k in `run` blocks of outputs of x[input] (a column) times grad[output]."""
    columns = 128 // x.itemsize
    given, factors = np.zeros(GROUP * deep, x.dtype), np.zeros(GROUP * wide, x.dtype)
    taps, blocks = bounds.shape[0], bounds.shape[1] - 1
    task = claim(turn, grain)
    while task < n:
        begin = task * taps * deep * wide
        part = parts[begin : begin + taps * deep * wide]
        for i in range(part.shape[0]):
            part[i] = 0
        for b in range(task * run, min((task + 1) * run, blocks)):
            for k in range(taps):
                first, stop = bounds[k, b], bounds[k, b + 1]
                while first < stop:
                    count = min(GROUP, stop - first)
                    for i in range(count):
                        at = np.int64(inputs[first + i]) * channels
                        source, target = x[at : at + channels], given[i * deep : i * deep + channels]
                        for c in range(channels):
                            target[c] = source[c]
                        at = np.int64(outputs[first + i]) * made
                        for j in range(0, made, columns):
                            source = grad[at + j : at + min(made, j + columns)]
                            target = factors[j * GROUP + i * columns : j * GROUP + (i + 1) * columns]
                            for c in range(source.shape[0]):
                                target[c] = source[c]
                    product(
                        given, 0, 1, deep, factors, 0, GROUP * columns, count, parts, begin + k * deep * wide, wide, channels, made, True
                    )  # fmt: skip
                    first += count
        task = claim(turn, grain)


@kernel
def add_parts(parts, tasks, wide, deep, out, turn, grain, n):
    """out[k] = the sum of the tasks' parts, in their order."""
    taps, channels, made = out.shape
    k = claim(turn, grain)
    while k < n:
        for c in range(channels):
            row = out[k, c]
            for j in range(made):
                row[j] = 0
            for task in range(tasks):
                at = ((task * taps + k) * deep + c) * wide
                part = parts[at : at + made]
                for j in range(made):
                    row[j] += part[j]
        k = claim(turn, grain)


def backward_weight(grad, x, pairs, counts, out):
    """Fill out (K, C, O) from grad (M, O) and x (N, C)."""
    taps, channels, made = out.shape
    if 0 in out.shape:
        return
    if not pairs.shape[1]:
        out.fill(0)
        return
    size = len(grad)
    rows = max(64, min(1024, 2**16 // (channels + made)))  # whose inputs and gradients stay in the cache
    outputs, inputs, bounds = owned(pairs[1], pairs[0], counts, size, rows)
    deep, wide, blocks = rounded(channels), -(-made // lanes(x.dtype)) * lanes(x.dtype), bounds.shape[1] - 1
    run = -(-blocks // max(2, min(16, MEMORY // (taps * deep * wide * x.itemsize))))
    tasks = -(-blocks // run)
    parts = np.empty(tasks * taps * deep * wide, x.dtype)
    args = x.reshape(-1), channels, deep, grad.reshape(-1), made, wide, inputs, outputs, bounds, run, parts
    parallel_for(multiply_transposed, tasks, 1, *args)
    parallel_for(add_parts, taps, 1, parts, tasks, wide, deep, out, cost=len(parts) / taps)


def backward_bias(grad, out):
    """Fill out (O,) with the sums of grad (M, O)."""
    out[:] = grad.sum(0, dtype=np.float64)


# ---- maxima ------------------------------------------------------------------------------------------------------------
@kernel
def choose(x, owners, others, bounds, out, argmax, rows, turn, grain, n):
    """Maxima, and where they are if `argmax` has rows for that."""
    b = claim(turn, grain)
    channels, told, found = x.shape[1], argmax.shape[0] > 0, np.empty(rows, np.bool_)
    lowest = out.dtype.type(0 if told else -np.inf)
    while b < n:
        begin = b * rows
        for i in range(begin, min(begin + rows, out.shape[0])):
            best = out[i]
            found[i - begin] = told
            for c in range(channels):
                best[c] = lowest
            if told:
                which = argmax[i]
                for c in range(channels):
                    which[c] = -1
        for k in range(bounds.shape[0]):
            for p in range(bounds[k, b], bounds[k, b + 1]):
                source, owner = others[p], owners[p]
                row, best = x[source], out[owner]
                if told:
                    which = argmax[owner]
                    for c in range(channels):
                        value, old, held = row[c], best[c], which[c]  # without a branch, so in vectors
                        taken = (held < 0) | (value > old) | ((value != value) & (old == old))  # a NaN is above all
                        best[c] = value if taken else old
                        which[c] = source if taken else held
                else:
                    found[owner - begin] = True
                    for c in range(channels):
                        value, old = row[c], best[c]
                        best[c] = value if (value > old) | (value != value) else old
        for i in range(begin, min(begin + rows, out.shape[0])):
            if not found[i - begin]:
                best = out[i]
                for c in range(channels):
                    best[c] = 0
        b = claim(turn, grain)


@kernel
def spread(grad, argmax, owners, others, bounds, out, rows, turn, grain, n):
    """out[owner] = the sum of grad[other] where the owner was chosen."""
    b = claim(turn, grain)
    channels = grad.shape[1]
    while b < n:
        for i in range(b * rows, min((b + 1) * rows, out.shape[0])):
            row = out[i]
            for c in range(channels):
                row[c] = 0
        for k in range(bounds.shape[0]):
            for p in range(bounds[k, b], bounds[k, b + 1]):
                owner = owners[p]
                row, given, which = out[owner], grad[others[p]], argmax[others[p]]
                for c in range(channels):
                    row[c] += given[c] if which[c] == owner else 0
        b = claim(turn, grain)


def pool(x, pairs, counts, out, argmax):
    """Fill out (M, C) with maxima of the rows that pairs give, and argmax (M, C) with where they are, unless it has no rows."""
    if 0 in out.shape:
        return
    size, channels = out.shape
    rows = block(size, channels)
    args = owned(pairs[1], pairs[0], counts, size, rows)
    cost = pairs.shape[1] * channels / max(1, size) * rows
    parallel_for(choose, -(-size // rows), 1, x, *args, out, argmax, rows, cost=cost)


def pool_backward(grad, argmax, pairs, counts, out):
    """Fill out (N, C) with the gradients of the rows that were chosen."""
    if 0 in out.shape:
        return
    size, channels = out.shape
    rows = block(size, channels)
    args = owned(pairs[0], pairs[1], counts, size, rows)
    cost = pairs.shape[1] * channels / max(1, size) * rows
    parallel_for(spread, -(-size // rows), 1, grad, argmax, *args, out, rows, cost=cost)
