"""dynamic_scatter: which voxels and points are kept, ties, NaN, sums of many, coordinates that are too large."""

import functools

import numpy as np
import pytest

from arrayvision import get_num_threads, ops, set_num_threads
from arrayvision.cpu import threads
from tests.conftest import on

KINDS = ("max", "mean", "sum")


@pytest.mark.parametrize("whole", [np.int32, np.int64])
def test_the_first_voxel_stays_and_points_of_none_go(whole, backend):
    feats = np.arange(12, dtype=np.float32).reshape(6, 2)
    coors = np.array([[0, 0, 0], [-1, -1, -1], [0, 0, 0], [7, 0, 2], [0, -1, 3], [0, 9, 1]], whole)
    voxels, kept, owners, counts, argmax = on(backend, ops.dynamic_scatter_with_points)(feats, coors, "max")
    np.testing.assert_array_equal(kept, [[0, 0, 0], [0, 9, 1], [7, 0, 2]])
    assert kept.dtype == whole
    np.testing.assert_array_equal(voxels, feats[[2, 5, 3]])
    np.testing.assert_array_equal(owners, [0, -1, 0, 2, -1, 1])
    np.testing.assert_array_equal(counts, [2, 1, 1])
    np.testing.assert_array_equal(argmax, [[2, 2], [5, 5], [3, 3]])


@pytest.mark.parametrize("kind", KINDS)
def test_no_point_is_in_a_voxel(kind, backend):
    out = on(backend, ops.dynamic_scatter)(np.ones((5, 3), np.float32), np.full((5, 3), -1), kind)
    assert [x.shape for x in out] == [(0, 3), (0, 3)]


@pytest.mark.parametrize("kind", KINDS)
def test_many_points_of_one_voxel(kind, backend):
    """Sums keep their digits: to 4 roundings of the sum of magnitudes, with 20,000 terms."""
    feats = np.random.default_rng(0).uniform(0, 1, (20_000, 2)).astype(np.float32)
    (row,), _ = on(backend, ops.dynamic_scatter)(feats, np.ones((20_000, 3), np.int32), kind)
    expected = {"max": np.max, "mean": np.mean, "sum": np.sum}[kind](feats.astype(np.float64), 0)
    np.testing.assert_allclose(row, expected, rtol=4 * 2.0**-23 if backend == "cpu" else 32 * 2.0**-23)


