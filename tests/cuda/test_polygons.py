"""What floats decide about areas, and sums of two floats, beside doubles: in the emulator, whose floats are a GPU's."""

import os
from fractions import Fraction

import numpy as np
import pytest

from arrayvision import array, ops
from arrayvision.cuda import cubin, emulator, runtime
from tests.ops.test_rotated_boxes import HARD, corners, hard_pairs, make

SOURCE = os.path.join(os.path.dirname(__file__), "polygons.cu")
ROTATED = "compare<polygons::RotatedCandidate, polygons::RotatedPairs>"
QUADS = "compare<polygons::QuadCandidate, polygons::QuadPairs>"


@pytest.fixture(scope="module")
def module():
    return emulator.Module(SOURCE, ["arithmetic", ROTATED, QUADS], (runtime.INCLUDE,))


def compared(module, kernel, a, b, threshold=0.5):
    n = len(a)
    shared, in_pairs = np.zeros(n), np.zeros(n)
    roughly, error, found = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.int32)
    a, b = np.ascontiguousarray(a, np.float64), np.ascontiguousarray(b, np.float64)
    args = np.int32(n), a, b, np.float32(threshold), shared, in_pairs, roughly, error, found
    module.launch(kernel, (-(-n // 64),), (64,), args)
    return shared, in_pairs, roughly, error, found


def quads(boxes):
    return corners(boxes.astype(np.float64)).reshape(-1, 8)


def crossed(boxes):
    """Corners in an order in which sides cross, and concave ones."""
    moved = quads(boxes).reshape(-1, 4, 2).copy()
    moved[::2] = moved[::2][:, [0, 2, 1, 3]]
    moved[1::2, 0] = moved[1::2].mean(1) * 0.9 + moved[1::2, 2] * 0.1
    return moved.reshape(-1, 8)


def areas(kernel, boxes):
    if kernel == ROTATED:
        return boxes[:, 2] * boxes[:, 3]
    p = boxes.reshape(-1, 4, 2) - boxes.reshape(-1, 4, 2).mean(1, keepdims=True)
    d, e = p[:, 2] - p[:, 0], p[:, 3] - p[:, 1]
    return abs(d[:, 0] * e[:, 1] - e[:, 0] * d[:, 1]) / 2


def with_slow_doubles(monkeypatch):
    """From here on doubles count as slow; the names of the kernels that are launched, as they come."""
    launched, launch = [], runtime.Kernels.launch
    monkeypatch.setattr(
        runtime.Kernels,
        "launch",
        lambda self, name, *args, **kw: launched.append(name) or launch(self, name, *args, **kw),
    )
    monkeypatch.setattr(runtime, "slow_doubles", lambda like: True)
    return launched


@pytest.mark.parametrize("form", ["rotated", "quads", "crossed"])
@pytest.mark.parametrize("kind", [*HARD, "usual"])
def test_floats_are_within_their_bound_and_decide_as_doubles_do(kind, form, module):
    a, b = (make(800, 1), make(800, 2)) if kind == "usual" else hard_pairs(kind, 800, 5)
    a, b = a.astype(np.float64), b.astype(np.float64)
    if form != "rotated":
        a, b = {"quads": quads, "crossed": crossed}[form](a), quads(b)
    kernel = ROTATED if form == "rotated" else QUADS
    for p, q in ((a, b), (b, a)):
        first, second = areas(kernel, p), areas(kernel, q)
        for threshold in (0.0, 0.1, 0.5, 0.9):
            shared, in_pairs, roughly, error, found = compared(module, kernel, p, q, threshold)
            told = np.isfinite(error)  # not of needles
            assert (abs(roughly - shared)[told] <= error[told] / 3).all()  # the bound is a sum of worst cases
            iou = shared / (first + second - shared)
            assert not (found[iou > threshold] < 0).any() and not (found[iou <= threshold] > 0).any()
            if kind == "usual" and threshold:
                assert (found == 0).mean() < (0.02 if form == "crossed" else 0.005)
        size = np.abs(np.concatenate([p, q], 1)).max(1) if kind != "far away" else 1e3
        np.testing.assert_array_less(abs(in_pairs - shared), 2**-42 * size * size + 1e-30)


def test_hulls_that_floats_keep_apart_share_nothing(module):
    """Boxes that touch, or nearly, far from the origin, where a float has a step of 1/16."""
    rng = np.random.default_rng(0)
    a = np.concatenate([rng.uniform(-1e6, 1e6, (4000, 2)), rng.uniform(0.1, 9, (4000, 2)), np.zeros((4000, 1))], 1)
    b = a.copy()
    b[:, 2:4] = rng.uniform(0.1, 9, (4000, 2))
    b[:, 0] += (a[:, 2] + b[:, 2]) / 2 * (1 - rng.choice([-1, 0, 1], 4000) * 10 ** rng.uniform(-12, -6, 4000))
    shared, _, _, _, found = compared(module, ROTATED, a, b, 0.0)
    assert (shared > 0).any() and not (found[shared > 0] < 0).any()
    far = b + [100, 0, 0, 0, 0]
    assert (compared(module, ROTATED, a, far, 0.0)[4] == -1).all()


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e12, 1e25])
def test_what_floats_do_not_hold_is_left_to_doubles(scale, module):
    a, b = make(300, 3, np.float64), make(300, 4, np.float64)
    iou = None
    for boxes in ((a, b), (a * [scale, scale, scale, scale, 1], b * [scale, scale, scale, scale, 1])):
        shared, _, _, _, found = compared(module, ROTATED, *boxes, 0.3)
        first, second = (areas(ROTATED, x) for x in boxes)
        here = shared / (first + second - shared)
        iou = here if iou is None else iou
        np.testing.assert_allclose(here, iou, atol=1e-12)
        assert not (found[iou > 0.3] < 0).any() and not (found[iou <= 0.3] > 0).any()


def test_pairs_have_46_bits(module):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (2, 500)) * 10.0 ** rng.integers(-8, 8, (2, 500))
    b[:50] = -a[:50] * (1 + 2.0 ** rng.integers(-45, -1, 50))  # which cancel
    out = np.zeros((500, 4))
    module.launch("arithmetic", (8,), (64,), (np.int32(500), a, b, out))
    for x, y, results in zip(a, b, out, strict=True):
        x, y = Fraction(x), Fraction(y)
        most = max(abs(x), abs(y))
        for exact, scale, result in zip(
            (x + y, x - y, x * y, x / y), (most, most, abs(x * y), abs(x / y)), results, strict=True
        ):
            assert abs(Fraction(result) - exact) <= scale / 2**45


