"""Loops over runs of channels in one-dimensional arrays, in LLVM's vectors.

Numba's own loops over parts of an array first ask whether the parts overlap, and whether an index counts from the end: for
the 32 to 256 channels of a sample, that takes longer than the arithmetic.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
FUSED = ("contract",)


class _Run:
    """Writes a loop over `count` elements: most of them in vectors, the rest one by one."""

    def __init__(self, context, builder, kind):
        self.builder, self.align = builder, kind.bitwidth // 8
        self.scalar = context.get_value_type(kind)
        self.vector = ir.VectorType(self.scalar, LANES)

    def data(self, context, signature, args, i):
        return context.make_array(signature.args[i])(context, self.builder, args[i]).data

    def spread(self, value):
        """A number in each lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(
            one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        )

    def over(self, count, body):
        """`body(load, store, wide)` for each vector and each element of the rest; load(data, at) is one of these."""
        builder = self.builder
        size = ir.Constant(count.type, LANES)
        whole = builder.sdiv(count, size)
        for wide, start, stop in (True, None, whole), (False, builder.mul(whole, size), count):
            kind = self.vector if wide else self.scalar
            with cgutils.for_range(builder, stop, start) as loop:
                moved = builder.mul(loop.index, size) if wide else loop.index

                def place(data, at, kind=kind, moved=moved):
                    return builder.bitcast(builder.gep(data, [builder.add(at, moved)]), kind.as_pointer())

                body(
                    lambda data, at, place=place: builder.load(place(data, at), align=self.align),
                    lambda value, data, at, place=place: builder.store(value, place(data, at), align=self.align),
                    wide,
                )

    def plus(self, terms):
        """Their sum, in pairs."""
        while len(terms) > 1:
            terms = [
                self.builder.fadd(*terms[i : i + 2], flags=FUSED) if i + 1 < len(terms) else terms[i]
                for i in range(0, len(terms), 2)
            ]
        return terms[0]

    def times(self, a, b):
        return self.builder.fmul(a, b, flags=FUSED)


@intrinsic
def add_scaled(typingctx, x, at, weight, out, to, count):
    """out[to + c] += weight * x[at + c] for c < count."""

    def codegen(context, builder, signature, args):
        run = _Run(context, builder, out.dtype)
        source, target = run.data(context, signature, args, 0), run.data(context, signature, args, 3)
        _, at, weight, _, to, count = args
        weights = run.spread(weight)

        def body(load, store, wide):
            term = run.times(weights if wide else weight, load(source, at))
            store(run.plus([load(target, to), term]), target, to)

        run.over(count, body)
        return context.get_dummy_value()

    n = types.int64
    return types.none(x, n, out.dtype, out, n, n), codegen


@intrinsic
def mix(typingctx, x, at, scale, out, to, count):
    """out[to + c] = x[at + c] + scale[c] * out[to + c] for c < count, without the product where the scale is 0, whatever it is."""

    def codegen(context, builder, signature, args):
        run = _Run(context, builder, out.dtype)
        source, scales, target = (run.data(context, signature, args, i) for i in (0, 2, 3))
        _, at, _, _, to, count = args
        first = ir.Constant(count.type, 0)

        def body(load, store, wide):
            scale, new = load(scales, first), load(source, at)
            zero = ir.Constant(scale.type, [0.0] * LANES if wide else 0.0)
            mixed = run.plus([run.times(scale, load(target, to)), new])
            store(builder.select(builder.fcmp_ordered("==", scale, zero), new, mixed), target, to)

        run.over(count, body)
        return context.get_dummy_value()

    n = types.int64
    return types.none(x, n, scale, out, n, n), codegen


@intrinsic
def blend(typingctx, x, a, b, c, d, p, q, r, s, out, to, count):
    """out[to + i] = p * x[a + i] + q * x[b + i] + r * x[c + i] + s * x[d + i] for i < count."""
    kind = out.dtype

    def codegen(context, builder, signature, args):
        run = _Run(context, builder, kind)
        source, target = run.data(context, signature, args, 0), run.data(context, signature, args, 9)
        starts, weights, (to, count) = args[1:5], args[5:9], args[10:]
        vectors = [run.spread(w) for w in weights]

        def body(load, store, wide):
            terms = [run.times(w, load(source, at)) for w, at in zip(vectors if wide else weights, starts, strict=True)]
            store(run.plus(terms), target, to)

        run.over(count, body)
        return context.get_dummy_value()

    n = types.int64
    return types.none(x, n, n, n, n, kind, kind, kind, kind, out, n, n), codegen