def test_ties_go_to_the_first_point_and_nan_is_above_all(backend):
    feats = np.array([[1, 5, 0], [2, 5, np.nan], [2, 5, np.inf], [0, 4, np.nan]], np.float32)
    coors = np.zeros((4, 3), np.int32)
    out, _, voxels, counts, argmax = on(backend, ops.dynamic_scatter_with_points)(feats, coors)
    np.testing.assert_array_equal(out, [[2, 5, np.nan]])
    np.testing.assert_array_equal(argmax, [[1, 0, 1]])
    grad = on(backend, ops.dynamic_scatter_backward)(np.array([[3, 4, 5.0]], np.float32), voxels, counts, argmax)
    np.testing.assert_array_equal(grad, [[0, 4, 0], [3, 0, 5], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
def test_rows_rise(columns, backend):
    """As NumPy's unique sorts them, with coordinates of 32 and of 64 bits' keys."""
    rng = np.random.default_rng(columns)
    for largest in (3, 4000):
        coors = rng.integers(-1, largest, (3000, columns))
        coors = np.concatenate([coors, coors[:1000]])
        feats = rng.standard_normal((4000, 1))
        out, kept, owners, counts, _ = on(backend, ops.dynamic_scatter_with_points)(feats, coors, "sum")
        inside = (coors >= 0).all(1)
        unique, inverse, number = np.unique(coors[inside], axis=0, return_inverse=True, return_counts=True)
        np.testing.assert_array_equal(kept, unique)
        np.testing.assert_array_equal(owners[inside], inverse.reshape(-1))
        np.testing.assert_array_equal(counts, number)
        np.testing.assert_allclose(out[:, 0], np.bincount(inverse.reshape(-1), feats[inside, 0]), atol=1e-12)


@pytest.mark.parametrize("coors", ["spread", "few", "one_digit", "long", "outside"])
def test_many_points_on_any_number_of_threads(coors, request, monkeypatch):
    """Threads share the sort of many keys: into voxels by rising coordinates, a voxel's points by rising index, to the bit."""
    rng, n = np.random.default_rng(0), 50_000
    coors = {
        "spread": rng.integers(-1, 2000, (n, 3)),
        "few": rng.integers(0, 4, (n, 3)),  # fewer bits than a leading digit
        "one_digit": np.where(np.arange(n)[:, None] == 9, 4095, rng.integers(0, 40, (n, 3))),  # of all keys but one
        "long": rng.integers(0, 3, (n, 4)) * 2**12 + rng.integers(0, 9, (n, 4)),  # keys of 64 bits
        "outside": np.where(rng.random((n, 1)) < 0.9, -1, rng.integers(0, 2000, (n, 3))),
    }[coors]
    feats = rng.standard_normal((n, 5)).astype(np.float32)
    inside = (coors >= 0).all(1)
    unique, owner = np.unique(coors[inside], axis=0, return_inverse=True)
    sums = np.zeros((len(unique), 5))
    np.add.at(sums, owner.reshape(-1), feats[inside])  # in the points' order
    monkeypatch.setattr(threads, "ENOUGH", 0)  # nanoseconds of work: helpers come at once
    request.addfinalizer(functools.partial(set_num_threads, get_num_threads()))
    for count in (1, 2, 5):
        set_num_threads(count)
        out, kept, owners, *_ = ops.dynamic_scatter_with_points(feats, coors, "sum")
        np.testing.assert_array_equal(kept, unique)
        np.testing.assert_array_equal(owners[inside], owner.reshape(-1))
        np.testing.assert_array_equal(out, sums.astype(np.float32))


def test_coordinates_that_are_too_large(backend):
    feats = np.ones((2, 1), np.float32)
    call = on(backend, ops.dynamic_scatter)
    coors = np.array([[0, 2**31 - 2, 0], [2**31 - 2, 1, 0]])  # of 62 bits
    np.testing.assert_array_equal(call(feats, coors)[1], coors)
    for largest in (2**21, 2**40, 2**63 - 1):
        with pytest.raises(
            ValueError, match=r"^dynamic_scatter: the largest coordinates in coors must have 62 bits at most"
        ):
            call(feats, np.array([[0, largest, 5], [largest, 1, largest]]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(reduce_type="min"), ValueError, "reduce_type must be 'max', 'mean' or 'sum', got 'min'"),
        (dict(coors=np.zeros((4, 3), np.int32)), ValueError, "coors must have as many rows as feats, got 4 and 5"),
        (dict(coors=np.full((5, 3), 0.5)), ValueError, "coors must hold whole numbers"),
        (dict(coors=np.zeros((5, 0), np.int32)), ValueError, "coors must have at least 1 column"),
        (dict(feats=np.zeros(5, np.float32)), ValueError, "feats must have shape"),
    ],
)
def test_bad_arguments(arguments, error, message):
    given = dict(feats=np.zeros((5, 2), np.float32), coors=np.zeros((5, 3), np.int32))
    with pytest.raises(error, match=f"^dynamic_scatter: {message}"):
        ops.dynamic_scatter(**{**given, **arguments})


def test_module():
    """A batch in any order, each voxel as of its example alone; and the gradient of a mean."""
    torch = pytest.importorskip("torch")
    from arrayvision.torch_bridge.ops import DynamicScatter

    torch.manual_seed(0)
    feats, coors = torch.randn(60, 4, requires_grad=True), torch.randint(-1, 3, (60, 4))
    for average in (True, False):
        module = DynamicScatter([1, 1, 1], [0, 0, 0, 3, 3, 3], average)
        out, kept = module(feats, coors)
        alone = [module(feats[coors[:, 0] == k], coors[coors[:, 0] == k][:, 1:]) for k in range(3)]
        torch.testing.assert_close(out, torch.cat([a for a, _ in alone]), rtol=0, atol=0)
        assert torch.equal(kept[:, 1:], torch.cat([b for _, b in alone]))
        (grad,) = torch.autograd.grad(out.sum(), feats)
        torch.testing.assert_close(grad.sum(0), torch.full((4,), float(len(kept))))
    assert "average_points=False" in repr(module)
