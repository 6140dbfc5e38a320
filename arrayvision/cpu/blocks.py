"""Blocks of sums of products that stay in registers: a few numbers of one factor times a few of the other, in neighbouring lanes.

Written in LLVM's vectors, since Numba's loops would keep the sums in memory. Operands lie in one-dimensional arrays that have
room for whole blocks.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from arrayvision.cpu.prefetch import prefetch_at

LEFT, RIGHT = 6, 4  # a block's numbers of each factor
NARROW = 12  # sums that fit 16 registers beside their factors
BYTES = 64  # of the lanes


def lanes(dtype) -> int:
    """How many neighbours a block works on."""
    return BYTES // np.dtype(dtype).itemsize


def _wide(context):
    """Whether what is compiled for has 32 registers of 64 bytes; else blocks are worked on in parts."""
    target = context.codegen()
    return "+avx512f" in target._tm_features or target._get_host_cpu_name() == "x86-64-v4"


def _sums(context, builder, kind, left, right, spread, first, second, result, add, ask=None):
    """Write the sums of a block; `first` has an array's data, where it begins, its step of the block, and its steps and
    numbers of terms for each loop; `second` likewise without the numbers; `result` the data, where it begins and its steps."""
    size = kind.bitwidth // 8
    a, at, a_step, loops = first
    b, start, b_step, b_loops = second
    target, to, out_left, out_right = result
    wide = _wide(context)
    width = BYTES // size if wide else BYTES // 2 // size
    rights = right if wide or left * right <= NARROW else -(-right // 2)
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

    def part(lane, begin):
        """The lanes from `lane` on of the second factor's numbers from `begin` on."""
        places = [
            [place(target, to, times(out_left, i), times(out_right, begin + j), lane) for j in range(rights)]
            for i in range(left)
        ]
        sums = [[cgutils.alloca_once(builder, vector) for _ in range(rights)] for _ in range(left)]
        with builder.if_else(add) as (then, otherwise):
            with then:
                for row, pointers in zip(sums, places, strict=True):
                    for total, pointer in zip(row, pointers, strict=True):
                        builder.store(load(pointer), total)
            with otherwise:
                for row in sums:
                    for total in row:
                        builder.store(ir.Constant(vector, [0.0] * width), total)

        def over(lefts, others, depth):
            if depth < len(loops):
                (count, a_next), b_next = loops[depth], b_loops[depth]
                with cgutils.for_range(builder, count) as loop:
                    if ask is not None:
                        address, offsets = ask
                        offset = builder.load(builder.gep(offsets, [loop.index]))
                        prefetch_at(builder, builder.inttoptr(builder.add(address, offset), ir.IntType(8).as_pointer()))
                    by_a, by_b = builder.mul(loop.index, a_next), builder.mul(loop.index, b_next)
                    over([builder.gep(x, [by_a]) for x in lefts], [builder.gep(x, [by_b]) for x in others], depth + 1)
                return
            values = [load(pointer) for pointer in others]
            for pointer, row in zip(lefts, sums, strict=True):
                one = load_left(pointer)
                for value, total in zip(values, row, strict=True):
                    term = builder.fmul(one, value, flags=fused)
                    builder.store(builder.fadd(builder.load(total), term, flags=fused), total)

        over(
            [place(a, at, times(a_step, i), 0 if spread else lane) for i in range(left)],
            [place(b, start, times(b_step, begin + j), lane) for j in range(rights)],
            0,
        )
        for row, pointers in zip(sums, places, strict=True):
            for total, pointer in zip(row, pointers, strict=True):
                builder.store(builder.load(total), builder.bitcast(pointer, vector.as_pointer()), align=size)

    for lane in range(0, BYTES // size, width):
        for begin in range(0, right, rights):
            part(lane, begin)


def _data(context, builder, signature, args, *which):
    return [context.make_array(signature.args[i])(context, builder, args[i]).data for i in which]


def _block(spread, asking=False, right=RIGHT):
    def block(typingctx, a, at, a_step, a_next, b, start, b_step, b_next, count, out, to, out_left, out_right, add):
        return types.none(a, n, n, n, b, n, n, n, n, out, n, n, n, types.boolean), codegen

    def block_asking(
        typingctx, a, at, a_step, a_next, b, start, b_step, b_next, count, out, to, out_left, out_right, add, ask, offsets
    ):  # fmt: skip
        return types.none(a, n, n, n, b, n, n, n, n, out, n, n, n, types.boolean, n, offsets), codegen

    def codegen(context, builder, signature, args):
        one, other, target, *rest = _data(context, builder, signature, args, 0, 4, 9, *[15] * asking)
        at, a_step, a_next, start, b_step, b_next, count = (args[i] for i in (1, 2, 3, 5, 6, 7, 8))
        first, second = (one, at, a_step, [(count, a_next)]), (other, start, b_step, [b_next])
        kind, ask = signature.args[9].dtype, (args[14], rest[0]) if asking else None
        _sums(context, builder, kind, LEFT, right, spread, first, second, (target, *args[10:13]), args[13], ask)
        return context.get_dummy_value()

    n = types.int64
    return intrinsic(block_asking if asking else block)


def _products(left, right):
    def products(
        typingctx, a, at, a_step, a_row, a_next, b, start, b_step, b_row, b_next, rows, count, out, to, out_left, out_right, add
    ):  # fmt: skip
        def codegen(context, builder, signature, args):
            one, other, target = _data(context, builder, signature, args, 0, 5, 12)
            at, a_step, a_row, a_next, _, start, b_step, b_row, b_next, rows, count = args[1:12]
            first = one, at, a_step, [(rows, a_row), (count, a_next)]
            second = other, start, b_step, [b_row, b_next]
            _sums(context, builder, out.dtype, left, right, False, first, second, (target, *args[13:16]), args[16])
            return context.get_dummy_value()

        n = types.int64
        return types.none(a, n, n, n, n, b, n, n, n, n, n, n, out, n, n, n, types.boolean), codegen

    return intrinsic(products)


# out[to + i * out_left + j * out_right + l] is, or has added, the sum over k < count of products of both factors' numbers, for
# i < LEFT, j < RIGHT and lanes l. The second factor's is b[start + j * b_step + k * b_next + l]; the first's is
# a[at + i * a_step + k * a_next + l], or without l where it is one for all lanes.
block_of_lanes = _block(False)
block_of_numbers = _block(True)
# These ask for memory meanwhile: at ask + offsets[k], in bytes, for k < count.
block_of_lanes_asking = _block(False, True)
block_of_numbers_asking = _block(True, True)
block_of_numbers_6x3_asking = _block(True, True, 3)


# The same of fewer numbers, and over two loops: out[to + i * out_left + j * out_right + l] is, or has added, the sum over
# p < rows and q < count of a[at + i * a_step + p * a_row + q * a_next + l] * b[start + j * b_step + p * b_row + q * b_next + l].
products_1x8 = _products(1, 8)
products_2x5 = _products(2, 5)
products_2x6 = _products(2, 6)


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
