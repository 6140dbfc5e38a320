"""How wide a launch's indices are, and what its kernels divide them by (see include/loops.cuh)."""

import functools

LIMIT = 2**31  # 32-bit indices and their products stay below it
INDICES = ("uint32_t", "int64_t")  # of each kernel that has an `Index`: both are compiled


def index(*sizes: int) -> str:
    """The C type that holds all indices of arrays with so many elements, threads or the like."""
    return INDICES[max(sizes) >= LIMIT]


@functools.lru_cache(4096)
def divider(index: str, divisor: int) -> int:
    """A divisor as loops::FastDivider<index> takes it: at least 1, and below 2**31 for 32-bit indices."""
    if index == "int64_t" or divisor < 1:  # nothing is launched for sizes of 0
        return max(divisor, 1)
    if divisor >= 2**31:
        raise ValueError(f"{divisor} does not divide 32-bit indices")
    shift = (divisor - 1).bit_length()
    magic = 2**32 * (2**shift - divisor) // divisor + 1
    return magic << 32 | divisor


def parts(items: int, threads: int):
    """Slices of items, each of so many threads, such that 32 bits count a slice's: (how many items, the slice) in turn.

    The slice is None if all items fit, as they do unless there are 2**31 threads and more.
    """
    if items == 0 or threads == 0:
        return
    most = (LIMIT - 1) // threads
    if most == 0:
        raise ValueError(f"{threads} threads for one item are more than 32-bit indices count")
    if items <= most:
        yield items, None
        return
    for start in range(0, items, most):
        yield min(most, items - start), slice(start, start + most)


def rows(x, part):
    """A slice of an array; the array itself for None, since libraries take microseconds to slice."""
    return x if part is None else x[part]
