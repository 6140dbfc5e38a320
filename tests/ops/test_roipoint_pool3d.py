"""roipoint_pool3d: which points are taken, how often, and what isn't finite."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cases.roipoint_pool3d import plain
from tests.conftest import on

NAN, INFINITE = np.nan, np.inf


@pytest.mark.parametrize("sampled", [1, 3, 5, 64])
def test_the_first_points_again_and_again(sampled, backend):
    points = np.zeros((1, 6, 3))
    points[0, [1, 4]] = 50  # outside
    boxes = np.array([[[0, 0, 0, 1, 1, 1, 0], [20, 20, 20, 1, 1, 1, 0.0]]])
    out, empty = on(backend, ops.roipoint_pool3d)(points, np.arange(6.0).reshape(1, 6, 1), boxes, sampled)
    np.testing.assert_array_equal(out[0, 0, :, 3], np.resize([0, 2, 3, 5], sampled))
    assert not out[0, 1].any()
    np.testing.assert_array_equal(empty, [[0, 1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clouds(dtype, backend):
    rng = np.random.default_rng(0)
    points = rng.uniform(-4, 4, (2, 300, 3)).astype(dtype)
    points[0, ::7, 0], points[0, ::11, 2], points[1, ::9, 1], points[1, 5] = NAN, INFINITE, -INFINITE, 1e6
    shape = (2, 5)
    boxes = [rng.uniform(-3, 3, (*shape, 3)), rng.uniform(0.5, 5, (*shape, 3)), rng.uniform(-7, 7, (*shape, 1))]
    boxes = np.concatenate(boxes, 2).astype(dtype)
    boxes[0, 0, 6], boxes[1, 1, 3], boxes[1, 2, 3:6] = NAN, -1, 1e7
    feats = rng.standard_normal((2, 300, 2)).astype(dtype)
    out, empty = on(backend, ops.roipoint_pool3d)(points, feats, boxes, 40)
    with np.errstate(invalid="ignore"):
        expected = plain(*(x.astype(np.float64) for x in (points, feats, boxes)), 40)
    np.testing.assert_array_equal(out, expected[0].astype(dtype))
    np.testing.assert_array_equal(empty, expected[1])


def test_module():
    torch = pytest.importorskip("torch")
    from arrayvision.torch_bridge.ops import RoIPointPool3d, RoIPointPool3dFunction

    points, boxes = torch.rand(2, 30, 3), torch.tensor([[[0.5, 0.5, 0, 1, 1, 1, 0]]] * 2)
    module = RoIPointPool3d(4)
    out, empty = module(points, points * 2, boxes)
    assert out.shape == (2, 1, 4, 6) and empty.tolist() == [[0], [0]]
    assert torch.equal(out[..., 3:], out[..., :3] * 2)
    assert torch.equal(
        RoIPointPool3dFunction.apply(points, points, boxes)[0], RoIPointPool3d()(points, points, boxes)[0]
    )
    assert repr(module) == "RoIPointPool3d(num_sampled_points=4)"
    with pytest.raises(ValueError, match=r"^RoIPointPool3d: num_sampled_points must be at least 1, got 0"):
        RoIPointPool3d(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(boxes3d=np.zeros((2, 3, 6))), r"boxes3d must have shape"),
        (dict(boxes3d=np.zeros((1, 3, 7))), "boxes3d must have as many rows as points, got 1 and 2"),
        (dict(point_features=np.zeros((2, 4, 1))), "point_features must have shape"),
        (dict(num_sampled_points=0), "num_sampled_points must be at least 1, got 0"),
        (dict(num_sampled_points=1.5), "num_sampled_points must be an int"),
    ],
)
def test_bad_arguments(arguments, message):
    given = dict(points=np.zeros((2, 5, 3)), point_features=np.zeros((2, 5, 1)), boxes3d=np.zeros((2, 3, 7)))
    with pytest.raises((ValueError, TypeError), match=f"^roipoint_pool3d: ({message})"):
        ops.roipoint_pool3d(**{**given, **arguments})
