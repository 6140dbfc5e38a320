"""How wide a launch's indices are, and what its kernels divide them by (see include/loops.cuh)."""

LIMIT = 2**31  # 32-bit indices and their products stay below it
INDICES = ("uint32_t", "int64_t")  # of each kernel that has an `Index`: both are compiled


def index(*sizes: int) -> str:
    """The C type that holds all indices of arrays with so many elements, threads or the like."""
    return INDICES[max(sizes) >= LIMIT]


def divider(index: str, divisor: int) -> int:
    """A divisor as loops::FastDivider<index> takes it: at least 1, and below 2**31 for 32-bit indices."""
    if index == "int64_t" or divisor < 1:  # nothing is launched for sizes of 0
        return max(divisor, 1)
    if divisor >= 2**31:
        raise ValueError(f"{divisor} does not divide 32-bit indices")
    shift = (divisor - 1).bit_length()
    magic = 2**32 * (2**shift - divisor) // divisor + 1
    return magic << 32 | divisor
