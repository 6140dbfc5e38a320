"""Modules that group points round centres, with their features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arrayvision import check
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.torch_bridge.library import check_tensors
from arrayvision.torch_bridge.ops._modules import shown
from arrayvision.torch_bridge.ops.ball_query import ball_query
from arrayvision.torch_bridge.ops.gather_points import grouping_operation
from arrayvision.torch_bridge.ops.knn import knn


class QueryAndGroup(nn.Module):
    """Groups of points round centres: within a ball, or the nearest.

    Parameters
    ----------
    max_radius : float or None
        The balls' radius; None takes the nearest points instead.
    sample_num : int
        Points of a group.
    min_radius : float
        As in `arrayvision.ops.ball_query`.
    use_xyz : bool
        Whether places, relative to the centre, come before the features.
    return_grouped_xyz : bool
        Whether to return the places themselves as well.
    normalize_xyz : bool
        Whether to divide the relative places by max_radius.
    uniform_sample : bool
        Whether places that a ball leaves are filled by random points of it, rather than its first.
    return_unique_cnt : bool
        Whether to return how many points of a group differ; with uniform_sample only.
    return_grouped_idx : bool
        Whether to return the groups' indices.

    Shape
    -----
    points_xyz (B, N, 3), center_xyz (B, M, 3), features (B, C, N) or None -> (B, 3 + C, M, sample_num), (B, C, ...) without
    use_xyz. If more is asked for, a tuple of this, the places (B, 3, M, sample_num), the counts (B, M) and the indices
    (B, M, sample_num), each as asked for.
    """

    def __init__(
        self,
        max_radius: float | None,
        sample_num: int,
        min_radius: float = 0.0,
        use_xyz: bool = True,
        return_grouped_xyz: bool = False,
        normalize_xyz: bool = False,
        uniform_sample: bool = False,
        return_unique_cnt: bool = False,
        return_grouped_idx: bool = False,
    ) -> None:
        super().__init__()
        name = "QueryAndGroup"
        self.max_radius = None if max_radius is None else check.number(name, "max_radius", max_radius)
        self.min_radius = check.number(name, "min_radius", min_radius, 0)
        if self.max_radius is not None and not self.max_radius > self.min_radius:
            raise InvalidValue(
                f"{name}: max_radius must be greater than min_radius, {self.min_radius:g}, got {self.max_radius:g}"
            )
        self.sample_num = check.integer(name, "sample_num", sample_num, 1, 2**31 - 1)
        self.use_xyz = check.flag(name, "use_xyz", use_xyz)
        self.return_grouped_xyz = check.flag(name, "return_grouped_xyz", return_grouped_xyz)
        self.normalize_xyz = check.flag(name, "normalize_xyz", normalize_xyz)
        self.uniform_sample = check.flag(name, "uniform_sample", uniform_sample)
        self.return_unique_cnt = check.flag(name, "return_unique_cnt", return_unique_cnt)
        self.return_grouped_idx = check.flag(name, "return_grouped_idx", return_grouped_idx)
        if self.return_unique_cnt and not self.uniform_sample:
            raise InvalidValue(f"{name}: return_unique_cnt must go with uniform_sample")
        if self.normalize_xyz and self.max_radius is None:
            raise InvalidValue(f"{name}: max_radius must be a number where normalize_xyz divides by it, got None")

    def forward(
        self, points_xyz: Tensor, center_xyz: Tensor, features: Tensor | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        """Groups of points, and their features."""
        name = "QueryAndGroup"
        points_xyz, center_xyz = check_tensors(name, points_xyz=points_xyz, center_xyz=center_xyz)
        check.shape(name, "points_xyz", points_xyz, "B", "N", 3)
        check.shape(name, "center_xyz", center_xyz, points_xyz.shape[0], "M", 3)
        if features is not None:
            points_xyz, features = check_tensors(name, points_xyz=points_xyz, features=features)
            check.shape(name, "features", features, points_xyz.shape[0], "C", points_xyz.shape[1])
        elif not self.use_xyz:
            raise InvalidKind(f"{name}: features must be a tensor where use_xyz is False, got None")
        if not points_xyz.shape[1] and center_xyz.shape[1]:
            raise InvalidValue(f"{name}: points_xyz must have points for a group, got shape {tuple(points_xyz.shape)}")
        if self.max_radius is None:
            index = knn(self.sample_num, points_xyz.detach(), center_xyz.detach()).transpose(1, 2).contiguous()
        else:
            index = ball_query(
                self.min_radius, self.max_radius, self.sample_num, points_xyz.detach(), center_xyz.detach()
            )
        if self.uniform_sample:
            index, count = _uniform(index)
        places = grouping_operation(points_xyz.transpose(1, 2), index)
        relative = places - center_xyz.transpose(1, 2).unsqueeze(-1)
        if self.normalize_xyz:
            relative = relative / self.max_radius
        grouped = relative
        if features is not None:
            grouped = grouping_operation(features, index)
            if self.use_xyz:
                grouped = torch.cat([relative, grouped], 1)
        found = [grouped]
        if self.return_grouped_xyz:
            found.append(places)
        if self.return_unique_cnt:
            found.append(count)
        if self.return_grouped_idx:
            found.append(index)
        return found[0] if len(found) == 1 else tuple(found)

    def __repr__(self):
        return shown(self, "max_radius", "sample_num", "min_radius", "use_xyz", "normalize_xyz", "uniform_sample")


def _uniform(index):
    """The different indices of each group, rising, then random ones of these; and how many differ, as floats."""
    ordered = index.sort(-1).values
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    count = new.sum(-1, keepdim=True)
    place = torch.where(new, new.cumsum(-1) - 1, index.shape[-1])
    different = ordered.new_zeros((*index.shape[:-1], index.shape[-1] + 1)).scatter(-1, place, ordered)
    drawn = (torch.rand(index.shape, device=index.device, dtype=torch.float64) * count).long()
    position = torch.arange(index.shape[-1], device=index.device)
    chosen = torch.where(position < count, position, torch.minimum(drawn, count - 1))
    return different.gather(-1, chosen), count[..., 0].float()


class GroupAll(nn.Module):
    """All points as one group.

    Parameters
    ----------
    use_xyz : bool
        Whether places come before the features.

    Shape
    -----
    xyz (B, N, 3), new_xyz (not looked at), features (B, C, N) or None -> (B, 3 + C, 1, N); (B, C, 1, N) without use_xyz;
    (B, 3, 1, N) without features.
    """

    def __init__(self, use_xyz: bool = True) -> None:
        super().__init__()
        self.use_xyz = check.flag("GroupAll", "use_xyz", use_xyz)

    def forward(self, xyz: Tensor, new_xyz: Tensor | None, features: Tensor | None = None) -> Tensor:
        """The group."""
        (xyz,) = check_tensors("GroupAll", xyz=xyz)
        check.shape("GroupAll", "xyz", xyz, "B", "N", 3)
        places = xyz.transpose(1, 2).unsqueeze(2)
        if features is None:
            return places
        xyz, features = check_tensors("GroupAll", xyz=xyz, features=features)
        check.shape("GroupAll", "features", features, xyz.shape[0], "C", xyz.shape[1])
        grouped = features.unsqueeze(2)
        return torch.cat([places, grouped], 1) if self.use_xyz else grouped

    def __repr__(self):
        return shown(self, "use_xyz")
