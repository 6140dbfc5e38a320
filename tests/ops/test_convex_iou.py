"""Hulls of point sets: IoU, GIoU and least rectangles against shapely, and published values."""

import doctest
import importlib

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings, strategies as st

import arrayvision
from arrayvision import ops
from tests.conftest import on

EPS = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-24, "float64": 2**-48}
POINTS = np.array(
    [
        [1, 1, 2, 2, 1, 2, 2, 1, 1, 3, 3, 1, 2, 3, 3, 2, 1.5, 1.5],
        [1.5, 1.5, 2.5, 2.5, 1.5, 2.5, 2.5, 1.5, 1.5, 3.5, 3.5, 1.5, 2.5, 3.5, 3.5, 2.5, 2, 2],
    ]
)
QUADS = np.array([[1.0, 1, 1, 2, 2, 2, 2, 1], [1, 1, 1, 3, 3, 3, 3, 1]])


def hulls(rows):
    return shapely.convex_hull(shapely.multipoints(np.asarray(rows, np.float64).reshape(len(rows), -1, 2)))


def exact_iou(points, quads):
    p, q = hulls(points)[:, None], hulls(quads)[None]
    inter = shapely.area(shapely.intersection(p, q))
    return inter / (shapely.area(p) + shapely.area(q) - inter)


def exact_giou(points, quads):
    p, q = hulls(points), hulls(quads)
    inter = shapely.area(shapely.intersection(p, q))
    union = shapely.area(p) + shapely.area(q) - inter
    around = shapely.area(hulls(np.concatenate([points, quads], 1)))
    return inter / union - (around - union) / around


def make(n, width, seed=0, spread=2.0):
    return np.random.default_rng(seed).uniform(-spread, spread, (n, width))


# ---- IoU -------------------------------------------------------------------------------------------------------------
def test_reference(backend):
    """Values of the established implementation's tests."""
    points, quads = POINTS.astype(np.float32), QUADS.astype(np.float32)
    np.testing.assert_allclose(
        on(backend, ops.convex_iou)(points, quads), [[0.2857, 0.8750], [0.0588, 0.4286]], atol=5e-5
    )
    giou, grad = on(backend, ops.convex_giou)(points, quads)
    np.testing.assert_allclose(giou, [0.2857, 0.3831], atol=5e-5)
    expected = np.zeros((2, 9, 2))
    expected[0, [0, 4, 5, 6, 7]] = (
        [0.0204, 0.0408], [0.0612, -0.0408], [-0.0408, 0.0816], [-0.0408, -0.0816], [-0.0816, -0.0408],
    )  # fmt: skip
    expected[1, [0, 4, 5, 6, 7]] = (
        [-0.1848, -0.1848], [-0.1076, -0.0801], [-0.0801, -0.1076], [-0.0367, -0.0734], [-0.0734, -0.0367],
    )  # fmt: skip
    np.testing.assert_allclose(grad, expected.reshape(2, 18), atol=6e-5)


@pytest.mark.parametrize("dtype", EPS)
def test_iou(dtype, library):
    if not library.has(dtype):
        pytest.skip("the library has no such dtype")
    for n, k in ((13, 40), (1, 1), (150, 3)):
        quads = make(k, 8, 1)
        quads[::3] += [3, 0] * 4  # most apart
        points, quads = library.asarray(make(n, 18), dtype), library.asarray(quads, dtype)
        out = ops.convex_iou(points, quads)
        assert library.owns(out) and str(out.dtype).rsplit(".", 1)[-1] == dtype and tuple(out.shape) == (n, k)
        expected = exact_iou(library.numpy(points), library.numpy(quads))
        found = library.numpy(out).astype(np.float64)
        least = 2**-25 if dtype == "float16" else 1e-13  # half a subnormal
        np.testing.assert_allclose(found, expected, rtol=EPS[dtype], atol=least)


def test_iou_far_from_the_origin(backend):
    shift = 2.0**20
    points, quads = np.round(make(10, 18) * 64) / 64, np.round(make(10, 8, 1) * 64) / 64
    np.testing.assert_allclose(
        on(backend, ops.convex_iou)(points + shift, quads + shift), exact_iou(points, quads), rtol=1e-13, atol=1e-13
    )


def test_corners_in_any_order_and_equal_hulls(backend):
    square = np.array([[0, 0], [3, 0], [3, 2], [0, 2.0]])
    points = np.concatenate([square, square[:1], [[1, 1], [1.5, 0], [3, 1], [0, 0]]])
    rng = np.random.default_rng(0)
    sets = np.stack([rng.permutation(points).reshape(18) for _ in range(20)])
    quads = np.stack([rng.permutation(square).reshape(8) for _ in range(20)])
    np.testing.assert_array_equal(on(backend, ops.convex_iou)(sets, quads), np.ones((20, 20)))
    giou, grad = on(backend, ops.convex_giou)(sets, quads)
    np.testing.assert_array_equal(giou, np.ones(20))
    np.testing.assert_allclose(grad, 0, atol=1e-15)


