"""Rows of whole numbers as keys of 64 bits, which sort as the rows do; and what equal ones make, runs.

A row of a grid is the number of its cell, or its numbers' bits side by side: in 32 bits where the grid allows. Rows outside
the grid have the number of cells as their key, which is above all others, so they come last. Time and memory follow from the
count of rows, never from that of cells.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.order import sort_pairs
from arrayvision.cpu.threads import claim, get_num_threads, parallel_for

MANY = 40_000  # keys that threads sort together
LEADING = 10  # bits of their leading digit
BLOCK, BLOCKS = 8192, 64  # the rows of a block at least, and how many blocks there are at most


def keys_for(n, cells):
    """Memory for n keys below `cells`, or equal to it."""
    return np.empty(n, np.uint32 if cells < 2**32 else np.uint64)


@kernel
def sort_in_turn(keys, size):
    """(the sorted keys of so many bits, the rows in their order)."""
    order = np.empty(keys.shape[0], np.int32)
    for i in range(order.shape[0]):
        order[i] = i
    return sort_pairs(keys, order, size)


@kernel
def count_digits(keys, shift, counts, turn, grain, n):
    """counts[block, d] = how many keys of the block have the leading digit d."""
    start = claim(turn, grain)
    while start < n:
        part, count = keys[start : min(start + grain, n)], counts[start // grain]
        for d in range(count.shape[0]):
            count[d] = 0
        for i in range(part.shape[0]):
            count[np.int64(np.uint64(part[i]) >> shift)] += 1
        start = claim(turn, grain)


@kernel
def begin_digits(counts, starts):
    """Make counts where each block's first key of each digit goes, and starts where a digit's begin; the last is the end. The
    keys of the commonest digit are counted."""
    total, most = 0, 0
    for d in range(counts.shape[1]):
        starts[d], before = total, total
        for block in range(counts.shape[0]):
            here = counts[block, d]
            counts[block, d] = total
            total += here
        most = max(most, total - before)
    starts[counts.shape[1]] = total
    return most


@kernel
def place_by_digit(keys, shift, places, placed, order, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        part, place = keys[start : min(start + grain, n)], places[start // grain]
        for i in range(part.shape[0]):
            key = part[i]
            d = np.int64(np.uint64(key) >> shift)
            at = place[d]
            place[d] = at + 1
            placed[at], order[at] = key, start + i
        start = claim(turn, grain)


@kernel
def sort_digits(keys, order, starts, shift, turn, grain, n):
    """Sort the keys of each leading digit, and the rows beside them, where they are."""
    start = claim(turn, grain)
    while start < n:
        for d in range(start, min(start + grain, n)):
            own, rows = keys[starts[d] : starts[d + 1]], order[starts[d] : starts[d + 1]]
            if own.shape[0] > 1:
                done, done_rows = sort_pairs(own, rows, shift)
                for i in range(own.shape[0]):
                    own[i], rows[i] = done[i], done_rows[i]
        start = claim(turn, grain)


def sorted_rows(keys, cells):
    """(the sorted keys, the rows in their order; of equal ones in the rows' order). Overwrites the keys.

    Threads bring many first into the order of their leading digits: blocks of rows count theirs, so each knows where its rows
    of a digit go. Then each digit's keys are sorted on their own.
    """
    n, size = len(keys), int(cells).bit_length()
    shift = size - LEADING
    if n >= MANY and shift > 0 and get_num_threads() > 1:
        grain = max(BLOCK, -(-n // BLOCKS))
        counts, starts = np.empty((-(-n // grain), 1 << LEADING), np.int32), np.empty((1 << LEADING) + 1, np.int32)
        parallel_for(count_digits, n, grain, keys, np.uint64(shift), counts, cost=1)
        if begin_digits(counts, starts) <= n // 2:  # else a thread would have most of the work
            placed, order = np.empty_like(keys), np.empty(n, np.int32)
            parallel_for(place_by_digit, n, grain, keys, np.uint64(shift), counts, placed, order, cost=2)
            parallel_for(sort_digits, len(starts) - 1, 8, placed, order, starts, shift, cost=5 * n / len(starts))
            return placed, order
    return sort_in_turn(keys, size)


@kernel
def runs(keys, cells):
    """Where runs of equal keys begin among sorted ones: their starts and, behind the last, its end. Rows outside are none."""
    n = keys.shape[0]
    while n > 0 and np.uint64(keys[n - 1]) == np.uint64(cells):
        n -= 1
    starts = np.empty(n + 1, np.int32)
    count = min(n, 1)
    starts[0] = 0
    for k in range(1, n):
        starts[count] = k
        count += keys[k] != keys[k - 1]  # without a branch: there is no telling where a run ends
    starts[count] = n
    return starts[: count + 1]


def rising_runs(keys, cells):
    """The rows by rising key, and the runs of equal ones among these: (sorted keys, order, starts). Overwrites the keys."""
    keys, order = sorted_rows(keys, cells)
    return keys, order, runs(keys, np.uint64(cells))


@kernel
def by_first_row(order, begins, most):
    """(starts, lengths) of `most` runs at most, in the order of their first rows."""
    n, found = order.shape[0], begins.shape[0] - 1
    run_of = np.full(n, -1, np.int32)  # a run, where its first row is
    for r in range(found):
        run_of[order[begins[r]]] = r
    count = min(found, most)
    starts, lengths = np.empty(count, np.int32), np.empty(count, np.int32)
    at = 0
    for i in range(n):
        r = run_of[i]
        if r >= 0 and at < count:
            starts[at], lengths[at] = begins[r], begins[r + 1] - begins[r]
            at += 1
    return starts, lengths


def runs_by_first_row(keys, cells, most):
    """The rows by rising key, and the runs of equal ones in the order of their first rows, `most` of them at most.

    Returns (order, starts, lengths): run r is ``order[starts[r] : starts[r] + lengths[r]]``. Overwrites the keys.
    """
    if len(keys) == 0 or keys.min() == cells:  # all are outside, and nothing is to be sorted
        return np.empty((3, 0), np.int32)
    keys, order = sorted_rows(keys, cells)
    return order, *by_first_row(order, runs(keys, np.uint64(cells)), most)


@kernel
def collect_bits(rows, found, turn, grain, n):
    """found[block] = the bits that any number of a column has, in the rows of a block without a negative number."""
    last = rows.shape[1] - 1
    at1, at2 = min(1, last), min(2, last)
    start = claim(turn, grain)
    while start < n:
        part, bits = rows[start : min(start + grain, n)], found[start // grain]
        if last < 4:  # as most; a column may be looked at twice
            some0, some1, some2, some3 = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
            for i in range(part.shape[0]):
                a, b, c, d = part[i, 0], part[i, at1], part[i, at2], part[i, last]
                if (a | b | c | d) >= 0:
                    some0, some1, some2, some3 = some0 | a, some1 | b, some2 | c, some3 | d
            bits[0], bits[at1], bits[at2], bits[last] = some0, some1, some2, some3
        else:
            for k in range(last + 1):
                bits[k] = 0
            for i in range(part.shape[0]):
                row, all_bits = part[i], np.int64(0)
                for k in range(row.shape[0]):
                    all_bits |= row[k]
                if all_bits >= 0:
                    for k in range(row.shape[0]):
                        bits[k] |= row[k]
        start = claim(turn, grain)


def bit_widths(rows):
    """How many bits the largest number of each column has, of rows without a negative one."""
    n, grain = len(rows), 8192
    found = np.empty((-(-n // grain), rows.shape[1]), np.int64)
    parallel_for(collect_bits, n, grain, rows, found, cost=2)
    return [int(bits).bit_length() for bits in np.bitwise_or.reduce(found, 0)]


def fields_of(widths):
    """How far each column's number is shifted in a key, the last one lowest, and how many bits it has: (2, D)."""
    widths = np.array(widths, np.int64)
    return np.stack([widths.sum() - np.cumsum(widths), widths])


@kernel
def pack(rows, fields, outside, keys, turn, grain, n):
    """keys[i] = the numbers of rows[i] side by side; `outside` where one is negative or doesn't fit."""
    last = fields.shape[1] - 1
    at1, at2 = min(1, last), min(2, last)
    shift0, shift1, shift2, shift3 = fields[0, 0], fields[0, at1], fields[0, at2], fields[0, last]
    width0, width1, width2, width3 = fields[1, 0], fields[1, at1], fields[1, at2], fields[1, last]
    start = claim(turn, grain)
    while start < n:
        part, own = rows[start : min(start + grain, n)], keys[start : min(start + grain, n)]
        for i in range(part.shape[0]):
            if last < 4:  # as most; a column may be looked at twice, which sets the same bits
                a, b = np.int64(part[i, 0]), np.int64(part[i, at1])
                c, d = np.int64(part[i, at2]), np.int64(part[i, last])
                key = (a << shift0) | (b << shift1) | (c << shift2) | (d << shift3)
                beyond = (a >> width0) | (b >> width1) | (c >> width2) | (d >> width3)  # not 0 of a negative one
            else:
                key, beyond = np.int64(0), np.int64(0)
                for k in range(last + 1):
                    value = np.int64(part[i, k])
                    key, beyond = key | (value << fields[0, k]), beyond | (value >> fields[1, k])
            own[i] = np.uint64(key) if beyond == 0 else outside
        start = claim(turn, grain)


@kernel(inline="always")
def unpack(key, fields, rows, v):
    """Write the row whose key this is to rows[v]."""
    key, last = np.int64(key), fields.shape[1] - 1
    if last < 4:  # without a loop, which takes longer than three numbers; a column may be written twice
        for k in (0, min(1, last), min(2, last), last):
            rows[v, k] = (key >> fields[0, k]) & ((1 << fields[1, k]) - 1)
    else:
        for k in range(last + 1):
            rows[v, k] = (key >> fields[0, k]) & ((1 << fields[1, k]) - 1)
