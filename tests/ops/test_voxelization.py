"""voxelization: golden data, borders, bad clouds, huge grids, bad arguments."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cases.voxelization import plain, scan
from arrayvision.cpu import keys
from tests.conftest import on
from tests.golden import cases

NAN, INFINITE = np.nan, np.inf


def as_tuple(out):
    return out if isinstance(out, (tuple, list)) else (out,)


@pytest.mark.parametrize("case", cases("voxelization"), ids=lambda case: case.name)
def test_golden(case, backend):
    names = {"point_cloud_range": "coors_range", "max_num_points": "max_points"}
    arguments = {names.get(name, name): value for name, value in case.args.items()}
    out = as_tuple(on(backend, ops.voxelization)(case.inputs["points"], **arguments))
    for got, expected in zip(out, case.outputs.values(), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


def cloud(shape, rng):
    """Points that are hard for some way of grouping, in float32."""
    points = rng.uniform(-1, 9, (700, 4))
    if shape == "equal":
        points[:] = points[0] = 3.3
    elif shape == "a line":
        points[:, 1:3] = 2.05
    elif shape == "clusters":
        points[:, :3] = rng.uniform(0, 8, (5, 3))[rng.integers(0, 5, 700)] + 0.3 * rng.standard_normal((700, 3))
    elif shape == "one far away":
        points[:, :3] /= 10
        points[350] = 1e6
    elif shape == "on borders":
        points[:, :3] = rng.integers(-4, 84, (700, 3)) * np.float32(0.1)
    elif shape == "outside":
        points[:] = 100
    elif shape == "not finite":
        points[::3, 0], points[::5, 2], points[1::5, 1] = NAN, INFINITE, -INFINITE
    return points.astype(np.float32)


def in_float32(points, size, ends, *limits):
    """What the plain loop gives of cells that are found in float32."""
    low, by = np.array(ends[:3], np.float32), np.array(size, np.float32)
    with np.errstate(invalid="ignore"):
        cells = np.floor((points[:, :3] - low) / by).astype(np.float64) + 0.5
    grid = np.floor((np.array(ends[3:]) - np.array(ends[:3])) / size + 0.5)
    marked = np.concatenate([cells, points], 1)
    voxels, coors, counts = plain(marked, (1, 1, 1), (0, 0, 0, *grid), *limits)
    return voxels[..., 3:], coors, counts


SHAPES = ["spread", "equal", "a line", "clusters", "one far away", "on borders", "outside", "not finite"]


@pytest.mark.parametrize("shape", SHAPES)
def test_bad_clouds(shape, backend):
    points = cloud(shape, np.random.default_rng(0))
    for size, ends, most, voxels in (
        ((0.1, 0.1, 0.1), (0, 0, 0, 8, 8, 8), 3, 400),
        ((0.7, 1.3, 2.0), (-0.1, 0.2, 0, 8, 8, 4), 5, 20),
    ):
        got = on(backend, ops.voxelization)(points, size, ends, most, voxels)
        for a, b in zip(got, in_float32(points, size, ends, most, voxels), strict=True):
            np.testing.assert_array_equal(a, b.astype(a.dtype))
        coors = on(backend, ops.voxelization)(points, size, ends, -1)
        voxel = {tuple(c): k for k, c in enumerate(got[1])}
        for row, c in zip(points, coors, strict=True):
            if tuple(c) in voxel and got[2][voxel[tuple(c)]] < most:  # a voxel that has room holds all its points
                assert (got[0][voxel[tuple(c)]] == row).all(-1).any()


def test_back_ends_round_alike():
    """To the bit, at borders too; emulated kernels compute as a GPU's do."""
    from arrayvision.cpu import voxelization as cpu
    from arrayvision.cuda import voxelization as cuda

    rng = np.random.default_rng(1)
    for dtype in (np.float32, np.float64):
        border = rng.integers(0, 1600, (2000, 3)) * dtype(0.05) - dtype(40)
        points = np.nextafter(border, rng.choice([-INFINITE, INFINITE], (2000, 3)).astype(dtype))
        grid = np.full(3, -40, dtype), np.full(3, 0.05, dtype), np.full(3, 1600)
        found = [np.empty((2000, 3), np.int32) for _ in range(2)]
        for module, coors in zip((cpu, cuda), found, strict=True):
            module.cells(points, *grid, coors)
        np.testing.assert_array_equal(*found)


def test_a_grid_beyond_int32(backend):
    """Cells beyond 2**31, of which nothing but the points' own is ever made."""
    points = np.array([[-1e5, -1e5, -1e5], [1e5, 1e5, 1e5], [0.2, 0.3, 0.4], [99999, 99999, 99999]])
    call = on(backend, ops.voxelization)
    _, coors, counts = call(points, (0.125,) * 3, (-1e5, -1e5, -1e5, 1e5, 1e5, 1e5), 1, 10)
    np.testing.assert_array_equal(coors, [[0] * 3, [800003, 800002, 800001], [1599992] * 3])
    np.testing.assert_array_equal(counts, 1)