def test_no_area_and_no_number(backend):
    points = np.tile(POINTS[:1], (5, 1))
    points[0, 4], points[1, 17] = np.nan, np.inf
    points[2] = 1.5
    points[3] = np.repeat(np.linspace(1, 2, 9), 2)
    quads = np.tile(QUADS[:1], (4, 1))
    quads[1, 0], quads[2] = np.nan, 1
    quads[3] = [1, 1, 2, 2, 1.5, 1.5, 3, 3]
    out = on(backend, ops.convex_iou)(points, quads)
    expected = np.zeros((5, 4))
    expected[4, 0] = 1 / 3.5
    np.testing.assert_allclose(out, expected, rtol=1e-14)
    giou, grad = on(backend, ops.convex_giou)(points, np.tile(QUADS[:1], (5, 1)))
    assert np.isnan(giou[:2]).all() and np.isnan(grad[:2]).all() and np.isfinite(grad[2:]).all()
    np.testing.assert_allclose(giou[2:], [0, 0, 1 / 3.5], atol=1e-15)  # inside, without an area
    line = np.repeat(np.linspace(0, 1, 9), 2)[None]
    giou, grad = on(backend, ops.convex_giou)(line, line[:, :8])
    assert giou[0] == 0 and (grad == 0).all()


# ---- GIoU ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", EPS)
def test_giou(dtype, library):
    if not library.has(dtype):
        pytest.skip("the library has no such dtype")
    points, quads = make(60, 18), make(60, 8, 1)
    quads[::3] += 5  # apart
    quads[1::3] *= 4  # or containing
    points, quads = library.asarray(points, dtype), library.asarray(quads, dtype)
    giou, grad = ops.convex_giou(points, quads)
    assert library.owns(giou) and library.owns(grad)
    assert [str(x.dtype).rsplit(".", 1)[-1] for x in (giou, grad)] == [dtype] * 2
    p, q = library.numpy(points).astype(np.float64), library.numpy(quads).astype(np.float64)
    np.testing.assert_allclose(
        library.numpy(giou).astype(np.float64), exact_giou(p, q), rtol=EPS[dtype], atol=EPS[dtype] + 1e-14
    )
    if dtype in ("float16", "bfloat16"):  # equal coordinates are common there: no derivative to compare with
        return
    expected = np.empty_like(p)
    for k in range(18):
        step = np.zeros(18)
        step[k] = 1e-6
        expected[:, k] = (exact_giou(p + step, q) - exact_giou(p - step, q)) / 2e-6
    np.testing.assert_allclose(library.numpy(grad), expected, rtol=EPS[dtype], atol=2e-9)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-8, 8), min_size=26, max_size=26))
def test_hulls_of_points_on_a_grid(numbers):
    """Full of points in lines, equal points and common edges."""
    points, quads = np.array([numbers[:18]], float), np.array([numbers[18:]], float)
    p, q = hulls(points)[0], hulls(quads)[0]
    value, (giou, grad) = ops.convex_iou(points, quads)[0, 0], ops.convex_giou(points, quads)
    assert np.isfinite(grad).all() and -1 <= giou[0] <= 1
    if p.area and q.area:
        np.testing.assert_allclose(value, exact_iou(points, quads)[0, 0], atol=1e-14)
        np.testing.assert_allclose(giou, exact_giou(points, quads), atol=1e-14)
    else:
        assert value == 0
    corner = {tuple(c) for c in shapely.get_coordinates(shapely.normalize(p))}
    for point, slope in zip(points.reshape(9, 2), grad.reshape(9, 2), strict=True):
        assert tuple(point) in corner or not slope.any()


def test_descent_finds_the_quadrilateral():
    """Steps along the gradient bring the hull near its target."""
    points, quad = make(1, 18, 3), np.array([[1.0, 0, 4, 1, 3, 3, 0, 2]])
    for k in range(600):
        giou, grad = ops.convex_giou(points, quad)
        points = points + 0.5 * 0.99**k * grad
    assert ops.convex_giou(make(1, 18, 3), quad)[0][0] < 0.1 and giou[0] > 0.8


def test_threads_change_no_bit():
    points, quads = make(2000, 18).astype(np.float32), make(2000, 8, 1).astype(np.float32)
    found, before = [], arrayvision.get_num_threads()
    try:
        for count in (1, 3):
            arrayvision.set_num_threads(count)
            found.append(
                (
                    ops.convex_iou(points, quads[:100]),
                    *ops.convex_giou(points, quads),
                    ops.min_area_polygons(points),
                    ops.points_in_polygons(points[:, :2], quads),
                )
            )
    finally:
        arrayvision.set_num_threads(before)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


