"""Neighbours in clouds of points: against SciPy and plain loops, on clouds of every bad shape; published values; NaN, ties."""

import math
import time

import numpy as np
import pytest

from arrayvision import array, ops
from arrayvision.cpu import ball_query as cpu_ball_query, neighbours
from tests.conftest import on, use


def shapes(count, dimensions=3, seed=0):
    """Clouds that are hard for trees and grids: {name: (count, dimensions)}."""
    rng = np.random.default_rng(seed)
    cube = rng.random((count, dimensions))
    centers = rng.integers(0, 4, (count, 1)) * 1000.0
    outlier, ends = cube.copy(), cube.copy()
    outlier[count // 2] = 1e6
    ends[:: count // 7], ends[1 :: count // 5] = 1e30, -3e38
    odd = cube.copy()
    odd[::5, 0], odd[1::7, -1], odd[2::11] = np.nan, np.inf, -np.inf
    return {
        "a cube": cube,
        "a line": np.repeat(cube[:, :1], dimensions, 1),
        "a plane": np.where(np.arange(dimensions) == 1, 0.25, cube),
        "equal points": np.full((count, dimensions), 1 / 3),
        "two places": np.repeat(rng.integers(0, 2, (count, 1)) / 3, dimensions, 1),
        "a grid, shuffled": np.stack(np.unravel_index(rng.permutation(count), [int(count ** (1 / 2)) + 1] * 2 + [1] * (dimensions - 2)), 1) / 4,
        "clusters": centers + 1e-3 * cube,
        "one outlier": outlier,
        "far from the origin": cube * 50 + 1e5,
        "as far as floats": ends,
        "not finite": odd,
        "none finite": odd * np.nan,
    }  # fmt: skip


def plain(queries, points, k):
    """Squares and indices of the nearest: the order of a plain loop, in the points' dtype."""
    with np.errstate(all="ignore"):
        squares = np.zeros((len(queries), len(points)), points.dtype)
        for c in range(points.shape[1]):
            d = points[None, :, c] - queries[:, None, c]
            squares += d * d
    squares[~(squares < np.inf)] = np.inf
    order = np.argsort(squares, 1, kind="stable")[:, :k]
    return np.take_along_axis(squares, order, 1), order


# ---- ways to find neighbours -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", ["tree", "bare", "scan"])
@pytest.mark.parametrize(("dtype", "dimensions"), [("float32", 3), ("float64", 3), ("float32", 2), ("float32", 5)])
def test_every_way_is_a_plain_loop(way, dtype, dimensions, monkeypatch):
    """To the bit, ties and points that aren't finite included."""
    monkeypatch.setattr(neighbours, "soonest", lambda *sizes: way)
    if way == "scan" and dimensions > 3:
        pytest.skip("of up to 3 coordinates")
    for name, cloud in shapes(700, dimensions).items():
        points = cloud.astype(dtype)
        queries = np.concatenate([points[::9], points[:20] + points.dtype.type(0.01), cloud[::-40].astype(dtype) * 2])
        for k in (1, 2, 3) if way == "scan" else (1, 3, 16, 33, 90, 700):
            found, near = np.empty((1, len(queries), k), dtype), np.empty((1, len(queries), k), np.int32)
            neighbours.nearest(queries[None], points[None], found, near)
            squares, order = plain(queries, points, k)
            np.testing.assert_array_equal(near[0], order, err_msg=f"{name}, {k}")
            np.testing.assert_array_equal(found[0], squares, err_msg=f"{name}, {k}")


@pytest.mark.parametrize("way", ["tree", "bare", "scan"])
def test_several_clouds_and_few_points(way, monkeypatch):
    monkeypatch.setattr(neighbours, "soonest", lambda *sizes: way)
    rng = np.random.default_rng(0)
    for count in (0, 1, 2, 15, 16, 17, 255, 256, 257, 300):
        points, queries = rng.random((3, count, 3)), rng.random((3, 40, 3))
        found, near = np.empty((3, 40, 3)), np.empty((3, 40, 3), np.int32)
        neighbours.nearest(queries, points, found, near)
        for b in range(3):
            squares, order = plain(queries[b], points[b], 3)
            missing = ((0, 0), (0, 3 - order.shape[1]))
            np.testing.assert_array_equal(near[b], np.pad(order, missing))
            np.testing.assert_array_equal(found[b], np.pad(squares, missing, constant_values=np.inf))


def test_the_way_is_chosen_by_size():
    assert neighbours.soonest(16384, 1024, 3, 3) == neighbours.soonest(4, 10**6, 1, 3) == "scan"
    assert neighbours.soonest(16384, 16384, 1, 3) == neighbours.soonest(16384, 1024, 1, 4) == "tree"
    assert neighbours.soonest(1, 10**6, 16, 3) == "bare"


# ---- knn, chamfer_distance -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("k", [1, 31, 32, 33, 100])
def test_knn(k, backend):
    """Lists in registers and in memory, of points that are equal, far, or no points; and of more than there are."""
    rng = np.random.default_rng(k)
    for name, cloud in shapes(100).items():
        points = cloud.astype(np.float32)
        centers = np.concatenate([points[:3], rng.random((2, 3), np.float32)])
        found = on(backend, ops.knn)(k, points[None], centers[None])
        np.testing.assert_array_equal(found[0].T, plain(centers, points, k)[1], err_msg=name)
        few = k // 3 + 1
        found = on(backend, ops.knn)(k, points[None, :few], centers[None])
        np.testing.assert_array_equal(found[0, :few].T, plain(centers, points[:few], few)[1], err_msg=name)
        assert not found[0, few:].any()


def test_knn_of_two_clouds_that_are_transposed(backend):
    rng = np.random.default_rng(0)
    points = rng.random((2, 3, 40))
    rows = points.swapaxes(1, 2)
    found = on(backend, ops.knn)(4, points, None, True)
    np.testing.assert_array_equal(found, on(backend, ops.knn)(4, rows.copy()))
    np.testing.assert_array_equal(found[:, 0], [np.arange(40)] * 2)


def test_errors_of_knn():
    points = np.zeros((1, 5, 3))
    with pytest.raises(ValueError, match=r"^knn: xyz must have at least 1 point, got shape \(1, 0, 3\)"):
        ops.knn(1, points[:, :0], points)
    for k, said in (
        (0, "at least 1, got 0"),
        (2.0, "an int, got float"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^knn: k must be {said}"):
            ops.knn(k, points)
    for xyz, centers in ((points[..., :2], None), (points, points[..., :2]), (points, np.zeros((2, 5, 3)))):
        with pytest.raises(ValueError, match=r"^knn: "):
            ops.knn(1, xyz, centers)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 7])
def test_chamfer_distance(dimensions, backend):
    for name, cloud in shapes(150, max(dimensions, 2)).items():
        one, other = (x[None].astype(np.float32) for x in np.split(cloud[:, :dimensions], [60]))
        results = on(backend, ops.chamfer_distance)(one, other)
        for squares, near, pair in zip(results[:2], results[2:], ((one, other), (other, one)), strict=True):
            expected = plain(pair[0][0], pair[1][0], 1)
            np.testing.assert_array_equal(near[0], expected[1][:, 0], err_msg=name)
            np.testing.assert_array_equal(squares[0], expected[0][:, 0], err_msg=name)


def test_chamfer_distance_from_nothing(backend):
    one, none = np.ones((2, 3, 2)), np.ones((2, 0, 2))
    dist1, dist2, idx1, idx2 = on(backend, ops.chamfer_distance)(one, none)
    assert np.isinf(dist1).all() and not idx1.any() and dist2.shape == idx2.shape == (2, 0)
    back = on(backend, ops.chamfer_distance_backward)(np.ones((2, 3)), np.ones((2, 0)), one, none, idx1, idx2)
    np.testing.assert_array_equal(back[0], np.zeros_like(one))


def test_chamfer_distance_backward_reads_nothing_out_of_range(backend):
    one, other = np.array([[[0.0], [5]]]), np.array([[[1.0]]])
    for bad in (-1, 1, 2**31 - 1, -(2**31)):
        back = on(backend, ops.chamfer_distance_backward)(
            np.ones((1, 2)), np.zeros((1, 1)), one, other, np.array([[0, bad]]), np.array([[bad]])
        )
        np.testing.assert_array_equal(back[0], [[[-2], [0]]])
        np.testing.assert_array_equal(back[1], [[[2]]])


def test_gradients_in_a_fixed_order(monkeypatch):
    """As a GPU adds them where determinism is asked for; in the emulator."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 40, 3)), rng.random((2, 30, 3))
    expected = ops.chamfer_distance(one, other)
    grads = rng.random((2, 40)), rng.random((2, 30))
    arguments = [torch.from_numpy(x) for x in (*grads, one, other, *expected[2:])]
    use("emulated", monkeypatch)
    torch.use_deterministic_algorithms(True)
    try:
        found = ops.chamfer_distance_backward(*arguments)
    finally:
        torch.use_deterministic_algorithms(False)
    monkeypatch.setattr(array, "EMULATED", False)
    for a, b in zip(found, ops.chamfer_distance_backward(*grads, one, other, *expected[2:]), strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-13, atol=1e-13)


# ---- ball_query ------------------------------------------------------------------------------------------------------
def first_within(points, centers, least, most, size):
    """A plain loop in the points' dtype."""
    out, (least, most) = np.zeros((len(centers), size), np.int32), points.dtype.type([least, most])
    with np.errstate(all="ignore"):
        for row, center in zip(out, centers, strict=True):
            d = points - center
            squares = d[:, 0] * d[:, 0] + d[:, 1] * d[:, 1] + d[:, 2] * d[:, 2]
            found = np.flatnonzero((squares == 0) | ((squares >= least * least) & (squares < most * most)))[:size]
            if len(found):
                row[:] = found[0]
                row[: len(found)] = found
    return out


RADII = [
    (0, 1e-30),
    (0, 0.02),
    (0.1, 0.3),
    (0, 1.5),
    (0, np.inf),
    (0.25, 0.5),
]  # under everything, ..., over everything


@pytest.mark.parametrize("way", ["where they lie", "in turn", "in cells", "in boxes"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_balls_on_every_cloud(way, dtype, monkeypatch):
    """All ways, to the bit."""
    if way == "where they lie":
        monkeypatch.setattr(cpu_ball_query, "TRIED", 0)  # as of a few centres
    else:
        monkeypatch.setattr(cpu_ball_query, "LAYING_TIME", -1e9)
    monkeypatch.setattr(cpu_ball_query, "CELL_TIME", -1e12 if way == "in cells" else 1e12)
    monkeypatch.setattr(cpu_ball_query, "SEARCH_TIME", -1e9 if way == "in boxes" else 1e9)
    monkeypatch.setattr(cpu_ball_query, "FOUND_TIME", 0)
    for name, cloud in shapes(600).items():
        points = cloud.astype(dtype)
        centers = np.concatenate([points[::12], cloud[::40].astype(dtype) + points.dtype.type(0.01)])
        for radii in RADII:
            for size in (1, 5, 40):
                found = ops.ball_query(*radii, size, points[None], centers[None])
                np.testing.assert_array_equal(
                    found[0], first_within(points, centers, *radii, size), err_msg=f"{name}, {radii}, {size}"
                )


@pytest.mark.parametrize("size", [1, 5])
def test_balls_in_cells_of_several_clouds(size, monkeypatch):
    monkeypatch.setattr(cpu_ball_query, "LAYING_TIME", -1e9)
    monkeypatch.setattr(cpu_ball_query, "CELL_TIME", -1e12)
    clouds = [shapes(90)[name] for name in ("a cube", "none finite", "one outlier", "not finite")]
    clouds.insert(2, np.zeros((0, 3)))
    centers = [np.concatenate([cloud[::4], cloud[:3] + 0.1]) for cloud in clouds]
    found = ops.ball_query(
        0,
        0.3,
        size,
        np.concatenate(clouds),
        np.concatenate(centers),
        *(np.array([*map(len, x)]) for x in (clouds, centers)),
    )
    expected = [first_within(*pair, 0, 0.3, size) for pair in zip(clouds, centers, strict=True)]
    for rows, *pair in zip(expected, clouds, centers, strict=True):
        with np.errstate(invalid="ignore"):
            none = [not (((pair[0] - center) ** 2).sum(1) < 0.09).any() for center in pair[1]]
        rows[none, 0] = -1
    np.testing.assert_array_equal(found, np.concatenate(expected))


def test_the_way_to_look_into_balls_is_the_soonest(monkeypatch):
    """As timed: of full balls the first points are looked at where they lie, of balls that hold little those in a few cells; and a
    tree is not made where most balls hold little and some very much."""
    made = []
    for name in ("build", "in_cells"):
        make = getattr(cpu_ball_query, name)
        monkeypatch.setattr(cpu_ball_query, name, lambda *args, make=make: made.append(args[2]) or make(*args))
    rng = np.random.default_rng(0)
    points, centers = rng.random((1, 5000, 3)), rng.random((1, 1000, 3))
    ops.ball_query(0, 1e9, 32, points, centers)
    ops.ball_query(0, 1e-9, 32, points, centers[:, :1])
    assert made == []
    ops.ball_query(0, 0.03, 32, points, centers)
    assert made == [pytest.approx(0.06)]
    ops.ball_query(0, 0.03, 200, points, centers)
    assert made[1:] == ["bare", "curved"]
    ops.ball_query(0, 0.005, 200, *(10.0 ** (-8 * x) for x in (points, centers)))
    assert made[3:] == ["bare"]
    clustered = np.where(rng.random((1, 5000, 1)) < 0.3, points / 1000, points)
    ops.ball_query(0, 0.005, 32, clustered, clustered[:, :1000])  # cells hold little, or a third of the points
    assert "bare" in made[4:]


def test_a_ball_of_equal_points_is_not_searched_through(monkeypatch):
    """The first 32 are found in a tree of 1,000 times as many points in less than 20 times the time: it was 100 times."""
    monkeypatch.setattr(cpu_ball_query, "LAYING_TIME", -1e9)
    monkeypatch.setattr(cpu_ball_query, "SEARCH_TIME", -1e9)
    search, took = cpu_ball_query.find_some, {}

    def timed(*args):
        begin = time.thread_time()
        search(*args)
        took[size] = min(took.get(size, math.inf), time.thread_time() - begin)

    monkeypatch.setattr(
        cpu_ball_query, "parallel_for", lambda kernel, n, grain, *args, cost: timed(*args, np.zeros(1, np.int64), n, n)
    )
    for size in (64, 64_000):
        for _ in range(3):
            found = ops.ball_query(0, 1, 32, np.ones((1, size, 3)), np.ones((1, 500, 3)))
            np.testing.assert_array_equal(found[0], np.tile(np.arange(32), (500, 1)))
    assert took[64_000] < 20 * took[64]


def test_balls(backend):
    for name, cloud in shapes(300).items():
        points = cloud.astype(np.float32)
        centers = np.concatenate([points[:9], cloud[-4:].astype(np.float32) + np.float32(0.01)])
        for radii in RADII[1:5]:
            found = on(backend, ops.ball_query)(*radii, 5, points[None], centers[None])
            np.testing.assert_array_equal(found[0], first_within(points, centers, *radii, 5), err_msg=name)


def test_ball_query_reference(backend):
    """Values of the established implementation's tests, batched and stacked."""
    centers = np.array(
        [
            [[-0.0740, 1.3147, -1.3625], [-2.2769, 2.7817, -0.2334], [-0.4003, 2.4666, -0.5116]],
            [[-2.0289, 2.4952, -0.1708], [-2.0668, 6.0278, -0.4875], [0.4066, 1.4211, -0.2947]],
        ],
        np.float32,
    )
    xyz = np.array(
        [
            [[-0.0740, 1.3147, -1.3625], [0.5555, 1.0399, -1.3634], [-0.4003, 2.4666, -0.5116], [-0.5251, 2.4379, -0.8466],
             [-0.9691, 1.1418, -1.3733], [-0.2232, 0.9561, -1.3626], [-2.2769, 2.7817, -0.2334], [-0.2822, 1.3192, -1.3645],
             [0.1533, 1.5024, -1.0432], [0.4917, 1.1529, -1.3496]],
            [[-2.0289, 2.4952, -0.1708], [-0.7188, 0.9956, -0.5096], [-2.0668, 6.0278, -0.4875], [-1.9304, 3.3092, 0.6610],
             [0.0949, 1.4332, 0.3140], [-1.2879, 2.0008, -0.7791], [-0.7252, 0.9611, -0.6371], [0.4066, 1.4211, -0.2947],
             [0.3220, 1.4447, 0.3548], [-0.9744, 2.3856, -1.2000]],
        ],
        np.float32,
    )  # fmt: skip
    near = np.array([[[0] * 5, [6] * 5, [2] * 5], [[0] * 5, [2] * 5, [7] * 5]])
    np.testing.assert_array_equal(on(backend, ops.ball_query)(0, 0.2, 5, xyz, centers), near)
    far = near.copy()
    far[0, [0, 2]] = [0, 5, 7, 0, 0], [2, 3, 2, 2, 2]
    np.testing.assert_array_equal(on(backend, ops.ball_query)(0.2, 0.4, 5, xyz, centers), far)
    rows = (x.reshape(-1, 3) for x in (xyz, centers))
    counts = np.array([10, 10], np.int32), np.array([3, 3], np.int32)
    np.testing.assert_array_equal(on(backend, ops.ball_query)(0.2, 0.4, 5, *rows, *counts), far.reshape(-1, 5))


def test_balls_of_counts_that_do_not_add_up(backend):
    points, centers = np.zeros((4, 3)), np.zeros((3, 3))
    for counts, center_counts, expected in (
        ([3, 9], [1, 1], [[0, 1, 2, 0, 0], [0] * 5, [0] * 5]),
        ([2**40, 1], [5, 5], [[0, 1, 2, 3, 0]] * 3),
        ([2**62] * 3 + [2**62 + 4], [3, 0, 0, 0], [[0, 1, 2, 3, 0]] * 3),  # which add up in 64 bits
        ([1, 2], [3, 0], [[0] * 5] * 3),
    ):
        call = lambda: on(backend, ops.ball_query)(0, 1, 5, points, centers, *map(np.array, (counts, center_counts)))  # noqa: E731
        if backend == "cpu":
            with pytest.raises(
                ValueError, match=r"^ball_query: \w+ must add up to the number of rows, [34], got [0-9]"
            ):
                call()
        else:
            np.testing.assert_array_equal(call(), expected)


def test_a_ball_without_points(backend):
    """Zeros; where clouds are stacked, -1 comes first."""
    points, centers = np.zeros((1, 3)), np.full((2, 3), 7.0)
    np.testing.assert_array_equal(
        on(backend, ops.ball_query)(0, 1, 3, points[None], centers[None]), np.zeros((1, 2, 3))
    )
    counts = np.array([1, 0]), np.array([1, 1])
    np.testing.assert_array_equal(on(backend, ops.ball_query)(0, 1, 3, points, centers, *counts), [[-1, 0, 0]] * 2)


def test_wrong_balls():
    xyz = np.zeros((1, 4, 3))
    for radii, size, said in (
        ((-1, 1), 2, "min_radius must be at least 0"),
        ((1, 0.5), 2, "max_radius must be greater than min_radius, 1, got 0.5"),
        ((0, np.nan), 2, "max_radius must be a number"),
        ((0, 1), 0, "sample_num must be at least 1"),
    ):
        with pytest.raises(ValueError, match=f"^ball_query: {said}"):
            ops.ball_query(*radii, size, xyz, xyz)
    with pytest.raises(
        TypeError, match=r"^ball_query: center_xyz_batch_cnt must be given with xyz_batch_cnt, got None"
    ):
        ops.ball_query(0, 1, 2, xyz[0], xyz[0], np.array([4]))
    with pytest.raises(ValueError, match=r"^ball_query: xyz must have shape"):
        ops.ball_query(0, 1, 2, xyz[..., :2], xyz)
