"""Points in boxes: the golden data, borders, and what is not finite."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cases import points_in_boxes as plain
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