# ---- least rectangles -------------------------------------------------------------------------------------------------
def test_rectangle_reference(backend):
    """Values and order of the established implementation's tests."""
    points = np.stack([POINTS[0], POINTS[0]]).astype(np.float32)
    points[1, 2:4] = 8
    expected = [[3, 1, 1, 1, 1, 3, 3, 3], [8, 8, 2.3243, 0.0541, 0.0541, 1.6757, 5.7297, 9.6216]]
    np.testing.assert_allclose(on(backend, ops.min_area_polygons)(points), expected, atol=5e-5)


@pytest.mark.parametrize("dtype", EPS)
def test_rectangles(dtype, library):
    if not library.has(dtype):
        pytest.skip("the library has no such dtype")
    points = library.asarray(make(60, 18), dtype)
    out = ops.min_area_polygons(points)
    assert library.owns(out) and str(out.dtype).rsplit(".", 1)[-1] == dtype
    sets = library.numpy(points).astype(np.float64)
    found = library.numpy(out).astype(np.float64).reshape(60, 4, 2)
    least = shapely.area(shapely.minimum_rotated_rectangle(shapely.multipoints(sets.reshape(60, 9, 2))))
    np.testing.assert_allclose(shapely.area(shapely.polygons(found)), least, rtol=8 * EPS[dtype])
    assert shapely.covers(shapely.buffer(shapely.polygons(found), 16 * EPS[dtype]), hulls(sets)).all()
    a, b, c, d = np.moveaxis(found, 1, 0)
    np.testing.assert_allclose(a - b, d - c, atol=16 * EPS[dtype])  # a rectangle
    np.testing.assert_allclose(((a - b) * (c - b)).sum(-1), 0, atol=64 * EPS[dtype])
    side = a - b
    assert (side[:, 0] > -8 * EPS[dtype]).all() and (side[:, 1] > -8 * EPS[dtype]).all()  # in the first quadrant
    turn = side[:, 0] * (c - b)[:, 1] - side[:, 1] * (c - b)[:, 0]
    assert (turn > 0).all()


def test_rectangles_of_points_in_a_line_and_of_one_point(backend):
    line = np.repeat(np.linspace(-1, 3, 9), 2).reshape(1, 18) * np.tile([1, -1.0], 9)  # along (1, -1)
    sets = np.concatenate([line, np.tile([2.0, 5], 9)[None], line, line])
    sets[2, 3], sets[3, 0] = np.nan, -np.inf
    out = on(backend, ops.min_area_polygons)(sets)
    np.testing.assert_allclose(out[0], [3, -3, 3, -3, -1, 1, -1, 1], atol=1e-14)
    np.testing.assert_array_equal(out[1], np.tile([2, 5], 4))
    assert np.isnan(out[2:]).all()


def test_huge_numbers_end(backend):
    """No loop that waits for a number to become fine."""
    sets = make(4, 18, spread=1.0) * 1.7e308
    assert on(backend, ops.min_area_polygons)(sets).shape == (4, 8)
    assert on(backend, ops.convex_iou)(sets, sets[:, :8]).shape == (4, 4)
    assert on(backend, ops.convex_giou)(sets, sets[:, :8])[1].shape == (4, 18)


