"""Asking for memory before it is read: rows that are gathered in an arbitrary order come from far away, one after another."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

AHEAD = 16  # rows: what a processor can wait for at once


@intrinsic
def prefetch(typingctx, rows, i):
    """Ask for the beginning of rows[i]; nothing is read, and i is not checked."""

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        start = [args[1], *[context.get_constant(types.intp, 0)] * (signature.args[0].ndim - 1)]
        address = cgutils.get_item_pointer(context, builder, signature.args[0], array, start, wraparound=False)
        byte, number = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        ask = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, number, number, number]), "llvm.prefetch.p0"
        )
        to_read, into_all_caches, data = (ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(ask, [builder.bitcast(address, byte), to_read, into_all_caches, data])
        return context.get_dummy_value()

    return types.void(rows, types.intp), codegen
