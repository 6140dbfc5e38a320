"""Points and boxes from above: each is where its coordinates say."""

import numpy as np
import pytest

from arrayvision import image, visualization
from arrayvision.visualization import imshow_bev

RANGE = (0, 0, 10, 5)
GREEN, RED = (0, 255, 0), (0, 0, 255)


def drawn(picture, color=None):
    """The pixels (row, column) of a color, or of any."""
    seen = picture.any(2) if color is None else (picture == color).all(2)
    return {(int(row), int(column)) for row, column in np.argwhere(seen)}


def test_x_is_to_the_right_and_y_up():
    points = np.array([[0, 0], [10, 5], [2.5, 0.5], [10.1, 1], [3, -0.1], [np.nan, 1], [1, np.inf]])
    got = imshow_bev(points, point_cloud_range=RANGE, size=10, show=False)
    assert got.shape == (5, 10, 3) and got.dtype == np.uint8
    assert drawn(got, (255, 255, 255)) == drawn(got) == {(4, 0), (0, 9), (4, 2)}


def test_the_highest_point_of_a_pixel_is_seen():
    points = np.array([[1.5, 1.5, 3], [1.2, 1.2, 0], [5.5, 1.5, 0], [7.5, 1.5, 3], [8.5, 1.5, 3.01]])
    got = imshow_bev(points, point_cloud_range=(0, 0, 0, 10, 5, 3), size=10, show=False)
    assert drawn(got) == {(3, 1), (3, 5), (3, 7)}  # the last one is above the range
    assert (got[3, 1] == got[3, 7]).all() and got[3, 1].sum() > got[3, 5].sum()
    shuffled = imshow_bev(points[::-1], point_cloud_range=(0, 0, 0, 10, 5, 3), size=10, show=False)
    np.testing.assert_array_equal(got, shuffled)


@pytest.mark.parametrize("yaw", [0.0, np.pi / 2, 0.6, -2.5])
def test_boxes_turn_from_x_towards_y(yaw):
    box = np.array([[5, 5, 9, 4, 2, 1, yaw, 77.0]])
    got = imshow_bev(np.zeros((0, 3)), box, (0, 0, 10, 10), size=200, thickness=-1, show=False)
    x, y = (np.arange(200) + 0.5) / 20, 10 - (np.arange(200) + 0.5) / 20
    dx, dy = x[None] - 5, y[:, None] - 5
    along, aside = np.abs(dx * np.cos(yaw) + dy * np.sin(yaw)), np.abs(dy * np.cos(yaw) - dx * np.sin(yaw))
    filled = (got == GREEN).all(2)
    assert filled[(along < 1.9) & (aside < 0.9)].all() and not filled[(along > 2.1) | (aside > 1.1)].any()
    lines = imshow_bev(np.zeros((0, 3)), box, (0, 0, 10, 10), size=200, show=False).any(2)
    front = 5 + np.cos(yaw), 5 + np.sin(yaw)  # half way to the front, and to the back
    assert lines[int(200 - 20 * front[1]) - 2 :][:5, int(20 * front[0]) - 2 :][:, :5].any()
    assert not lines[int(20 * front[1]) - 2 :][:5, int(200 - 20 * front[0]) - 2 :][:, :5].any()


def test_boxes_from_above_and_lists_with_colors():
    flat = np.array([[2.5, 2.5, 2, 1, 0.0]])
    upright = np.array([[2.5, 2.5, 8, 2, 1, 3, 0.0]], np.float32)
    points = np.zeros((0, 2))
    one = imshow_bev(points, flat, RANGE, size=100, show=False)
    np.testing.assert_array_equal(one, imshow_bev(points, upright, RANGE, size=100, show=False))
    two = imshow_bev(points, [flat, upright + [5, 0, 0, 0, 0, 0, 0]], RANGE, 100, ["green", "red"], show=False)
    assert drawn(two, GREEN) == drawn(one) and drawn(two, RED) == {(row, column + 50) for row, column in drawn(one)}
    for boxes, colors, message in (
        ([flat], ["red", "green"], "colors must have one for each of 1 arrays of boxes, got 2"),
        (flat[:, :4], "red", r"boxes must have shape \(K, 7 or more\) or \(K, 5\), got \(1, 4\)"),
        (np.zeros((1, 6)), "red", r"boxes must have shape .*got \(1, 6\)"),
        (flat * np.nan, "red", "boxes must be finite"),
        (flat[0], "red", "boxes must have rows and columns"),
    ):
        with pytest.raises(ValueError, match=f"imshow_bev: {message}"):
            imshow_bev(points, boxes, RANGE, 100, colors, show=False)


