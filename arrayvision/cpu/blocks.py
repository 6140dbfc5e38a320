"""Blocks of sums of products that stay in registers: a few numbers of one factor times a few of the other, in neighbouring lanes.

Written in LLVM's vectors, since Numba's loops would keep the sums in memory. Operands lie in one-dimensional arrays that have
room for whole blocks.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LEFT, RIGHT = 6, 4  # a block's numbers of each factor
BYTES = 64  # of the lanes


def lanes(dtype) -> int:
    """How many neighbours a block works on."""
    return BYTES // np.dtype(dtype).itemsize


def _wide(context):
    """Whether what is compiled for has 32 registers of 64 bytes; else blocks are worked on in parts."""
    target = context.codegen()
    return "+avx512f" in target._tm_features or target._get_host_cpu_name() == "x86-64-v4"


def _block(spread):
    def block(typingctx, a, at, a_step, a_next, b, start, b_step, b_next, count, out, to, out_left, out_right, add):
        kind = out.dtype
        size = kind.bitwidth // 8

        def codegen(context, builder, signature, args):
            left, right, target = (
                context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 4, 9)
            )
            at, a_step, a_next, start, b_step, b_next, count = (args[i] for i in (1, 2, 3, 5, 6, 7, 8))
            to, out_left, out_right, add = args[10:]
            width, rights = (BYTES // size, RIGHT) if _wide(context) else (BYTES // 2 // size, RIGHT // 2)
            vector = ir.VectorType(context.get_value_type(kind), width)
            none = ir.Constant(vector, ir.Undefined)
            first_lane = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
            fused = ("contract",)

            def place(data, first, *terms):
                for term in terms:
                    first = builder.add(first, term if isinstance(term, ir.Value) else ir.Constant(first.type, term))
                return builder.gep(data, [first])

            def times(value, number):
                return builder.mul(value, ir.Constant(value.type, number))

            def load(pointer):
                return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=size)

            def load_left(pointer):
                if not spread:
                    return load(pointer)
                one = builder.insert_element(none, builder.load(pointer), ir.Constant(ir.IntType(32), 0))
                return builder.shuffle_vector(one, none, first_lane)

            def part(lane, first):
                """The lanes from `lane` on of the second factor's numbers from `first` on."""
                places = [
                    [place(target, to, times(out_left, i), times(out_right, first + j), lane) for j in range(rights)]
                    for i in range(LEFT)
                ]
                sums = [[cgutils.alloca_once(builder, vector) for _ in range(rights)] for _ in range(LEFT)]
                with builder.if_else(add) as (then, otherwise):
                    with then:
                        for row, pointers in zip(sums, places, strict=True):
                            for total, pointer in zip(row, pointers, strict=True):
                                builder.store(load(pointer), total)
                    with otherwise:
                        for row in sums:
                            for total in row:
                                builder.store(ir.Constant(vector, [0.0] * width), total)
                lefts = [place(left, at, times(a_step, i), 0 if spread else lane) for i in range(LEFT)]
                others = [place(right, start, times(b_step, first + j), lane) for j in range(rights)]
                with cgutils.for_range(builder, count) as loop:
                    by_a, by_b = builder.mul(loop.index, a_next), builder.mul(loop.index, b_next)
                    values = [load(builder.gep(pointer, [by_b])) for pointer in others]
                    for pointer, row in zip(lefts, sums, strict=True):
                        one = load_left(builder.gep(pointer, [by_a]))
                        for value, total in zip(values, row, strict=True):
                            term = builder.fmul(one, value, flags=fused)
                            builder.store(builder.fadd(builder.load(total), term, flags=fused), total)
                for row, pointers in zip(sums, places, strict=True):
                    for total, pointer in zip(row, pointers, strict=True):
                        builder.store(builder.load(total), builder.bitcast(pointer, vector.as_pointer()), align=size)

            for lane in range(0, BYTES // size, width):
                for first in range(0, RIGHT, rights):
                    part(lane, first)
            return context.get_dummy_value()

        n = types.int64
        return types.none(a, n, n, n, b, n, n, n, n, out, n, n, n, types.boolean), codegen

    return block


# out[to + i * out_left + j * out_right + l] is, or has added, the sum over k < count of products of both factors' numbers, for
# i < LEFT, j < RIGHT and lanes l. The second factor's is b[start + j * b_step + k * b_next + l]; the first's is
# a[at + i * a_step + k * a_next + l], or without l where it is one for all lanes.
block_of_lanes = intrinsic(_block(False))
block_of_numbers = intrinsic(_block(True))


@intrinsic
def move(typingctx, x, at, out, to):
    """out[to + l] = x[at + l] for all lanes l."""
    kind = out.dtype

    def codegen(context, builder, signature, args):
        source, target = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 2))
        vector = ir.VectorType(context.get_value_type(kind), BYTES // (kind.bitwidth // 8)).as_pointer()
        source, target = (
            builder.bitcast(builder.gep(data, [first]), vector)
            for data, first in ((source, args[1]), (target, args[3]))
        )
        align = kind.bitwidth // 8
        builder.store(builder.load(source, align=align), target, align=align)
        return context.get_dummy_value()

    n = types.int64
    return types.none(x, n, out, n), codegen
