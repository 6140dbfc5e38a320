"""Rotated boxes and quadrilaterals against shapely in float64, exact fractions, and the golden data."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st

from arrayvision import ops
from tests.conftest import on
from tests.golden import cases
from tests.ops.test_nms import plain_nms

EPS = 2**-23


def make(n, seed, dtype=np.float32, side=100):
    rng = np.random.default_rng(seed)
    columns = [*rng.uniform(0, side, (2, n)), *rng.uniform(2, 40, (2, n)), rng.uniform(-4, 4, n)]
    return np.stack(columns, 1).astype(dtype)


def corners(boxes, origin=0.0, turned=0.0):
    """Corners (N, 4, 2) in float64, seen from an origin and an angle."""
    b = boxes.astype(np.float64)
    c, s = np.cos(turned), np.sin(turned)
    x, y = (b[:, :2] - origin).T
    x, y = x * c + y * s, y * c - x * s
    cos, sin = np.cos(b[:, 4] - turned), np.sin(b[:, 4] - turned)
    wx, wy, hx, hy = b[:, 2] * cos / 2, b[:, 2] * sin / 2, -b[:, 3] * sin / 2, b[:, 3] * cos / 2
    return np.stack(
        [np.stack([x + i * wx + j * hx, y + i * wy + j * hy], -1) for i, j in ((1, 1), (-1, 1), (-1, -1), (1, -1))], 1
    )


def exact(a, b, mode="iou"):
    """By shapely, row by row, in the first one's frame: there, a needle's width isn't lost in its place."""
    origin, turned = a[:, :2].astype(np.float64), a[:, 4].astype(np.float64)
    p, q = shapely.polygons(corners(a, origin, turned)), shapely.polygons(corners(b, origin, turned))
    inter = shapely.area(shapely.intersection(p, q))
    areas = a[:, 2].astype(np.float64) * a[:, 3], b[:, 2].astype(np.float64) * b[:, 3]
    return inter / (areas[0] if mode == "iof" else areas[0] + areas[1] - inter)


# ---- IoU of rotated boxes ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", cases("box_iou_rotated"), ids=lambda c: c.name)
def test_iou_rotated_golden(case, library):
    out = ops.box_iou_rotated(*map(library.asarray, case.inputs.values()), **case.args)
    assert library.owns(out)
    np.testing.assert_allclose(library.numpy(out), case.outputs["0"], rtol=0, atol=8 * EPS)  # theirs is in float32


@pytest.mark.parametrize("case", cases("box_iou_quadri"), ids=lambda c: c.name)
def test_iou_quadri_golden(case, library):
    out = ops.box_iou_quadri(*map(library.asarray, case.inputs.values()), **case.args)
    np.testing.assert_allclose(library.numpy(out), case.outputs["0"], rtol=0, atol=8 * EPS)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("mode", ["iou", "iof"])
def test_iou_rotated_dtypes(dtype, mode, library):
    if not library.has(dtype):
        pytest.skip("the library has no such dtype")
    a, b = library.asarray(make(40, 0), dtype), library.asarray(make(30, 1), dtype)
    out = ops.box_iou_rotated(a, b, mode)
    assert str(out.dtype).rsplit(".", 1)[-1] == dtype
    x, y = library.numpy(a).astype(np.float64), library.numpy(b).astype(np.float64)
    expected = exact(np.repeat(x, 30, 0), np.tile(y, (40, 1)), mode).reshape(40, 30)
    rounding = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-23, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(library.numpy(out).astype(np.float64), expected, rtol=rounding, atol=rounding)


KNOWN = [  # wrong elsewhere: two boxes, their IoU
    ((0, 0, 180.6422271729, 136.3633728027, 0.9559648633), (0, 0, 180.6422271729, 136.3633728027, 0.9559648633), 1),
    ((135.07, 406.72, 7.9445e-7, 1971.1, 1.7708), (151.008, 436.2173, 302.0159, 313.7347, 3.1184), 0),
    (
        (296.6620178, 458.7388306, 23.51572990, 47.67700195, 0.0015351),
        (296.66202, 458.73883, 23.51573, 47.677, 0.00154),
        1,
    ),
]


@pytest.mark.parametrize(("first", "second", "iou"), KNOWN)
def test_cases_on_record(first, second, iou, backend):
    first, second = np.array([first], np.float32), np.array([second], np.float32)
    for a, b in ((first, second), (second, first)):
        out = on(backend, ops.box_iou_rotated)(a, b)[0, 0]
        assert abs(out - iou) < 1e-5 and 0 <= out <= 1


HARD = ["nearly equal", "equal", "shared edge", "shared corner", "needles", "far away", "quarter turns", "inside"]


