"""Samples of points by their places, by their features, or by both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arrayvision import check
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.ops.points_sampler import finite_mean
from arrayvision.torch_bridge.library import check_tensors
from arrayvision.torch_bridge.ops.furthest_point_sample import (
    furthest_point_sample,
    furthest_point_sample_with_dist,
)


def calc_square_dist(point_feat_a: Tensor, point_feat_b: Tensor, norm: bool = True) -> Tensor:
    """Squares of the distances between features; or distances by the number of features. Differentiable in both.

    Parameters
    ----------
    point_feat_a : Tensor (B, N, C)
        Features.
    point_feat_b : Tensor (B, M, C)
        Others.
    norm : bool
        Whether to give the distance (not its square) divided by C.

    Returns
    -------
    Tensor (B, N, M)
        In the promoted dtype; 16-bit features are computed in float32.

    Raises
    ------
    TypeError, ValueError
        As `arrayvision.ops.calc_square_dist`, whose notes are true here too.
    """
    name = "calc_square_dist"
    norm = check.flag(name, "norm", norm)
    a, b = check_tensors(name, point_feat_a=point_feat_a, point_feat_b=point_feat_b)
    check.shape(name, "point_feat_a", a, "B", "N", "C")
    check.shape(name, "point_feat_b", b, a.shape[0], "M", a.shape[2])
    result = torch.promote_types(a.dtype, b.dtype)
    wide = torch.float64 if result is torch.float64 else torch.float32
    a, b = a.to(wide), b.to(wide)
    with torch.no_grad():
        mean = finite_mean(torch, a)
    distances = torch.cdist(a - mean, b - mean)
    return (distances / max(a.shape[2], 1) if norm else distances.square()).to(result)


class DFPSSampler(nn.Module):
    """Farthest points by place."""

    def forward(self, points: Tensor, features: Tensor | None, npoint: int) -> Tensor:
        """Indices (B, npoint) of points (B, N, 3); features are not looked at."""
        return furthest_point_sample(points, npoint)


class FFPSSampler(nn.Module):
    """Farthest points by place and features together."""

    def forward(self, points: Tensor, features: Tensor | None, npoint: int) -> Tensor:
        """Indices (B, npoint) of points (B, N, 3) with features (B, C, N)."""
        return furthest_point_sample_with_dist(_distances(type(self).__name__, points, features), npoint)


class FSSampler(nn.Module):
    """Farthest points by place and features together, and then as many by place."""

    def forward(self, points: Tensor, features: Tensor | None, npoint: int) -> Tensor:
        """Indices (B, 2 * npoint) of points (B, N, 3) with features (B, C, N)."""
        by_features = furthest_point_sample_with_dist(_distances(type(self).__name__, points, features), npoint)
        return torch.cat([by_features, furthest_point_sample(points, npoint)], 1)


def _distances(name, points, features):
    if features is None:
        raise InvalidKind(f"{name}: features must be a tensor, got None")
    points, features = check_tensors(name, points=points, features=features)
    check.shape(name, "points", points, "B", "N", 3)
    check.shape(name, "features", features, points.shape[0], "C", points.shape[1])
    both = torch.cat([points, features.transpose(1, 2)], 2).detach()
    both = both if both.dtype is torch.float64 else both.float()  # squares are not rounded to 16 bits
    return calc_square_dist(both, both, False)


_SAMPLERS = {"D-FPS": DFPSSampler, "F-FPS": FFPSSampler, "FS": FSSampler}


def get_sampler_cls(sampler_type: str) -> type[nn.Module]:
    """The class of a sampler: "D-FPS" by place, "F-FPS" by features too, "FS" both in turn.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    return _SAMPLERS[check.choice("get_sampler_cls", "sampler_type", sampler_type, tuple(_SAMPLERS))]


class PointsSampler(nn.Module):
    """Samples of a cloud, from parts of it in different ways.

    Parameters
    ----------
    num_point : list of int
        How many points to choose from each part; "FS" chooses twice as many.
    fps_mod_list : list of {"D-FPS", "F-FPS", "FS"}
        How: see `get_sampler_cls`.
    fps_sample_range_list : list of int
        Where each part ends, the next beginning there; -1 for the last point.

    Shape
    -----
    points_xyz (B, N, 3), features (B, C, N) or None -> indices of points (B, sum of what is chosen), int32.
    """

    def __init__(
        self,
        num_point: list[int],
        fps_mod_list: list[str] = ["D-FPS"],  # noqa: B006  not changed
        fps_sample_range_list: list[int] = [-1],  # noqa: B006
    ) -> None:
        super().__init__()
        given = {
            "num_point": num_point, "fps_mod_list": fps_mod_list, "fps_sample_range_list": fps_sample_range_list,
        }  # fmt: skip
        for argument, value in given.items():
            if not isinstance(value, (list, tuple)):
                raise InvalidKind(f"PointsSampler: {argument} must be a list, got {type(value).__name__}")
            if len(value) != len(num_point):
                raise InvalidValue(
                    f"PointsSampler: {argument} must be as long as num_point, {len(num_point)}, got {len(value)}"
                )
        self.num_point = [check.integer("PointsSampler", "num_point", n, 0) for n in num_point]
        self.fps_sample_range_list = [
            check.integer("PointsSampler", "fps_sample_range_list", n, -1) for n in fps_sample_range_list
        ]
        self.samplers = nn.ModuleList(
            _SAMPLERS[check.choice("PointsSampler", "fps_mod_list", mod, tuple(_SAMPLERS))]() for mod in fps_mod_list
        )
        self.fp16_enabled = False

    def forward(self, points_xyz: Tensor, features: Tensor | None) -> Tensor:
        """Indices of the chosen points."""
        name = "PointsSampler"
        (points_xyz,) = check_tensors(name, points_xyz=points_xyz)
        check.shape(name, "points_xyz", points_xyz, "B", "N", 3)
        if features is not None:
            points_xyz, features = check_tensors(name, points_xyz=points_xyz, features=features)
            check.shape(name, "features", features, points_xyz.shape[0], "C", points_xyz.shape[1])
        elif not all(type(sampler) is DFPSSampler for sampler in self.samplers):
            raise InvalidKind(f"{name}: features must be a tensor for F-FPS and FS, got None")
        chosen, begin, size = [], 0, points_xyz.shape[1]
        for end, sampler, count in zip(self.fps_sample_range_list, self.samplers, self.num_point, strict=True):
            if end >= size or (end < begin and end != -1):
                raise InvalidValue(
                    f"{name}: fps_sample_range_list must rise and stay below the number of points, {size}, got "
                    f"{self.fps_sample_range_list}"
                )
            part = slice(begin, None if end == -1 else end)
            chosen.append(
                sampler(points_xyz[:, part], None if features is None else features[:, :, part], count) + begin
            )
            begin = size if end == -1 else end
        return torch.cat(chosen, 1) if chosen else points_xyz.new_empty((len(points_xyz), 0), dtype=torch.int32)
