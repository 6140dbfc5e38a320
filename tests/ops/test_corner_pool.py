"""corner_pool on integers, NaN, infinite numbers and ties, as torch.cummax has them; its gradient and tangent."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cases.corner_pool import plain
from arrayvision.ops.corner_pool import MODES

modes = pytest.mark.parametrize("mode", MODES)


@modes
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "uint32"])
def test_integers_stay_integers(mode, dtype, library):
    if not library.has(dtype):
        pytest.skip("the library has no such dtype")
    low, high = max(np.iinfo(dtype).min, -(2**62)), min(np.iinfo(dtype).max, 2**62)
    x = np.random.default_rng(0).integers(low, high, (2, 1, 7, 70)).astype(dtype)
    if dtype == "int64":
        x[0, 0, :, 3:5] = 2**53 + 1, 2**53  # which no float tells apart
    out = ops.corner_pool(library.asarray(x), mode)
    assert library.owns(out) and str(out.dtype).rsplit(".", 1)[-1] == dtype
    np.testing.assert_array_equal(library.numpy(out), plain(x, mode))


def test_integers_that_int64_does_not_hold():
    with pytest.raises(ValueError, match=r"^corner_pool: input must hold numbers that int64 holds, got"):
        ops.corner_pool(np.full((1, 1, 1, 2), 2**64 - 1, np.uint64), "left")


@modes
def test_as_torch_has_it(mode, library):
    """With ties, NaN and infinite numbers; the gradient goes to the last of equal maxima, and the tangent comes from it."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    for special in (False, True):
        x = rng.integers(-3, 4, (2, 3, 40, 70)).astype(np.float32)
        if special:
            x[rng.random(x.shape) < 0.02] = np.nan
            x[rng.random(x.shape) < 0.02] = -np.inf
            x[rng.random(x.shape) < 0.01] = np.inf
        weights = rng.integers(-8, 9, x.shape).astype(np.float32)  # sums are exact
        axis, back = 2 if mode in ("top", "bottom") else 3, mode in ("top", "left")
        given = torch.from_numpy(x).requires_grad_()
        values, which = torch.cummax(given.flip(axis) if back else given, axis)
        expected = values.flip(axis) if back else values
        (grad,) = torch.autograd.grad(expected, given, torch.from_numpy(weights))
        moved = torch.from_numpy(weights.copy())
        moved = (moved.flip(axis) if back else moved).gather(axis, which)
        moved = moved.flip(axis) if back else moved
        arrays = [library.asarray(a) for a in (weights, x)]
        out = ops.corner_pool(arrays[1], mode)
        np.testing.assert_array_equal(library.numpy(out), expected.detach().numpy())
        np.testing.assert_array_equal(library.numpy(ops.corner_pool_backward(*arrays, out, mode)), grad.numpy())
        np.testing.assert_array_equal(library.numpy(ops.corner_pool_tangent(*arrays, out, mode)), moved.numpy())


def test_gradients_of_another_dtype(backend):
    x = np.array([1, 3, 2.0], np.float16).reshape(1, 1, 1, 3)
    if backend == "cuda":
        pytest.skip("arrays of the CPU")
    pooled = ops.corner_pool(x, "right")
    grad = ops.corner_pool_backward(np.array([1, 2, 1e-9]).reshape(1, 1, 1, 3), x, pooled, "right")
    assert grad.dtype == np.float64
    np.testing.assert_array_equal(grad.ravel(), [1, 2 + 1e-9, 0])
    grad = ops.corner_pool_backward(pooled, x.astype(np.float64), pooled.astype(np.float32), "right")
    assert grad.dtype == np.float16
    np.testing.assert_array_equal(grad.ravel(), [1, 6, 0])


def test_wrong_arguments():
    x = np.ones((1, 2, 3, 4))
    with pytest.raises(
        ValueError, match=r"^corner_pool: mode must be 'top', 'bottom', 'left' or 'right', got 'corner'"
    ):
        ops.corner_pool(x, "corner")
    with pytest.raises(ValueError, match=r"^corner_pool_backward: pooled must have shape"):
        ops.corner_pool_backward(x, x, x[..., 1:], "top")
    with pytest.raises(TypeError, match=r"^corner_pool: input must hold real numbers, got dtype bool"):
        ops.corner_pool(x > 0, "top")


def test_module():
    torch = pytest.importorskip("torch")
    from arrayvision.torch_bridge import ops as torch_ops

    x = torch.tensor([[0, 3, 1, 0], [0, 1, 1, 0], [0, 3, 4, 0], [0, 2, 2, 0]])[None, None]
    expected = torch.tensor([[0, 3, 4, 0], [0, 3, 4, 0], [0, 3, 4, 0], [0, 2, 2, 0]])[None, None]
    out = torch_ops.CornerPool("top")(x)
    assert out.dtype is torch.int64 and torch.equal(out, expected)
    with pytest.raises(AssertionError):
        torch_ops.CornerPool("corner")
