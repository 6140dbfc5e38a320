"""What projects import from `mmcv.ops` beside its operators."""

from __future__ import annotations

from typing import Any, Union

import numpy as np

from arrayvision import utils
from arrayvision.older.sparse import (
    SparseConvFunction as SparseConvFunction,
    SparseInverseConvFunction as SparseInverseConvFunction,
    SparseMaxPoolFunction as SparseMaxPoolFunction,
    SubMConvFunction as SubMConvFunction,
    fused_indice_conv as fused_indice_conv,
    get_conv_output_size as get_conv_output_size,
    get_deconv_output_size as get_deconv_output_size,
    get_indice_pairs as get_indice_pairs,
    indice_conv as indice_conv,
    indice_conv_backward as indice_conv_backward,
    indice_inverse_conv as indice_inverse_conv,
    indice_maxpool as indice_maxpool,
    indice_maxpool_backward as indice_maxpool_backward,
    indice_subm_conv as indice_subm_conv,
)
from arrayvision.ops.bias_act import ACTIVATIONS
from arrayvision.torch_bridge import Tensor, ops, torch  # whose error says which extra is missing
from arrayvision.torch_bridge.ops.deprecated_wrappers import (
    Conv2d as Conv2d,
    Conv2d_deprecated as Conv2d_deprecated,
    ConvTranspose2d as ConvTranspose2d,
    ConvTranspose2d_deprecated as ConvTranspose2d_deprecated,
    Linear as Linear,
    Linear_deprecated as Linear_deprecated,
    MaxPool2d as MaxPool2d,
    MaxPool2d_deprecated as MaxPool2d_deprecated,
)
from arrayvision.torch_bridge.ops.sparse_modules import (
    is_sparse_conv as is_sparse_conv,
    is_spconv_module as is_spconv_module,
)

array_like_type = Union[Tensor, np.ndarray]  # noqa: UP007  (projects look at its arguments)
EPSILON = 1e-8


