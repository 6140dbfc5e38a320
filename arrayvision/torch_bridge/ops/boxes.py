"""Overlaps and suppression of boxes on tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from arrayvision import check, ops
from arrayvision.ops.nms import _KINDS, _OLDER
from arrayvision.torch_bridge.library import eager, register, result_dtype, unrecorded


def _some(like, *_):
    """As many indices as the data make."""
    return like.new_empty((torch.library.get_ctx().new_dynamic_size(),), dtype=torch.int64)


_nms = register(
    "nms(Tensor boxes, Tensor scores, float iou_threshold, int offset, float score_threshold, int max_num) -> Tensor",
    lambda *args: ops.nms(*args)[1],
    _some,
)
_nms_rotated = register(
    "nms_rotated(Tensor dets, Tensor scores, float iou_threshold, Tensor? labels, bool clockwise) -> Tensor",
    lambda *args: ops.nms_rotated(*args)[1],
    _some,
)
_nms_quadri = register(
    "nms_quadri(Tensor dets, Tensor scores, float iou_threshold, Tensor? labels) -> Tensor",
    lambda *args: ops.nms_quadri(*args)[1],
    _some,
)


def _fake_soft(boxes, scores, *_):
    inds = _some(boxes)
    return boxes.new_empty(inds.shape, dtype=result_dtype(boxes, scores)), inds


def _soften(result, boxes, scores):
    return result[0][:, -1].to(result_dtype(boxes, scores)).contiguous(), result[1]


_soft_nms = register(
    "soft_nms(Tensor boxes, Tensor scores, float iou_threshold, float sigma, float min_score, str method, int offset) "
    "-> (Tensor, Tensor)",
    lambda boxes, scores, *args: _soften(ops.soft_nms(boxes, scores, *args), boxes, scores),
    _fake_soft,
)


def _batched(boxes, scores, idxs, kind, numbers, method, class_agnostic, max_num):
    iou_threshold, offset, score_threshold, sigma, min_score, clockwise = numbers
    given = {
        "iou_threshold": iou_threshold,
        "offset": int(offset),
        "score_threshold": score_threshold,
        "sigma": sigma,
        "min_score": min_score,
        "method": method,
        "clockwise": bool(clockwise),
    }
    cfg = {key: given[key] for key in _KINDS[kind][1]}
    cfg |= {"type": kind, "max_num": max_num}
    return _soften(ops.batched_nms(boxes, scores, idxs, cfg, class_agnostic), boxes, scores)


_batched_nms = register(
    "batched_nms(Tensor boxes, Tensor scores, Tensor? idxs, str kind, float[] numbers, str method, bool class_agnostic, "
    "int max_num) -> (Tensor, Tensor)",
    _batched,
    _fake_soft,
)


_falling = register(
    "falling(Tensor boxes, Tensor scores, Tensor? idxs) -> Tensor",
    lambda boxes, scores, idxs: ops.batched_nms(boxes, scores, idxs, None)[1],
    lambda boxes, scores, idxs: scores.new_empty(scores.shape, dtype=torch.int64),
    public="batched_nms",
)


def _match(dets, iou_threshold):
    groups = ops.nms_match(dets, iou_threshold)
    members = torch.cat(groups) if groups else dets.new_empty(0, dtype=torch.int64)
    return members, torch.tensor([len(g) for g in groups], dtype=torch.int64)


def _fake_match(dets, iou_threshold):
    return _some(dets), _some(dets).cpu()


_nms_match = register("nms_match(Tensor dets, float iou_threshold) -> (Tensor, Tensor)", _match, _fake_match)


def _pairs(first, second, mode, aligned, *_):
    shape = first.shape[:1] if aligned else (first.shape[0], second.shape[0])
    return first.new_empty(shape, dtype=result_dtype(first, second))


_bbox_overlaps = register(
    "bbox_overlaps(Tensor bboxes1, Tensor bboxes2, str mode, bool aligned, int offset) -> Tensor",
    ops.bbox_overlaps,
    _pairs,
)
_box_iou_rotated = register(
    "box_iou_rotated(Tensor bboxes1, Tensor bboxes2, str mode, bool aligned, bool clockwise) -> Tensor",
    ops.box_iou_rotated,
    _pairs,
)
_box_iou_quadri = register(
    "box_iou_quadri(Tensor bboxes1, Tensor bboxes2, str mode, bool aligned) -> Tensor", ops.box_iou_quadri, _pairs
)


def _direct(name):
    """The array function, its rows in the dtype that a graph would have (the array functions' don't round integers)."""
    function = eager(getattr(ops, name))

    def call(boxes, scores, *args):
        dets, inds = function(boxes, scores, *args)
        if isinstance(dets, Tensor) and dets.dtype is torch.float64:
            dets = dets.to(result_dtype(boxes, scores))
        return dets, inds

    return call


_DIRECT = {name: _direct(name) for name in ("batched_nms", "nms", "nms_quadri", "nms_rotated", "soft_nms")}
_DIRECT["nms_match"] = eager(ops.nms_match)


def _as_arrays(*arrays):
    """Whether the array function's own result will do: of tensors whose gradients nobody wants, and of what isn't one."""
    return not all(isinstance(a, Tensor) for a in arrays if a is not None) or unrecorded(*arrays)


def _rows(boxes, scores, inds):
    """The kept boxes with their scores; a gradient goes to those rows."""
    dtype = result_dtype(boxes, scores)
    return torch.cat([boxes[inds].to(dtype), scores[inds].to(dtype)[:, None]], 1)


def _decayed_rows(boxes, scores, decayed, inds):
    """The same with decayed scores, whose gradient is that of the product score x decay, the decay being constant."""
    own = scores[inds].to(decayed.dtype)
    decay = torch.where(own == 0, 0, decayed / own).detach()
    decayed = decayed + (own - own.detach()) * decay
    return torch.cat([boxes[inds].to(decayed.dtype), decayed[:, None]], 1)


@check.renamed(iou_thr="iou_threshold")
def nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    offset: int = 0,
    score_threshold: float = 0,
    max_num: int = -1,
) -> tuple[Tensor, Tensor]:
    """`arrayvision.ops.nms` on tensors; `dets` carries gradients to the kept boxes and scores. Takes NumPy arrays too.

    Parameters
    ----------
    boxes, scores, iou_threshold, offset, score_threshold, max_num
        As there.

    Returns
    -------
    dets : Tensor (K, 5)
    inds : Tensor (K,), int64

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    if _as_arrays(boxes, scores):
        return _DIRECT["nms"](boxes, scores, iou_threshold, offset, score_threshold, max_num)
    inds = _nms(boxes, scores, iou_threshold, offset, score_threshold, max_num)
    return _rows(boxes, scores, inds), inds


