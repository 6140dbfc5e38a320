"""Stable orders of floats and labels by radix sort: linear in the count, ties to the smaller index."""

import numpy as np

from arrayvision.cpu import kernel

INSERTION = 48  # below this an insertion sort is faster


def bits(x):
    """A float array's memory as unsigned integers, which is what the sorts below take."""
    return x.view(np.uint32 if x.itemsize == 4 else np.uint64)


@kernel(inline="always")
def falling_key(v, sign):
    """An unsigned key that rises as the float with these bits falls; 0 and -0 are one. `sign` is the sign's bit."""
    if v == sign:
        v = np.uint64(0)
    return v if v & sign else v ^ (sign - np.uint64(1))


@kernel(inline="always")
def rising_key(v, sign):
    """An unsigned key that rises with the float with these bits."""
    if v == sign:
        v = np.uint64(0)
    return v ^ (sign | (sign - np.uint64(1))) if v & sign else v | sign


@kernel
def sort_pairs(keys, order, size):
    """Sort keys of `size` bits at most; stable: (the sorted keys, `order` in that order). Overwrites both."""
    n = keys.shape[0]
    if n <= INSERTION:
        for i in range(1, n):
            key, at, j = keys[i], order[i], i
            while j > 0 and keys[j - 1] > key:
                keys[j], order[j] = keys[j - 1], order[j - 1]
                j -= 1
            keys[j], order[j] = key, at
        return keys, order
    width = 8 if n < 2000 else 11
    passes = (size + width - 1) // width
    width = (size + passes - 1) // passes
    mask, step = np.uint64((1 << width) - 1), np.uint64(width)
    counts = np.empty((passes, 1 << width), np.int64)
    for p in range(passes):
        for d in range(1 << width):
            counts[p, d] = 0
    for i in range(n):
        key = np.uint64(keys[i])
        for p in range(passes):
            counts[p, np.int64(key & mask)] += 1
            key >>= step
    spare_keys, spare = np.empty(n, keys.dtype), np.empty(n, order.dtype)
    first = np.uint64(keys[0])
    for p in range(passes):
        shift = np.uint64(p * width)
        count = counts[p]
        if count[np.int64((first >> shift) & mask)] == n:  # all alike in these bits
            continue
        total = 0
        for d in range(count.shape[0]):
            here = count[d]
            count[d] = total
            total += here
        for i in range(n):
            key = keys[i]
            d = np.int64((np.uint64(key) >> shift) & mask)
            at = count[d]
            count[d] = at + 1
            spare_keys[at], spare[at] = key, order[i]
        keys, spare_keys = spare_keys, keys
        order, spare = spare, order
    return keys, order


def sort_by_key(keys, order):
    """The order that sorts the keys, applied to `order`; stable. Overwrites the keys; returns the sorted order."""
    return sort_pairs(keys, order, 8 * keys.itemsize)[1]


@kernel
def by_falling_score(score_bits, least, filtered):
    """Indices by falling score, and how many count: those left out (NaN; not above `least`, if filtered) come after."""
    n = score_bits.shape[0]
    size = 8 * score_bits.itemsize
    sign = np.uint64(1) << np.uint64(size - 1)
    infinite = np.uint64(0x7F800000) if size == 32 else np.uint64(0x7FF0000000000000)
    limit = falling_key(np.uint64(least), sign)
    keys, order = np.empty(n, score_bits.dtype), np.empty(n, np.int32)
    count, out = 0, n
    for i in range(n):
        v = np.uint64(score_bits[i])
        key = falling_key(v, sign)
        if (v & (sign - np.uint64(1))) > infinite or (filtered and key >= limit):
            out -= 1
            order[out] = i
        else:
            keys[count], order[count] = key, i
            count += 1
    for i in range((n - count) // 2):  # they were written from the end
        order[count + i], order[n - 1 - i] = order[n - 1 - i], order[count + i]
    _, some = sort_pairs(keys[:count], order[:count], size)
    for i in range(count):  # a slice assigned brings NumPy's error messages, which take a second to compile
        order[i] = some[i]
    return order, count


def by_rising_value(values):
    """Indices by rising value; stable, and 0 and -0 are one."""
    keys = bits(values + 0)  # -0 is 0 then
    sign = keys.dtype.type(1 << (8 * keys.itemsize - 1))
    return sort_by_key(np.where(keys & sign, ~keys, keys | sign), np.arange(len(values), dtype=np.int32))
