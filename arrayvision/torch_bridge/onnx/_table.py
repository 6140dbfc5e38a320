"""The table from operators to the functions that say them in other words, and what these share."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar

import torch
from torch import Tensor

from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.torch_bridge.library import OLD, result_dtype

TRANSLATIONS: dict[str, dict[str, Callable]] = {"": {}, "mmcv": {}}  # by domain, then by the operator's name
FORMS: dict[str, str] = {}  # an operator's form in standard operators, a line for the docs
REASONS: dict[str, str] = {}  # why an operator can't be exported
DOMAIN: ContextVar[str] = ContextVar("domain", default="")
_KEPT = (torch.float32, torch.float64)  # floats that are computed in as they are


def translation(name: str, form: str, domain: str = "") -> Callable:
    """Enter a function of the operator's arguments, made of torch's operations and ONNX's, in the table."""

    def enter(function):
        TRANSLATIONS[domain][name] = function
        if not domain:
            FORMS[name] = form
        return function

    return enter


def refuse(reason: str, *names: str) -> None:
    """Enter operators that can't be exported."""
    for name in names:
        REASONS[name] = reason


def translate(name: str, args):
    """What an operator does, in operations that the exporter knows. 16-bit floats are computed in float32, as kernels do."""
    if OLD:
        raise InvalidKind(f"arrayvision.{name}: export to ONNX needs torch 2.13 or newer, got {torch.__version__}")
    function = TRANSLATIONS[DOMAIN.get()].get(name) or TRANSLATIONS[""].get(name)
    if function is None:
        reason = "a gradient is for training" if name.endswith(("_backward", "_tangent")) or "_by_" in name else ""
        reason = REASONS.get(name, reason) or "there is no translation"
        raise InvalidValue(f"arrayvision.{name} can't be exported to ONNX: {reason}")
    floats = [x for x in _flat(args) if x.is_floating_point()]
    narrow = bool(floats) and floats[0].dtype not in _KEPT
    wide = torch.float32 if not any(x.dtype is torch.float64 for x in floats) else torch.float64
    found = function(*(_cast(a, wide) for a in args))
    if not narrow:
        return found
    promoted = 2 if name in _PROMOTED else 1
    dtype = result_dtype(*floats[:promoted])
    return tuple(_back(x, dtype) for x in found) if isinstance(found, tuple) else _back(found, dtype)


# Operators of two equal partners: their result has the dtype that both promote to.
_PROMOTED = {
    "nms_rotated", "batched_nms", "soft_nms", "bbox_overlaps", "box_iou_rotated", "box_iou_quadri", "three_nn", "chamfer_distance",
    "boxes_iou3d", "boxes_iou_bev", "boxes_overlap_bev", "correlation", "diff_iou_rotated_2d", "diff_iou_rotated_3d", "convex_iou",
    "points_in_polygons", "roipoint_pool3d", "bias_act",
}  # fmt: skip


def _flat(args):
    for a in args:
        if isinstance(a, Tensor):
            yield a
        elif isinstance(a, (list, tuple)):
            yield from _flat(a)


def _cast(value, dtype):
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() and value.dtype is not dtype else value
    return [_cast(v, dtype) for v in value] if isinstance(value, (list, tuple)) else value


def _back(value, dtype):
    return value.to(dtype) if value.is_floating_point() else value


def node(kind: str, inputs, attributes, shape, dtype=None) -> Tensor:
    """An ONNX operator by its name, "domain::name" for one that isn't standard."""
    return torch.onnx.ops.symbolic(kind, inputs, attributes, dtype=dtype or inputs[0].dtype, shape=shape)


def unknown(like: Tensor):
    """A size that only the runtime knows, for the shape of an ONNX operator's result.

    torch has such a number only where one is read from a tensor. The reading is no part of the exported graph: nothing uses it.
    """
    size = (like == like).sum().item()
    torch._check(size >= 0)
    return size


