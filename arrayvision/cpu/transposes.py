"""Transposes parts of arrays, in LLVM's vectors: eight rows and columns at a time are turned over in registers."""

from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

SIDE = 8  # of a block
_LOW = [0, 8, 1, 9, 2, 10, 3, 11]  # two rows' first halves, element by element in turn
_HIGH = [4, 12, 5, 13, 6, 14, 7, 15]


@intrinsic
def transpose(typingctx, x, out):
    """out = x.T. Both have two axes, the elements of a row side by side."""
    kind = out.dtype
    if x.dtype != kind:
        raise errors.TypingError(f"transpose: both must be of one dtype, got {x.dtype} and {kind}")

    def codegen(context, builder, signature, args):
        source, target = (context.make_array(t)(context, builder, a) for t, a in zip(signature.args, args, strict=True))
        rows, columns = cgutils.unpack_tuple(builder, source.shape)
        size = kind.bitwidth // 8
        number = rows.type
        side = ir.Constant(number, SIDE)
        step, leap = (
            builder.sdiv(cgutils.unpack_tuple(builder, array.strides)[0], ir.Constant(number, size))
            for array in (source, target)
        )
        vector = ir.VectorType(context.get_value_type(kind), SIDE)

        def place(data, row, apart, column):
            return builder.gep(data, [builder.add(builder.mul(row, apart), column)])

        def parts(data, row, apart, column):
            first = place(data, row, apart, column)
            for k in range(SIDE):
                part = builder.gep(first, [builder.mul(apart, ir.Constant(number, k))])
                yield builder.bitcast(part, vector.as_pointer())

        whole_rows, whole_columns = (builder.mul(builder.sdiv(n, side), side) for n in (rows, columns))
        with (
            cgutils.for_range(builder, builder.sdiv(rows, side)) as down,
            cgutils.for_range(builder, builder.sdiv(columns, side)) as across,
        ):
            row, column = builder.mul(down.index, side), builder.mul(across.index, side)
            block = [builder.load(part, align=size) for part in parts(source.data, row, step, column)]
            masks = [ir.Constant(ir.VectorType(ir.IntType(32), SIDE), order) for order in (_LOW, _HIGH)]
            for _ in range(3):  # each turns the bits of an element's row and column, as one number, by one
                pairs = zip(block[: SIDE // 2], block[SIDE // 2 :], strict=True)
                block = [builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in masks]
            for value, part in zip(block, parts(target.data, column, leap, row), strict=True):
                builder.store(value, part, align=size)
        with cgutils.for_range(builder, rows) as down:
            done = builder.select(
                builder.icmp_signed("<", down.index, whole_rows), whole_columns, ir.Constant(number, 0)
            )
            with cgutils.for_range(builder, columns, done) as across:
                value = builder.load(place(source.data, down.index, step, across.index), align=size)
                builder.store(value, place(target.data, across.index, leap, down.index), align=size)
        return context.get_dummy_value()

    return types.none(x, out), codegen
