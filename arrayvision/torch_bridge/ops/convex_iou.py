"""IoU of convex hulls; see `arrayvision.ops.convex_iou` for what they compute."""

from __future__ import annotations

from torch import Tensor

from arrayvision import ops
from arrayvision.torch_bridge.library import Gradient, register, result_dtype

_convex_iou = register(
    "convex_iou(Tensor pointsets, Tensor polygons) -> Tensor",
    ops.convex_iou,
    lambda a, b: a.new_empty((a.shape[0], b.shape[0]), dtype=result_dtype(a, b)),
)
_convex_giou = register(
    "convex_giou(Tensor pointsets, Tensor polygons) -> (Tensor, Tensor)",
    ops.convex_giou,
    lambda a, b: tuple(a.new_empty(shape, dtype=result_dtype(a, b)) for shape in (a.shape[:1], a.shape)),
    Gradient(lambda call, grad, _: (grad.unsqueeze(-1) * call.results[0],), unkept=(0, 1), results=(1,), constant=(1,)),
)


def convex_iou(pointsets: Tensor, polygons: Tensor) -> Tensor:
    """`arrayvision.ops.convex_iou` on tensors (N, 18) and (K, 8); the result carries no gradient."""
    return _convex_iou(pointsets, polygons)


def convex_giou(pointsets: Tensor, polygons: Tensor) -> tuple[Tensor, Tensor]:
    """`arrayvision.ops.convex_giou` on tensors (N, 18) and (N, 8): the GIoUs (N,) and their gradient (N, 18).

    The GIoUs are differentiable once in `pointsets`, by that gradient; nothing is in `polygons`.
    """
    return _convex_giou(pointsets, polygons)