@pytest.mark.parametrize("function", [ops.box_iou_rotated, ops.box_iou_quadri])
@pytest.mark.parametrize("mode", ["iou", "iof"])
def test_pairs_give_the_ious_of_doubles(function, mode, monkeypatch):
    """Also of boxes that Pairs can't hold, which are compared in doubles."""
    a, b = make(70, 0), make(150, 1)
    a[:5, :4] *= 1e-20
    b[:5, :4] *= 1e-20
    a[5:10, :4] *= 1e20
    b[5:10, :4] *= 1e20
    a[10:13, 2], b[10:13, 2] = 1e-30, 1e-30
    if function is ops.box_iou_quadri:
        a, b = (quads(x).astype(np.float32) for x in (a, b))
    monkeypatch.setattr(array, "EMULATED", True)
    expected = function(a, b, mode)
    launched = with_slow_doubles(monkeypatch)
    out = function(a, b, mode)
    assert len(launched) == 1 and "Pairs" in launched[0] and (expected > 0).sum() > 500
    np.testing.assert_allclose(out, expected, rtol=2**-23, atol=1e-12)
    some = expected > 1e-9  # what is less is the rounding of boxes that only touch
    assert (out != expected)[some].mean() < 1e-3


@pytest.mark.parametrize("arch", [75, 86, 89, 90, 120])
def test_instructions_of_a_pair(arch):
    """Of one pair, a double counted as so many as floats are faster: docs/design.md has the figures."""
    shapes = [f"share<polygons::{shape}{number}>" for shape in ("Rotated", "Quad") for number in ("", "Pairs")]
    decisions = [f"decide<polygons::Rough{shape}>" for shape in ("Rotated", "Quad")]
    code, symbols = runtime.Kernels(os.path.abspath(SOURCE), [*shapes, *decisions, "touch"]).compile(arch)
    counted = cubin.instructions(code if isinstance(code, bytes) else code.read_bytes())
    found = {expression: counted[symbol] for expression, symbol in symbols.items()}
    double = {75: 32, 90: 2}.get(arch, 64)

    def cost(expression):
        return found[expression].all + (double - 1) * found[expression].doubles

    for shape in ("Rotated", "Quad"):
        exact, in_pairs, rough = (
            f"share<polygons::{shape}>",
            f"share<polygons::{shape}Pairs>",
            f"decide<polygons::Rough{shape}>",
        )
        assert found[exact].doubles > 200 and found[in_pairs].doubles == found[rough].doubles == 0
        assert cost(rough) < {75: 0.06, 90: 0.6}.get(arch, 0.04) * cost(exact)
        assert arch == 90 or cost(in_pairs) < {75: 0.2}.get(arch, 0.11) * cost(exact)
    assert found["touch"].doubles == 0 and cost("touch") < 64


