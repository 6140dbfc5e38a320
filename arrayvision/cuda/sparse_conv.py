"""Launches of sparse_conv.cu; the functions and arguments of `cpu/sparse_conv.py`.

Sites are sorted by the array library's radix sort. Products are the library's too: for each tap of the filter, of the rows that
its pairs name, so what is gathered is never larger than the inputs and the outputs are.
"""

import itertools
import math

import numpy as np

from arrayvision.array import library_of
from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.keys import CELLS, KINDS, RUNS, rising_runs, row_type
from arrayvision.cuda.loops import INDICES, divider, index
from arrayvision.cuda.runtime import argsort, empty, running_sum, zeros
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, c_type

SEGMENT = constant("sparse_conv.cu", "SEGMENT")
SUMMED_ROWS, ACROSS = constant("sparse_conv.cu", "SUMMED_ROWS"), constant("sparse_conv.cu", "ACROSS")
_BY_ROWS = "gather_rows", "add_rows", "add_bias", "choose", "spread"
KERNELS = runtime.Kernels(
    "sparse_conv.cu",
    [
        *RUNS, *ROUND_SUMS, "count_twice", "move_along", "take_heads", "match_moved", "match_neighbours", "count_found",
        "list_found", "choose_none",
        *(f"{kernel}<{kind}>" for kind in KINDS for kernel in ("pack_sites", "unpack_sites")),
        *(f"{kernel}<{T}>" for T in FLOATS for kernel in ("add_part", "sum_columns")),
        *(f"{kernel}<{T}, {kind}>" for T in FLOATS for kind in INDICES for kernel in _BY_ROWS),
    ],
)  # fmt: skip


def _sent(like, numbers):
    """A few numbers, where an array is."""
    library = library_of(like)
    return library.from_host(np.array(numbers, np.int64).ravel(), "int64", library.device(like))


def _fetched(x):
    return np.asarray(library_of(x).fetched(x))


# ---- sites and pairs ---------------------------------------------------------------------------------------------------
def sites(indices, sizes, shifts, bits):
    """((the sorted keys, the rows in their order), how many rows lie outside, how many are there twice)."""
    n, columns = indices.shape
    keys, ordered = empty(indices, (n,), "int64"), empty(indices, (n,), "int64")
    if n == 0:
        return (keys, ordered), 0, 0
    wrong = zeros(indices, (2,), "int32")
    fields = _sent(indices, [sizes, shifts])
    KERNELS.launch(f"pack_sites<{row_type(indices)}>", n, n, columns, indices, fields, keys, wrong)
    order = argsort(keys)
    KERNELS.launch("take_keys<int64_t>", n, n, keys, order, ordered)
    KERNELS.launch("count_twice", n, n, ordered, wrong[1:])
    outside, twice = _fetched(wrong).tolist()
    return (ordered, order), outside, twice


def coordinates(keys, sizes, shifts, out):
    """Fill out (M, 1 + D) with the sites of keys."""
    n, columns = out.shape
    KERNELS.launch(f"unpack_sites<{row_type(out)}>", n, n, columns, keys, _sent(out, [sizes, shifts]), out)