def _dots(adding):
    def codegen(context, builder, signature, args):
        """Of (x, four starts, y, at, count) or, `adding`, of (x, four starts, y, at, four weights, out, count)."""
        kind = signature.args[5].dtype
        run = _Run(context, builder, kind)
        source, other = run.data(context, signature, args, 0), run.data(context, signature, args, 5)
        starts, at, count = args[1:5], args[6], args[-1]
        vectors = [cgutils.alloca_once_value(builder, ir.Constant(run.vector, [0.0] * LANES)) for _ in starts]
        scalars = [cgutils.alloca_once_value(builder, ir.Constant(run.scalar, 0.0)) for _ in starts]
        if adding:
            weights, target, places = args[7:11], run.data(context, signature, args, 11), args[12:16]
            spread = [run.spread(weight) for weight in weights]

        def body(load, store, wide):
            y = load(other, at)
            for start, total in zip(starts, vectors if wide else scalars, strict=True):
                builder.store(run.plus([builder.load(total), run.times(y, load(source, start))]), total)
            if adding:
                scaled = [run.times(weight, y) for weight in (spread if wide else weights)]
                sums = [run.plus([load(target, to), term]) for to, term in zip(places, scaled, strict=True)]
                for to, total in zip(places, sums, strict=True):
                    store(total, target, to)

        run.over(count, body)
        name = f"llvm.vector.reduce.fadd.v{LANES}f{kind.bitwidth}"
        reduce = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(run.scalar, [run.scalar, run.vector]), name
        )
        totals = [
            builder.call(reduce, [builder.load(s), builder.load(v)], fastmath=("reassoc",))
            for s, v in zip(scalars, vectors, strict=True)
        ]
        return context.make_tuple(builder, signature.return_type, totals)

    return codegen


@intrinsic
def dots(typingctx, x, a, b, c, d, y, at, count):
    """The sums of y[at + i] * x[start + i], i < count, for the starts a, b, c and d."""
    n = types.int64
    return types.UniTuple(y.dtype, 4)(x, n, n, n, n, y, n, n), _dots(False)


@intrinsic
def dots_and_add(typingctx, x, a, b, c, d, y, at, p, q, r, s, out, e, f, g, h, count):
    """As `dots`; and out[e + i] += p * y[at + i], out[f + i] += q * y[at + i] and so on, for four runs of `out` that are apart."""
    n, kind = types.int64, y.dtype
    return types.UniTuple(kind, 4)(x, n, n, n, n, y, n, kind, kind, kind, kind, out, n, n, n, n, n), _dots(True)


@intrinsic
def gather(typingctx, x, at, line, index, weight, first, entries, leap, out, to, count):
    """out[to + i] = the sum of weight[e] * x[at + index[e] * line + i] over `entries` numbers e from `first` on, and as many
    from `leap`, 2 * leap and 3 * leap further on; for i < count.

    Sums stay in registers over all entries. One of weight 0 isn't read.
    """
    kind = out.dtype

    def codegen(context, builder, signature, args):
        x, index, weight, out = (
            context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 3, 4, 8)
        )
        at, line, first, entries, leap, to, count = (args[i] for i in (1, 2, 5, 6, 7, 9, 10))
        scalar, align = context.get_value_type(kind), kind.bitwidth // 8
        done = cgutils.alloca_once_value(builder, ir.Constant(count.type, 0))

        def widths(lanes, vectors):
            """All that is left in steps of so many elements."""
            vector = ir.VectorType(scalar, lanes)
            zero, undefined = ir.Constant(vector, [0.0] * lanes), ir.Constant(vector, ir.Undefined)
            lane = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
            step = ir.Constant(count.type, lanes * vectors)
            left = builder.sdiv(builder.sub(count, builder.load(done)), step)
            sums = [cgutils.alloca_once(builder, vector) for _ in range(vectors)]

            def place(data, start, j):
                pointer = builder.gep(data, [builder.add(start, ir.Constant(start.type, j * lanes))])
                return builder.bitcast(pointer, vector.as_pointer())

            with cgutils.for_range(builder, left):
                i = builder.load(done)
                for total in sums:
                    builder.store(zero, total)
                with (
                    cgutils.for_range(builder, ir.Constant(count.type, 4)) as plane,
                    cgutils.for_range(builder, entries) as loop,
                ):
                    e = builder.add(builder.add(first, builder.mul(plane.index, leap)), loop.index)
                    w = builder.load(builder.gep(weight, [e]))
                    with builder.if_then(builder.fcmp_unordered("!=", w, ir.Constant(scalar, 0.0))):
                        row = builder.sext(builder.load(builder.gep(index, [e])), at.type)
                        start = builder.add(builder.add(at, builder.mul(row, line)), i)
                        spread = builder.shuffle_vector(
                            builder.insert_element(undefined, w, ir.Constant(ir.IntType(32), 0)), undefined, lane
                        )
                        for j, total in enumerate(sums):
                            term = builder.fmul(spread, builder.load(place(x, start, j), align=align), flags=FUSED)
                            builder.store(builder.fadd(builder.load(total), term, flags=FUSED), total)
                for j, total in enumerate(sums):
                    builder.store(builder.load(total), place(out, builder.add(to, i), j), align=align)
                builder.store(builder.add(i, step), done)

        for lanes, vectors in ((LANES, 2), (LANES, 1), (4, 1), (1, 1)):
            widths(lanes, vectors)
        return context.get_dummy_value()

    n = types.int64
    return types.none(x, n, n, index, weight, n, n, n, out, n, n), codegen