def hard_pairs(kind, n, seed=0):
    rng = np.random.default_rng(seed)
    place = rng.uniform(-1e5, 1e5, (n, 2)) if kind == "far away" else rng.uniform(-300, 300, (n, 2))
    size = rng.uniform(2, 300, (n, 2))
    a = np.concatenate([place, size, rng.uniform(-4, 4, (n, 1))], 1)
    b = a.copy()
    along = np.stack([np.cos(a[:, 4]), np.sin(a[:, 4])], 1)
    across = along[:, ::-1] * [-1, 1]
    if kind == "nearly equal":
        b *= 1 + rng.uniform(-1, 1, b.shape) * 10 ** rng.uniform(-8, -2, (n, 1))
    elif kind == "shared edge":
        b[:, :2] += along * a[:, 2:3] * rng.choice([0, 1, 0.5], (n, 1))
        b[:, 2] *= rng.choice([1, 0.5, 2], n)
    elif kind == "shared corner":
        b[:, :2] += along * a[:, 2:3] + across * a[:, 3:4]
        b[:, 4] += rng.choice([0, 0.5, np.pi / 2], n)
    elif kind == "needles":
        a[:, 2] = 10 ** rng.uniform(-7, -1, n)
        b[:, :2] += rng.normal(0, 1, (n, 2)) * a[:, 2:3]
        b[:, 2] = np.where(rng.random(n) < 0.5, a[:, 2], b[:, 2])
        b[:, 4] += rng.choice([0, 1e-6, 1], n)
    elif kind == "far away":
        b[:, :2] += rng.uniform(-50, 50, (n, 2))
    elif kind == "quarter turns":
        a[:, 4] = rng.integers(-4, 5, n) * (np.pi / 2)
        b[:, :2], b[:, 4] = a[:, :2] + rng.integers(-2, 3, (n, 2)), rng.integers(-4, 5, n) * (np.pi / 2)
    elif kind == "inside":
        b[:, 2:4] *= rng.uniform(0.1, 1, (n, 2))
    return a.astype(np.float32), b.astype(np.float32)


@pytest.mark.parametrize("kind", HARD)
def test_a_hundred_thousand_hard_pairs(kind):
    """12,500 pairs of each of eight kinds: within 1e-6 of the exact value, in [0, 1]."""
    a, b = hard_pairs(kind, 12500)
    for p, q in ((a, b), (b, a)):
        out = ops.box_iou_rotated(p, q, aligned=True)
        assert out.min() >= 0 and out.max() <= 1
        np.testing.assert_allclose(out, exact(p, q), rtol=0, atol=1e-6)
    if kind == "equal":
        np.testing.assert_array_equal(out, 1)


@pytest.mark.parametrize("kind", HARD)
def test_hard_pairs_on_cuda(kind, backend):
    """The CUDA kernel computes what the CPU's does: all in float64, but for the last bits of sine and cosine."""
    a, b = hard_pairs(kind, 500, 1)
    expected = ops.box_iou_rotated(a, b, aligned=True) if backend == "cpu" else exact(a, b)
    np.testing.assert_allclose(on(backend, ops.box_iou_rotated)(a, b, aligned=True), expected, rtol=0, atol=1e-6)


def test_clockwise_turns_x_towards_y(backend):
    """A box turned by 45 degrees and one that lies where its tip then is."""
    box, tip = np.array([[0, 0, 10, 0.1, np.pi / 4]]), np.array([[3, 3, 1, 1, 0.0]])
    f = on(backend, ops.box_iou_rotated)
    assert f(box, tip)[0, 0] > 0 and f(box, tip, clockwise=False)[0, 0] == 0
    np.testing.assert_allclose(f(box * [1, 1, 1, 1, -1], tip, clockwise=False), f(box, tip), rtol=1e-12)


def test_what_has_no_area_overlaps_nothing(backend):
    fine = [0, 0, 4, 2, 0.3]
    bad = [
        [0, 0, 0, 2, 0],
        [0, 0, -4, 2, 0],
        [0, 0, -4, -2, 0],
        [np.nan, 0, 4, 2, 0],
        [0, 0, np.inf, 2, 0],
        [0, 0, 4, 2, np.inf],
    ]
    boxes = np.array([fine, *bad], np.float32)
    np.testing.assert_array_equal(on(backend, ops.box_iou_rotated)(boxes, boxes), np.diag([1, 0, 0, 0, 0, 0, 0]))
    with np.errstate(invalid="ignore"):
        quads = corners(boxes).reshape(-1, 8).astype(np.float32)
    quads[2:4] = 7  # a point
    out = on(backend, ops.box_iou_quadri)(quads, quads)
    np.testing.assert_allclose(out, np.diag([1, 0, 0, 0, 0, 0, 0]), atol=1e-6)
    scores = np.linspace(1, 0.5, 7).astype(np.float32)
    np.testing.assert_array_equal(on(backend, ops.nms_rotated)(boxes, scores, 0.1)[1], np.arange(7))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-1e3, 1e3), st.floats(-3, 3))
