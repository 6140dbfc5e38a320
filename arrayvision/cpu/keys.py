"""Rows of whole numbers as keys of 64 bits, which sort as the rows do; and what equal ones make, runs.

A row of a grid is the number of its cell, or its numbers' bits side by side: in 32 bits where the grid allows. Rows outside
the grid have the number of cells as their key, which is above all others, so they come last. Time and memory follow from the
count of rows, never from that of cells.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.order import sort_pairs
from arrayvision.cpu.threads import claim


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
    count = 0
    while n > 0 and np.uint64(keys[n - 1]) == np.uint64(cells):
        n -= 1
    for k in range(n):
        count += k == 0 or keys[k] != keys[k - 1]
    starts = np.empty(count + 1, np.int32)
    starts[count] = n
    count = 0
    for k in range(n):
        if k == 0 or keys[k] != keys[k - 1]:
            starts[count] = k
            count += 1
    return starts


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
def extents(rows):
    """The largest number of each column, of rows without a negative one; -1 where there are none."""
    n, columns = rows.shape
    largest = np.full(columns, -1, np.int64)
    for i in range(n):
        row, inside = rows[i], True
        for k in range(columns):
            inside = inside and row[k] >= 0
        if inside:
            for k in range(columns):
                largest[k] = max(largest[k], np.int64(row[k]))
    return largest


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
