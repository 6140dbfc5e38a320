"""Points in space and their neighbours."""

from __future__ import annotations

import math

import torch

from arrayvision.torch_bridge.onnx._table import choose, count, loop, number, refuse, running_max, translation, turns


def _squares(a, b):
    """Squared distances (..., M, N), a coordinate after the other."""
    total = 0
    for k in range(a.shape[-1]):
        step = a[..., :, None, k] - b[..., None, :, k]
        total = total + step * step
    return total


def _nearest(a, b, k):
    """The k nearest of points b (B, N, D) to each of a (B, M, D): squared distances and indices; infinite and 0 for none."""
    squares = _squares(a, b)
    none = torch.full_like(squares[..., :1], torch.inf).expand(*squares.shape[:-1], k)
    found, index = torch.cat([squares, none], -1).topk(k, largest=False, sorted=True)
    return found, choose(found < torch.inf, index, 0).to(torch.int32)


@translation("three_nn", "squared distances, TopK")
def three_nn(target, source):
    squares, index = _nearest(target, source, 3)
    return squares.sqrt(), index


@translation("knn", "squared distances, TopK")
def knn(k, xyz, center_xyz, transposed):
    points = xyz.transpose(1, 2) if transposed else xyz
    centers = points if center_xyz is None else center_xyz.transpose(1, 2) if transposed else center_xyz
    return _nearest(centers, points, k)[1].transpose(1, 2)


@translation("chamfer_distance", "squared distances, ReduceMin, ArgMin")
def chamfer_distance(xyz1, xyz2):
    squares = _squares(xyz1, xyz2)
    index = squares.argmin(2).to(torch.int32), squares.argmin(1).to(torch.int32)
    return squares.amin(2), squares.amin(1), *index


def _first(there, size):
    """The first indices (..., size) along the last axis where something is, in order; its length for what isn't there."""
    length = number(there.shape[-1], count(1, there))
    places = choose(there, count(there.shape[-1], there), length)
    none = torch.zeros_like(places[..., :1]).expand(*places.shape[:-1], size) + length
    return torch.cat([places, none], -1).topk(size, largest=False, sorted=True)[0], length


def _clouds(counts, size):
    """The cloud in which each of `size` stacked points is."""
    ends = counts.long().cumsum(0)
    return (count(size, counts)[:, None] >= ends).long().sum(1)


@translation("ball_query", "squared distances, TopK")
def ball_query(least, most, size, xyz, centers, counts, center_counts):
    squares = _squares(centers, xyz)
    there = (squares == 0) | ((squares >= least * least) & (squares < most * most))
    if counts is not None:
        of_points, of_centers = _clouds(counts, xyz.shape[0]), _clouds(center_counts, centers.shape[0])
        there = there & (of_centers[:, None] == of_points)
    places, length = _first(there, size)
    some = places < length
    if counts is not None:
        starts = counts.long().cumsum(0) - counts.long()
        places = places - starts[of_centers][:, None]
    places = choose(some, places, choose(some[..., :1], places[..., :1], 0))
    if counts is not None:
        places = choose(~some[..., :1] & (count(size, xyz) == 0), -1, places)
    return places.to(torch.int32)


@translation("gather_points", "GatherElements")
def gather_points(features, indices):
    index = indices.long()[:, None].expand(-1, features.shape[1], -1)
    return features.gather(2, index)


@translation("grouping_operation", "GatherElements; Gather for stacked clouds")
def grouping_operation(features, indices, counts, index_counts):
    if counts is None:
        flat = indices.reshape(indices.shape[0], indices.shape[1] * indices.shape[2])
        return gather_points(features, flat).reshape(*features.shape[:2], *indices.shape[1:])
    starts = counts.long().cumsum(0) - counts.long()
    own = starts[_clouds(index_counts, indices.shape[0])]
    return features[own[:, None] + indices.long()].transpose(1, 2)


@translation("three_interpolate", "GatherElements")
def three_interpolate(features, indices, weight):
    size = indices.shape[1]
    rows = gather_points(features, indices.reshape(indices.shape[0], size * 3))
    return (rows.reshape(*features.shape[:2], size, 3) * weight[:, None]).sum(-1)


@translation("assign_score_withk", "Gather, MatMul")
def assign_score_withk(scores, points, centers, index, aggregate):
    limit = number(points.shape[1], index)
    there = (index >= 0) & (index < limit)
    place = choose(there, index, 0).long()
    row = count(index.shape[0], place)[:, None, None]
    values = points[row, place] - centers[row, place[:, :, :1]]  # (B, P, K, M, O)
    out = (scores[:, :, :, None] @ values)[:, :, :, 0]
    out = out * (there & there[:, :, :1]).to(out.dtype)[..., None]
    return out.permute(0, 3, 1, 2)


def _farthest(start, rows, num_points, given):
    """Indices (B, num_points): ``rows(chosen, given)`` gives the distances (B, N) from chosen points (B, 1)."""

    def turn(at, least, chosen, found, given, slots):
        found = torch.where(slots == at, chosen, found)
        least = torch.minimum(least, rows(chosen, given))
        return least, least.argmax(1, keepdim=True), found

    zero = torch.zeros_like(start[:, :1], dtype=torch.int64)
    slots = count(num_points, start)[None]
    return loop(turn, number(num_points, slots), (start, zero, zero + slots * 0), (given, slots))[2].to(torch.int32)


