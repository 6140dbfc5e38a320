"""roiaware_pool3d: which points are in a box and in which cell, how many count, ties, NaN, boxes that are not finite."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cases.roiaware_pool3d import plain
from tests.conftest import on

NAN, INFINITE = np.nan, np.inf
BOX = [0, 0, 0, 4, 2, 2, 0]


def call(backend, boxes, points, feats, size, *rest):
    return on(backend, ops.roiaware_pool3d)(
        np.array(boxes, np.float64).reshape(-1, 7),
        np.array(points, np.float64).reshape(-1, 3),
        np.array(feats, np.float64),
        size,
        *rest,
    )


def test_sides_are_outside_and_ends_of_z_inside(backend):
    points = [
        [2, 0, 1],
        [-2, 0, 1],
        [0, 1, 1],
        [0, 0, 0],
        [0, 0, 2],
        [0, 0, 2.0001],
        [0, 0, -0.0001],
        [1.999, -0.999, 1],
    ]
    for k, inside in enumerate([False, False, False, True, True, False, False, True]):
        out = call(backend, [BOX], points[k : k + 1], [[1.0]], 1)
        assert out.item() == inside, points[k]


def test_a_box_turns_from_x_to_y(backend):
    box = [5, 5, 0, 4, 1, 1, np.pi / 6]
    ahead = [5 + 1.9 * np.cos(np.pi / 6), 5 + 1.9 * np.sin(np.pi / 6), 0.5]
    out = call(
        backend,
        [box],
        [ahead, [5 + 1.9 * np.cos(-np.pi / 6), 5 + 1.9 * np.sin(-np.pi / 6), 0.5]],
        [[1.0], [2]],
        (4, 1, 1),
    )
    np.testing.assert_array_equal(out.reshape(-1), [0, 0, 0, 1])


def test_the_first_points_count_and_the_first_of_ties_is_taken(backend):
    feats = np.array([[1, 5], [3, 5], [3, 4], [9, 9.0]])
    points = [[0.5, 0.5, 1]] * 4
    boxes = np.array([BOX], np.float64)
    run = on(backend, ops.roiaware_pool3d_with_points)
    out, counts, argmax = run(boxes, np.array(points), feats, 1, 3)
    np.testing.assert_array_equal(out.reshape(-1), [3, 5])
    np.testing.assert_array_equal(argmax.reshape(-1), [1, 0])
    assert counts.item() == 3
    assert call(backend, [BOX], points, feats, 1, 2, "avg").reshape(-1).tolist() == [2, 5]


@pytest.mark.parametrize("mode", ["max", "avg"])
def test_what_is_not_finite(mode, backend):
    """Boxes and points that aren't are empty and nowhere; a NaN feature makes its cell's NaN."""
    points = np.array(
        [[0.5, 0.5, 1], [NAN, 0, 1], [0, NAN, 1], [0, 0, NAN], [INFINITE, 0, 1], [-INFINITE, 0, 1], [-1, 0, 1]]
    )
    for k in range(7):
        for value in (NAN, INFINITE, -INFINITE):
            box = np.array(BOX, np.float64)
            box[k] = value
            assert not call(backend, [box], points, np.ones((7, 1)), 2, 128, mode).any()
    feats = np.array([[NAN], [1], [1], [1], [1], [1], [2]])
    out = call(backend, [BOX], points, feats, (2, 1, 1), 128, mode)
    np.testing.assert_array_equal(out.reshape(-1), [2, NAN])


def test_boxes_without_extent(backend):
    points = [[0, 0, 0], [0, 0, 0.0]]
    for k in (3, 4):  # no width: nothing is strictly inside
        for size in (0.0, -1.0, 1e-320):
            box = np.array(BOX, np.float64)
            box[k] = size
            assert call(backend, [box], points, [[1.0], [1]], 3).sum() == (size > 0)
    flat = [*BOX[:5], 0, 0]
    out = call(backend, [flat], points, [[1.0], [2]], (1, 1, 3))  # in the lowest cell
    np.testing.assert_array_equal(out.reshape(-1), [2, 0, 0])


@pytest.mark.parametrize("shape", ["spread", "a line", "equal", "one far away", "large coordinates"])
@pytest.mark.parametrize("mode", ["max", "avg"])
def test_clouds(shape, mode, backend):
    rng = np.random.default_rng(0)
    points = rng.uniform(-4, 4, (400, 3))
    boxes = np.concatenate([rng.uniform(-3, 3, (6, 3)), rng.uniform(0.5, 5, (6, 3)), rng.uniform(-7, 7, (6, 1))], 1)
    if shape == "a line":
        points[:, 0] = 0.125
    elif shape == "equal":
        points[:] = boxes[0, :3] + 0.1
    elif shape == "one far away":
        points[0] = 1e6
        boxes[1, 3:6] = 1e7
    elif shape == "large coordinates":
        points, boxes[:, :3] = points + 1e5, boxes[:, :3] + 1e5
    feats = rng.standard_normal((400, 3))
    out = call(backend, boxes, points, feats, (2, 3, 4), 7, mode)
    np.testing.assert_allclose(out, plain(boxes, points, feats, (2, 3, 4), 7, mode), atol=1e-13)


def test_known_sums(backend):
    """Of the original implementation's tests: boxes and points in float32, and what the results add up to."""
    half = np.pi / 2
    rois = np.array([[1, 2, 3, 5, 4, 6, -0.3 - half], [-10, 23, 16, 20, 10, 20, -0.5 - half]], np.float32)
    pts = np.array(
        [
            [1, 2, 3.3], [1.2, 2.5, 3.0], [0.8, 2.1, 3.5], [1.6, 2.6, 3.6], [0.8, 1.2, 3.9], [-9.2, 21.0, 18.2],
            [3.8, 7.9, 6.3], [4.7, 3.5, -12.2], [3.8, 7.6, -2], [-10.6, -12.9, -20], [-16, -18, 9], [-21.3, -52, -5],
            [0, 0, 0], [6, 7, 8], [-2, -3, -4],
        ],
        np.float32,
    )  # fmt: skip
    for mode, total in (("max", 51.1), ("avg", 49.75)):
        out = on(backend, ops.roiaware_pool3d)(rois, pts, pts, 4, 128, mode)
        np.testing.assert_allclose(out.sum(), total, rtol=1e-5)


