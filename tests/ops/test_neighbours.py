"""Neighbours in clouds of points: against SciPy and plain loops, on clouds of every bad shape; published values; NaN, ties."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cases import clouds
from tests.conftest import on

# ---- three_nn, three_interpolate ------------------------------------------------------------------------------------
SOURCE = np.array(
    [
        [[-1.8373, 3.5605, -0.7867], [0.7615, 2.9420, 0.2314], [-0.6503, 3.6637, -1.0622]],
        [[-1.3399, 1.9991, -0.3698], [-0.0799, 0.9698, -0.8457], [0.0858, 2.4721, -0.1928]],
    ],
    np.float32,
)[:, [0, 1, 2, 0, 0]]
TARGET = np.array(
    [
        [[-1.8373, 3.5605, -0.7867], [-1.5237, 2.3976, -0.8097], [-0.0722, 3.4017, -0.2880], [0.7341, 2.9626, -0.3189]],
        [[-0.0799, 0.9698, -0.8457], [0.1156, 1.6901, -0.4366], [-0.6477, 2.3576, -0.1563], [-0.5883, 1.3114, -1.2899]],
    ],
    np.float32,
)


def test_three_nn_reference(backend):
    """Values of the established implementation's tests."""
    distances, indices = on(backend, ops.three_nn)(TARGET, SOURCE)
    expected = [
        [[0, 0, 0], [1.2047, 1.2047, 1.2047], [1.0011, 1.0845, 1.8411], [0.5514, 1.7206, 2.6811]],
        [[0, 1.6464, 1.6952], [0.8197, 0.8511, 1.4894], [0.7433, 0.8082, 0.8082], [0.7566, 1.3727, 1.3727]],
    ]
    np.testing.assert_allclose(distances, expected, atol=1e-4)
    np.testing.assert_array_equal(
        indices, [[[0, 3, 4], [0, 3, 4], [2, 1, 0], [1, 2, 0]], [[1, 2, 0], [2, 1, 0], [2, 0, 3], [1, 0, 3]]]
    )


def test_three_nn_of_too_few_points(backend):
    """Missing neighbours have no weight."""
    target = np.zeros((1, 2, 3))
    for count, finite in ((0, 0), (1, 1), (2, 2)):
        distances, indices = on(backend, ops.three_nn)(target, np.ones((1, count, 3)))
        expected = [np.sqrt(3)] * finite + [np.inf] * (3 - finite)
        np.testing.assert_allclose(distances, [[expected] * 2], rtol=1e-15)
        np.testing.assert_array_equal(indices, [[[0, 1, 0][:finite] + [0] * (3 - finite)] * 2])


def test_three_nn_of_what_is_not_finite(backend):
    source = np.arange(15.0).reshape(1, 5, 3)
    source[0, 0, 1], source[0, 2, 0], source[0, 3, 2] = np.nan, np.inf, 1e200
    target = np.array([[[12, 13, 14], [np.nan, 0, 0], [0, 0, -np.inf]]])
    distances, indices = on(backend, ops.three_nn)(target, source)
    np.testing.assert_array_equal(indices, [[[4, 1, 0], [0, 1, 2], [0, 1, 2]]])
    np.testing.assert_allclose(distances[0], [[0, np.sqrt(243), np.inf], [np.inf] * 3, [np.inf] * 3])


def test_three_interpolate_leaves_out_what_is_out_of_range(backend):
    """Not on the CPU, where it is an error."""
    features, weight = np.array([[[1.0, 2, 4]]]), np.array([[[0.5, 0.25, 0.25]]])
    for bad in (-1, 3, 2**31 - 1, -(2**31)):
        indices = np.array([[[0, bad, 2]]])
        calls = (
            lambda: on(backend, ops.three_interpolate)(features, indices, weight),
            lambda: on(backend, ops.three_interpolate_backward)(np.ones((1, 1, 1)), indices, weight, (1, 1, 3)),
        )
        if backend == "cpu":
            for call in calls:
                with pytest.raises(ValueError, match=r"indices must hold numbers at least 0 and below 3, got"):
                    call()
        else:
            np.testing.assert_array_equal(calls[0](), [[[1.5]]])
            np.testing.assert_array_equal(calls[1](), [[[0.5, 0, 0.25]]])


def test_three_interpolate_backward_wants_the_features_shape():
    grad, indices, weight = np.ones((1, 2, 1)), np.zeros((1, 1, 3), int), np.ones((1, 1, 3))
    for shape, said in (((1, 3, 4), "batch and channels"), ((1, 2), "three ints, got 2"), (5, "three ints, got int")):
        with pytest.raises((TypeError, ValueError), match=f"^three_interpolate_backward: .*{said}"):
            ops.three_interpolate_backward(grad, indices, weight, shape)


def test_many_channels_and_points(backend):
    """More than a block of either."""
    rng = np.random.default_rng(1)
    target, source = (clouds.cloud(rng, n)[None].astype(float) for n in (300, 70))
    distances, indices = on(backend, ops.three_nn)(target, source)
    expected = clouds.nearest(target, source, 3)
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_allclose(distances, expected[0], rtol=1e-14)
    features, weight = rng.standard_normal((1, 19, 70)), rng.random((1, 300, 3))
    out = on(backend, ops.three_interpolate)(features, indices, weight)
    np.testing.assert_allclose(out[0], np.einsum("cnk,nk->cn", features[0][:, indices[0]], weight[0]), rtol=1e-12)
    grad = rng.standard_normal(out.shape)
    back = on(backend, ops.three_interpolate_backward)(grad, indices, weight, features.shape)
    np.testing.assert_allclose((back * features).sum(), (grad * out).sum(), rtol=1e-12)
