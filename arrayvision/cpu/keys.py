"""Rows of whole numbers as keys of 64 bits, which sort as the rows do; and what equal ones make, runs.

A row of a grid is the number of its cell, or its numbers' bits side by side: in 32 bits where the grid allows. Rows outside
the grid have the number of cells as their key, which is above all others, so they come last. Time and memory follow from the
count of rows, never from that of cells.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.order import sort_pairs
from arrayvision.cpu.threads import claim, parallel_for


def keys_for(n, cells):
    """Memory for n keys below `cells`, or equal to it."""
    return np.empty(n, np.uint32 if cells < 2**32 else np.uint64)


@kernel
def sorted_rows(keys, cells):
    """(the sorted keys, the rows in their order; of equal ones in the rows' order). Overwrites the keys."""
    order = np.empty(keys.shape[0], np.int32)
    for i in range(order.shape[0]):
        order[i] = i
    size = 1
    while size < 64 and np.uint64(cells) >> np.uint64(size):
        size += 1
    return sort_pairs(keys, order, size)


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


@kernel
def rising_runs(keys, cells):
    """The rows by rising key, and the runs of equal ones among these: (sorted keys, order, starts). Overwrites the keys."""
    keys, order = sorted_rows(keys, cells)
    return keys, order, runs(keys, cells)


@kernel
def runs_by_first_row(keys, cells, most):
    """The rows by rising key, and the runs of equal ones in the order of their first rows, `most` of them at most.

    Returns (order, starts, lengths): run r is ``order[starts[r] : starts[r] + lengths[r]]``. Overwrites the keys.
    """
    n = keys.shape[0]
    keys, order = sorted_rows(keys, cells)
    begins = runs(keys, cells)
    found = begins.shape[0] - 1
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
    return order, starts, lengths


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


@kernel
def pack(rows, widths, outside, keys, turn, grain, n):
    """keys[i] = the numbers of rows[i] side by side, each in so many bits, the last one lowest; `outside` where one doesn't fit."""
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            row, key, inside = rows[i], np.int64(0), True
            for k in range(widths.shape[0]):
                value = np.int64(row[k])
                inside = inside and value >> widths[k] == 0  # not so of a negative one
                key = (key << widths[k]) | value
            keys[i] = np.uint64(key) if inside else outside
        start = claim(turn, grain)


@kernel(inline="always")
def unpack(key, widths, row):
    """Write the row whose key this is."""
    key = np.int64(key)
    for k in range(widths.shape[0] - 1, -1, -1):
        row[k] = key & ((1 << widths[k]) - 1)
        key >>= widths[k]
