"""Calls of `points_in_boxes_part` and `points_in_boxes_all`."""

import numpy as np

from arrayvision.cases import Case, Timed
from arrayvision.cases.boxes_in_space import boxes as cars

_RNG = np.random.default_rng(0)


def every(points, boxes):
    """Points turned into each box's frame by a matrix."""
    angle = boxes[:, :, 6]
    turn = np.stack([np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], -2)
    flat = np.einsum("bmtk,btkl->bmtl", points[:, :, None, :2] - boxes[:, None, :, :2], turn)
    up = points[:, :, None, 2] - boxes[:, None, :, 2]
    inside = (abs(flat) < boxes[:, None, :, 3:5] / 2).all(-1) & (up >= 0) & (up <= boxes[:, None, :, 5])
    return inside.astype(np.int32)


def first(points, boxes):
    inside = every(points, boxes).astype(bool)
    if not inside.shape[2]:
        return np.full(inside.shape[:2], -1)
    return np.where(inside.any(2), inside.argmax(2), -1)


def _cloud(rng, count, side):
    return np.concatenate([rng.uniform(0, side, (count, 2)), rng.uniform(-1, 2, (count, 1))], 1)


def _inputs(clouds, count, boxes):
    return dict(
        points=np.stack([_cloud(_RNG, count, 9) for _ in range(clouds)]),
        boxes=np.stack([cars(_RNG, boxes, 9) for _ in range(clouds)]),
    )


_SHAPES = dict(points="B M 3", boxes="B T 7")
CASES = (
    Case("points_in_boxes_part", "points_in_boxes_part", _inputs(2, 40, 6), _SHAPES, first),
    Case("points_in_boxes_all", "points_in_boxes_all", _inputs(2, 30, 5), _SHAPES, every),
    Case("points_in_boxes_cpu", "points_in_boxes_cpu", _inputs(1, 20, 3), _SHAPES, every),
)


def _by_open3d(o3d, points, boxes):
    """Which points lie in each box, as lists."""
    cloud = o3d.utility.Vector3dVector(points[0].astype(np.float64))
    found = []
    for x, y, z, dx, dy, dz, angle in boxes[0].astype(np.float64):
        turn = o3d.geometry.get_rotation_matrix_from_xyz((0, 0, angle))
        box = o3d.geometry.OrientedBoundingBox((x, y, z + dz / 2), turn, (dx, dy, dz))
        found.append(box.get_point_indices_within_bounding_box(cloud))
    inside = np.zeros((1, points.shape[1], len(found)), np.int32)
    for j, indices in enumerate(found):
        inside[0, indices, j] = 1
    return inside


def timed():
    rng = np.random.default_rng(1)
    for count, number in ((1000, 10), (120_000, 200)):
        inputs = dict(
            points=_cloud(rng, count, 100)[None].astype(np.float32),
            boxes=cars(rng, number, 100)[None].astype(np.float32),
        )
        whole = {"NumPy": ("numpy", lambda _, points, boxes: every(points, boxes))} if count < 10_000 else {}
        yield Timed(
            f"points_in_boxes_all, {count} x {number}", "points_in_boxes_all", inputs,
            peers={"Open3D": ("open3d", _by_open3d), **whole}, at_least=1.7,
        )  # fmt: skip
        yield Timed(
            f"points_in_boxes_part, {count} x {number}", "points_in_boxes_part", inputs,
            peers={"NumPy, box by box": ("numpy", lambda _, points, boxes: _box_by_box(points, boxes))}, at_least=20,
        )  # fmt: skip


def _box_by_box(points, boxes):
    found = np.full(points.shape[:2], -1, np.int32)
    for j in reversed(range(boxes.shape[1])):
        found[every(points, boxes[:, j : j + 1])[..., 0] == 1] = j
    return found
