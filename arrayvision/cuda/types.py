"""C types of kernels' template arguments: those that arrays hold, and those that kernels compute in."""

from arrayvision.array import library_of, numpy_dtype, scalar
from arrayvision.cuda.runtime import C_TYPES

FLOATS = tuple(C_TYPES.values())  # what floating arrays hold: each kernel's instantiations
# How many of them are 16 bytes: what a thread loads at once where they lie so.
SIXTEEN = {T: 16 // numpy_dtype(name).itemsize if name != "bfloat16" else 8 for name, T in C_TYPES.items()}
DTYPES = {"int": "int32", "int64_t": "int64", "float": "float32", "double": "float64"}  # of arrays with such elements


def c_type(x) -> str:
    """The C type of an array's elements."""
    kind = x.dtype
    found = _C_TYPE_OF.get(kind)
    if found is None:
        found = _C_TYPE_OF[kind] = C_TYPES[library_of(x).dtype(x)]
    return found


_C_TYPE_OF: dict = {}  # each library's dtypes that were seen


def accumulator(kind: str) -> str:
    """The C type in which elements of this one are computed and added: acc_t of prelude.cuh."""
    return "double" if kind == "double" else "float"


def as_accumulator(kind: str, value: float):
    """A number rounded to the type in which elements of this one are computed; too large ones become infinite."""
    return scalar(value, DTYPES[accumulator(kind)])


def aligned(*arrays) -> bool:
    """Whether all arrays begin at multiples of 16 bytes, as loops::Run wants them."""
    return all(library_of(x).pointer(x) % 16 == 0 for x in arrays)


def together(channels: int, *arrays) -> int:
    """How many channels a thread loads at once: 16 bytes of them where all arrays' runs of channels begin at multiples of that."""
    v = SIXTEEN[c_type(arrays[0])]
    return v if channels % v == 0 and aligned(*arrays) else 1
