"""RoIAlign of rotated regions on tensors."""

from __future__ import annotations

from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.ops import _roi
from arrayvision.torch_bridge.library import linear
from arrayvision.torch_bridge.ops._modules import renamed, shown


def _shape(input, rois, size, *_):
    return rois.shape[0], input.shape[1], size[0], size[1]


_roi_align_rotated = linear(
    "roi_align_rotated",
    "Tensor rois, SymInt[] output_size, float spatial_scale, int sampling_ratio, bool aligned, bool clockwise",
    ops.roi_align_rotated,
    lambda grad, rois, size, scale, ratio, aligned, clockwise, shape: ops.roi_align_rotated_backward(
        grad, rois, shape, scale, ratio, aligned, clockwise
    ),
    _shape,
)
_riroi_align_rotated = linear(
    "riroi_align_rotated",
    "Tensor rois, SymInt[] out_size, float spatial_scale, int num_samples, int num_orientations, bool clockwise",
    ops.riroi_align_rotated,
    lambda grad, rois, size, scale, samples, orientations, clockwise, shape: ops.riroi_align_rotated_backward(
        grad, rois, shape, scale, samples, orientations, clockwise
    ),
    _shape,
)


def roi_align_rotated(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
    clockwise: bool = False,
) -> Tensor:
    """`arrayvision.ops.roi_align_rotated` on tensors, differentiable in `input` any number of times.

    Parameters
    ----------
    input : Tensor (B, C, H, W)
        Features, contiguous or channels-last.
    rois : Tensor (K, 6)
        (image's index, cx, cy, w, h, angle).
    output_size, spatial_scale, sampling_ratio, aligned, clockwise
        As there.

    Returns
    -------
    Tensor (K, C, height, width)
        In the dtype of input.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    size = _roi.size("roi_align_rotated", "output_size", output_size)
    return _roi_align_rotated(input, rois, size, spatial_scale, sampling_ratio, aligned, clockwise)


def riroi_align_rotated(
    features: Tensor,
    rois: Tensor,
    out_size: int | tuple[int, int],
    spatial_scale: float,
    num_samples: int = 0,
    num_orientations: int = 8,
    clockwise: bool = False,
) -> Tensor:
    """`arrayvision.ops.riroi_align_rotated` on tensors, differentiable in `features` any number of times.

    Parameters
    ----------
    features : Tensor (B, C, H, W)
        Features; C is a multiple of `num_orientations`.
    rois : Tensor (K, 6)
        (image's index, cx, cy, w, h, angle).
    out_size, spatial_scale, num_samples, num_orientations, clockwise
        As there.

    Returns
    -------
    Tensor (K, C, height, width)
        In the dtype of features.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    size = _roi.size("riroi_align_rotated", "out_size", out_size)
    return _riroi_align_rotated(features, rois, size, spatial_scale, num_samples, num_orientations, clockwise)


class RoIAlignRotated(nn.Module):
    """`roi_align_rotated` as a module.

    Parameters
    ----------
    output_size, spatial_scale, sampling_ratio, aligned, clockwise
        As of `roi_align_rotated`.
    """

    @renamed(out_size="output_size", sample_num="sampling_ratio")
    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int = 0,
        aligned: bool = True,
        clockwise: bool = False,
    ) -> None:
        super().__init__()
        self.output_size = _roi.size("RoIAlignRotated", "output_size", output_size)
        self.spatial_scale = _roi.scale("RoIAlignRotated", spatial_scale)
        self.sampling_ratio = check.integer("RoIAlignRotated", "sampling_ratio", sampling_ratio)
        self.aligned = check.flag("RoIAlignRotated", "aligned", aligned)
        self.clockwise = check.flag("RoIAlignRotated", "clockwise", clockwise)

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Features (B, C, H, W) and RoIs (K, 6) to (K, C, height, width)."""
        return roi_align_rotated(
            input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned, self.clockwise
        )

    def __repr__(self):
        return shown(self, "output_size", "spatial_scale", "sampling_ratio", "aligned", "clockwise")


class RiRoIAlignRotated(nn.Module):
    """`riroi_align_rotated` as a module.

    Parameters
    ----------
    out_size, spatial_scale, num_samples, num_orientations, clockwise
        As of `riroi_align_rotated`.
    """

    def __init__(
        self,
        out_size: int | tuple[int, int],
        spatial_scale: float,
        num_samples: int = 0,
        num_orientations: int = 8,
        clockwise: bool = False,
    ) -> None:
        super().__init__()
        self.out_size = _roi.size("RiRoIAlignRotated", "out_size", out_size)
        self.spatial_scale = _roi.scale("RiRoIAlignRotated", spatial_scale)
        self.num_samples = check.integer("RiRoIAlignRotated", "num_samples", num_samples)
        self.num_orientations = check.integer("RiRoIAlignRotated", "num_orientations", num_orientations, 1)
        self.clockwise = check.flag("RiRoIAlignRotated", "clockwise", clockwise)

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """Features (B, C, H, W) and RoIs (K, 6) to (K, C, height, width)."""
        return riroi_align_rotated(
            features,
            rois,
            self.out_size,
            self.spatial_scale,
            self.num_samples,
            self.num_orientations,
            self.clockwise,
        )

    def __repr__(self):
        return shown(self, "out_size", "spatial_scale", "num_samples", "num_orientations", "clockwise")
