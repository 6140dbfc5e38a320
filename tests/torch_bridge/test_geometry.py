"""Focal losses and the geometry through torch: gradients, torch.compile, export, torch.func, autocast."""

import contextlib
import warnings
from typing import NamedTuple

import pytest
import torch
from torch.autograd import gradcheck
from torch.library import opcheck

from arrayvision import ops as array_ops
from arrayvision.torch_bridge import ops


class Case(NamedTuple):
    function: object  # of tensors; gives one
    operator: str
    tensors: tuple  # float64
    wrt: int  # how many of the first are differentiable
    rest: tuple = ()  # the operator's other arguments


def rand(*shape, seed=0, low=0.0, high=1.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.double) * (high - low) + low


def labels(n, classes):
    return torch.arange(n) % (classes + 1)


X, W = rand(7, 4, low=-3, high=3), rand(4, seed=1, low=0.5)
POINTS, QUADS = rand(6, 18, low=-2, high=2), rand(6, 8, seed=1, low=-2, high=2)
CASES = {
    "sigmoid none": Case(
        lambda x: ops.sigmoid_focal_loss(x, labels(7, 4), 2.0, 0.25, W, "none"),
        "sigmoid_focal_loss", (X,), 1, (labels(7, 4), 2.0, 0.25, W, "none"),
    ),
    "sigmoid mean": Case(
        lambda x: ops.sigmoid_focal_loss(x, labels(7, 4), 1.5),
        "sigmoid_focal_loss", (X,), 1, (labels(7, 4), 1.5, 0.25, None, "mean"),
    ),
    "softmax none": Case(
        lambda x: ops.softmax_focal_loss(x, labels(7, 3), 2.0, 0.25, W, "none"),
        "softmax_focal_loss", (X,), 1, (labels(7, 3), 2.0, 0.25, W, "none"),
    ),
    "softmax sum": Case(
        lambda x: ops.softmax_focal_loss(x, labels(7, 3), 0.5, reduction="sum"),
        "softmax_focal_loss", (X,), 1, (labels(7, 3), 0.5, 0.25, None, "sum"),
    ),
    "iou 2d": Case(
        ops.diff_iou_rotated_2d, "diff_iou_rotated_2d", (rand(2, 5, 5, low=0.3), rand(2, 5, 5, seed=1, low=0.3)), 2
    ),
    "iou 3d": Case(
        ops.diff_iou_rotated_3d, "diff_iou_rotated_3d", (rand(2, 5, 7, low=0.3), rand(2, 5, 7, seed=1, low=0.3)), 2
    ),
    "giou": Case(lambda p, q: ops.convex_giou(p, q)[0], "convex_giou", (POINTS, QUADS), 1),
    "convex iou": Case(ops.convex_iou, "convex_iou", (POINTS, QUADS), 0),
    "rectangles": Case(ops.min_area_polygons, "min_area_polygons", (POINTS,), 0),
    "points": Case(ops.points_in_polygons, "points_in_polygons", (rand(9, 2, low=-2, high=2), QUADS), 0),
}  # fmt: skip
DIFFERENTIABLE = [name for name, case in CASES.items() if case.wrt]


def inputs(case, dtype=torch.double):
    return [x.to(dtype).clone().requires_grad_(k < case.wrt) for k, x in enumerate(case.tensors)]


def gradients(function, tensors, wrt):
    out = function(*tensors)
    return out, torch.autograd.grad(weighted(out), tensors[:wrt])


def weighted(out):
    """A sum in which each element has another weight."""
    return (out * torch.linspace(0.5, 1.5, out.numel(), dtype=out.dtype).reshape(out.shape)).sum()