def reached(found, shifts, widths, how, transposed):
    """The sorted keys of all sites that the filter reaches; how is ((kernel, stride, padding, dilation, result's size) an axis)."""
    keys = found[0]
    for shift, width, (taps, stride, padding, dilation, size) in reversed(
        list(zip(shifts[1:], widths[1:], how, strict=True))
    ):
        n = keys.shape[0]
        if n:
            all_keys = empty(keys, (n * taps,), "int64")
            args = n, shift, (1 << width) - 1, stride, padding, dilation, size, transposed, keys, all_keys
            KERNELS.launch("move_along", (-(-n // 256), taps), *args)
            order, starts, _ = rising_runs(KERNELS, all_keys, CELLS)
            keys = empty(keys, (starts.shape[0],), "int64")
            KERNELS.launch("take_heads", len(starts), len(starts), all_keys, order, starts, keys)
    return keys


def match(found, outs, shifts, widths, how, subm, transposed):
    """(a table of partners and where its pairs go, the rows that its columns stand for, how many pairs each tap has); outs are the
    result's keys."""
    keys, order = found
    n, taps = keys.shape[0], math.prod(axis[0] for axis in how)
    if n == 0:
        return None, order, np.zeros(taps, np.int64)
    table, grid = empty(keys, (taps * n,), "int32"), (-(-n // 256), taps)
    if subm:
        steps = [
            [(t * dilation - padding) << shift if t * dilation >= padding else -((padding - t * dilation) << shift) for t in range(count)]
            for shift, (count, _, padding, dilation, _) in zip(shifts[1:], how, strict=True)
        ]  # fmt: skip
        deltas = _sent(keys, [sum(taken) for taken in itertools.product(*steps)])
        KERNELS.launch("match_neighbours", grid, n, deltas, keys, order, table)
    else:
        numbers = [
            [shift, (1 << width) - 1, *axis] for shift, width, axis in zip(shifts[1:], widths[1:], how, strict=True)
        ]
        args = n, len(how), outs.shape[0], transposed, _sent(keys, numbers), keys, outs, table
        KERNELS.launch("match_moved", grid, *args)
    segments = -(-n // SEGMENT)
    counts = empty(keys, (taps * segments,), "int32")
    KERNELS.launch("count_found", taps * segments * 32, n, taps, segments, table, counts)
    sums = running_sum(counts)
    totals = _fetched(sums[segments - 1 :: segments])
    return (table, counts, sums), order, np.diff(totals, prepend=0)


def pairs(table, rows, counts, subm, out):
    """Fill out (2, P) with the rows of inputs and of outputs, tap by tap, by rising outputs."""
    table, segment_counts, sums = table
    n = rows.shape[0]
    segments = -(-n // SEGMENT)
    given, found = (out[1], out[0]) if subm else (out[0], out[1])
    args = n, len(counts), segments, subm, table, rows, segment_counts, sums, given, found
    KERNELS.launch("list_found", len(counts) * segments * 32, *args)


def put(counts, out):
    """Fill out (K,) with the counts."""
    out[:] = _sent(out, counts)


# ---- products ----------------------------------------------------------------------------------------------------------
def _runs(counts, most):
    """(tap, first pair, end) of pairs that are multiplied at once."""
    begin = 0
    for k, count in enumerate(counts.tolist()):
        for start in range(begin, begin + count, most):
            yield k, start, min(start + most, begin + count)
        begin += count


def _by_rows(name, x, count, channels, *args):
    n = count * channels
    kind = index(n)
    KERNELS.launch(f"{name}<{c_type(x)}, {kind}>", n, n, divider(kind, channels), *args)


def _gathered(x, rows):
    """The rows of x."""
    count, (size, channels) = rows.shape[0], x.shape
    out = empty(x, (count, channels), library_of(x).dtype(x))
    _by_rows("gather_rows", x, count, channels, size, x, rows, out)
    return out


def _multiply(x, matrix, given, owners, counts, sums):
    """sums[owner] += x[given] times each tap's matrix."""
    library, (size, made) = library_of(x), sums.shape
    for k, start, stop in _runs(counts, max(len(x), size)):
        rows = _gathered(x, given[start:stop])
        products = empty(x, (stop - start, made), library.dtype(x))
        library.matmul(rows, matrix(k), products)
        _by_rows("add_rows", x, stop - start, made, size, products, owners[start:stop], sums)


def forward(x, weight, bias, pairs, counts, out):
    """x (N, C), weight (K, C, O), bias (O,) or None, pairs (2, P), counts (K,), out (M, O)."""
    if 0 in out.shape:
        return
    sums = zero_sums(out)
    if 0 not in x.shape:
        _multiply(x, lambda k: weight[k], pairs[0], pairs[1], counts, sums)
    if bias is not None:
        _by_rows("add_bias", out, *out.shape, bias, sums)
    round_sums(KERNELS, sums, out)


def backward_features(grad, weight, pairs, counts, out):
    """Fill out (N, C) from grad (M, O)."""
    if 0 in out.shape:
        return
    sums = zero_sums(out)
    if 0 not in grad.shape:
        _multiply(grad, lambda k: weight[k].swapaxes(0, 1), pairs[1], pairs[0], counts, sums)
    round_sums(KERNELS, sums, out)


def backward_weight(grad, x, pairs, counts, out):
    """Fill out (K, C, O) from grad (M, O) and x (N, C)."""
    if 0 in out.shape:
        return
    library, (_, channels, made) = library_of(x), out.shape
    sums = zero_sums(out)
    part = empty(x, (channels, made), library.dtype(x))
    for k, start, stop in _runs(counts, max(len(x), len(grad), 1)):
        rows, given = _gathered(x, pairs[0, start:stop]), _gathered(grad, pairs[1, start:stop])
        library.matmul(rows.swapaxes(0, 1), given, part)
        KERNELS.launch(f"add_part<{c_type(x)}>", channels * made, channels * made, part, sums[k])
    round_sums(KERNELS, sums, out)


def backward_bias(grad, out):
    """Fill out (O,) with the sums of grad (M, O)."""
    rows, columns = grad.shape
    if not columns:
        return
    kind = c_type(grad)
    sums = grad
    while rows != 1 or sums is grad:
        parts = -(-rows // SUMMED_ROWS) or 1
        made = empty(grad, (parts, columns), DTYPES[accumulator(kind)])
        for first in range(0, parts, 65535):  # which a grid may have
            some = slice(first, first + 65535)
            here = sums[first * SUMMED_ROWS : (first + 65535) * SUMMED_ROWS]
            grid = -(-columns // ACROSS), len(made[some])
            KERNELS.launch(f"sum_columns<{c_type(sums)}>", grid, len(here), columns, here, made[some])
        sums, rows = made, parts
    KERNELS.launch(f"round_sums<{kind}>", columns, columns, sums, out)


# ---- maxima ------------------------------------------------------------------------------------------------------------
def pool(x, pairs, counts, out, argmax):
    """Fill out (M, C) with maxima of the rows that pairs give, and argmax with where they are."""
    size, channels = out.shape
    if 0 in out.shape:
        return
    library_of(out).zero(out)
    KERNELS.launch("choose_none", size * channels, size * channels, argmax)
    for _, start, stop in _runs(counts, max(len(x), size)):
        args = len(x), size, x, pairs[0, start:stop], pairs[1, start:stop], out, argmax
        _by_rows("choose", x, stop - start, channels, *args)


def pool_backward(grad, argmax, pairs, counts, out):
    """Fill out (N, C) with the gradients of the rows that were chosen."""
    if 0 in out.shape:
        return
    size, channels = out.shape
    sums = zero_sums(out)
    for _, start, stop in _runs(counts, max(len(grad), size)):
        args = size, len(grad), grad, argmax, pairs[0, start:stop], pairs[1, start:stop], sums
        _by_rows("spread", grad, stop - start, channels, *args)
    round_sums(KERNELS, sums, out)
