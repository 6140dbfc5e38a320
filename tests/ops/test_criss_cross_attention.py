"""criss_cross_attention on maps that need several stretches of lanes and groups of rows, with huge energies and NaN; its module."""

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cases.criss_cross_attention import _inputs, plain
from tests.conftest import Library


def einsum(query, key, value):
    """In float64, with torch, differentiable."""
    import torch

    from arrayvision.cases.criss_cross_attention import _einsum

    return _einsum(torch, query, key, value)


@pytest.mark.parametrize("sizes", [(1, 3, 30, 14, 37), (2, 14, 5, 26, 5), (1, 1, 1, 1, 1), (1, 2, 7, 140, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sizes(sizes, dtype, backend):
    """With gradients. Of the tallest map, weights are made for some rows at a time."""
    torch = pytest.importorskip("torch")
    library, inputs = Library("numpy", backend), _inputs(*sizes)
    arrays = [library.asarray(x, dtype) for x in inputs.values()]
    grad = np.random.default_rng(1).standard_normal(inputs["value"].shape)
    wide = [torch.from_numpy(library.numpy(x).astype(np.float64)).requires_grad_() for x in arrays]
    expected = einsum(*wide)
    gradients = torch.autograd.grad(expected, wide, torch.from_numpy(grad))
    out, logs = ops.criss_cross_attention_with_logsumexp(*arrays)
    close = 2e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(library.numpy(out), expected.detach().numpy(), rtol=close, atol=close)
    found = ops.criss_cross_attention_backward(library.asarray(grad, dtype), *arrays, out, logs)
    for a, b in zip(found, gradients, strict=True):
        np.testing.assert_allclose(library.numpy(a), b.numpy(), rtol=close, atol=10 * close)


def test_memory_that_held_something_else(monkeypatch):
    """Results and temporaries are written before they are read: of columns side by side, of the few that are left, and of rows."""
    inputs = [x.astype(np.float32) for x in _inputs(1, 3, 13, 7, 34).values()]
    expected, empty = ops.criss_cross_attention(*inputs), np.empty
    monkeypatch.setattr(np, "empty", lambda *given, **how: np.full_like(empty(*given, **how), np.nan))
    monkeypatch.setattr(np, "empty_like", lambda x: np.full(x.shape, np.nan, x.dtype))
    np.testing.assert_array_equal(ops.criss_cross_attention(*inputs), expected)


def test_energies_that_exponentials_do_not_hold(library):
    """A partner that outweighs all others, in the row or in the column, and one that nearly does."""
    inputs = _inputs(1, 1, 2, 5, 6)
    inputs["query"][...], inputs["key"][...] = 1, np.arange(30).reshape(5, 6) * 200.0 % 1001 - 500
    out = ops.criss_cross_attention(*map(library.asarray, inputs.values()))
    np.testing.assert_allclose(library.numpy(out), plain(**inputs), rtol=1e-5, atol=1e-5)


def test_nan(library):
    """It reaches the pixels whose energies have it, and no other."""
    inputs = _inputs(1, 2, 3, 4, 5)
    expected = plain(**inputs)
    inputs["key"][0, 1, 2, 3] = np.nan
    out = library.numpy(ops.criss_cross_attention(*map(library.asarray, inputs.values())))
    crossed = np.zeros((4, 5), bool)
    crossed[2], crossed[:, 3] = True, True
    assert np.isnan(out[0][:, crossed]).all()
    np.testing.assert_allclose(out[0][:, ~crossed], expected[0][:, ~crossed], rtol=1e-5, atol=1e-5)


def test_wrong_arguments():
    query, key, value = _inputs(1, 2, 3, 4, 5).values()
    for given, error, text in (
        ((query, key[:, :1], value), ValueError, "key must"),
        ((query, key, value[..., 1:]), ValueError, "value must have shape"),
        ((query, key, value[0]), ValueError, "value must have shape"),
        ((query, key.astype(complex), value), TypeError, "key must hold real numbers"),
    ):
        with pytest.raises(error, match=f"^criss_cross_attention: {text}"):
            ops.criss_cross_attention(*given)
    with pytest.raises(ValueError, match=r"^criss_cross_attention_backward: logsumexp must"):
        ops.criss_cross_attention_backward(value, query, key, value, value, np.ones((1, 4, 4)))


def test_module():
    torch = pytest.importorskip("torch")
    from arrayvision.registry import MODELS
    from arrayvision.torch_bridge.ops import CrissCrossAttention

    module = MODELS.build(dict(type="CrissCrossAttention", in_channels=32)).double()
    assert type(module) is CrissCrossAttention and repr(module) == "CrissCrossAttention(in_channels=32)"
    shapes = {"query_conv": (4, 32, 1, 1), "key_conv": (4, 32, 1, 1), "value_conv": (32, 32, 1, 1)}
    wanted = {f"{n}.weight": s for n, s in shapes.items()} | {f"{n}.bias": s[:1] for n, s in shapes.items()}
    assert {n: tuple(p.shape) for n, p in module.state_dict().items()} == wanted | {"gamma.scale": ()}
    x = torch.randn(2, 32, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.equal(module(x), x)  # nothing is learned yet
    with torch.no_grad():
        module.gamma.scale.fill_(0.7)
    out, copy = module(x), x.detach().clone().requires_grad_()
    expected = einsum(*(conv(copy) for conv in (module.query_conv, module.key_conv, module.value_conv))) * 0.7 + copy
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(out)
    out.backward(weight)
    expected.backward(weight)
    torch.testing.assert_close(x.grad, copy.grad, rtol=1e-11, atol=1e-11)
    with pytest.raises(ValueError, match=r"^CrissCrossAttention: in_channels must be at least 8, got 4"):
        CrissCrossAttention(4)
    with pytest.raises(ValueError, match=r"^CrissCrossAttention: x must have shape \(N, 32, H, W\), got"):
        module(x[:, :8])