@contextlib.contextmanager
def quiet():
    """torch warns that vmap runs custom operators one by one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")
        yield


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradcheck(name, backend):
    if backend == "cuda":
        pytest.skip("arrays of the CPU")
    case = CASES[name]
    assert gradcheck(case.function, inputs(case))
    for k in range(case.wrt):  # one alone
        tensors = [x.detach().requires_grad_(i == k) for i, x in enumerate(inputs(case))]
        assert gradcheck(case.function, tensors)


@pytest.mark.parametrize("name", CASES)
def test_opcheck(name):
    case = CASES[name]
    opcheck(getattr(torch.ops.arrayvision, case.operator).default, (*inputs(case), *case.rest))


@pytest.mark.parametrize("name", CASES)
def test_compile(name):
    case = CASES[name]
    tensors = inputs(case)
    for dynamic in (False, True):
        torch._dynamo.reset()
        compiled = torch.compile(case.function, fullgraph=True, backend="aot_eager", dynamic=dynamic)
        if case.wrt:
            (a, ga), (b, gb) = gradients(case.function, tensors, case.wrt), gradients(compiled, tensors, case.wrt)
            for x, y in zip((a, *ga), (b, *gb), strict=True):
                assert torch.equal(x, y) and x.stride() == y.stride()
        else:
            assert torch.equal(case.function(*tensors), compiled(*tensors))


@pytest.mark.parametrize("name", CASES)
def test_export(name):
    case = CASES[name]

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Parameter(case.tensors[0].clone())

        def forward(self, *others):
            return case.function(self.first, *others)

    model, others = Model(), case.tensors[1:]
    exported = torch.export.export(model, others).module()
    out, expected = exported(*others), model(*others)
    assert torch.equal(out, expected)
    if case.wrt:
        out.sum().backward()
        expected.sum().backward()
        (parameter,) = exported.parameters()
        assert torch.equal(parameter.grad, model.first.grad)


@pytest.mark.parametrize("name", CASES)
def test_vmap(name):
    case = CASES[name]
    batch = [torch.stack([x, x.flip(0)]) for x in case.tensors]
    with quiet():
        out = torch.vmap(case.function)(*batch)
    for k in range(2):
        assert torch.equal(out[k], case.function(*(x[k] for x in batch)))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_functional_gradients(name):
    case = CASES[name]
    tensors = [x.detach() for x in inputs(case)]
    which = tuple(range(case.wrt))
    _, expected = gradients(lambda *args: case.function(*args) * 2, inputs(case), case.wrt)

    def loss(*args):
        return weighted(case.function(*args) * 2)

    for x, y in zip(torch.func.grad(loss, which)(*tensors), expected, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=0)
    batch = [torch.stack([x, x.flip(0)]) for x in tensors]
    with quiet():
        found = torch.vmap(torch.func.grad(loss, which))(*batch)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x[0], y, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_that_are_not_contiguous(name):
    case = CASES[name]
    tensors = inputs(case)
    out = case.function(*tensors)
    expanded = torch.autograd.grad(out, tensors[: case.wrt], torch.ones((), dtype=torch.double).expand(out.shape))
    plain = torch.autograd.grad(case.function(*tensors), tensors[: case.wrt], torch.ones(out.shape, dtype=torch.double))
    for x, y in zip(expanded, plain, strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_second_derivatives_are_refused(name):
    case = CASES[name]
    tensors = inputs(case)
    (first, *_) = torch.autograd.grad((case.function(*tensors) ** 2).sum(), tensors[: case.wrt], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16, torch.float])
@pytest.mark.parametrize("name", CASES)
def test_dtypes_and_autocast(name, dtype):
    case = CASES[name]
    tensors = inputs(case, dtype)
    with torch.autocast("cpu"):
        out = case.function(*tensors)
    assert out.dtype is dtype and out.requires_grad == bool(case.wrt)
    if case.wrt:
        assert {g.dtype for g in torch.autograd.grad(out.sum(), tensors[: case.wrt])} == {dtype}


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


@pytest.mark.parametrize("name", CASES)
def test_integers_and_two_dtypes_compiled(name):
    """What torch.compile expects without values is what kernels give."""
    torch._dynamo.reset()
    case = CASES[name]
    compiled = torch.compile(lambda *args: case.function(*args) * 0.5, fullgraph=True, backend="aot_eager")
    whole = [x.mul(3).round().long() for x in case.tensors]
    mixed = [x.to(dtype) for x, dtype in zip(case.tensors, (torch.half, torch.bfloat16), strict=False)]
    for tensors, dtype in ((whole, torch.float), (mixed, torch.half if len(mixed) == 1 else torch.float)):
        out, expected = compiled(*tensors), case.function(*tensors) * 0.5
        assert out.dtype is expected.dtype is dtype
        torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)


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