@check.renamed(iou_thr="iou_threshold")
def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = "linear",
    offset: int = 0,
) -> tuple[Tensor, Tensor]:
    """`arrayvision.ops.soft_nms` on tensors; `dets` carries gradients to boxes and scores, the decay being constant.

    Parameters
    ----------
    boxes, scores, iou_threshold, sigma, min_score, method, offset
        As there.

    Returns
    -------
    dets : Tensor (K, 5)
    inds : Tensor (K,), int64

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    if _as_arrays(boxes, scores):
        return _DIRECT["soft_nms"](boxes, scores, iou_threshold, sigma, min_score, method, offset)
    decayed, inds = _soft_nms(boxes, scores, iou_threshold, sigma, min_score, method, offset)
    return _decayed_rows(boxes, scores, decayed, inds), inds


def nms_match(dets: Tensor, iou_threshold: float) -> list[Tensor]:
    """`arrayvision.ops.nms_match` on tensors: for each kept box, its index and those of the boxes that it suppressed.

    Parameters
    ----------
    dets, iou_threshold
        As there.

    Returns
    -------
    list of Tensors (K_i,), int64

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    if _as_arrays(dets):
        return _DIRECT["nms_match"](dets, iou_threshold)
    members, lengths = _nms_match(dets, iou_threshold)
    return list(members.split(lengths.tolist()))


