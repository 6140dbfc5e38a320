"""Farthest points: against a plain loop on clouds of every bad shape; published values; what is not finite, ties."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cpu import furthest_point_sample as cpu_sampling
from arrayvision.cuda.furthest_point_sample import KERNELS
from tests.conftest import on
from tests.ops.test_neighbours import shapes

POINTS = np.array(
    [
        [[-0.2748, 1.0020, -1.1674], [0.1015, 1.3952, -1.2681], [-0.8070, 2.4137, -0.5845], [-1.0001, 2.1982, -0.5859],
         [0.3841, 1.8983, -0.7431]],
        [[-1.0696, 3.0758, -0.1899], [-0.2559, 3.5521, -0.1402], [0.8164, 4.0081, -0.1839], [-1.1000, 3.0213, -0.8205],
         [-0.0518, 3.7251, -0.3950]],
    ],
    np.float32,
)  # fmt: skip


def plain(points, count):
    """A loop over samples in the points' dtype."""
    good = np.isfinite(points).all(1)
    least, chosen = np.where(good, np.inf, -1).astype(points.dtype), np.zeros(count, np.int32)
    with np.errstate(all="ignore"):
        for s in range(1, count):
            if good[chosen[s - 1]]:
                d = points - points[chosen[s - 1]]
                squares = d[:, 0] * d[:, 0] + d[:, 1] * d[:, 1] + d[:, 2] * d[:, 2]
                least = np.where(squares < least, squares, least)
            chosen[s] = least.argmax()
    return chosen


def test_reference(backend):
    """Values of the established implementation's tests."""
    expected = [[0, 2, 4], [0, 2, 1]]
    np.testing.assert_array_equal(on(backend, ops.furthest_point_sample)(POINTS, 3), expected)
    distances = ((POINTS[:, :, None] - POINTS[:, None]) ** 2).sum(-1)
    np.testing.assert_array_equal(on(backend, ops.furthest_point_sample_with_dist)(distances, 3), expected)


@pytest.mark.parametrize("way", ["by a tree", "in passes"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_cloud(way, dtype, monkeypatch):
    """From one leaf to three levels of boxes, more samples than points included."""
    monkeypatch.setattr(cpu_sampling, "FEW", 0 if way == "by a tree" else 2**31)
    for size in (5, 16, 17, 250, 257, 700, 5000):
        for name, cloud in shapes(max(size, 11)).items():
            points = cloud[:size].astype(dtype)
            count = min(size + 3, 300)
            found = ops.furthest_point_sample(points[None], count)
            np.testing.assert_array_equal(found[0], plain(points, count), err_msg=f"{name}, {size}")


def test_a_few_samples_take_no_tree(monkeypatch):
    monkeypatch.setattr(cpu_sampling, "build", None)
    ops.furthest_point_sample(np.zeros((2, 50, 3)), 5)
    with pytest.raises(TypeError):
        ops.furthest_point_sample(np.zeros((2, 50, 3)), 50)


def test_both_back_ends(backend):
    for name, cloud in shapes(70).items():
        points = cloud.astype(np.float32)
        found = on(backend, ops.furthest_point_sample)(points[None], 12)
        np.testing.assert_array_equal(found[0], plain(points, 12), err_msg=name)


def odd_points(size, dtype):
    """Points with equal ones among them, and some that aren't finite."""
    points = np.random.default_rng(size).random((size, 3)).astype(dtype)
    points[::7], points[3::50, 1], points[5::90, 2] = points[size // 2], np.nan, np.inf
    return points


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float32", n) for n in (1025, 2049, 8193, 16_385, 24_577)] + [("float64", n) for n in (2049, 8193)],
)
def test_points_in_registers_and_in_memory(dtype, size, backend):
    points = odd_points(size, dtype)
    found = on(backend, ops.furthest_point_sample)(points[None], 4)
    np.testing.assert_array_equal(found[0], plain(points, 4))


@pytest.mark.parametrize(("held", "planes"), [(0, 3), (128, 3), (128, 2), (152, 2), (152, 3)])
@pytest.mark.parametrize("pair", ["16, 1", "24, 0", "0, 0"])
def test_shares_of_coordinates_in_shared_memory(pair, held, planes):
    """What a GPU's shared memory decides, at a size for which the emulator's is enough."""
    if planes == 2 and pair != "16, 1":
        planes = 3
    size, stride = 150, 152
    points, out = np.stack([odd_points(size, np.float32) for _ in range(2)]), np.full((2, 40), -1, np.int32)
    room = np.full((2, 4, stride), np.nan, np.float32)
    args = size, 40, held, planes, stride, points, room, out
    KERNELS.launch(f"by_points<float, {pair}>", (2,), *args, block=32, shared=4 * planes * held)
    np.testing.assert_array_equal(out, [plain(p, 40) for p in points])


@pytest.mark.parametrize("size", [37, 1030])
def test_by_distances(size, backend):
    rng = np.random.default_rng(size)
    distances = np.round(rng.normal(size=(2, size, size)), 1).astype(np.float32)  # with ties, and below 0
    least, expected = np.full((2, size), np.inf), np.zeros((2, 5), np.int32)
    for s in range(1, 5):
        least = np.minimum(least, distances[[0, 1], expected[:, s - 1]])
        expected[:, s] = least.argmax(1)
    np.testing.assert_array_equal(on(backend, ops.furthest_point_sample_with_dist)(distances, 5), expected)


def test_distances_that_are_no_numbers(backend):
    distances = np.ones((1, 4, 4))
    distances[0, 0] = [0, np.nan, 2, np.inf]
    distances[0, 3] = [9, 9, -np.inf, 0]
    found = on(backend, ops.furthest_point_sample_with_dist)(distances, 4)
    np.testing.assert_array_equal(found, [[0, 3, 0, 0]])
    np.testing.assert_array_equal(on(backend, ops.furthest_point_sample_with_dist)(distances * np.nan, 3), [[0, 0, 0]])


def test_none_and_too_many(backend):
    sample = on(backend, ops.furthest_point_sample)
    assert sample(POINTS, 0).shape == (2, 0) and sample(POINTS[:0], 3).shape == (0, 3)
    np.testing.assert_array_equal(sample(POINTS[:, :2], 4), [[0, 1, 0, 0]] * 2)
    assert sample(np.zeros((2, 0, 3)), 0).shape == (2, 0)
    with pytest.raises(ValueError, match=r"^furthest_point_sample: num_points must be 0 for empty clouds, got 1"):
        sample(np.zeros((2, 0, 3)), 1)
    for count in (-1, 2.0, None):
        with pytest.raises((TypeError, ValueError), match=r"^furthest_point_sample: num_points must be "):
            sample(POINTS, count)
    with pytest.raises(ValueError, match=r"^furthest_point_sample_with_dist: points_dist must have shape"):
        on(backend, ops.furthest_point_sample_with_dist)(np.zeros((1, 3, 4)), 2)
