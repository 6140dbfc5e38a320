"""Products of matrices that lie in the cache.

`product` is for kernels that make one factor as they go: a few rows of columns of samples, say, which are multiplied before
the next are made. Sums stay in registers, a tile of them at a time; this is written in LLVM's vectors, since Numba's loops
would keep them in memory. It is compiled with the kernel that calls it, in that kernel's thread, and calls no library: a
library of linear algebra has threads of its own, which would fight for the processors with ours.

The other factor lies in panels: 128 bytes of each of its rows in turn, the last panel filled up with zeros.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from arrayvision.cpu import kernel

ROWS = 12  # of a tile
BYTES = 128  # of a panel's row


def lanes(dtype) -> int:
    """How many columns a panel has."""
    return BYTES // np.dtype(dtype).itemsize


def rounded(rows: int) -> int:
    """What `product` makes of a number of rows: whole tiles."""
    return -(-rows // ROWS) * ROWS


def panels(matrices):
    """Matrices (..., count, width) as panels (..., ceil(width / lanes), count, lanes)."""
    *outer, count, width = matrices.shape
    wide = lanes(matrices.dtype)
    whole = -(-width // wide) * wide
    if whole != width:
        matrices = np.concatenate([matrices, np.zeros((*outer, count, whole - width), matrices.dtype)], -1)
    return np.ascontiguousarray(np.moveaxis(matrices.reshape(*outer, count, whole // wide, wide), -2, -3))


def _has_wide_registers(context):
    """Whether what is compiled for has 32 registers of 64 bytes."""
    target = context.codegen()
    return "+avx512f" in target._tm_features or target._get_host_cpu_name() == "x86-64-v4"


@intrinsic
def _tile(typingctx, a, at, row, step, panel, begin, count, out, to, stride, add):
    """out[to + i * stride + j], i < ROWS, j < lanes, is (or has added) sum of a[at + i * row + k * step] * panel[begin + k * lanes + j]
    over k < count. All arrays are one-dimensional."""
    kind = out.dtype
    size = kind.bitwidth // 8

    def codegen(context, builder, signature, args):
        a, panel, out = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 4, 7))
        at, row, step, begin, count, to, stride, add = (args[i] for i in (1, 2, 3, 5, 6, 8, 9, 10))
        wide = _has_wide_registers(context)
        lanes, rows = (64 if wide else 32) // size, ROWS if wide else ROWS // 2  # of sums that registers hold, twice
        vector = ir.VectorType(context.get_value_type(kind), lanes)
        zero, undefined = ir.Constant(vector, [0.0] * lanes), ir.Constant(vector, ir.Undefined)
        first_lane = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        fused = ("contract",)

        def element(data, *terms):
            place = terms[0]
            for term in terms[1:]:
                place = builder.add(place, term if isinstance(term, ir.Value) else ir.Constant(place.type, term))
            return builder.gep(data, [place])

        def load(pointer):
            return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=size)

        def spread(value):
            one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(one, undefined, first_lane)

        def part(first_row, first):
            numbers = [ir.Constant(at.type, first_row + i) for i in range(rows)]
            rows_of_a = [element(a, at, builder.mul(row, i)) for i in numbers]
            places = [element(out, to, builder.mul(stride, i), first + j * lanes) for i in numbers for j in range(2)]
            sums = [cgutils.alloca_once(builder, vector) for _ in places]
            with builder.if_else(add) as (then, otherwise):
                with then:
                    for total, place in zip(sums, places, strict=True):
                        builder.store(load(place), total)
                with otherwise:
                    for total in sums:
                        builder.store(zero, total)
            with cgutils.for_range(builder, count) as loop:
                k = builder.mul(loop.index, ir.Constant(at.type, BYTES // size))
                right = [load(element(panel, begin, k, first + j * lanes)) for j in range(2)]
                moved = builder.mul(loop.index, step)
                for i in range(rows):
                    left = spread(builder.load(builder.gep(rows_of_a[i], [moved])))
                    for j in range(2):
                        term = builder.fmul(left, right[j], flags=fused)
                        total = sums[2 * i + j]
                        builder.store(builder.fadd(builder.load(total), term, flags=fused), total)
            for total, place in zip(sums, places, strict=True):
                builder.store(builder.load(total), builder.bitcast(place, vector.as_pointer()), align=size)

        for first_row in range(0, ROWS, rows):
            for first in range(0, BYTES // size, 2 * lanes):
                part(first_row, first)
        return context.get_dummy_value()

    n = types.int64
    return types.none(a, n, n, n, panel, n, n, out, n, n, types.boolean), codegen


@kernel
def product(a, at, row, step, panel, begin, leap, count, out, to, stride, rows, width, add):
    """out[to + i * stride + j] = sum over k < count of a[at + i * row + k * step] * B[k, j], for i < rows and j < width.

    All arrays are one-dimensional and of one dtype. B is in panels, of which the first begins at panel[begin] and each
    `leap` behind the one before. If `add`, the sums are added to what is there. Whole tiles are computed: `rows` is rounded
    up to a multiple of `ROWS`, `width` to whole panels, and `a` and `out` must have room for that.
    """
    columns = BYTES // out.itemsize
    for j in range(0, width, columns):
        for i in range(0, rows, ROWS):
            _tile(a, at + i * row, row, step, panel, begin, count, out, to + i * stride + j, stride, add)
        begin += leap