@pytest.mark.parametrize("mode", ["max", "avg"])
def test_the_gradient_is_the_same_in_every_run_if_asked_for(mode, backend):
    torch = pytest.importorskip("torch")
    if backend == "cuda":
        pytest.skip("tensors of the CPU")
    from arrayvision.torch_bridge.ops import RoIAwarePool3d, RoIAwarePool3dFunction

    torch.manual_seed(0)
    rois = torch.tensor([BOX, [0.5, 0, 0, 3, 3, 3, 1.0]])
    points, feats = torch.rand(50, 3) * 2 - 0.5, torch.randn(50, 3, dtype=torch.float64, requires_grad=True)
    module = RoIAwarePool3d((2, 2, 1), 6, mode)
    found = []
    try:
        for deterministic in (False, True, True):
            torch.use_deterministic_algorithms(deterministic)
            found.append(torch.autograd.grad(module(rois, points, feats).pow(2).sum(), feats)[0])
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(found[1], found[2])
    torch.testing.assert_close(found[0], found[1])
    older = RoIAwarePool3dFunction.apply(rois, points, feats, (2, 2, 1), 6, ["max", "avg"].index(mode))
    assert torch.equal(older, module(rois, points, feats))
    assert f"mode={mode!r}" in repr(module)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(rois=np.zeros((2, 6))), r"rois must have shape \(K, 7\), got \(2, 6\)"),
        (dict(pts=np.zeros((5, 2))), "pts must have shape"),
        (dict(pts_feature=np.zeros((4, 2))), "pts_feature must have as many rows as pts, got 4 and 5"),
        (dict(out_size=(1, 2)), "out_size must be an int or three, got 2"),
        (dict(out_size=0), "out_size must be at least 1, got 0"),
        (dict(out_size=2.0), "out_size must be an int or three, got float"),
        (dict(out_size=2000), r"out_size must make fewer than 2\*\*31 cells"),
        (dict(max_pts_per_voxel=0), "max_pts_per_voxel must be at least 1, got 0"),
        (dict(mode="sum"), "mode must be 'max' or 'avg', got 'sum'"),
    ],
)
def test_bad_arguments(arguments, message):
    given = dict(rois=np.zeros((2, 7)), pts=np.zeros((5, 3)), pts_feature=np.zeros((5, 2)), out_size=2)
    with pytest.raises((ValueError, TypeError), match=f"^roiaware_pool3d: {message}"):
        ops.roiaware_pool3d(**{**given, **arguments})
