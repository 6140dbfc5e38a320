"""Overlaps and suppression of boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from arrayvision.torch_bridge.onnx._table import (
    anew,
    choose,
    count,
    falling,
    greatest,
    greedy,
    loop,
    node,
    number,
    refuse,
    translation,
    turns,
    unknown,
)

LOWEST = -3.4e38  # scores that are greater take part


def _suppressed(boxes, scores, iou_threshold, offset, score_threshold, max_num) -> Tensor:
    """NonMaxSuppression of boxes (N, 4) by scores (classes, N): the indices of kept boxes, class by class."""
    x2 = boxes[:, 2:]
    boxes = torch.cat([boxes[:, :2], torch.maximum(x2 + offset if offset else x2, boxes[:, :2])], 1)
    scalar = dict(device=boxes.device)
    inputs = (
        boxes[None].float(),
        scores[None].float(),
        torch.full((1,), max_num if max_num > 0 else 2**31 - 1, dtype=torch.int64, **scalar),
        torch.full((1,), iou_threshold, **scalar),
        torch.full((1,), score_threshold if score_threshold > 0 else LOWEST, **scalar),
    )
    size = unknown(boxes)
    found = node("NonMaxSuppression", inputs, dict(center_point_box=0), (size, 3), torch.int64)
    return found[:, 2]


@translation("nms", "NonMaxSuppression")
def nms(boxes, scores, iou_threshold, offset, score_threshold, max_num):
    return _suppressed(boxes, scores[None], iou_threshold, offset, score_threshold, max_num)


def by_score(scores, inds, max_num=-1):
    """Indices by falling score; ties by position."""
    inds = inds.sort()[0]
    inds = inds[falling(scores[inds])]
    return anew(inds[:max_num]) if max_num > 0 else inds


def classes_apart(boxes, scores, idxs, iou_threshold, offset, score_threshold, max_num):
    """One NonMaxSuppression for all classes: each has its own row of scores."""
    own = idxs.long()
    own = own - torch.cat([own, own.new_zeros(1)]).min()
    number_ = count(greatest(own + 1), boxes)
    rows = choose(number_[:, None] == own, scores, -torch.inf)
    return by_score(scores, _suppressed(boxes, rows, iou_threshold, offset, score_threshold, -1), max_num)


@translation("batched_nms", "NonMaxSuppression with a row of scores for each class; other kinds as their own operators")
def batched_nms(boxes, scores, idxs, kind, numbers, method, class_agnostic, max_num):
    iou_threshold, offset, score_threshold, sigma, min_score, clockwise = numbers
    labels = None if class_agnostic else idxs
    if kind == "nms":
        rest = iou_threshold, int(offset), score_threshold, max_num
        inds = nms(boxes, scores, *rest) if labels is None else classes_apart(boxes, scores, labels, *rest)
        return scores[inds], inds
    if kind == "soft_nms":
        decayed, inds = softened(boxes, scores, labels, iou_threshold, sigma, min_score, method, int(offset))
        order = falling(decayed) if labels is not None else count(inds.shape[0], inds)
        order = anew(order[:max_num]) if max_num > 0 else order
        return decayed[order], inds[order]
    if kind == "nms_rotated":
        inds = nms_rotated(boxes, scores, iou_threshold, labels, bool(clockwise))
    else:
        inds = nms_quadri(boxes, scores, iou_threshold, labels)
    inds = anew(inds[:max_num]) if max_num > 0 else inds
    return scores[inds], inds


@translation("falling", "TopK")
def falling_of(boxes, scores, idxs):
    return falling(scores)


def softened(boxes, scores, labels, iou_threshold, sigma, min_score, method, offset):
    """Soft suppression, a turn of a Loop for each box: the best one that is left is picked."""
    place, size = count(boxes.shape[0], boxes), number(boxes.shape[0], count(1, boxes))
    overlaps = bbox_overlaps(boxes, boxes, "iou", False, offset)
    if labels is not None:
        overlaps = choose(labels[:, None] == labels, overlaps, 0)
    if method == "gaussian":
        decay = torch.exp(-(overlaps * overlaps) / sigma)
    else:
        decay = choose(overlaps > iou_threshold, 1 - overlaps if method == "linear" else torch.zeros_like(overlaps), 1)
    start = choose(scores >= min_score, scores, -torch.inf)
    nothing = torch.full_like(start, -torch.inf)

    def turn(at, left, found, inds, decay, nothing, place):
        best = left.argmax(0, keepdim=True)
        here = place == at
        found, inds = torch.where(here, left.index_select(0, best), found), torch.where(here, best, inds)
        lowered = left * decay.index_select(0, best)[0]
        gone = (place == best) | (left == -torch.inf) | (lowered < min_score)
        return torch.where(gone, nothing, lowered), found, inds

    _, found, inds = loop(turn, size, (start, nothing.clone(), place * 0), (decay, nothing, place))
    kept = (found > -torch.inf).nonzero()[:, 0]
    return found[kept], inds[kept]


@translation("soft_nms", "Loop")
def soft_nms(boxes, scores, iou_threshold, sigma, min_score, method, offset):
    return softened(boxes, scores, None, iou_threshold, sigma, min_score, method, offset)


@translation("bbox_overlaps", "arithmetic")
def bbox_overlaps(bboxes1, bboxes2, mode, aligned, offset):
    a, b = (bboxes1, bboxes2) if aligned else (bboxes1[:, None], bboxes2[None])
    (w, h), (u, v) = ((x[..., 2:] - x[..., :2] + offset).unbind(-1) for x in (a, b))
    shared = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2]) + offset
    inter = shared.clamp(min=0).prod(-1)
    one, other = w * h, u * v
    fine = (w > 0) & (h > 0) & (u > 0) & (v > 0) & torch.isfinite(one) & torch.isfinite(other)
    union = one + 0 * inter if mode == "iof" else one + other - inter
    return choose(fine, inter / choose(fine, union, 1), 0)


# ---- polygons --------------------------------------------------------------------------------------------------------
def following(p: Tensor) -> Tensor:
    """The corner after each of polygons (..., corners, 2)."""
    return torch.cat([p[..., 1:, :], p[..., :1, :]], -2)


def area(p: Tensor) -> Tensor:
    """The area of polygons (..., corners, 2), signed."""
    q = following(p)
    return (p[..., 0] * q[..., 1] - q[..., 0] * p[..., 1]).sum(-1) / 2


def shared_area(p: Tensor, q: Tensor) -> Tensor:
    """The area that polygons (..., M, 2) and (..., N, 2) share.

    What lies below each edge of one and each edge of the other is integrated along x, with the signs of both: a sum without
    a case in which corners or edges coincide. Where sides cross, lobes count with the sign of their orientation.
    """
    (ax, ay), (bx, by) = p.unbind(-1), following(p).unbind(-1)
    (cx, cy), (dx, dy) = q.unbind(-1), following(q).unbind(-1)

    def edge(x0, y0, x1, y1, axis):
        low, high = torch.minimum(x0, x1).unsqueeze(axis), torch.maximum(x0, x1).unsqueeze(axis)
        run = x1 - x0
        slope = (y1 - y0) / choose(run == 0, 1, run)
        return low, high, run.sign().unsqueeze(axis), x0.unsqueeze(axis), y0.unsqueeze(axis), slope.unsqueeze(axis)

    low1, high1, sign1, x1, y1, slope1 = edge(ax, ay, bx, by, -1)
    low2, high2, sign2, x2, y2, slope2 = edge(cx, cy, dx, dy, -2)
    low, high = torch.maximum(low1, low2), torch.minimum(high1, high2)
    run = (high - low).clamp(min=0)
    first = [y1 + slope1 * (x - x1) for x in (low, high)]
    second = [y2 + slope2 * (x - x2) for x in (low, high)]
    start, end = first[0] - second[0], first[1] - second[1]
    whole = (start + end).clamp(max=0) / 2
    below, above = -torch.minimum(start, end), torch.maximum(start, end)
    across = (below > 0) & (above > 0)
    cut = -below * below / (2 * choose(across, below + above, 1))
    lower = (second[0] + second[1]) / 2 + choose(across, cut, whole)
    sums = (run * lower * sign1 * sign2).sum((-1, -2))
    return (sums * area(p).sign() * area(q).sign()).clamp(min=0)


def box_corners(boxes, clockwise=True):
    """Corners (..., 4, 2) of rotated boxes (..., 5)."""
    x, y, w, h, angle = boxes.unbind(-1)
    angle = angle if clockwise else -angle
    cos, sin = turns(angle)
    signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    at = [(x + (i * w * cos - j * h * sin) / 2, y + (i * w * sin + j * h * cos) / 2) for i, j in signs]
    return torch.stack([torch.stack(xy, -1) for xy in at], -2)


def overlaps(p, q, mode, aligned, dtype, fine=None):
    """IoU of polygons, computed in float64; 0 of those without an area."""
    p, q = (p, q) if aligned else (p[:, None], q[None])
    middle = p.mean(-2, keepdim=True)
    p, q = p - middle, q - middle
    inter, one, other = shared_area(p, q), area(p).abs(), area(q).abs()
    good = (one > 0) & (other > 0) & torch.isfinite(one) & torch.isfinite(other)
    if fine is not None:
        good = good & fine
    union = one + 0 * inter if mode == "iof" else one + other - inter
    return choose(good, (inter / choose(good, union, 1)).clamp(max=1), 0).to(dtype)


def _sized(a, b, aligned):
    one, other = ((x[..., 2] > 0) & (x[..., 3] > 0) for x in (a, b))
    return one & other if aligned else one[:, None] & other


@translation("box_iou_rotated", "arithmetic on pairs of edges, in float64")
def box_iou_rotated(bboxes1, bboxes2, mode, aligned, clockwise):
    a, b = bboxes1.double(), bboxes2.double()
    corners = box_corners(a, clockwise), box_corners(b, clockwise)
    return overlaps(*corners, mode, aligned, torch.promote_types(bboxes1.dtype, bboxes2.dtype), _sized(a, b, aligned))


@translation("box_iou_quadri", "arithmetic on pairs of edges, in float64")
def box_iou_quadri(bboxes1, bboxes2, mode, aligned):
    p, q = (x.double().reshape(-1, 4, 2) for x in (bboxes1, bboxes2))
    return overlaps(p, q, mode, aligned, torch.promote_types(bboxes1.dtype, bboxes2.dtype))


def _among(labels, order, over):
    return over if labels is None else over & (labels[order][:, None] == labels[order])


@translation("nms_rotated", "arithmetic on pairs of edges, and a Loop")
def nms_rotated(dets, scores, iou_threshold, labels, clockwise):
    def suppresses(order):
        boxes = dets[order]
        over = box_iou_rotated(boxes, boxes, "iou", False, clockwise) > iou_threshold
        return _among(labels, order, over)

    return greedy(scores, suppresses)


@translation("nms_quadri", "arithmetic on pairs of edges, and a Loop")
def nms_quadri(dets, scores, iou_threshold, labels):
    def suppresses(order):
        over = box_iou_quadri(dets[order], dets[order], "iou", False) > iou_threshold
        return _among(labels, order, over)

    return greedy(scores, suppresses)


def hull(points):
    """The corners of the hulls of points (..., N, 2) in order, some twice or on an edge."""
    here, there = points[..., :, None, :], points[..., None, :, :]
    along = there - here  # from the first to the second
    to = points[..., None, None, :, :] - here[..., None, :]
    side = along[..., None, 0] * to[..., 1] - along[..., None, 1] * to[..., 0]
    reach = (points.amax(-2) - points.amin(-2)).amax(-1)[..., None, None, None]
    edge = (side >= -1e-12 * reach * reach).all(-1) & (along != 0).any(-1)
    corner = edge.any(-1) | edge.any(-2)
    corner = corner | ~corner.any(-1, keepdim=True)
    weight = corner.to(points.dtype)[..., None]
    middle = (points * weight).sum(-2, keepdim=True) / weight.sum(-2, keepdim=True)
    x, y = (points - middle).unbind(-1)
    share = x / (x.abs() + y.abs()).clamp(min=1e-300)
    turn = choose(y < 0, 3 + share, 1 - share)  # grows with the angle
    turn = choose(corner, turn, 9)
    order = turn.sort(-1)[1]
    # What is no corner comes last, and is the first corner once more.
    order = choose(turn.gather(-1, order) < 9, order, order[..., :1])
    return points.gather(-2, order[..., None].expand(points.shape))


@translation("convex_iou", "arithmetic on pairs of edges, in float64")
def convex_iou(pointsets, polygons):
    p, q = hull(pointsets.double().reshape(-1, 9, 2)), hull(polygons.double().reshape(-1, 4, 2))
    return overlaps(p, q, "iou", False, torch.promote_types(pointsets.dtype, polygons.dtype))


@translation("min_area_polygons", "arithmetic")
def min_area_polygons(pointsets):
    given = pointsets.double().reshape(-1, 9, 2)
    points = hull(given)
    edge = following(points) - points
    length = (edge * edge).sum(-1, keepdim=True).sqrt()
    there = length[..., 0] > 0
    u = edge / choose(length > 0, length, 1)
    for _ in range(3):  # until it points within [0, 90) degrees
        fine = (u[..., :1] > 0) & (u[..., 1:] >= 0)
        u = choose(fine, u, torch.stack([-u[..., 1], u[..., 0]], -1))
    v = torch.stack([-u[..., 1], u[..., 0]], -1)
    across, along = given @ v.transpose(1, 2), given @ u.transpose(1, 2)
    a, b, c, d = along.amax(1), (-along).amax(1), across.amax(1), (-across).amax(1)
    size = choose(there, (a + b) * (c + d), torch.inf)
    corners = [p[..., None] * u + q[..., None] * v for p, q in ((a, -d), (-b, -d), (-b, c), (a, c))]
    rows = torch.stack(corners, 2).reshape(-1, 9, 8)
    best = size.argmin(1)[:, None, None].expand(-1, 1, 8)
    return rows.gather(1, best)[:, 0].to(pointsets.dtype)


@translation("points_in_polygons", "arithmetic")
def points_in_polygons(points, polygons):
    (x, y), corners = points.double()[:, None, None].unbind(-1), polygons.double().reshape(1, -1, 4, 2)
    (ax, ay), (bx, by) = corners.unbind(-1), following(corners).unbind(-1)
    side = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
    within = (torch.minimum(ax, bx) <= x) & (x <= torch.maximum(ax, bx))
    within = within & (torch.minimum(ay, by) <= y) & (y <= torch.maximum(ay, by))
    crossed = ((ay > y) != (by > y)) & ((side > 0) == (by > ay))
    odd = crossed.long().sum(-1) % 2 == 1
    inside = odd & ~((side == 0) & within).any(-1) & torch.isfinite(corners).all(-1).all(-1)
    return inside.to(torch.promote_types(points.dtype, polygons.dtype))


# ---- boxes in space ---------------------------------------------------------------------------------------------------
def _flat(boxes):
    return torch.stack([boxes[..., k] for k in (0, 1, 3, 4, 6)], -1)


def _centred(boxes):
    low, high = boxes[..., :2], boxes[..., 2:4]
    return torch.cat([(low + high) / 2, high - low, boxes[..., 4:5]], -1)


def _shared(a, b):
    """Shared areas of rotated boxes (M, 5) and (N, 5) in float64, and both areas."""
    p, q = box_corners(a.double())[:, None], box_corners(b.double())[None]
    middle = p.mean(-2, keepdim=True)
    p, q = p - middle, q - middle
    return shared_area(p, q), area(p).abs(), area(q).abs()


def _ratio(inter, union, dtype):
    return choose(inter > 0, inter / choose(inter > 0, union, 1), 0).to(dtype)


@translation("boxes_overlap_bev", "arithmetic on pairs of edges, in float64")
def boxes_overlap_bev(boxes_a, boxes_b):
    return _shared(_flat(boxes_a), _flat(boxes_b))[0].to(torch.promote_types(boxes_a.dtype, boxes_b.dtype))


@translation("boxes_iou_bev", "arithmetic on pairs of edges, in float64")
def boxes_iou_bev(boxes_a, boxes_b):
    inter, one, other = _shared(_centred(boxes_a), _centred(boxes_b))
    return _ratio(inter, one + other - inter, torch.promote_types(boxes_a.dtype, boxes_b.dtype))


def _solid(inter, one, other, a, b, dtype):
    top = torch.minimum(a[..., 2] + a[..., 5] / 2, b[..., 2] + b[..., 5] / 2)
    bottom = torch.maximum(a[..., 2] - a[..., 5] / 2, b[..., 2] - b[..., 5] / 2)
    inter = inter * (top - bottom).clamp(min=0)
    return _ratio(inter, one * a[..., 5] + other * b[..., 5] - inter, dtype)


@translation("boxes_iou3d", "arithmetic on pairs of edges, in float64")
def boxes_iou3d(boxes_a, boxes_b):
    a, b = boxes_a.double(), boxes_b.double()
    dtype = torch.promote_types(boxes_a.dtype, boxes_b.dtype)
    return _solid(*_shared(_flat(a), _flat(b)), a[:, None], b[None], dtype)


def _rows(box1, box2):
    p, q = box_corners(box1), box_corners(box2)
    middle = p.mean(-2, keepdim=True)
    p, q = p - middle, q - middle
    return shared_area(p, q), area(p).abs(), area(q).abs()


@translation("diff_iou_rotated_2d", "arithmetic on pairs of edges, in float64")
def diff_iou_rotated_2d(box1, box2):
    inter, one, other = _rows(box1.double(), box2.double())
    return _ratio(inter, one + other - inter, torch.promote_types(box1.dtype, box2.dtype))


@translation("diff_iou_rotated_3d", "arithmetic on pairs of edges, in float64")
def diff_iou_rotated_3d(box1, box2):
    a, b = box1.double(), box2.double()
    return _solid(*_rows(_flat(a), _flat(b)), a, b, torch.promote_types(box1.dtype, box2.dtype))


def _of_rectangles(rectangles, scores, threshold, most=None):
    def suppresses(order):
        boxes = rectangles[order]
        inter, one, other = _shared(boxes, boxes)
        return _ratio(inter, one + other - inter, torch.float64) > threshold

    return greedy(scores, suppresses, most)


@translation("nms3d", "arithmetic on pairs of edges, and a Loop")
def nms3d(boxes, scores, iou_threshold):
    return _of_rectangles(_flat(boxes), scores, iou_threshold)


@translation("nms_bev", "arithmetic on pairs of edges, and a Loop")
def nms_bev(boxes, scores, thresh, before, after):
    inds = _of_rectangles(_centred(boxes), scores, thresh, before)
    return inds if after is None else anew(inds[:after])


def _upright(corners, scores, threshold):
    return _suppressed(corners, scores[None], threshold, 0, 0.0, -1)


@translation("nms3d_normal", "NonMaxSuppression")
def nms3d_normal(boxes, scores, iou_threshold):
    low, high = boxes[:, :2] - boxes[:, 3:5] / 2, boxes[:, :2] + boxes[:, 3:5] / 2
    return _upright(torch.cat([low, high], 1), scores, iou_threshold)


@translation("nms_normal_bev", "NonMaxSuppression")
def nms_normal_bev(boxes, scores, thresh):
    return _upright(boxes[:, :4], scores, thresh)


refuse("how many groups it gives depends on the boxes; an ONNX graph has a fixed number of results", "nms_match")
refuse("it is a loss, for training", "convex_giou")
