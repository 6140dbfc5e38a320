"""Boxes in space: what no case of `cases/boxes_in_space.py` shows."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cases import boxes_in_space as plain
from tests.conftest import on

RNG = np.random.default_rng(0)


def kept(matrix, scores, threshold):
    """Positions kept by a plain loop over a matrix of IoUs."""
    keep = []
    for i in np.argsort(-scores, kind="stable"):
        if not np.isnan(scores[i]) and not any(matrix[k, i] > threshold for k in keep):
            keep.append(i)
    return np.array(keep, np.int64)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.7])
@pytest.mark.parametrize("n", [0, 1, 60])
def test_suppression(n, threshold, backend):
    b, flat, scores = plain.boxes(RNG, n), plain.flat(RNG, n), np.round(RNG.random(n), 2)
    level = flat * [1, 1, 1, 1, 0]
    cubes = b * [1, 1, 0, 1, 1, 0, 1] + [0, 0, 0, 0, 0, 1, 0]  # all of one height
    seen, straight = plain.iou3d(cubes, cubes), cubes * [1, 1, 1, 1, 1, 1, 0]
    along = plain.iou3d(straight, straight)
    for function, given, matrix in (
        (ops.nms3d, b, seen),
        (ops.nms3d_normal, b, along),
        (ops.nms_bev, flat, plain.iou_bev(flat, flat)),
        (ops.nms_normal_bev, flat, plain.iou_bev(level, level)),
    ):
        found = on(backend, function)(given, scores, threshold)
        np.testing.assert_array_equal(found, kept(matrix, scores, threshold))
        assert found.dtype == np.int64


def test_many_boxes_are_suppressed_as_few_are(backend):
    """Both sides of the switch to strips, and float32."""
    b, scores = plain.boxes(RNG, 900, 60).astype(np.float32), RNG.random(900).astype(np.float32)
    matrix = ops.boxes_iou_bev(
        *[np.c_[b[:, :2] - b[:, 3:5] / 2, b[:, :2] + b[:, 3:5] / 2, b[:, 6]].astype(np.float64)] * 2
    )
    np.testing.assert_array_equal(on(backend, ops.nms3d)(b, scores, 0.3), kept(matrix, scores, 0.3))


def test_sizes_before_and_after(backend):
    flat, scores = plain.flat(RNG, 40), RNG.random(40)
    scores[3] = np.nan
    best = np.argsort(-np.nan_to_num(scores, nan=-1), kind="stable")[:15]
    matrix = plain.iou_bev(flat[best], flat[best])
    expected = best[kept(matrix, scores[best], 0.1)]
    run = on(backend, ops.nms_bev)
    np.testing.assert_array_equal(run(flat, scores, 0.1, 15), expected)
    np.testing.assert_array_equal(run(flat, scores, 0.1, 15, 4), expected[:4])
    np.testing.assert_array_equal(run(flat, scores, 0.1, 100, 0), expected[:0])
    assert 3 not in run(flat, scores, 0.1)


def test_equal_boxes_far_away(backend):
    """1 for equal boxes, and never more, where coordinates leave few digits."""
    for dtype in ("float32", "float64"):
        b = (plain.boxes(RNG, 50) + [1e5, -1e5, 1e3, 0, 0, 0, 0]).astype(dtype)
        rounding = 16 * np.finfo(dtype).eps  # a few of the area
        iou = on(backend, ops.boxes_iou3d)(b, b)
        assert iou.max() <= 1 and abs(np.diag(iou) - 1).max() <= rounding


def test_heights(backend):
    """z is the centre's; touching boxes share nothing, and boxes one over the other are far in space, equal from above."""
    box = np.array([[0, 0, 0, 4, 2, 2, 0.3]])
    above = box + [0, 0, 2, 0, 0, 0, 0]
    assert on(backend, ops.boxes_iou3d)(box, above)[0, 0] == 0
    np.testing.assert_allclose(on(backend, ops.boxes_iou3d)(box, box + [0, 0, 1, 0, 0, 0, 0])[0, 0], 1 / 3, rtol=1e-12)
    np.testing.assert_allclose(on(backend, ops.boxes_overlap_bev)(box, above)[0, 0], 8, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(7))
def test_what_is_not_finite(bad, column, backend):
    """Such a box overlaps nothing, itself included, and is kept. z and dz don't count from above."""
    b = plain.boxes(RNG, 5)
    b[:, 0] = 30 * np.arange(5)
    b[2, column] = bad
    overlap, iou = (on(backend, f)(b, b) for f in (ops.boxes_overlap_bev, ops.boxes_iou3d))
    expected = np.eye(5)
    expected[2, 2] = 0
    np.testing.assert_allclose(iou, expected, rtol=1e-12)
    expected[2, 2] = column in (2, 5)
    areas = np.where(np.isfinite(b[:, 3] * b[:, 4]), b[:, 3] * b[:, 4], 0)
    np.testing.assert_allclose(overlap, expected * areas, rtol=1e-12)
    np.testing.assert_array_equal(on(backend, ops.nms3d)(b, np.ones(5), 0.0), np.arange(5))


def test_no_volume(backend):
    b = plain.boxes(RNG, 4)
    b[0, 3], b[1, 4], b[2, 5] = 0, -1, -2
    iou = on(backend, ops.boxes_iou3d)(b, b)
    assert not iou[:3].any() and not iou[:, :3].any() and iou[3, 3] > 0.999


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda b, s: ops.boxes_iou3d(b[:, :6], b), ValueError, r"boxes_iou3d: boxes_a must have shape \(M, 7\), got"),
        (lambda b, s: ops.boxes_iou_bev(b, b), ValueError, r"boxes_iou_bev: boxes_a must have shape \(M, 5\)"),
        (lambda b, s: ops.nms3d(b, s[:-1], 0.5), ValueError, "nms3d: scores must have as many rows as boxes"),
        (lambda b, s: ops.nms3d(b, s, 50), ValueError, "nms3d: iou_threshold must be at most 1"),
        (lambda b, s: ops.nms_bev(b[:, :5], s, -1), ValueError, "nms_bev: thresh must be at least 0"),
        (lambda b, s: ops.nms_bev(b[:, :5], s, 0.5, -1), ValueError, "nms_bev: pre_max_size must be at least 0"),
        (lambda b, s: ops.nms_bev(b[:, :5], s, 0.5, 1.5), TypeError, "nms_bev: pre_max_size must be an int"),
        (lambda b, s: ops.nms3d_normal(b.tolist(), s, 0.5), TypeError, "nms3d_normal: boxes must be an array"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(plain.boxes(RNG, 4), np.ones(4))