def nms_rotated(
    dets: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None, clockwise: bool = True
) -> tuple[Tensor, Tensor]:
    """`arrayvision.ops.nms_rotated` on tensors; `dets` carries gradients to the kept boxes and scores.

    Parameters
    ----------
    dets, scores, iou_threshold, labels, clockwise
        As there.

    Returns
    -------
    dets : Tensor (K, 6)
    inds : Tensor (K,), int64

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    if _as_arrays(dets, scores, labels):
        return _DIRECT["nms_rotated"](dets, scores, iou_threshold, labels, clockwise)
    inds = _nms_rotated(dets, scores, iou_threshold, labels, clockwise)
    return _rows(dets, scores, inds), inds


def nms_quadri(
    dets: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`arrayvision.ops.nms_quadri` on tensors; `dets` carries gradients to the kept boxes and scores.

    Parameters
    ----------
    dets, scores, iou_threshold, labels
        As there.

    Returns
    -------
    dets : Tensor (K, 9)
    inds : Tensor (K,), int64

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    if _as_arrays(dets, scores, labels):
        return _DIRECT["nms_quadri"](dets, scores, iou_threshold, labels)
    inds = _nms_quadri(dets, scores, iou_threshold, labels)
    return _rows(dets, scores, inds), inds


_DEFAULTS = {
    "offset": 0,
    "score_threshold": 0,
    "sigma": 0.5,
    "min_score": 1e-3,
    "method": "linear",
    "clockwise": True,
}


def batched_nms(
    boxes: Tensor, scores: Tensor, idxs: Tensor | None, nms_cfg: Mapping | None, class_agnostic: bool = False
) -> tuple[Tensor, Tensor]:
    """`arrayvision.ops.batched_nms` on tensors; `dets` carries gradients to boxes and scores.

    Parameters
    ----------
    boxes, scores, idxs, nms_cfg, class_agnostic
        As there.

    Returns
    -------
    dets : Tensor (K, 5), (K, 6) or (K, 9)
    inds : Tensor (K,), int64

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    if _as_arrays(boxes, scores, idxs) or not (nms_cfg is None or isinstance(nms_cfg, Mapping)):
        return _DIRECT["batched_nms"](boxes, scores, idxs, nms_cfg, class_agnostic)
    if nms_cfg is None:
        inds = _falling(boxes, scores, idxs)
        return _rows(boxes, scores, inds), inds
    cfg = {**nms_cfg}
    check.take_older("batched_nms", cfg, _OLDER)
    kind = cfg.pop("type", "nms")
    agnostic = check.flag("batched_nms", "class_agnostic", cfg.pop("class_agnostic", class_agnostic))
    max_num = cfg.pop("max_num", -1)
    cfg.pop("split_thr", None)
    default = 0.3 if kind == "soft_nms" else None
    threshold = cfg.get("iou_threshold", default)
    arguments = _KINDS[kind][1] if isinstance(kind, str) and kind in _KINDS else ()
    if (
        threshold is None
        or not arguments
        or any(key not in arguments for key in cfg)
        or (idxs is None and not agnostic)
    ):
        return _DIRECT["batched_nms"](boxes, scores, idxs, nms_cfg, class_agnostic)  # which says what is wrong
    how = {**_DEFAULTS, **cfg, "iou_threshold": threshold}
    numbers = [how[key] for key in ("iou_threshold", "offset", "score_threshold", "sigma", "min_score", "clockwise")]
    decayed, inds = _batched_nms(
        boxes, scores, idxs, kind, [float(v) for v in numbers], how["method"], bool(agnostic), max_num
    )
    if kind == "soft_nms":
        return _decayed_rows(boxes, scores, decayed, inds), inds
    return _rows(boxes, scores, inds), inds


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, mode: str = "iou", aligned: bool = False, offset: int = 0
) -> Tensor:
    """`arrayvision.ops.bbox_overlaps` on tensors. The result carries no gradient.

    Parameters
    ----------
    bboxes1, bboxes2, mode, aligned, offset
        As there.

    Returns
    -------
    Tensor (M, N), or (M,) if `aligned`

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _bbox_overlaps(bboxes1, bboxes2, mode, aligned, offset)


def box_iou_rotated(
    bboxes1: Tensor, bboxes2: Tensor, mode: str = "iou", aligned: bool = False, clockwise: bool = True
) -> Tensor:
    """`arrayvision.ops.box_iou_rotated` on tensors. The result carries no gradient; see `diff_iou_rotated_2d`.

    Parameters
    ----------
    bboxes1, bboxes2, mode, aligned, clockwise
        As there.

    Returns
    -------
    Tensor (M, N), or (M,) if `aligned`

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _box_iou_rotated(bboxes1, bboxes2, mode, aligned, clockwise)


def box_iou_quadri(bboxes1: Tensor, bboxes2: Tensor, mode: str = "iou", aligned: bool = False) -> Tensor:
    """`arrayvision.ops.box_iou_quadri` on tensors. The result carries no gradient.

    Parameters
    ----------
    bboxes1, bboxes2, mode, aligned
        As there.

    Returns
    -------
    Tensor (M, N), or (M,) if `aligned`

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _box_iou_quadri(bboxes1, bboxes2, mode, aligned)
