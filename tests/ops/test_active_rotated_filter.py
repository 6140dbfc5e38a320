"""active_rotated_filter against golden data; indices out of range."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cuda import active_rotated_filter as kernels
from tests.golden import cases


@pytest.mark.parametrize("case", cases("active_rotated_filter"), ids=lambda c: c.name)
def test_golden(case, library):
    given = [library.asarray(case.inputs[n]) for n in ("input", "indices")]
    np.testing.assert_array_equal(
        library.numpy(ops.active_rotated_filter(*given)), case.outputs["0"].astype(library.numpy(given[0]).dtype)
    )
    grad = ops.active_rotated_filter_backward(library.asarray(case.cots["0"]), given[1], case.inputs["input"].shape)
    np.testing.assert_allclose(library.numpy(grad), case.grads["input"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("wrong", [0, -1, 10, 2**31])
def test_indices_out_of_range(wrong):
    indices = np.arange(1, 10).reshape(1, 3, 3, 1)
    indices[0, 1, 1] = wrong
    for call, x, shape in (
        (ops.active_rotated_filter, np.ones((2, 2, 1, 3, 3)), ()),
        (ops.active_rotated_filter_backward, np.ones((2, 2, 3, 3)), ((2, 2, 1, 3, 3),)),
    ):
        with pytest.raises(
            ValueError, match=rf"^{call.__name__}: indices must hold numbers at least 1 and below 10, got"
        ):
            call(x, indices, *shape)


def test_indices_out_of_range_that_a_gpu_does_not_look_at():
    """Such numbers go nowhere, and nothing is read out of bounds."""
    rng = np.random.default_rng(0)
    x, grad = rng.standard_normal((2, 3, 5)), rng.standard_normal((2, 2, 3, 5))
    places = np.array([[1, 2], [-7, 1], [3, 2**31 - 1], [6, 4], [0, -(2**31)]], np.int32)
    out, back = np.empty((2, 2, 3, 5)), np.empty((2, 3, 5))
    kernels.forward(x, places, out)
    kernels.backward(grad, places, back)
    expected, expected_back = np.zeros_like(out), np.zeros_like(back)
    for e, r in np.ndindex(places.shape):
        if 1 <= places[e, r] <= 5:
            expected[:, r, :, places[e, r] - 1] = x[:, :, e]
            expected_back[:, :, e] += grad[:, r, :, places[e, r] - 1]
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_allclose(back, expected_back, rtol=1e-15)


def test_wrong_shapes():
    grad, indices = np.ones((4, 2, 3, 3)), np.arange(1, 10).reshape(1, 3, 3, 1)
    for shape, error, text in (
        ((4, 2, 1, 3), ValueError, "input_shape must be 5 ints, got 4"),
        (7, TypeError, "input_shape must be 5 ints, got int"),
        ((4, 2, 1, 3, 2), ValueError, "input_shape must end as indices' shape begins"),
        ((4, -2, 1, 3, 3), ValueError, "input_shape must be at least 0, got -2"),
        ((4, 3, 1, 3, 3), ValueError, "grad must have shape"),
    ):
        with pytest.raises(error, match=rf"^active_rotated_filter_backward: {text}"):
            ops.active_rotated_filter_backward(grad, indices, shape)
