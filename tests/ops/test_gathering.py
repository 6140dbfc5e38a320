"""Features of chosen points: stacked indices and counts that are out of range, published values, sums in a fixed order."""

import numpy as np
import pytest

from arrayvision import ops
from tests.conftest import on, use

FEATURES = np.arange(12.0).reshape(2, 2, 3) + 1
BAD = (-1, 3, 2**31 - 1, -(2**31))


def test_stacked_indices_out_of_range(backend):
    """They give 0, on the CPU too: so stacked balls without a point have no features. Those of the next cloud are out of range."""
    features, counts = np.arange(10.0).reshape(5, 2) + 1, (np.array([2, 3]), np.array([1, 1]))
    for bad in (-1, 2, 2**31 - 1):
        indices = np.array([[1, bad], [2, 0]])
        found = on(backend, ops.grouping_operation)(features, indices, *counts)
        np.testing.assert_array_equal(found, [[[3, 0], [4, 0]], [[9, 5], [10, 6]]])
        back = on(backend, ops.grouping_operation_backward)(np.ones((2, 2, 2)), indices, (5, 2), *counts)
        np.testing.assert_array_equal(back, np.repeat([[0], [1], [1], [0], [1]], 2, 1))


def test_counts_that_do_not_add_up(backend):
    features, indices = np.ones((5, 2)), np.zeros((3, 2), int)
    for counts in (([2, 2], [1, 2]), ([2, 3], [9, 9]), ([-2, 7], [1, 2]), ([2**62] * 3 + [2**62 + 5], [3, 0, 0, 0])):
        call = lambda: on(backend, ops.grouping_operation)(features, indices, *map(np.array, counts))  # noqa: E731
        if backend == "cpu":
            with pytest.raises(ValueError, match=r"^grouping_operation: \w+_batch_cnt must"):
                call()
        else:
            assert np.isin(call(), (0, 1)).all()


@pytest.mark.parametrize("size", (1, 50, 7000))
@pytest.mark.parametrize("dtype", ("float16", "float32", "float64"))
@pytest.mark.parametrize("channels", (3, 33))
def test_many_indices(channels, dtype, size, backend):
    """More than there are points, on either side of what a block's shared memory holds, of few channels and of many."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, channels, size)).astype(dtype)
    indices = rng.integers(0, size, (2, 2 * size + 601)).astype(np.int32)
    found = on(backend, ops.gather_points)(features, indices)
    np.testing.assert_array_equal(found, np.take_along_axis(features, indices[:, None], 2))


def test_grouping_reference(backend):
    """Values of the established implementation's tests, and the gradient of half the squares' sum."""
    features = np.array([[[0.5798, -0.7981, -0.9280, -1.3311, 1.3687, 0.9277, -0.4164, -1.8274, 0.9268, 0.8414]]])
    indices = np.array([[[0, 0, 0], [3, 3, 3], [8, 8, 8], [0, 0, 0], [0, 0, 0], [0, 0, 0]]], np.int32)
    out = on(backend, ops.grouping_operation)(features, indices)
    np.testing.assert_array_equal(out[0, 0, :, 0], [0.5798, -1.3311, 0.9268, 0.5798, 0.5798, 0.5798])
    back = on(backend, ops.grouping_operation_backward)(out, indices, features.shape)
    np.testing.assert_allclose(back[0, 0, [0, 3, 8]], [6.9576, -3.9933, 2.7804], atol=1e-12)
    assert np.count_nonzero(back) == 3


def test_scores_reference(backend):
    """The first values of the established implementation's test."""
    scores = np.array([[[[0.06947571, 0.6065746], [0.28462553, 0.8378516]]]])
    points, centers = np.zeros((1, 8, 2, 1)), np.zeros((1, 8, 2, 1))
    points[0, 6, :, 0], points[0, 7, :, 0] = [0.30976456, 0.69656056], [0.5829035, 0.88030535]
    centers[0, 6, :, 0] = [0.73675203, 0.7817645]
    out = on(backend, ops.assign_score_withk)(scores, points, centers, np.array([[[6, 7]]]))
    np.testing.assert_allclose(out[0, 0, 0], [-0.08134781, 0.03877336], atol=1e-7)


def test_how_scores_are_aggregated():
    given = np.ones((1, 1, 2, 1)), np.ones((1, 3, 1, 2)), np.zeros((1, 3, 1, 2)), np.zeros((1, 1, 2), int)
    for aggregate in ("sum", "avg", "max"):
        np.testing.assert_array_equal(ops.assign_score_withk(*given, aggregate), np.ones((1, 2, 1, 2)))
    with pytest.raises(ValueError, match=r"^assign_score_withk: aggregate must be 'sum', 'avg' or 'max', got 'mean'"):
        ops.assign_score_withk(*given, "mean")


def test_scores_in_a_fixed_order(monkeypatch):
    """Sums as a GPU adds where determinism is asked for; in the emulator. Many indices name one point."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    score = rng.random((2, 5, 4, 3)), rng.random((2, 3, 3, 7)), rng.random((2, 3, 3, 7)), rng.integers(0, 3, (2, 5, 4))
    given = rng.random((2, 7, 5, 4)), *score
    expected = ops.assign_score_withk_backward(*given)
    use("emulated", monkeypatch)
    torch.use_deterministic_algorithms(True)
    try:
        found = ops.assign_score_withk_backward(*map(torch.from_numpy, given))
    finally:
        torch.use_deterministic_algorithms(False)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-12)
