"""masked_conv2d with masks of every kind, many positions, and what torch computes where most are wanted; its module."""

import importlib

import numpy as np
import pytest

from arrayvision import ops
from arrayvision.cases.masked_conv2d import plain
from arrayvision.cpu import masked_conv2d as cpu
from arrayvision.cuda import masked_conv2d as cuda
from tests.conftest import Library

RNG = np.random.default_rng(0)
X, WEIGHT, BIAS = RNG.standard_normal((2, 3, 7, 6)), RNG.standard_normal((4, 3, 3, 3)), RNG.standard_normal(4)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64"])
def test_masks_of_every_kind(dtype, library):
    if not library.has(dtype):
        pytest.skip("the library has no such dtype")
    mask = RNG.integers(0, 2, (2, 7, 6)).astype(dtype)
    if dtype.startswith("float"):
        mask[0, 0, :4] = np.nan, -1, np.inf, np.finfo(dtype).smallest_subnormal
    x, weight, bias = map(library.asarray, (X, WEIGHT, BIAS))
    out = library.numpy(ops.masked_conv2d(x, library.asarray(mask), weight, bias, 1))
    np.testing.assert_allclose(out, plain(X, mask, WEIGHT, BIAS, 1), rtol=1e-5, atol=1e-5)
    none = library.numpy(ops.masked_conv2d(x, library.asarray(np.zeros_like(mask)), weight, None, 1))
    assert none.shape == (2, 4, 7, 6) and not none.any()


def test_more_positions_than_are_taken_at_once(backend, monkeypatch):
    monkeypatch.setattr(cpu, "DEPTH", 20)  # two channels, then one
    monkeypatch.setattr(cuda, "MEMORY", 27 * 17)
    library, mask = Library("numpy", backend), RNG.integers(-1, 2, (2, 7, 6))
    out = ops.masked_conv2d(*map(library.asarray, (X, mask, WEIGHT, BIAS)), (1, 2))
    np.testing.assert_allclose(library.numpy(out), plain(X, mask, WEIGHT, BIAS, (1, 2)), rtol=1e-12, atol=1e-12)


def test_what_is_not_wanted_is_not_computed(backend):
    """A NaN there doesn't matter."""
    library, x, mask = Library("numpy", backend), X.copy(), np.ones((2, 7, 6))
    x[0, 1, 3, 3] = np.nan
    mask[0, 2:5, 2:5] = 0
    out = library.numpy(ops.masked_conv2d(*map(library.asarray, (x, mask, WEIGHT, BIAS)), 1))
    assert np.isfinite(out).all() and not out[0, :, 2:5, 2:5].any()


def test_wrong_arguments():
    mask = np.ones((2, 7, 6))
    for arguments, error, text in (
        ((X, mask[:1], WEIGHT, BIAS), ValueError, "mask must"),
        ((X, mask[:, 1:], WEIGHT, BIAS), ValueError, "mask must have shape"),
        ((X, mask[0], WEIGHT, BIAS), ValueError, "mask must have shape"),
        ((X, mask + 0j, WEIGHT, BIAS), TypeError, "mask must hold real numbers"),
        ((X, mask, WEIGHT[:, :2], BIAS), ValueError, "weight must have shape"),
        ((X, mask, WEIGHT, BIAS[:3]), ValueError, "bias must"),
        ((X, mask, WEIGHT, BIAS, 0, 2), ValueError, r"stride must be 1, got \(2, 2\)"),
        ((X, mask, WEIGHT, BIAS, -1), ValueError, "padding must be at least 0, got -1"),
        ((X, mask, np.ones((4, 3, 8, 1)), BIAS), ValueError, "weight must have filters of 1 x 1 or more that fit"),
    ):
        with pytest.raises(error, match=f"^masked_conv2d: {text}"):
            ops.masked_conv2d(*arguments)


def test_where_most_are_wanted(monkeypatch):
    """torch computes all then."""
    torch = pytest.importorskip("torch")
    from arrayvision.torch_bridge.ops import masked_conv2d as call

    module = importlib.import_module("arrayvision.torch_bridge.ops.masked_conv2d")
    mask = RNG.integers(0, 50, (2, 7, 6))
    given = [torch.from_numpy(a) for a in (X, mask, WEIGHT, BIAS)]
    for padding in (1, 0, (4, 3)):
        expected = call(*given, padding)
        with monkeypatch.context() as patch:
            patch.setattr(module, "LARGE", 0)
            patch.setattr(module.ops, "masked_conv2d", None)  # isn't called
            torch.testing.assert_close(call(*given, padding), expected, rtol=1e-12, atol=1e-12)
            with pytest.raises(ValueError, match=r"^masked_conv2d: mask must"):
                call(given[0], given[1][:1], *given[2:])


def test_module():
    torch = pytest.importorskip("torch")
    from arrayvision.torch_bridge.ops import MaskedConv2d

    module = MaskedConv2d(3, 4, 3, padding=1).double()
    assert {n: tuple(p.shape) for n, p in module.state_dict().items()} == {"weight": (4, 3, 3, 3), "bias": (4,)}
    x, mask = torch.from_numpy(X), torch.from_numpy(RNG.integers(0, 2, (2, 7, 6)))
    torch.testing.assert_close(module(x), torch.nn.functional.conv2d(x, module.weight, module.bias, padding=1))
    torch.testing.assert_close(module(x, mask), module(x) * mask[:, None])
    (module(x, mask) ** 2).sum().backward()
    grads = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    ((module(x) * mask[:, None]) ** 2).sum().backward()
    for a, b in zip(grads, module.parameters(), strict=True):
        torch.testing.assert_close(a, b.grad)
    with pytest.raises(ValueError, match=r"^MaskedConv2d: dilation must be 1 where there is a mask, got \(2, 2\)"):
        MaskedConv2d(3, 4, 3, padding=1, dilation=2)(x.float(), mask)
