"""The autograd names of older code."""

import inspect

import pytest
import torch

from arrayvision.torch_bridge import ops

OTHER_ORDER = {"MultiScaleDeformableAttnFunction"}  # of arguments
NAMES = sorted(n for n in ops.__all__ if n.endswith("Function") and n not in OTHER_ORDER)


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


def test_attention_by_its_older_order():
    value, locations = torch.randn(1, 5, 2, 3), torch.rand(1, 4, 2, 2, 3, 2)
    shapes, starts, weights = torch.tensor([[2, 2], [1, 1]]), torch.tensor([0, 4]), torch.rand(1, 4, 2, 2, 3)
    found = ops.MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 32)
    assert torch.equal(found, ops.multi_scale_deformable_attn(value, shapes, locations, weights, starts))
