"""The autograd names of older code."""

import inspect

import pytest
import torch

from arrayvision.torch_bridge import ops

NAMES = sorted(n for n in ops.__all__ if n.endswith("Function"))


@pytest.mark.parametrize("name", NAMES)
def test_apply_is_the_operator(name):
    apply = getattr(ops, name).apply
    assert getattr(ops, apply.__name__) is apply
    assert apply.__name__.replace("_", "") == name.removesuffix("Function").lower()


def test_apply_records_gradients():
    x = torch.randn(1, 2, 8, 8, requires_grad=True)
    ops.RoIAlignFunction.apply(x, torch.tensor([[0, 1.0, 1, 6, 6]]), (2, 2), 1.0, 2, "avg", True).sum().backward()
    torch.testing.assert_close(x.grad.sum(), torch.tensor(8.0))
    assert "aligned" in inspect.signature(ops.RoIAlignFunction.apply).parameters
