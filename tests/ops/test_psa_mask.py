"""psa_mask against golden data; its module; wrong masks."""

import numpy as np
import pytest

from arrayvision import ops
from tests.conftest import Library
from tests.golden import cases


@pytest.mark.parametrize("case", cases("psa_mask"), ids=lambda c: c.name)
def test_golden(case, library):
    given = library.asarray(case.inputs["input"])
    dtype = library.numpy(given).dtype
    how = case.args["psa_type"], tuple(case.args["mask_size"])
    np.testing.assert_array_equal(library.numpy(ops.psa_mask(given, *how)), case.outputs["0"].astype(dtype))
    grad = ops.psa_mask_backward(library.asarray(case.cots["0"]), *how)
    np.testing.assert_array_equal(library.numpy(grad), case.grads["input"].astype(dtype))


@pytest.mark.parametrize("h, w", [(3, 70), (37, 2), (33, 34)])
@pytest.mark.parametrize("psa_type", ["collect", "distribute"])
def test_more_than_a_tile(h, w, psa_type, backend):
    """Sizes that tiles don't divide; the gradient is the transpose."""
    rng, library = np.random.default_rng(0), Library("numpy", backend)
    size = (min(2 * h - 1, 5), min(2 * w + 1, 75))
    x = rng.standard_normal((1, size[0] * size[1], h, w)).astype(np.float32)
    out = library.numpy(ops.psa_mask(library.asarray(x), psa_type, size))
    seeing, seen = out.reshape(h, w, h, w), out.reshape(h, w, h, w).transpose(2, 3, 0, 1)
    pairs = seen if psa_type == "collect" else seeing
    for y, u in ((0, 0), (h - 1, w - 1), (h // 2, w // 2), (0, w - 1)):
        for v, x_ in ((0, 0), (h - 1, w // 2), (h // 2, w - 1)):
            row, column = v - y + (size[0] - 1) // 2, u - x_ + (size[1] - 1) // 2
            inside = 0 <= row < size[0] and 0 <= column < size[1]
            assert pairs[y, x_, v, u] == (x[0, row * size[1] + column, y, x_] if inside else 0)
    grad = rng.standard_normal(out.shape).astype(np.float32)
    back = library.numpy(ops.psa_mask_backward(library.asarray(grad), psa_type, size))
    assert np.vdot(out.astype(float), grad.astype(float)) == pytest.approx(np.vdot(x.astype(float), back.astype(float)))


def test_wrong_masks():
    x = np.ones((1, 9, 4, 4))
    for arguments, error, text in (
        (("collect", (3, 5)), ValueError, "input must have as many channels as a mask of 3 x 5 has numbers, 15, got 9"),
        (("collect",), ValueError, "input must have as many channels as a mask of 7 x 7 has numbers, 49, got 9"),
        (("gather", (3, 3)), ValueError, "psa_type must be 'collect' or 'distribute', got 'gather'"),
        ((2, (3, 3)), ValueError, "psa_type must be 'collect' or 'distribute', got 2"),
        (("collect", (3, 0)), ValueError, "mask_size must be at least 1, got 0"),
        (("collect", (9,)), ValueError, "mask_size must be an int or two, got 1"),
        (("collect", 3.0), TypeError, "mask_size must be an int or two, got float"),
    ):
        with pytest.raises(error, match=rf"^psa_mask: {text}"):
            ops.psa_mask(x, *arguments)
    with pytest.raises(ValueError, match=r"^psa_mask_backward: grad must have shape \(1, 16, 4, 4\), got"):
        ops.psa_mask_backward(x, "collect", (3, 3))


def test_module():
    torch = pytest.importorskip("torch")
    from arrayvision.torch_bridge import ops as torch_ops

    x = torch.randn(2, 16, 3, 4, dtype=torch.float64, requires_grad=True)
    module = torch_ops.PSAMask("distribute", (4, 4))
    assert repr(module) == "PSAMask(psa_type=distribute, mask_size=(4, 4))" and not module.state_dict()
    out = module(x)
    expected = ops.psa_mask(x.detach().numpy(), 1, (4, 4))
    np.testing.assert_array_equal(out.detach().numpy(), expected)
    np.testing.assert_array_equal(torch_ops.PSAMaskFunction.apply(x, 1, (4, 4)).detach().numpy(), expected)
    out.sum().backward()
    assert x.grad.max() == 1
    with pytest.raises(AssertionError, match=r"^PSAMask: psa_type must be 'collect' or 'distribute', got 'x'"):
        torch_ops.PSAMask("x")