def test_voxels_that_are_found_fill_after_the_last_new_one(backend):
    points = np.array([[0, 0, 0, 1], [1, 0, 0, 2], [2, 0, 0, 3], [0, 0, 0, 4], [2, 0, 0, 5], [1, 0, 0, 6]], np.float32)
    voxels, coors, counts = on(backend, ops.voxelization)(points, (1, 1, 1), (0, 0, 0, 3, 1, 1), 2, 2)
    np.testing.assert_array_equal(coors, [[0, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(voxels[..., 3], [[1, 4], [2, 6]])
    np.testing.assert_array_equal(counts, [2, 2])


def test_a_scan_keeps_every_point_that_is_inside():
    points = scan(20_000, np.random.default_rng(2))
    size, ends = (0.2, 0.2, 0.4), (0, -40, -3, 70.4, 40, 1)
    voxels, _, counts = ops.voxelization(points, size, ends, 20_000 // 8, 20_000)
    coors = ops.voxelization(points, size, ends, -1)
    inside = (coors >= 0).all(1)
    assert counts.sum() == inside.sum() > 10_000
    kept = np.sort(voxels[np.arange(voxels.shape[1]) < counts[:, None]], 0)
    np.testing.assert_array_equal(kept, np.sort(points[inside], 0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(voxel_size=(1, 0, 1)), "voxel_size must be greater than 0, got 0 along y"),
        (dict(voxel_size=(1, 1, -2)), "voxel_size must be greater than 0, got -2 along z"),
        (dict(voxel_size=(1, 1)), "voxel_size must be 3 numbers, got 2"),
        (dict(voxel_size=(NAN, 1, 1)), r"voxel_size\[0\] must be a number, got nan"),
        (dict(voxel_size=(1, 1e-60, 1)), "must span at most 2147483647 voxels along an axis"),
        (dict(voxel_size=1.0), "voxel_size must be 3 numbers, got float"),
        (dict(coors_range=(0, 0, 0, 4, -4, 4)), "coors_range must span at least half a voxel .* got 0 to -4 along y"),
        (dict(coors_range=(0, 0, 0, 4, 4)), "coors_range must be 6 numbers, got 5"),
        (dict(coors_range=(0, 0, 0, 4, 4, INFINITE)), r"coors_range\[5\] must be finite, got inf"),
        (
            dict(coors_range=(0, 0, 0, 1e9, 1e9, 1e9), voxel_size=(0.5, 0.5, 0.5)),
            r"must have at most 2\*\*63 - 1 cells",
        ),
        (dict(max_points=0), "max_points must be at least 1, or -1 for all, got 0"),
        (dict(max_points=-2), "max_points must be at least -1, got -2"),
        (dict(max_voxels=0), "max_voxels must be at least 1"),
        (dict(max_voxels=1.5), "max_voxels must be an int"),
        (dict(deterministic=1), "deterministic must be True or False"),
        (dict(points=np.zeros((5, 2), np.float32)), "points must have at least 3 columns"),
    ],
)
def test_bad_arguments(arguments, message):
    given = dict(points=np.zeros((5, 4), np.float32), voxel_size=(1, 1, 1), coors_range=(0, 0, 0, 4, 4, 4))
    with pytest.raises((ValueError, TypeError), match=f"^voxelization: .*{message}"):
        ops.voxelization(**{**given, **arguments})


def test_a_cloud_outside_the_grid_is_not_sorted(monkeypatch):
    monkeypatch.setattr(keys, "sorted_rows", None)
    for outside in (np.nan, 1e9):
        voxels, coors, counts = ops.voxelization(np.full((9, 4), outside), (1, 1, 1), (0, 0, 0, 4, 4, 4), 5)
        assert voxels.shape == (0, 5, 4) and coors.shape == (0, 3) and coors.dtype == counts.dtype == np.int32


def test_a_size_that_float32_rounds_to_zero():
    with pytest.raises(ValueError, match="must be numbers that float32 holds"):
        ops.voxelization(np.zeros((5, 3), np.float32), (1e-60,) * 3, (0, 0, 0, 1e-59, 1e-59, 1e-59))


def test_module():
    torch = pytest.importorskip("torch")
    from arrayvision.torch_bridge.ops import Voxelization

    points = torch.from_numpy(scan(2000, np.random.default_rng(3)))
    module = Voxelization([0.5, 0.5, 4], [0, -40, -3, 70.5, 40, 1], 3, (20, 40))
    assert module.grid_size.tolist() == [141, 160, 1] and [*map(int, module.pcd_shape)] == [1, 160, 141]
    assert module.train()(points)[0].shape == (20, 3, 4) and module.eval()(points)[0].shape == (40, 3, 4)
    assert Voxelization([0.5, 0.5, 4], [0, -40, -3, 70.5, 40, 1], -1)(points).shape == (2000, 3)
    assert "max_voxels=(20, 40)" in repr(module)
    with pytest.raises(ValueError, match="Voxelization: max_voxels must be an int or two, got 3"):
        Voxelization([1, 1, 1], [0, 0, 0, 1, 1, 1], 1, (1, 2, 3))
    with pytest.raises(ValueError, match="Voxelization: voxel_size must be greater"):
        Voxelization([1, 1, 0], [0, 0, 0, 1, 1, 1], 1)