def test_iou_rotated_properties(seed, shift, turn):
    """Symmetric, within [0, 1], 1 with itself; it doesn't change when both move, turn or grow."""
    a = make(12, seed, np.float64, side=40)
    iou = ops.box_iou_rotated(a, a)
    np.testing.assert_allclose(iou, iou.T, atol=1e-12)
    assert iou.min() >= 0 and iou.max() <= 1
    np.testing.assert_allclose(iou.diagonal(), 1, atol=1e-12)
    c, s = np.cos(turn), np.sin(turn)
    moved = np.concatenate([(a[:, :2] @ [[c, s], [-s, c]] + shift) * 2, a[:, 2:4] * 2, a[:, 4:] + turn], 1)
    np.testing.assert_allclose(ops.box_iou_rotated(moved, moved), iou, atol=1e-9)


# ---- quadrilaterals ---------------------------------------------------------------------------------------------------
def random_quads(n, seed):
    """Simple ones, convex or not: four points in the order of their angles round their middle."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, (n, 4)), 1)
    r = rng.uniform(3, 30, (n, 4))
    points = np.stack([r * np.cos(angle), r * np.sin(angle)], -1) + rng.uniform(0, 40, (n, 1, 2))
    fine = shapely.is_valid(shapely.polygons(points))
    return points[fine].reshape(-1, 8)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mode", ["iou", "iof"])
def test_iou_quadri_convex_and_concave(reverse, mode, backend):
    a, b = random_quads(300, 0)[:150], random_quads(300, 1)[:150]
    if reverse:
        b = b.reshape(-1, 4, 2)[:, ::-1].reshape(-1, 8)
    p, q = shapely.polygons(a.reshape(-1, 4, 2)), shapely.polygons(b.reshape(-1, 4, 2))
    n = min(len(a), len(b))
    inter = shapely.area(shapely.intersection(p[:n], q[:n]))
    union = shapely.area(p[:n]) + (0 if mode == "iof" else shapely.area(q[:n]) - inter)
    out = on(backend, ops.box_iou_quadri)(a[:n].copy(), b[:n].copy(), mode, True)
    np.testing.assert_allclose(out, inter / union, atol=1e-10)
    matrix = on(backend, ops.box_iou_quadri)(a[:n].copy(), b[:n].copy(), mode)
    np.testing.assert_allclose(matrix.diagonal(), out, atol=1e-12)
    assert matrix.min() >= 0 and matrix.max() <= 1


def test_iou_quadri_of_any_four_points_is_in_range():
    """Sides that cross, corners that coincide."""
    rng = np.random.default_rng(2)
    quads = rng.integers(0, 6, (400, 8)).astype(np.float32)
    iou = ops.box_iou_quadri(quads, quads)
    assert np.isfinite(iou).all() and iou.min() >= 0 and iou.max() <= 1


# ---- suppression ------------------------------------------------------------------------------------------------------
def greedy(iou, scores, threshold, labels=None):
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if not any(iou[i, j] > threshold and (labels is None or labels[i] == labels[j]) for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("case", cases("nms_rotated"), ids=lambda c: c.name)
def test_nms_rotated_golden(case, library):
    """The reference ignores labels on a CPU, so its cases with labels are compared without; see the next test."""
    inputs = {k: library.asarray(v) for k, v in case.inputs.items() if k != "labels"}
    dets, inds = ops.nms_rotated(**inputs, **case.args)
    np.testing.assert_array_equal(library.numpy(inds), case.outputs["1"])
    np.testing.assert_array_equal(library.numpy(dets), case.outputs["0"])


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("clockwise", [False, True])
@pytest.mark.parametrize("n", [60, 900])
def test_nms_rotated_is_the_plain_loop(labelled, clockwise, n, backend):
    boxes = make(n, 3, side=120 if n < 100 else 300)
    scores = np.random.default_rng(4).random(n).astype(np.float32)
    scores[:20] = 0.5
    labels = np.arange(n) % 3 - 1 if labelled else None
    turned = boxes if clockwise else boxes * np.float32([1, 1, 1, 1, -1])
    pairs = np.repeat(turned, n, 0), np.tile(turned, (n, 1))
    near = np.abs(pairs[0][:, :2] - pairs[1][:, :2]).max(1) < 60
    iou = np.zeros(n * n)
    iou[near] = exact(pairs[0][near], pairs[1][near])
    expected = greedy(iou.reshape(n, n), scores, 0.2, labels)
    dets, inds = on(backend, ops.nms_rotated)(boxes, scores, 0.2, labels, clockwise)
    np.testing.assert_array_equal(inds, expected)
    np.testing.assert_array_equal(dets, np.concatenate([boxes, scores[:, None]], 1)[expected])


@pytest.mark.parametrize("case", cases("nms_quadri"), ids=lambda c: c.name)
def test_nms_quadri_golden(case, library):
    dets, inds = ops.nms_quadri(*map(library.asarray, case.inputs.values()), **case.args)
    np.testing.assert_array_equal(library.numpy(inds), case.outputs["1"])
    np.testing.assert_array_equal(library.numpy(dets), case.outputs["0"])


@pytest.mark.parametrize("n", [50, 2500])
def test_nms_quadri_of_upright_ones_is_nms(n, backend):
    """By sweeps and by strips."""
    n = n if backend == "cpu" else min(n, 400)
    rng = np.random.default_rng(5)
    xy = rng.integers(0, 400, (n, 2)) / 2
    boxes = np.concatenate([xy, xy + rng.integers(2, 60, (n, 2)) / 2], 1).astype(np.float32)
    scores, labels = rng.random(n).astype(np.float32), rng.integers(0, 2, n)
    quads = boxes[:, [2, 1, 0, 1, 0, 3, 2, 3]]
    got = on(backend, ops.nms_quadri)(quads, scores, 0.3, labels)[1]
    np.testing.assert_array_equal(got, plain_nms(boxes, scores, 0.3, labels=labels))
    got = on(backend, ops.nms_quadri)(quads, scores, 0.3)[1]
    np.testing.assert_array_equal(got, plain_nms(boxes, scores, 0.3))


def test_empty(library):
    boxes, scores = library.asarray(np.zeros((0, 5), np.float32)), library.asarray(np.zeros(0, np.float32))
    quads = library.asarray(np.zeros((0, 8), np.float32))
    assert tuple(ops.box_iou_rotated(boxes, boxes).shape) == (0, 0)
    assert tuple(ops.box_iou_rotated(boxes, boxes, aligned=True).shape) == (0,)
    assert tuple(ops.box_iou_quadri(quads, library.asarray(np.ones((3, 8), np.float32))).shape) == (0, 3)
    for (dets, inds), width in ((ops.nms_rotated(boxes, scores, 0.1), 6), (ops.nms_quadri(quads, scores, 0.1), 9)):
        assert tuple(dets.shape) == (0, width) and tuple(inds.shape) == (0,)
        assert library.owns(dets)


BOXES = make(4, 0)
SCORES = np.ones(4, np.float32)


@pytest.mark.parametrize(
    ("function", "args", "error", "message"),
    [
        (ops.box_iou_rotated, (BOXES[:, :4], BOXES), ValueError, r"bboxes1 must have shape \(M, 5\), got \(4, 4\)"),
        (ops.box_iou_rotated, (BOXES, BOXES[:3], "iou", True), ValueError, "bboxes2 must have as many rows as bboxes1"),
        (ops.box_iou_rotated, (BOXES, BOXES, "max"), ValueError, "mode must be 'iou' or 'iof'"),
        (ops.box_iou_rotated, (BOXES, BOXES, "iou", False, "left"), TypeError, "clockwise must be True or False"),
        (ops.box_iou_quadri, (BOXES, BOXES), ValueError, r"bboxes1 must have shape \(M, 8\), got \(4, 5\)"),
        (ops.nms_rotated, (BOXES[:, :4], SCORES, 0.5), ValueError, r"dets must have shape \(N, 5\), got \(4, 4\)"),
        (ops.nms_rotated, (BOXES, SCORES[:2], 0.5), ValueError, "scores must have as many rows as dets, got 2 and 4"),
        (ops.nms_rotated, (BOXES, SCORES, 0.5, np.zeros(3, int)), ValueError, "labels must have as many rows as dets"),
        (ops.nms_rotated, (BOXES, SCORES, 0.5, np.zeros((4, 1), int)), ValueError, r"labels must have shape \(N,\)"),
        (ops.nms_rotated, (BOXES, SCORES, float("nan")), ValueError, "iou_threshold must be at least 0"),
        (ops.nms_quadri, (BOXES, SCORES, 0.5), ValueError, r"dets must have shape \(N, 8\), got \(4, 5\)"),
        (ops.nms_quadri, (BOXES.astype(str), SCORES, 0.5), (TypeError, ValueError), "dets"),
    ],
)
def test_bad_input(function, args, error, message, backend):
    with pytest.raises(error, match=f"{function.__name__}: {message}|{function.__name__}: .*{message}"):
        on(backend, function)(*args)
