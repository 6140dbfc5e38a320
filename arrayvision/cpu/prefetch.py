"""Asking for memory before it is read: rows that are gathered in an arbitrary order come from far away, one after another."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

AHEAD = 16  # rows: what a processor can wait for at once


def prefetch_at(builder, pointer):
    """Ask for what a pointer to bytes points to."""
    number = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
    ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    to_read, into_all_caches, data = (ir.Constant(number, value) for value in (0, 3, 1))
    builder.call(ask, [pointer, to_read, into_all_caches, data])


@intrinsic
def prefetch(typingctx, rows, i):
    """Ask for the beginning of rows[i]; nothing is read, and i is not checked."""

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        start = [args[1], *[context.get_constant(types.intp, 0)] * (signature.args[0].ndim - 1)]
        address = cgutils.get_item_pointer(context, builder, signature.args[0], array, start, wraparound=False)
        prefetch_at(builder, builder.bitcast(address, ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return types.void(rows, types.intp), codegen