def anew(x: Tensor) -> Tensor:
    """The same rows under a size of their own: a result's must be a symbol, not an expression like min(9, u0)."""
    return node("Identity", (x,), {}, (unknown(x), *x.shape[1:]))


def turns(angle: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine and the sine of angles; by Sin alone, as older runtimes have no Cos of float64."""
    return (angle + math.pi / 2).sin() if angle.dtype is torch.float64 else angle.cos(), angle.sin()


def number(size, like: Tensor) -> Tensor:
    """A size, which may only be known to the runtime, as a scalar tensor."""
    return torch.full((), size, dtype=like.dtype, device=like.device)


def choose(condition: Tensor, one, other) -> Tensor:
    """`torch.where` of tensors and numbers, which take the dtype of the tensor beside them."""
    like = one if isinstance(one, Tensor) else other
    if not isinstance(one, Tensor):
        one = torch.full((), one, dtype=like.dtype, device=like.device)
    elif not isinstance(other, Tensor):
        other = torch.full((), other, dtype=like.dtype, device=like.device)
    return torch.where(condition, one, other)


def count(size, like: Tensor) -> Tensor:
    """(0, 1, ..., size - 1) in int64."""
    return torch.arange(size, device=like.device)


def greatest(values: Tensor):
    """The greatest of some numbers and 1, as a size."""
    size = torch.cat([values.reshape(-1).long(), values.new_ones(1, dtype=torch.int64)]).max().item()
    torch._check(size >= 1)
    return size


def running_max(x: Tensor, dim: int, backwards: bool = False) -> Tensor:
    """The maxima of what lies before (or behind) each number along an axis: each step looks twice as far as the one before."""
    size = x.shape[dim]
    here, last = count(size, x), number(size, count(1, x)) - 1
    reach = 1
    while reach < (size if isinstance(size, int) else 2**16):  # a size that isn't known is less than 65,536
        there = torch.minimum(here + reach, last) if backwards else (here - reach).clamp(min=0)
        x = torch.maximum(x, x.index_select(dim, there))
        reach *= 2
    return x


def loop(turn: Callable, times: Tensor, state: tuple[Tensor, ...], constants: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A Loop: ``turn(number of turns before, *state, *constants)`` gives the next state; returns the last.

    `turn` may close over no tensor and no size that only the runtime knows.
    """
    # Not torch's function of that name: it enters Dynamo, which can't see sizes that only the runtime knows.
    from torch._higher_order_ops.while_loop import while_loop_op

    def body(at, *rest):
        return at + 1, *turn(at, *rest[: len(state)], *rest[len(state) : -1])

    def more(at, *rest):
        return at < rest[-1]

    return while_loop_op(more, body, (torch.zeros_like(times), *state), (*constants, times))[1:]


def falling(scores: Tensor) -> Tensor:
    """Indices by falling score; ties by position, as TopK has them."""
    return scores.sort(descending=True)[1]


def greedy(given: Tensor, suppresses: Callable[[Tensor], Tensor], most: int | None = None) -> Tensor:
    """Indices that greedy suppression keeps, by falling score.

    Parameters
    ----------
    given : Tensor (N,)
        Scores; a NaN is never kept.
    suppresses : callable
        ``suppresses(order)`` tells which boxes in that order suppress which: bools (N, N).
    most : int, optional
        Only so many, with the best scores, take part.
    """
    scores = choose(given == given, given, -torch.inf)
    order = falling(scores)
    place, size = count(order.shape[0], order), number(order.shape[0], order)
    over = suppresses(order) & (place[:, None] < place)

    def turn(at, gone, over):
        at = at.reshape(1)
        return (gone | (over.index_select(0, at)[0] & ~gone.index_select(0, at)),)

    (gone,) = loop(turn, size, (place < 0,), (over,))
    kept = ~gone & (given == given)[order]
    if most is not None:
        kept = kept & (place < most)
    return order[kept.nonzero()[:, 0]]
