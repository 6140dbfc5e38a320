"""Passes over `WIDE` numbers at once, as LLVM's vectors: it finds them in most loops by itself, but not where a bit for each
number is wanted. Arrays are C-contiguous; ``array[first]`` is where a pass begins, in elements."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WIDE = 16
_INT, _LONG = ir.IntType(32), ir.IntType(64)


def _every(builder, value):
    """The vector of one number."""
    undefined = ir.Constant(ir.VectorType(value.type, WIDE), ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_INT, WIDE), [0] * WIDE))


def _at(builder, data, first, row):
    """Where the row-th vector begins."""
    place = builder.gep(data, [builder.add(first, ir.Constant(_LONG, row * WIDE))])
    return builder.bitcast(place, ir.VectorType(data.type.pointee, WIDE).as_pointer())


def _load(builder, data, first, row):
    return builder.load(_at(builder, data, first, row), align=4)


def _greater(builder, a, b):
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _sum_of_squares(builder, distances):
    total = None
    for d in distances:
        square = builder.fmul(d, d)
        total = square if total is None else builder.fadd(total, square)
    return total


def _from_boxes(builder, data, first, point):
    """Squares of a point's distances from boxes: WIDE least x, y and z, then as many greatest."""
    zero, distances = _every(builder, ir.Constant(point[0].type, 0.0)), []
    for axis, value in enumerate(point):
        p = _every(builder, value)
        below = builder.fsub(_load(builder, data, first, axis), p)
        above = builder.fsub(p, _load(builder, data, first, 3 + axis))
        distances.append(_greater(builder, _greater(builder, below, above), zero))
    return _sum_of_squares(builder, distances)


def _from_points(builder, data, first, point):
    """Squares of a point's distances from points: WIDE x, y and z."""
    return _sum_of_squares(
        builder,
        [builder.fsub(_load(builder, data, first, axis), _every(builder, value)) for axis, value in enumerate(point)],
    )


def _mask(builder, condition):
    return builder.zext(builder.bitcast(condition, ir.IntType(WIDE)), _LONG)


def _data(context, builder, kind, value):
    return context.make_array(kind)(context, builder, value).data


def _pass(squares_of):
    """A pass that fills squares (WIDE,) and gives a bit for each that isn't greater than limit."""

    def typed(typingctx, array, first, x, y, z, squares, limit):
        real = array.dtype

        def codegen(context, builder, signature, args):
            data, out = (_data(context, builder, signature.args[k], args[k]) for k in (0, 5))
            found = squares_of(builder, data, args[1], args[2:5])
            builder.store(found, _at(builder, out, ir.Constant(_LONG, 0), 0), align=4)
            return _mask(builder, builder.fcmp_ordered("<=", found, _every(builder, args[6])))

        return types.int64(array, types.int64, real, real, real, squares, real), codegen

    return intrinsic(typed)


boxes_within = _pass(_from_boxes)
points_within = _pass(_from_points)


def _reduced(builder, vector, better):
    """A number of a vector, in all lanes: the one that is `better` than all others."""
    half, undefined = WIDE // 2, ir.Constant(vector.type, ir.Undefined)
    while half:
        swapped = ir.Constant(ir.VectorType(_INT, WIDE), [i ^ half for i in range(WIDE)])
        other = builder.shuffle_vector(vector, undefined, swapped)
        vector = builder.select(better(other, vector), other, vector)
        half //= 2
    return vector


@intrinsic
def nearest_box(typingctx, array, first, x, y, z):
    """Which of WIDE boxes is nearest to a point; of equals the first."""
    real = array.dtype

    def codegen(context, builder, signature, args):
        squares = _from_boxes(builder, _data(context, builder, signature.args[0], args[0]), args[1], args[2:5])
        least = _reduced(builder, squares, lambda a, b: builder.fcmp_ordered("<", a, b))
        bits = _mask(builder, builder.fcmp_ordered("<=", squares, least))
        return builder.cttz(bits, ir.Constant(ir.IntType(1), 1))

    return types.int64(array, types.int64, real, real, real), codegen


@intrinsic
def within(typingctx, squares, limit):
    """A bit for each of WIDE squares that isn't greater than limit."""

    def codegen(context, builder, signature, args):
        found = _load(builder, _data(context, builder, signature.args[0], args[0]), ir.Constant(_LONG, 0), 0)
        return _mask(builder, builder.fcmp_ordered("<=", found, _every(builder, args[1])))

    return types.int64(squares, squares.dtype), codegen


