"""Focal losses and the geometry through torch, beyond what `test_cases.py` tests of every operator."""

import pytest
import torch
from torch.autograd import gradcheck

from arrayvision import ops as array_ops
from arrayvision.torch_bridge import ops


def rand(*shape, seed=0, low=0.0, high=1.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.double) * (high - low) + low


def labels(n, classes):
    return torch.arange(n) % (classes + 1)


X, W = rand(7, 4, low=-3, high=3), rand(4, seed=1, low=0.5)
POINTS, QUADS = rand(6, 18, low=-2, high=2), rand(6, 8, seed=1, low=-2, high=2)


def test_what_is_not_differentiable_carries_no_gradient():
    points = POINTS.clone().requires_grad_()
    assert not ops.convex_iou(points, QUADS).requires_grad and not ops.min_area_polygons(points).requires_grad
    giou, grad = ops.convex_giou(points, QUADS)
    assert giou.requires_grad and not grad.requires_grad
    torch.testing.assert_close(torch.autograd.grad(giou.sum(), points)[0], grad)
    assert not ops.points_in_polygons(points[:, :2], QUADS).requires_grad


def test_boxes_of_two_dtypes_get_gradients_in_their_own():
    a, b = (rand(1, 3, 5, seed=k, low=0.3) for k in (0, 1))
    a, b = a.float().requires_grad_(), b.requires_grad_()
    out = ops.diff_iou_rotated_2d(a, b)
    out.sum().backward()
    assert out.dtype is torch.double and a.grad.dtype is torch.float and b.grad.dtype is torch.double


def test_equal_boxes_train_nowhere_else():
    """Descent on 1 - IoU from a shifted, turned box finds its target, and stays."""
    target = torch.tensor([[[1.0, 2, 4, 2, 0.5]]])
    box = (target + torch.tensor([0.5, -0.4, 1, 0.5, 0.4])).requires_grad_()
    optimizer = torch.optim.SGD([box], 0.3)
    for k in range(300):
        optimizer.param_groups[0]["lr"] = 0.3 * 0.98**k
        optimizer.zero_grad()
        (1 - ops.diff_iou_rotated_2d(box, target)).sum().backward()
        optimizer.step()
    assert ops.diff_iou_rotated_2d(box, target).item() > 0.98
    box = target.clone().requires_grad_()
    ops.diff_iou_rotated_2d(box, target).sum().backward()
    assert not box.grad.any()


@pytest.mark.parametrize("kind", ["Sigmoid", "Softmax"])
def test_modules(kind):
    module = getattr(ops, f"{kind}FocalLoss")(1.5, 0.3, W, "sum")
    function = getattr(ops, f"{kind.lower()}_focal_loss")
    assert torch.equal(module(X, labels(7, 3)), function(X, labels(7, 3), 1.5, 0.3, W, "sum"))
    assert "gamma=1.5, alpha=0.3, reduction=sum" in repr(module)
    assert list(module.state_dict()) == ["weight"] and module.float().weight.dtype is torch.float
    plain = getattr(ops, f"{kind}FocalLoss")(2.0, 0.25)
    assert not plain.state_dict() and torch.equal(plain(X, labels(7, 3)), function(X, labels(7, 3)))
    x = X.clone().requires_grad_()
    assert gradcheck(plain, (x, labels(7, 3)))


def test_bad_arguments():
    with pytest.raises(ValueError, match="sigmoid_focal_loss: target must be at most 4"):
        ops.sigmoid_focal_loss(X, torch.full((7,), 5))
    with pytest.raises(ValueError, match="softmax_focal_loss: target must have as many rows"):
        ops.softmax_focal_loss(X, labels(6, 3))
    with pytest.raises(ValueError, match="diff_iou_rotated_2d: box1 must have shape"):
        ops.diff_iou_rotated_2d(X, X)
    with pytest.raises(TypeError, match="requires grad"):  # nothing is lost in silence
        array_ops.diff_iou_rotated_2d(rand(1, 1, 5).requires_grad_(), rand(1, 1, 5))