# ---- points in quadrilaterals -----------------------------------------------------------------------------------------
def test_points_reference(backend):
    """Values of the established implementation's tests: on edges and corners is outside."""
    points = np.array([[300, 300], [400, 400], [100, 100], [300, 250], [100, 0]], np.float32)
    quads = [
        [200, 200, 400, 400, 500, 200, 400, 100],
        [400, 400, 500, 500, 600, 300, 500, 200],
        [300, 300, 600, 700, 700, 700, 700, 100],
    ]
    out = on(backend, ops.points_in_polygons)(points, np.array(quads, np.float32))
    np.testing.assert_array_equal(out, [[0, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("dtype", EPS)
def test_points(dtype, library):
    """On a grid, where many points lie on edges and corners."""
    if not library.has(dtype):
        pytest.skip("the library has no such dtype")
    rng = np.random.default_rng(0)
    quads = rng.integers(0, 9, (400, 8))
    quads = quads[shapely.is_valid(shapely.polygons(quads.reshape(-1, 4, 2)))]  # no crossing sides; concave ones too
    points = np.stack(np.meshgrid(np.arange(-1, 11), np.arange(-1, 11)), -1).reshape(-1, 2)
    out = ops.points_in_polygons(library.asarray(points, dtype), library.asarray(quads, dtype))
    assert library.owns(out) and str(out.dtype).rsplit(".", 1)[-1] == dtype and len(quads) > 100
    expected = shapely.contains(shapely.polygons(quads.reshape(-1, 4, 2))[None], shapely.points(points)[:, None])
    np.testing.assert_array_equal(library.numpy(out), expected)


def test_points_exactly_in_float32(backend):
    """One rounding to either side of a long edge."""
    x = np.float32(1 / 3)
    quad = np.array([[0, 0, 1, 1, 1, 2, 0, 2]], np.float32)  # its edge is y = x
    points = np.array([[x, np.nextafter(x, np.float32(1))], [x, x], [x, np.nextafter(x, np.float32(0))]], np.float32)
    np.testing.assert_array_equal(on(backend, ops.points_in_polygons)(points, quad), [[1], [0], [0]])


def test_points_crossing_sides_and_what_is_no_number(backend):
    bow = [0, 0, 2, 2, 2, 0, 0, 2.0]
    quads = np.array([bow, [np.nan, *bow[1:]], [*bow[:7], np.inf], [1, 1, 1, 1, 1, 1, 1, 1]])
    points = np.array(
        [[0.5, 1], [1.5, 1], [1, 1], [1, 0.5], [np.nan, 1], [1, np.nan], [np.inf, 1], [-np.inf, 1], [1, np.inf]]
    )
    expected = np.zeros((9, 4))
    expected[:2, 0] = 1
    np.testing.assert_array_equal(on(backend, ops.points_in_polygons)(points, quads), expected)


# ---- all of them ------------------------------------------------------------------------------------------------------
def test_empty(library):
    def array(*shape):
        return library.asarray(np.zeros(shape, np.float32))

    for n, k in ((0, 2), (2, 0), (0, 0)):
        assert tuple(ops.convex_iou(array(n, 18), array(k, 8)).shape) == (n, k)
        assert tuple(ops.points_in_polygons(array(n, 2), array(k, 8)).shape) == (n, k)
    assert [tuple(x.shape) for x in ops.convex_giou(array(0, 18), array(0, 8))] == [(0,), (0, 18)]
    assert tuple(ops.min_area_polygons(array(0, 18)).shape) == (0, 8)


def test_layouts(backend):
    points, quads = make(12, 18).astype(np.float32), make(12, 8, 1).astype(np.float32)
    wide = np.zeros((24, 36), np.float32)
    wide[::-2, ::2] = points
    for other in (np.asfortranarray(points), wide[::-2, ::2]):
        for f in (ops.convex_iou, ops.convex_giou):
            f = on(backend, f)
            for a, b in zip(f(other, np.asfortranarray(quads)), f(points, quads), strict=True):
                np.testing.assert_array_equal(a, b)
        f = on(backend, ops.min_area_polygons)
        np.testing.assert_array_equal(f(other), f(points))
        f = on(backend, ops.points_in_polygons)
        np.testing.assert_array_equal(f(other[:, :2], quads), f(points[:, :2].copy(), quads))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: ops.convex_iou(np.zeros((3, 16)), QUADS), ValueError, "convex_iou: pointsets must have shape (N, 18), got (3, 16)"),
        (lambda: ops.convex_iou(POINTS, np.zeros(8)), ValueError, "convex_iou: polygons must have shape (K, 8), got (8,)"),
        (lambda: ops.convex_iou(POINTS, torch.zeros(1, 8)), TypeError, "give both from one library"),
        (lambda: ops.convex_giou(POINTS, QUADS[:1]), ValueError, "convex_giou: polygons must have as many rows as pointsets, got 1 and 2"),
        (lambda: ops.convex_giou(POINTS, QUADS.astype(complex)), TypeError, "convex_giou: polygons must hold real numbers"),
        (lambda: ops.min_area_polygons(np.zeros((3, 8))), ValueError, "min_area_polygons: pointsets must have shape (N, 18), got (3, 8)"),
        (lambda: ops.min_area_polygons([[0.0] * 18]), TypeError, "min_area_polygons: pointsets must be an array"),
        (lambda: ops.points_in_polygons(np.zeros((3, 3)), QUADS), ValueError, "points_in_polygons: points must have shape (B, 2), got (3, 3)"),
        (lambda: ops.points_in_polygons(np.zeros((3, 2)), POINTS), ValueError, "points_in_polygons: polygons must have shape (M, 8), got (2, 18)"),
    ],
)  # fmt: skip
def test_bad_arguments(call, error, text):
    with pytest.raises(error) as raised:
        call()
    assert text in str(raised.value)


@pytest.mark.parametrize(
    "name", ["convex_iou", "diff_iou_rotated", "focal_loss", "min_area_polygons", "points_in_polygons"]
)
def test_docstrings_examples(name):
    result = doctest.testmod(importlib.import_module(f"arrayvision.ops.{name}"))
    assert result.attempted >= 2 and not result.failed
