"""Arrays at addresses: a call of few numbers takes longer to pass arrays than to compute.

What `arrayvision.array.quick` finds usual is contiguous: float32, or integers of 4 or 8 bytes.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from arrayvision.cpu import kernel


def _array_at(kind, address, shape, *like):
    def codegen(context, builder, signature, args):
        array = make_array(kind)(context, builder)
        size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
        sizes = cgutils.unpack_tuple(builder, args[1])
        strides = [context.get_constant(types.intp, size)]
        for n in sizes[:0:-1]:
            strides.insert(0, builder.mul(strides[0], n))
        populate_array(
            array, builder.inttoptr(args[0], array.data.type), sizes, strides, ir.Constant(strides[0].type, size), None
        )
        return array._getvalue()

    return kind(address, shape, *like), codegen


@intrinsic
def numbers_at(typingctx, address, shape):
    """The float32 array of a shape, a tuple, that begins at an address; read-only, as inputs of kernels are."""
    return _array_at(types.Array(types.float32, shape.count, "C", readonly=True), address, shape)


@intrinsic
def room_at(typingctx, address, shape):
    """The same, to be filled."""
    return _array_at(types.Array(types.float32, shape.count, "C"), address, shape)


@intrinsic
def alike_at(typingctx, address, shape, like):
    """As `numbers_at`, of the dtype of a number or of another array."""
    return _array_at(types.Array(getattr(like, "dtype", like), shape.count, "C", readonly=True), address, shape, like)


@intrinsic
def room_alike_at(typingctx, address, shape, like):
    """The same, to be filled."""
    return _array_at(types.Array(getattr(like, "dtype", like), shape.count, "C"), address, shape, like)


@intrinsic
def ints_at(typingctx, address, shape):
    """As `numbers_at`, of int32."""
    return _array_at(types.Array(types.int32, shape.count, "C", readonly=True), address, shape)


@intrinsic
def longs_at(typingctx, address, shape):
    """As `numbers_at`, of int64."""
    return _array_at(types.Array(types.int64, shape.count, "C", readonly=True), address, shape)


def listed(*numbers):
    """The address of whole numbers, and the array that they are in: handing over one number takes as long as adding a hundred."""
    there = np.array(numbers, np.int64)
    return there.ctypes.data, there


@kernel
def indices_at(address, size, below, out):
    """Fill `out` (int32) with indices of 4 or 8 bytes at an address; whether all are within [0, below)."""
    worst, count = 0, (out.shape[0],)
    if size == 8:
        longs = longs_at(address, count)
        for k in range(out.shape[0]):
            worst |= (longs[k] < 0) | (longs[k] >= below)
            out[k] = longs[k]
    else:
        ints = ints_at(address, count)
        for k in range(out.shape[0]):
            worst |= (ints[k] < 0) | (ints[k] >= below)
            out[k] = ints[k]
    return worst == 0