@intrinsic
def first_bit(typingctx, bits):
    """The number of the lowest bit that is set; some is."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


@intrinsic
def boxes_below(typingctx, array, first, x, y, z, limits, at):
    """A bit for each of WIDE boxes whose square of the distance from a point is below its own limit, ``limits[at + i]``."""
    real = array.dtype

    def codegen(context, builder, signature, args):
        squares = _from_boxes(builder, _data(context, builder, signature.args[0], args[0]), args[1], args[2:5])
        limit = _load(builder, _data(context, builder, signature.args[5], args[5]), args[6], 0)
        return _mask(builder, builder.fcmp_ordered("<", squares, limit))

    return types.int64(array, types.int64, real, real, real, limits, types.int64), codegen


@intrinsic
def lower(typingctx, array, first, x, y, z, out, at):
    """Lower ``out[at + i]`` to the squares of a point's distances from WIDE points, where these are less."""
    real = array.dtype

    def codegen(context, builder, signature, args):
        found = _from_points(builder, _data(context, builder, signature.args[0], args[0]), args[1], args[2:5])
        place = _at(builder, _data(context, builder, signature.args[5], args[5]), args[6], 0)
        before = builder.load(place, align=4)
        builder.store(builder.select(builder.fcmp_ordered("<", found, before), found, before), place, align=4)
        return context.get_dummy_value()

    return types.none(array, types.int64, real, real, real, out, types.int64), codegen


@intrinsic
def greatest(typingctx, values, names, first):
    """The greatest of WIDE values, and the lowest name of those that are so great; names are int32."""

    def codegen(context, builder, signature, args):
        v, n = (_load(builder, _data(context, builder, signature.args[k], args[k]), args[2], 0) for k in (0, 1))
        most = _reduced(builder, v, lambda a, b: builder.fcmp_ordered(">", a, b))
        last = ir.Constant(n.type, [2**31 - 1] * WIDE)
        those = builder.select(builder.fcmp_ordered("==", v, most), n, last)
        least = _reduced(builder, those, lambda a, b: builder.icmp_signed("<", a, b))
        zero = ir.Constant(_INT, 0)
        found = builder.extract_element(most, zero), builder.extract_element(least, zero)
        return context.make_tuple(builder, signature.return_type, found)

    return types.Tuple((values.dtype, types.int32))(values, names, types.int64), codegen


@intrinsic
def changes(typingctx, values, first):
    """A bit for each of 64 values, ``values[first + i]``, that differs from the one before it."""

    def codegen(context, builder, signature, args):
        data, bits = _data(context, builder, signature.args[0], args[0]), ir.Constant(_LONG, 0)
        before = builder.sub(args[1], ir.Constant(_LONG, 1))
        for row in range(64 // WIDE):
            differ = builder.icmp_signed("!=", _load(builder, data, args[1], row), _load(builder, data, before, row))
            bits = builder.or_(bits, builder.shl(_mask(builder, differ), ir.Constant(_LONG, row * WIDE)))
        return bits

    return types.uint64(values, types.int64), codegen


@intrinsic
def four_near(typingctx, x, a, b, c, d, center, limit):
    """A bit for each of four rows of 4 numbers, which begin at x[a], x[b], x[c] and x[d], whose squared distance from center (4,)
    is below limit, both float64."""
    kind = x.dtype

    def codegen(context, builder, signature, args):
        data, middle = (_data(context, builder, signature.args[k], args[k]) for k in (0, 5))
        double = ir.VectorType(ir.DoubleType(), 4)
        center = builder.load(builder.bitcast(middle, double.as_pointer()), align=8)
        squares = []
        for start in args[1:5]:
            place = builder.bitcast(builder.gep(data, [start]), ir.VectorType(data.type.pointee, 4).as_pointer())
            row = builder.load(place, align=kind.bitwidth // 8)
            apart = builder.fsub(center, row if kind.bitwidth == 64 else builder.fpext(row, double))
            squares.append(builder.fmul(apart, apart))
        even, odd = (ir.Constant(ir.VectorType(_INT, 4), [k, 2 + k, 4 + k, 6 + k]) for k in (0, 1))
        while len(squares) > 1:
            squares = [
                builder.fadd(builder.shuffle_vector(u, v, even), builder.shuffle_vector(u, v, odd))
                for u, v in zip(squares[::2], squares[1::2], strict=True)
            ]
        undefined = ir.Constant(double, ir.Undefined)
        one = builder.insert_element(undefined, args[6], ir.Constant(_INT, 0))
        every = builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_INT, 4), [0] * 4))
        near = builder.bitcast(builder.fcmp_ordered("<", squares[0], every), ir.IntType(4))
        return builder.zext(near, _INT)

    n = types.int64
    return types.int32(x, n, n, n, n, center, types.float64), codegen