@translation("furthest_point_sample", "Loop")
def furthest_point_sample(points, num_points):
    def rows(chosen, points):
        return _squares(points.gather(1, chosen[:, :, None].expand(-1, -1, 3)), points)[:, 0]

    return _farthest(torch.full_like(points[:, :, 0], torch.inf), rows, num_points, points)


@translation("furthest_point_sample_with_dist", "Loop")
def furthest_point_sample_with_dist(distances, num_points):
    def rows(chosen, distances):
        return distances.gather(1, chosen[:, :, None].expand(-1, -1, distances.shape[2]))[:, 0]

    return _farthest(torch.full_like(distances[:, 0], torch.inf), rows, num_points, distances)


# ---- boxes -------------------------------------------------------------------------------------------------------------
def _local(points, boxes):
    """Points (..., N, 3) in the frames of boxes (..., M, 7), from the centres of their bottoms: x, y, z (..., M, N) in
    float64, and whether they are inside."""
    points, boxes = points.double(), boxes.double()
    angle = boxes[..., 6, None]
    cos, sin = turns(angle)
    x, y, z = (points[..., None, :, k] - boxes[..., k, None] for k in range(3))
    x, y = x * cos + y * sin, y * cos - x * sin
    inside = (
        (x.abs() < boxes[..., 3, None] / 2)
        & (y.abs() < boxes[..., 4, None] / 2)
        & (z >= 0)
        & (z <= boxes[..., 5, None])
    )
    return x, y, z, inside


@translation("points_in_boxes_all", "arithmetic")
def points_in_boxes_all(points, boxes):
    return _local(points, boxes)[3].transpose(1, 2).to(torch.int32)


@translation("points_in_boxes_cpu", "arithmetic")
def points_in_boxes_cpu(points, boxes):
    return points_in_boxes_all(points, boxes)


@translation("points_in_boxes_part", "arithmetic, TopK")
def points_in_boxes_part(points, boxes):
    places, length = _first(_local(points, boxes)[3].transpose(1, 2), 1)
    return choose(places < length, places, -1)[..., 0].to(torch.int32)


@translation("roipoint_pool3d", "arithmetic, TopK, Gather")
def roipoint_pool3d(points, features, boxes, size):
    inside = _local(points, boxes)[3]
    places, length = _first(inside, size)
    there = (places < length).long().sum(-1, keepdim=True)
    slot = count(size, places) % there.clamp(min=1)
    places = choose(there > 0, places.gather(2, slot), 0)
    rows = torch.cat([points, features], 2)[count(points.shape[0], places)[:, None, None], places]
    return rows * (there > 0).to(rows.dtype)[..., None], (there[..., 0] == 0).to(torch.int32)


@translation("roiaware_pool3d", "TopK, ScatterElements")
def roiaware_pool3d(rois, pts, features, size, most, mode):
    rois = rois.double()
    x, y, z, inside = _local(pts, rois)
    cells, key = size[0] * size[1] * size[2], 0
    for k, at in enumerate((x + rois[:, 3, None] / 2, y + rois[:, 4, None] / 2, z)):
        extent = choose(rois[:, 3 + k] > 0, rois[:, 3 + k], 1)[:, None]
        cell = choose(inside, at / (extent / size[k]), 0).floor().clamp(0, size[k] - 1)
        key = key * size[k] + cell.long()
    key = choose(inside, key, cells)
    ordered, order = key.sort(1)  # ties by position, as TopK has them
    # How many points of its cell lie before each: those behind the last place where a cell began.
    place = count(pts.shape[0], pts).expand(key.shape)
    before = torch.cat([torch.full_like(ordered[:, :1], -1), ordered[:, :-1]], 1)
    rank = place - running_max(choose(ordered != before, place, 0), 1)
    kept = (ordered < cells) & (rank < most)
    target = choose(kept, ordered, cells)
    channels = features.shape[1]
    shape = rois.shape[0], cells + 1, channels
    index, values = target[..., None].expand(-1, -1, channels), features[order]
    counts = torch.zeros_like(rois[:, :1], dtype=torch.int64).expand(-1, cells + 1)
    counts = counts.scatter_add(1, target, kept.long())[:, :cells]
    if mode == "max":
        out = features.new_full(shape, -torch.inf).scatter_reduce(1, index, values, "amax", include_self=True)[
            :, :cells
        ]
        out = choose(counts[..., None] > 0, out, 0)
    else:
        out = features.new_zeros(shape).scatter_add(1, index, values)[:, :cells] / counts.clamp(min=1)[..., None]
    argmax = torch.full((rois.shape[0] if mode == "max" else 0, *size, channels), -1, dtype=torch.int32)
    return out.reshape(-1, *size, channels), counts.to(torch.int32).reshape(-1, *size), argmax


@translation("voxel_of_points", "arithmetic")
def voxel_of_points(points, size, ends):
    cells, inside = [], True
    for k in range(3):
        cell = ((points[:, k] - ends[k]) / size[k]).floor()
        cells.append(cell)
        inside = inside & (cell >= 0) & (cell < math.floor((ends[3 + k] - ends[k]) / size[k] + 0.5))
    return torch.stack([choose(inside, cell, -1) for cell in reversed(cells)], 1).to(torch.int32)


refuse(
    "voxels are found one point after the other, and no standard operator groups points so: keep voxelization outside the graph",
    "voxelization",
    "dynamic_scatter",
)
refuse(
    "which sites there are depends on the data, and no standard operator has such tensors: keep sparse convolution outside the graph",
    "sparse_conv",
    "sparse_conv_pairs",
    "sparse_max_pool",
)
refuse("it is a loss, for training", "sigmoid_focal_loss", "softmax_focal_loss")
