"""Points in boxes: the golden data, borders, and what is not finite."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cases import points_in_boxes as plain
from arrayvision.cpu import points_in_boxes as cpu_points_in_boxes
from tests.conftest import on
from tests.golden import cases

RNG = np.random.default_rng(0)
BOX = np.array([[[1.0, 2, 3, 4, 2, 1, 0]]])


def test_golden(backend):
    for case in cases("points_in_boxes_all"):
        inputs = {name: np.asarray(x) for name, x in case.inputs.items()}
        (expected,) = case.outputs.values()
        np.testing.assert_array_equal(on(backend, ops.points_in_boxes_all)(**inputs, **case.args), expected)


def test_borders(backend):
    """A side is outside, bottom and top are inside; z is the bottom's."""
    points = np.array(
        [
            [
                [1, 2, 3],
                [1, 2, 4],
                [1, 2, 4.001],
                [1, 2, 2.999],
                [3, 2, 3.5],
                [2.999, 2, 3.5],
                [1, 3, 3.5],
                [1, 2.999, 3.5],
            ]
        ]
    )
    expected = [1, 1, 0, 0, 0, 1, 0, 1]
    np.testing.assert_array_equal(on(backend, ops.points_in_boxes_all)(points, BOX)[0, :, 0], expected)
    np.testing.assert_array_equal(on(backend, ops.points_in_boxes_part)(points, BOX)[0], np.array(expected) - 1)