def test_without_a_range_everything_is_in_the_picture():
    points = np.array([[0, 0, 1], [3, 1, 2], [np.nan, 50, 0]])
    assert imshow_bev(points, size=30, show=False).shape == (10, 30, 3)
    assert imshow_bev(points, np.array([[3, 1, 0, 2, 2, 1, np.pi / 2]]), size=40, show=False).shape == (20, 40, 3)
    assert drawn(imshow_bev(points[:1], size=5, show=False)) == {(2, 2)}  # one point, in the middle
    for far in (1e5, 1e17, -1e300):
        assert len(drawn(imshow_bev(np.full((4, 3), far), size=5, show=False))) == 1
    assert drawn(imshow_bev(np.array([[0.0, 2], [4, 2]]), size=5, show=False)) == {(0, 0), (0, 4)}  # a line
    empty = imshow_bev(np.zeros((0, 4), np.float32), np.zeros((0, 7)), size=5, show=False)
    assert empty.shape == (5, 5, 3) and not empty.any()
    far = imshow_bev(points, np.array([[1e300, 0, 0, 1, 1, 1, 0.5]]), RANGE, size=10, show=False)
    np.testing.assert_array_equal(far, imshow_bev(points, None, RANGE, size=10, show=False))


def test_any_library():
    torch = pytest.importorskip("torch")
    points = np.random.default_rng(0).uniform(0, 10, (50, 4)).astype(np.float32)
    boxes = np.array([[5, 2, 0, 3, 2, 1, 0.3]], np.float32)
    before = points.copy()
    wanted = imshow_bev(points, boxes, RANGE, size=60, show=False)
    np.testing.assert_array_equal(
        wanted, imshow_bev(torch.from_numpy(points), torch.from_numpy(boxes), RANGE, 60, show=False)
    )
    np.testing.assert_array_equal(points, before)
    half = imshow_bev(torch.from_numpy(points).bfloat16(), None, RANGE, size=60, show=False)
    assert half.any()


def test_written(tmp_path):
    path = str(tmp_path / "above.png")
    got = imshow_bev(np.array([[1.0, 1, 1]]), None, RANGE, size=20, show=False, out_file=path)
    np.testing.assert_array_equal(image.imread(path), got)
    assert "imshow_bev" in visualization.__all__


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(points=np.zeros((3, 1))), ValueError, "points must have shape"),
        (dict(points=np.zeros(3)), ValueError, "points must have rows and columns"),
        (dict(points=[[0, 0, 0]]), TypeError, "points must be an array"),
        (dict(points=np.zeros((2, 3), complex)), TypeError, "points must hold real numbers"),
        (dict(point_cloud_range=(0, 0, 1)), ValueError, "point_cloud_range must have 6 numbers or 4, got 3"),
        (dict(point_cloud_range=(0, 0, 0, 1)), ValueError, "point_cloud_range must be finite, the lower ends first"),
        (dict(point_cloud_range=(0, 0, 1, float("nan"))), ValueError, "point_cloud_range"),
        (dict(point_cloud_range=("a", 0, 1, 1)), TypeError, "point_cloud_range must be"),
        (dict(point_cloud_range=5), TypeError, "point_cloud_range must be"),
        (
            dict(point_cloud_range=(-1e308, 0, 1e308, 1)),
            ValueError,
            "what is drawn must have an extent that floats hold",
        ),
        (
            dict(points=np.array([[0, 0], [1e-320, 0]])),
            ValueError,
            "what is drawn must have an extent that floats hold",
        ),
        (dict(size=0), ValueError, "size must be at least 1, got 0"),
        (dict(size=10**6), ValueError, "size must be at most 16384, got 1000000"),
        (dict(size=2.5), TypeError, "size must be"),
        (dict(thickness=0), ValueError, "thickness must be"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=f"^imshow_bev: {message}"):
        imshow_bev(**{"points": np.zeros((2, 3)), "show": False, **arguments})
