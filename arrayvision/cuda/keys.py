"""Rows by their keys, and the runs of equal ones (see include/keys.cuh); the functions of `cpu/keys.py`.

A file that includes keys.cuh instantiates `RUNS`.
"""

from arrayvision.array import library_of
from arrayvision.cuda.runtime import argsort, empty, running_sum, zeros

KINDS = {"int": "int32", "int64_t": "int64"}  # of keys: C types and dtypes
RUNS = [
    *(f"{kernel}<{K}>" for K in KINDS for kernel in ("take_keys", "mark_runs", "mark_first_rows", "list_runs")),
    *(f"{kernel}<{K}>" for K in KINDS for kernel in ("find_extents", "pack_rows")),
    "find_owners",
]
ALL = 2**62  # more runs than there are
CELLS = 2**63 - 1  # more cells than a grid may have, where only the GPU knows it
_C_TYPES = {dtype: kind for kind, dtype in KINDS.items()}


def key_for(cells: int) -> str:
    """The C type of keys below `cells`, or equal to it."""
    return "int" if cells < 2**31 else "int64_t"


def keys_for(like, n: int, cells: int):
    """Memory for n keys."""
    return empty(like, (n,), KINDS[key_for(cells)])


def _sorted(kernels, keys, cells):
    n, kind = keys.shape[0], key_for(cells)
    order, ordered = argsort(keys), empty(keys, (n,), KINDS[kind])
    kernels.launch(f"take_keys<{kind}>", n, n, keys, order, ordered)
    return order, ordered, kind


def _listed(kernels, kind, ordered, heads, begins, by_row, most):
    n = ordered.shape[0]
    ranks = running_sum(heads)
    count = min(int(ranks[n - 1]), most)  # the one wait for the GPU
    starts, lengths = empty(ordered, (count,), "int32"), empty(ordered, (count,), "int32")
    if count:
        kernels.launch(f"list_runs<{kind}>", n, n, most, ordered, heads, ranks, begins, by_row, starts, lengths)
    return starts, lengths


def none(like):
    """No rows and no runs."""
    return empty(like, (0,), "int64"), empty(like, (0,), "int32"), empty(like, (0,), "int32")


def rising_runs(kernels, keys, cells):
    """The rows by rising key, and the runs of equal ones among these: (order, starts, lengths)."""
    n = keys.shape[0]
    if n == 0:
        return none(keys)
    order, ordered, kind = _sorted(kernels, keys, cells)
    heads = empty(keys, (n,), "int32")
    kernels.launch(f"mark_runs<{kind}>", n, n, cells, ordered, heads)
    return order, *_listed(kernels, kind, ordered, heads, heads, False, ALL)


def runs_by_first_row(kernels, keys, cells, most):
    """The same runs in the order of their first rows, `most` of them at most."""
    n = keys.shape[0]
    if n == 0:
        return none(keys)
    order, ordered, kind = _sorted(kernels, keys, cells)
    heads, begins = empty(keys, (n,), "int32"), empty(keys, (n,), "int32")
    kernels.launch(f"mark_first_rows<{kind}>", n, n, cells, ordered, order, heads, begins)
    return order, *_listed(kernels, kind, ordered, heads, begins, True, most)


def row_type(rows) -> str:
    """The C type of rows of integers."""
    return _C_TYPES[library_of(rows).dtype(rows)]


def pack(kernels, rows):
    """The keys of rows, `CELLS` for one with a negative number; and whether 62 bits hold them, which the GPU knows, as an array of
    one."""
    n, columns = rows.shape
    kind = row_type(rows)
    largest, keys, fits = zeros(rows, (columns,), "int64"), empty(rows, (n,), "int64"), empty(rows, (1,), "int32")
    kernels.launch(f"find_extents<{kind}>", min(n, 1 << 16), n, columns, rows, largest)
    kernels.launch(f"pack_rows<{kind}>", n, n, columns, CELLS, rows, largest, keys, fits)
    return keys, fits


def owners(kernels, order, starts, lengths, out):
    """out[i] = the run that row i is in, -1 for none."""
    n = order.shape[0]
    kernels.launch("find_owners", n, n, starts.shape[0], order, starts, lengths, out)