def test_which_way_boxes_turn(backend):
    """From +x towards +y."""
    turned = BOX + [0, 0, 0, 0, 0, 0, np.pi / 2]
    points = np.array([[[1, 3.9, 3.5], [2.9, 2, 3.5]]])
    np.testing.assert_array_equal(on(backend, ops.points_in_boxes_part)(points, turned), [[0, -1]])
    slanted = np.array([[[0, 0, 0, 10, 0.2, 1, np.pi / 4]]])
    np.testing.assert_array_equal(
        on(backend, ops.points_in_boxes_part)(np.array([[[3, 3, 0.5], [3, -3, 0.5]]]), slanted), [[0, -1]]
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_holds_nothing(bad, backend):
    for column in range(7):
        box = BOX.copy()
        box[0, 0, column] = bad
        point = BOX[:, :, :3] + [0, 0, 0.5]
        assert on(backend, ops.points_in_boxes_all)(point, box)[0, 0, 0] == 0, column
    point = np.full((1, 1, 3), bad)
    assert on(backend, ops.points_in_boxes_part)(point, np.concatenate([BOX, BOX], 1))[0, 0] == -1


def test_many_boxes(backend):
    """More than a block's tile holds; the first of several."""
    points, boxes = plain._cloud(RNG, 300, 30)[None], plain.cars(RNG, 700, 30)[None]
    np.testing.assert_array_equal(on(backend, ops.points_in_boxes_part)(points, boxes), plain.first(points, boxes))


@pytest.mark.parametrize("kind", ["cars", "huge", "needles", "piled", "scattered"])
def test_how_boxes_lie(kind, backend):
    """Side by side, over everything, across everything, on one spot, and some of them far away: on the CPU a grid of cells,
    a coarser one, or none."""
    points, boxes = plain._cloud(RNG, 900, 30)[None], plain.cars(RNG, 60, 30)[None]
    if kind == "huge":
        boxes[..., 3:6] *= 10
    elif kind == "needles":
        boxes[..., 3:6] = 90, 0.5, 9
    elif kind == "piled":
        boxes[..., :2] = 10, 20
    elif kind == "scattered":
        boxes[0, ::7, 0], boxes[0, 3::7, 1], boxes[0, 5::9, 4], boxes[0, 4::9, 6] = 1e30, -1e300, np.nan, np.inf
        points[0, 0], points[0, 1], points[0, 2, :2] = 1e300, np.nan, (-np.inf, np.inf)
    with np.errstate(all="ignore"):
        expected = plain.every(points, np.nan_to_num(boxes, nan=-1, posinf=0) if kind == "scattered" else boxes)
    if kind == "scattered":
        expected[:, :, ~np.isfinite(boxes[0]).all(-1)] = 0
    assert 50 < expected.sum() < expected.size
    np.testing.assert_array_equal(on(backend, ops.points_in_boxes_all)(points, boxes), expected)
    first = np.where(expected.any(2), expected.argmax(2), -1)
    np.testing.assert_array_equal(on(backend, ops.points_in_boxes_part)(points, boxes), first)


@pytest.mark.parametrize("far", [0, 1e3, 1e7, 1e30, 1e39])
def test_borders_far_from_the_origin(far, backend):
    """Points on either side of a box's ends by the spacing of their numbers, where floats have few of them, or none: GPUs, which
    look at floats first, say what the CPU does."""
    if backend == "cpu":
        pytest.skip("what GPUs do is compared with the CPU")
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        if far > float(np.finfo(dtype).max):
            continue
        size, yaw = max(far * 1e-6, 1.0), rng.integers(-2, 3, 40) * np.pi / 2
        boxes = np.concatenate(
            [rng.uniform(-1, 1, (40, 3)) * size + far, rng.uniform(0.5, 2, (40, 3)) * size, yaw[:, None]], 1
        )
        boxes = boxes.astype(dtype)
        ends = rng.choice([-0.5, 0.5], (40, 3)) * boxes[:, 3:6] + boxes[:, :3] + [0, 0, 0.5] * boxes[:, 3:6]
        ends = ends.astype(dtype)
        points = np.concatenate(
            [ends, np.nextafter(ends, boxes[:, :3]), np.nextafter(ends, dtype(np.inf)), boxes[:, :3]]
        )
        expected = ops.points_in_boxes_all(points[None], boxes[None])
        assert expected.any()
        np.testing.assert_array_equal(on(backend, ops.points_in_boxes_all)(points[None], boxes[None]), expected)


def test_one_rule_for_all_operators(backend):
    """In float64, whatever the arrays are: by float32 the points at the side would be inside of some, outside of others."""
    box = np.array([[[0.1, 0.7, 0.3, 1.3, 0.9, 1.1, 0.35]]], np.float32)
    x, y, _, dx, dy, _, yaw = box[0, 0].astype(float)
    u, v = np.linspace(-dx / 2, dx / 2, 2000), np.full(2000, dy / 2)
    side = np.stack([x + u * np.cos(yaw) - v * np.sin(yaw), y + u * np.sin(yaw) + v * np.cos(yaw), 0 * u + 0.5], -1)
    points = side.astype(np.float32)[None]
    wide = points.astype(float) - box[..., :3].astype(float)
    across = wide[..., 1] * np.cos(yaw) - wide[..., 0] * np.sin(yaw)
    along = wide[..., 0] * np.cos(yaw) + wide[..., 1] * np.sin(yaw)
    expected = (abs(across) < dy / 2) & (abs(along) < dx / 2)
    assert 500 < expected.sum() < 1500
    found = on(backend, ops.points_in_boxes_all)(points, box)[0, :, 0]
    np.testing.assert_array_equal(found, expected[0])
    np.testing.assert_array_equal(on(backend, ops.points_in_boxes_part)(points, box)[0], found - 1)
    pooled, _ = on(backend, ops.roipoint_pool3d)(points, points, box, 2000)
    inside = np.unique(pooled[0, 0, :, :3], axis=0)
    np.testing.assert_array_equal(inside, np.unique(points[0][expected[0]], axis=0))


@pytest.mark.parametrize(
    ("points", "boxes", "message"),
    [
        ((1, 4, 2), (1, 2, 7), r"points_in_boxes_part: points must have shape \(B, M, 3\), got \(1, 4, 2\)"),
        ((1, 4, 3), (1, 2, 6), r"points_in_boxes_part: boxes must have shape \(B, T, 7\), got"),
        ((2, 4, 3), (1, 2, 7), "points_in_boxes_part: boxes must have as many"),
    ],
)
def test_bad_arguments(points, boxes, message):
    with pytest.raises(ValueError, match=message):
        ops.points_in_boxes_part(np.zeros(points), np.zeros(boxes))


def test_few_boxes_are_all_compared(monkeypatch):
    """With any number of points, which is sooner done than finding a cell for each."""
    monkeypatch.setattr(cpu_points_in_boxes, "list_boxes", None)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 9, (1, 20_000, 3))
    boxes = np.concatenate([rng.uniform(0, 9, (1, 3, 3)), np.ones((1, 3, 4))], 2)
    found = ops.points_in_boxes_all(points, boxes)
    assert 0 < found.sum() < 3000
    first = np.where(found.any(2), found.argmax(2), -1)
    np.testing.assert_array_equal(ops.points_in_boxes_part(points, boxes), first)