def __getattr__(name: str) -> Any:
    if name.startswith("IS_") and name.endswith("_AVAILABLE"):
        return getattr(utils, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# ---- suppression -----------------------------------------------------------------------------------------------------
class NMSop:
    """`apply` gives the indices that `nms` keeps."""

    @staticmethod
    def apply(
        bboxes: Tensor,
        scores: Tensor,
        iou_threshold: float,
        offset: int = 0,
        score_threshold: float = 0,
        max_num: int = -1,
    ) -> Tensor:
        """As `nms`, its indices alone."""
        return ops.nms(bboxes, scores, iou_threshold, offset, score_threshold, max_num)[1]


class SoftNMSop:
    """`apply` is `soft_nms`, its method by number: 0 naive, 1 linear, 2 gaussian."""

    @staticmethod
    def apply(
        boxes: Tensor,
        scores: Tensor,
        iou_threshold: float,
        sigma: float,
        min_score: float,
        method: int,
        offset: int,
    ) -> tuple[Tensor, Tensor]:
        """As `soft_nms`."""
        return ops.soft_nms(
            boxes, scores, iou_threshold, sigma, min_score, ("naive", "linear", "gaussian")[method], offset
        )


# ---- steps of the intersection of rotated boxes ----------------------------------------------------------------------
# diff_iou_rotated_2d needs none of these: it integrates along edges. They are for code that was built on them.
def box2corners(box: Tensor) -> Tensor:
    """Corners (B, N, 4, 2) of boxes (B, N, 5) of (x, y, w, h, angle), from the one at (w/2, h/2) on, turned by the angle."""
    sign = box.new_tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2
    x, y = (sign * box[..., None, 2:4]).unbind(-1)
    cos, sin = torch.cos(box[..., 4:]), torch.sin(box[..., 4:])
    return box[..., None, :2] + torch.stack([x * cos - y * sin, x * sin + y * cos], -1)


def _cross(a, b):
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def box_intersection(corners1: Tensor, corners2: Tensor) -> tuple[Tensor, Tensor]:
    """Where edges cross: points (B, N, 4, 4, 2), zero where they don't, and whether they do (B, N, 4, 4)."""
    start1, start2 = corners1[..., :, None, :], corners2[..., None, :, :]
    along1 = torch.roll(corners1, -1, -2)[..., :, None, :] - start1
    along2 = torch.roll(corners2, -1, -2)[..., None, :, :] - start2
    turn = _cross(along1, along2)
    crosses = turn != 0
    turn = torch.where(crosses, turn, 1)
    at1 = _cross(start2 - start1, along2) / turn
    at2 = _cross(start2 - start1, along1) / turn
    crosses = crosses & (at1 > 0) & (at1 < 1) & (at2 > 0) & (at2 < 1)
    points = start1 + at1[..., None] * along1
    return torch.where(crosses[..., None], points, 0), crosses


def box1_in_box2(corners1: Tensor, corners2: Tensor) -> Tensor:
    """Which corners of the first boxes lie in the second ones, on their edges included; (B, N, 4) bool."""
    origin = corners2[..., :1, :]
    inside = torch.ones_like(corners1[..., 0], dtype=torch.bool)
    for side in (corners2[..., 1:2, :] - origin, corners2[..., 3:4, :] - origin):
        share = ((corners1 - origin) * side).sum(-1) / (side * side).sum(-1)
        inside &= (share > -1e-6) & (share < 1 + 1e-6)
    return inside


def box_in_box(corners1: Tensor, corners2: Tensor) -> tuple[Tensor, Tensor]:
    """Which corners of the first boxes lie in the second, and the other way round."""
    return box1_in_box2(corners1, corners2), box1_in_box2(corners2, corners1)


def build_vertices(
    corners1: Tensor, corners2: Tensor, c1_in_2: Tensor, c2_in_1: Tensor, intersections: Tensor, valid_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """All that may be a corner of the intersection, (B, N, 24, 2), and which of it is one, (B, N, 24)."""
    vertices = torch.cat([corners1, corners2, intersections.flatten(-3, -2)], -2)
    return vertices, torch.cat([c1_in_2, c2_in_1, valid_mask.flatten(-2)], -1)


class SortVertices:
    """`apply` orders corners about the origin."""

    @staticmethod
    def apply(vertices: Tensor, mask: Tensor, num_valid: Tensor) -> Tensor:
        """Positions (B, N, 9) of the valid corners by rising angle, the first once more, then of ones that don't count.

        Corners at one place are taken once.
        """
        with torch.no_grad():
            angle = torch.where(mask, torch.atan2(vertices[..., 1], vertices[..., 0]), torch.inf)
            order = angle.argsort(-1)
            points = vertices.gather(-2, order[..., None].expand(*order.shape, 2))
            valid = mask.gather(-1, order)
            size = torch.where(mask[..., None], vertices.abs(), 0).amax((-1, -2))
            apart = (points - torch.roll(points, 1, -2)).abs().amax(-1) > 1e-6 * size[..., None]
            apart[..., 0] = True
            last = valid.sum(-1, keepdim=True) - 1  # may lie where the first does
            near = (points - points[..., :1, :]).abs().amax(-1) <= 1e-6 * size[..., None]
            place = torch.arange(points.shape[-2], device=points.device)
            keep = valid & apart & ~(near & (place == last) & (last > 0))
            order = order.gather(-1, torch.where(keep, place, place + len(place)).argsort(-1))[..., :9].clone()
            count = keep.sum(-1, keepdim=True).clamp(max=8)
            none = torch.where(mask, 0, place + 1).argmax(-1, keepdim=True)  # the last that is no corner
            place = place[:9]
            order = torch.where(place == count, order[..., :1], order)
            return torch.where((place > count) | (count == 0), none, order)


def sort_indices(vertices: Tensor, mask: Tensor) -> Tensor:
    """Positions (B, N, 9) of the intersection's corners in order; the first comes again at the end."""
    count = mask.sum(-1)
    middle = (vertices * mask[..., None]).sum(-2, keepdim=True) / count.clamp(min=1)[..., None, None]
    return SortVertices.apply(vertices - middle, mask, count).long()


def calculate_area(idx_sorted: Tensor, vertices: Tensor) -> tuple[Tensor, Tensor]:
    """The area (B, N) round which ordered corners run, and these corners (B, N, 9, 2)."""
    selected = vertices.gather(-2, idx_sorted[..., None].expand(*idx_sorted.shape, 2))
    return _cross(selected[..., :-1, :], selected[..., 1:, :]).sum(-1).abs() / 2, selected


def oriented_box_intersection_2d(corners1: Tensor, corners2: Tensor) -> tuple[Tensor, Tensor]:
    """The area that boxes given by corners (B, N, 4, 2) share, (B, N), and its corners (B, N, 9, 2)."""
    points, crosses = box_intersection(corners1, corners2)
    vertices, mask = build_vertices(corners1, corners2, *box_in_box(corners1, corners2), points, crosses)
    return calculate_area(sort_indices(vertices, mask), vertices)


# ---- around activations ----------------------------------------------------------------------------------------------
class EasyDict(dict):
    """A dict whose items are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no item {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no item {name!r}") from None


def _activation(act):
    alpha, gain = ACTIVATIONS[act]

    def func(x: Tensor, alpha: float = alpha, **_: Any) -> Tensor:
        return ops.bias_act(x, None, act=act, alpha=alpha, gain=1)

    return EasyDict(func=func, def_alpha=alpha, def_gain=gain)


activation_funcs = {act: _activation(act) for act in ACTIVATIONS}


def bias_leakyrelu_ref(x: Tensor, bias: Tensor | None, negative_slope: float = 0.2, scale: float = 2**0.5) -> Tensor:
    """As `fused_bias_leakyrelu`; bias may be None."""
    if bias is None:
        bias = x.new_zeros(x.shape[1])
    return ops.fused_bias_leakyrelu(x, bias, negative_slope, scale)


def NEG_INF_DIAG(n: int, device: Any) -> Tensor:
    """A matrix (n, n) with minus infinity on its diagonal, and zeros."""
    return torch.full((n,), -torch.inf, device=device).diag()