class _Rows:
    """Reads rows x[index[k]] of `count` numbers, first <= k < stop, in vectors, and keeps what is made of them in registers."""

    def __init__(self, context, builder, kind, x, index, count):
        self.builder, self.x, self.index, self.count = builder, x, index, count
        self.scalar, self.align = context.get_value_type(kind), kind.bitwidth // 8

    def spread(self, value, lanes):
        """A number in each lane."""
        undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(
            one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        )

    def place(self, data, row, i, lanes):
        """Where `lanes` numbers of a row begin, the first one the i-th."""
        start = self.builder.add(self.builder.mul(self.builder.sext(row, self.count.type), self.count), i)
        pointer = ir.VectorType(data.type.pointee, lanes).as_pointer()
        return self.builder.bitcast(self.builder.gep(data, [start]), pointer)

    def load(self, k, i, lanes):
        """(index[k], its row's numbers from the i-th on)."""
        row = self.builder.load(self.builder.gep(self.index, [k]))
        return row, self.builder.load(self.place(self.x, row, i, lanes), align=self.align)

    def over(self, first, stop, begin, more, end):
        """For each vector of a row's numbers ``begin(row, values, lanes)`` with the first row's, which gives what is kept in
        registers, ``more(kept, row, values, lanes)`` with each other row's, and ``end(kept, i, lanes)``."""
        builder, count = self.builder, self.count
        done = cgutils.alloca_once_value(builder, ir.Constant(count.type, 0))
        for lanes in (LANES, 4, 1):
            step = ir.Constant(count.type, lanes)
            with cgutils.for_range(builder, builder.sdiv(builder.sub(count, builder.load(done)), step)):
                i = builder.load(done)
                kept = [cgutils.alloca_once_value(builder, v) for v in begin(*self.load(first, i, lanes), lanes)]
                with cgutils.for_range(builder, stop, builder.add(first, ir.Constant(first.type, 1))) as loop:
                    found = more([builder.load(k) for k in kept], *self.load(loop.index, i, lanes), lanes)
                    for value, k in zip(found, kept, strict=True):
                        builder.store(value, k)
                end([builder.load(k) for k in kept], i, lanes)
                builder.store(builder.add(i, step), done)


@intrinsic
def average(typingctx, x, index, first, stop, by, out, to, count):
    """out[to, c] = the sum of x[index[k], c], first <= k < stop, divided by `by`; for c < count. There is a first one.

    Numbers are added in this order and in float64; one alone is as it was.
    """
    kind = x.dtype

    def codegen(context, builder, signature, args):
        x, index, out = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 1, 5))
        first, stop, by, to, count = (args[i] for i in (2, 3, 4, 6, 7))
        rows = _Rows(context, builder, kind, x, index, count)
        divided = builder.fcmp_unordered("!=", by, ir.Constant(by.type, 1.0))

        def wide(values, lanes):
            return builder.fpext(values, ir.VectorType(ir.DoubleType(), lanes))

        def end(kept, i, lanes):
            total = cgutils.alloca_once_value(builder, kept[0])
            with builder.if_then(divided):
                builder.store(builder.fdiv(kept[0], rows.spread(by, lanes)), total)
            mean = builder.fptrunc(builder.load(total), ir.VectorType(rows.scalar, lanes))
            builder.store(mean, rows.place(out, to, i, lanes), align=rows.align)

        rows.over(
            first,
            stop,
            lambda _, values, lanes: [wide(values, lanes)],
            lambda kept, _, values, lanes: [builder.fadd(kept[0], wide(values, lanes))],
            end,
        )
        return context.get_dummy_value()

    n = types.int64
    return types.none(x, index, n, n, types.float64, out, n, n), codegen


@intrinsic
def greatest(typingctx, x, index, first, stop, out, which, to, wanted, count):
    """out[to, c] = the greatest x[index[k], c], first <= k < stop, and if wanted which[to, c] = its index[k], of equal ones the
    first's; for c < count. There is a first one. A NaN is above all, the first one too."""
    kind = x.dtype

    def codegen(context, builder, signature, args):
        x, index, out, which = (
            context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 1, 4, 5)
        )
        first, stop, to, wanted, count = (args[i] for i in (2, 3, 6, 7, 8))
        rows = _Rows(context, builder, kind, x, index, count)

        def more(kept, row, values, lanes):
            best, owner = kept
            above = builder.fcmp_ordered(">", values, best)
            odd = builder.and_(builder.fcmp_unordered("uno", values, values), builder.fcmp_ordered("ord", best, best))
            taken = builder.or_(above, odd)
            return builder.select(taken, values, best), builder.select(taken, rows.spread(row, lanes), owner)

        def end(kept, i, lanes):
            builder.store(kept[0], rows.place(out, to, i, lanes), align=rows.align)
            with builder.if_then(wanted):
                builder.store(kept[1], rows.place(which, to, i, lanes), align=4)

        rows.over(first, stop, lambda row, values, lanes: [values, rows.spread(row, lanes)], more, end)
        return context.get_dummy_value()

    n = types.int64
    return types.none(x, index, n, n, out, which, n, types.boolean, n), codegen
