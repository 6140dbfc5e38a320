"""Sampling at points, and conversions of coordinates, on arrays of every library."""

import numpy as np
import pytest

from arrayvision import ops

ROIS = np.array([[0, 2.0, 4, 6, 12], [1, 0, 0, 2, 2]])
INSIDE = np.array([[[0.5, 0.25]], [[1, 0]]])


def plain(x, points, align_corners):
    n, c, h, w = x.shape
    out = np.zeros((n, c, points.shape[1]))
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    for b, p in np.ndindex(points.shape[:2]):
        u, v = points[b, p]
        a, r = (u * (w - 1), v * (h - 1)) if align_corners else (u * w - 0.5, v * h - 0.5)
        if -1 < a < w and -1 < r < h:
            i, j = int(np.floor(r)), int(np.floor(a))
            fy, fx = r - i, a - j
            block = padded[b, :, i + 1 : i + 3, j + 1 : j + 3]
            out[b, :, p] = np.einsum("crs,r,s->c", block, [1 - fy, fy], [1 - fx, fx])
    return out


@pytest.mark.parametrize("align_corners", [False, True])
def test_point_sample(align_corners, library):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 5, 7)).astype(np.float32)
    points = rng.uniform(-0.3, 1.3, (2, 40, 2)).astype(np.float32)
    points[0, :4] = [[0, 0], [1, 1], [0.5, 0.5], [1, 0]]
    out = ops.point_sample(library.asarray(x), library.asarray(points), align_corners)
    assert library.owns(out)
    np.testing.assert_allclose(library.numpy(out), plain(x, points, align_corners), rtol=0, atol=2**-18)
    grid = ops.point_sample(library.asarray(x), library.asarray(points.reshape(2, 8, 5, 2)), align_corners)
    np.testing.assert_array_equal(library.numpy(grid).reshape(2, 3, 40), library.numpy(out))


def test_conversions(library):
    rois, inside = library.asarray(ROIS, "float32"), library.asarray(INSIDE, "float32")
    points = ops.rel_roi_point_to_abs_img_point(rois, inside)
    assert library.owns(points) and library.numpy(points).tolist() == [[[4, 6]], [[2, 0]]]
    for img in ((7, 8), library.asarray(np.zeros((2, 1, 7, 8)), "float32")):
        relative = ops.rel_roi_point_to_rel_img_point(rois, inside, img, 0.5)
        np.testing.assert_allclose(library.numpy(relative), [[[4 / 16, 6 / 14]], [[2 / 16, 0]]], rtol=2**-22)
    grid = library.asarray(np.linspace(-1, 1, 5), "float32")
    np.testing.assert_array_equal(library.numpy(ops.denormalize(ops.normalize(grid))), library.numpy(grid))


def test_bad_arguments():
    x = np.zeros((2, 3, 5, 7))
    with pytest.raises(ValueError, match=r"points must have shape \(N, P, 2\) or"):
        ops.point_sample(x, INSIDE[0])
    with pytest.raises(ValueError, match="points must have as many rows as input, got 1 and 2"):
        ops.point_sample(x, INSIDE[:1])
    with pytest.raises(TypeError, match="align_corners must be True or False"):
        ops.point_sample(x, INSIDE, 2)
    with pytest.raises(TypeError, match="input must be an array"):
        ops.point_sample(x.tolist(), INSIDE)
    with pytest.raises(TypeError, match="img must be"):
        ops.abs_img_point_to_rel_img_point(INSIDE, 7)
    with pytest.raises(ValueError, match=r"rois must have shape \(N, 4\) or \(N, 5\), got \(2, 3\)"):
        ops.rel_roi_point_to_abs_img_point(ROIS[:, :3], INSIDE)
    strange = np.array([[[np.nan, 0.5]], [[np.inf, 0.5]]])
    assert not np.nan_to_num(ops.point_sample(x + 1, strange)).any()
