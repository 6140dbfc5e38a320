"""Focal losses; see `arrayvision.ops.focal_loss` for what they compute."""

from __future__ import annotations

from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.errors import InvalidKind
from arrayvision.torch_bridge.library import differentiable

_ARGUMENTS = "Tensor input, Tensor target, float gamma, float alpha, Tensor? weight, str reduction"

_sigmoid_focal_loss = differentiable(
    "sigmoid_focal_loss",
    _ARGUMENTS,
    ops.sigmoid_focal_loss,
    lambda *args: (ops.sigmoid_focal_loss_backward(*args),),
    lambda input, target, gamma, alpha, weight, reduction: input.shape if reduction == "none" else (),
    1,
)
_softmax_focal_loss = differentiable(
    "softmax_focal_loss",
    _ARGUMENTS,
    ops.softmax_focal_loss,
    lambda *args: (ops.softmax_focal_loss_backward(*args),),
    lambda input, target, gamma, alpha, weight, reduction: input.shape[:1] if reduction == "none" else (),
    1,
)


def sigmoid_focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`arrayvision.ops.sigmoid_focal_loss` on tensors, differentiable once, in `input`."""
    return _sigmoid_focal_loss(input, target, gamma, alpha, weight, reduction)


def softmax_focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`arrayvision.ops.softmax_focal_loss` on tensors, differentiable once, in `input`."""
    return _softmax_focal_loss(input, target, gamma, alpha, weight, reduction)


class _FocalLoss(nn.Module):
    def __init__(self, gamma: float, alpha: float, weight: Tensor | None = None, reduction: str = "mean"):
        super().__init__()
        name = type(self).__name__
        if not (weight is None or isinstance(weight, Tensor)):
            raise InvalidKind(f"{name}: weight must be a tensor or None, got {type(weight).__name__}")
        self.gamma, self.alpha = check.number(name, "gamma", gamma), check.number(name, "alpha", alpha)
        self.reduction = check.choice(name, "reduction", reduction, ("none", "mean", "sum"))
        self.register_buffer("weight", weight)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, alpha={self.alpha}, reduction={self.reduction}"


class SigmoidFocalLoss(_FocalLoss):
    """Focal loss of independent binary classifiers.

    Parameters
    ----------
    gamma, alpha, weight, reduction
        As in `arrayvision.ops.sigmoid_focal_loss`; `weight` is kept as a buffer.

    Shape
    -----
    input (N, C), target (N,) -> (), or (N, C) for reduction "none".
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return sigmoid_focal_loss(input, target, self.gamma, self.alpha, self.weight, self.reduction)


class SoftmaxFocalLoss(_FocalLoss):
    """Focal loss of one classifier among C classes.

    Parameters
    ----------
    gamma, alpha, weight, reduction
        As in `arrayvision.ops.softmax_focal_loss`; `weight` is kept as a buffer.

    Shape
    -----
    input (N, C), target (N,) -> (), or (N,) for reduction "none".
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return softmax_focal_loss(input, target, self.gamma, self.alpha, self.weight, self.reduction)