def test_pairs_give_the_overlaps_of_boxes_in_space(monkeypatch):
    """Also of boxes whose sides or heights Pairs can't hold."""
    rng = np.random.default_rng(0)

    def boxes(n):
        place, size = rng.uniform(-20, 20, (n, 3)) * [1, 1, 0.1], rng.uniform(1, 9, (n, 3))
        b = np.concatenate([place, size, rng.uniform(-4, 4, (n, 1))], 1).astype(np.float32)
        b[:4, :6] *= 1e-20
        b[4:8, :6] *= 1e18
        b[8:12, 5] = 1e-30, 1e30, np.inf, np.nan
        return b

    a, b = boxes(40), boxes(150)
    a[12], b[14:18] = [0, 0, 1e20, 5, 5, 1, 0], [0, 0, 1e20, 5, 5, 1, 1]
    flat = [np.concatenate([x[:, :2] - x[:, 3:5] / 2, x[:, :2] + x[:, 3:5] / 2, x[:, 6:]], 1) for x in (a, b)]
    monkeypatch.setattr(array, "EMULATED", True)
    for function, given in ((ops.boxes_iou3d, (a, b)), (ops.boxes_overlap_bev, (a, b)), (ops.boxes_iou_bev, flat)):
        monkeypatch.setattr(runtime, "slow_doubles", lambda like: False)
        expected = function(*given)
        monkeypatch.setattr(runtime, "slow_doubles", lambda like: True)
        out = function(*given)
        some = expected > 1e-9
        assert some.sum() > 200
        np.testing.assert_allclose(out, expected, rtol=2**-23, atol=1e-12)
        assert (out != expected)[some].mean() < 1e-3


def test_pairs_give_the_overlaps_of_hulls(monkeypatch):
    """Also of hulls that Pairs can't hold, and of none."""
    rng = np.random.default_rng(0)
    points, quads = (rng.uniform(-2, 2, shape).astype(np.float32) for shape in ((40, 18), (150, 8)))
    for some, count in ((points, 4), (quads, 8)):
        some[:count] *= 1e-20
        some[count : 2 * count] *= 1e18
        some[2 * count] = some[2 * count, 0]
        some[2 * count + 1, 3] = np.inf
    monkeypatch.setattr(array, "EMULATED", True)
    expected = ops.convex_iou(points, quads)
    launched = with_slow_doubles(monkeypatch)
    out = ops.convex_iou(points, quads)
    assert launched == ["all_pairs<float, pairs::Pair>"]
    some = expected > 1e-9
    assert some.sum() > 3500 and (expected[:8, :16] > 0).any()
    np.testing.assert_allclose(out, expected, rtol=2**-23, atol=1e-12)
    assert (out != expected)[some].mean() < 1e-3


def test_points_almost_on_a_side_are_inside_as_in_doubles(monkeypatch):
    """Middles of sides, which are outside, and the nearest floats beside them; of large and of tiny quadrilaterals too."""
    rng = np.random.default_rng(0)
    polygons = np.concatenate(
        [
            rng.integers(-40, 40, (20, 8)) * 0.5,
            quads(make(20, 1)) + rng.uniform(-1e3, 1e3, (20, 1)),
            quads(make(5, 2)) * 1e-20,
            quads(make(5, 3)) * 1e25,
        ]
    ).astype(np.float32)
    sides = polygons.reshape(-1, 4, 2)
    middles = (sides / 2 + np.roll(sides, 1, 1) / 2).reshape(-1, 2)
    beside = np.nextafter(middles, rng.choice([-np.inf, np.inf], middles.shape).astype(np.float32))
    points = np.concatenate([middles, beside, sides.reshape(-1, 2), rng.uniform(-40, 40, (60, 2)).astype(np.float32)])
    expected = ops.points_in_polygons(points, polygons)
    monkeypatch.setattr(array, "EMULATED", True)
    np.testing.assert_array_equal(ops.points_in_polygons(points, polygons), expected)
    on, off = (ops.points_in_polygons(x, polygons[np.arange(len(x)) // 4]).diagonal() for x in (middles, beside))
    assert not on[:80].any() and 0.2 < off.mean() < 0.8  # halves of small whole numbers are exact
