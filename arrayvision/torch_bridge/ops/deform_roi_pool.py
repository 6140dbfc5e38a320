"""Deformable RoI pooling on tensors, and the modules that learn its offsets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.ops import _roi
from arrayvision.torch_bridge.library import check_tensors, differentiable
from arrayvision.torch_bridge.ops._modules import shown

_deform_roi_pool = differentiable(
    "deform_roi_pool",
    "Tensor input, Tensor? offset, Tensor rois, SymInt[] output_size, float spatial_scale, int sampling_ratio, "
    "float gamma",
    lambda input, offset, rois, *rest: ops.deform_roi_pool(input, rois, offset, *rest),
    lambda grad, input, offset, rois, size, *rest: ops.deform_roi_pool_backward(grad, input, rois, offset, *rest),
    lambda input, offset, rois, size, *_: (rois.shape[0], input.shape[1], size[0], size[1]),
    2,
)


def deform_roi_pool(
    input: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    output_size: int | tuple[int, ...],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> Tensor:
    """`arrayvision.ops.deform_roi_pool` on tensors, differentiable in `input` and `offset`.

    Parameters
    ----------
    input : Tensor (B, C, H, W)
        Features, contiguous or channels-last.
    rois : Tensor (K, 5)
        (image's index, x1, y1, x2, y2).
    offset : Tensor (K, 2, height, width), optional
        How far bins move along x and y.
    output_size, spatial_scale, sampling_ratio, gamma
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
    size = _roi.size("deform_roi_pool", "output_size", output_size)
    if isinstance(offset, Tensor) and offset.numel() == 0 and offset.dim() == 1:  # another way to say None
        offset = None
    return _deform_roi_pool(input, offset, rois, size, spatial_scale, sampling_ratio, gamma)


class DeformRoIPool(nn.Module):
    """`deform_roi_pool` as a module.

    Parameters
    ----------
    output_size, spatial_scale, sampling_ratio, gamma
        As of `deform_roi_pool`.
    """

    def __init__(
        self,
        output_size: int | tuple[int, ...],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ) -> None:
        super().__init__()
        self.output_size = _roi.size(type(self).__name__, "output_size", output_size)
        name = type(self).__name__
        self.spatial_scale = _roi.scale(name, spatial_scale)
        self.sampling_ratio = check.integer(name, "sampling_ratio", sampling_ratio)
        self.gamma = check.number(name, "gamma", gamma)

    def forward(self, input: Tensor, rois: Tensor, offset: Tensor | None = None) -> Tensor:
        """Features (B, C, H, W), RoIs (K, 5) and an offset (K, 2, height, width) to (K, C, height, width)."""
        return deform_roi_pool(
            input, rois, offset, self.output_size, self.spatial_scale, self.sampling_ratio, self.gamma
        )

    def __repr__(self):
        return shown(self, "output_size", "spatial_scale", "sampling_ratio", "gamma")


def _checked(module, input):
    name, weight = type(module).__name__, module.offset_fc[0].weight
    check_tensors(name, input=input, **{"the weights": weight})
    check.shape(name, "input", input, "B", "C", "H", "W")
    if input.dtype != weight.dtype and not torch.is_autocast_enabled(input.device.type):
        raise InvalidKind(f"{name}: input must have the weights' dtype {weight.dtype}, got {input.dtype}")
    if input.shape[1] != module.output_channels:
        raise InvalidValue(
            f"{type(module).__name__}: input must have {module.output_channels} channels, got {input.shape[1]}"
        )


class DeformRoIPoolPack(DeformRoIPool):
    """Deformable RoI pooling whose offsets a small network makes from the plainly pooled features.

    Parameters
    ----------
    output_size, spatial_scale, sampling_ratio, gamma
        As of `deform_roi_pool`.
    output_channels : int
        The features' channels.
    deform_fc_channels : int
        The network's hidden channels.
    """

    def __init__(
        self,
        output_size: int | tuple[int, ...],
        output_channels: int,
        deform_fc_channels: int = 1024,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ) -> None:
        super().__init__(output_size, spatial_scale, sampling_ratio, gamma)
        name = type(self).__name__
        self.output_channels = output_channels = check.integer(name, "output_channels", output_channels, 1)
        self.deform_fc_channels = check.integer(name, "deform_fc_channels", deform_fc_channels, 1)
        bins, hidden = self.output_size[0] * self.output_size[1], self.deform_fc_channels
        self.offset_fc = nn.Sequential(
            nn.Linear(bins * output_channels, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, bins * 2),
        )
        nn.init.zeros_(self.offset_fc[-1].weight)  # bins start where they are
        nn.init.zeros_(self.offset_fc[-1].bias)

    def _offset(self, flat):
        return self.offset_fc(flat).view(flat.shape[0], 2, *self.output_size)

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:  # type: ignore[override]
        """Features (B, C, H, W) and RoIs (K, 5) to (K, C, height, width)."""
        _checked(self, input)
        flat = super().forward(input, rois).flatten(1)
        return super().forward(input, rois, self._offset(flat))


class ModulatedDeformRoIPoolPack(DeformRoIPoolPack):
    """`DeformRoIPoolPack` that also weighs each bin, by a second network.

    Parameters
    ----------
    output_size, output_channels, deform_fc_channels, spatial_scale, sampling_ratio, gamma
        As of `DeformRoIPoolPack`.
    """

    def __init__(
        self,
        output_size: int | tuple[int, ...],
        output_channels: int,
        deform_fc_channels: int = 1024,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ) -> None:
        super().__init__(output_size, output_channels, deform_fc_channels, spatial_scale, sampling_ratio, gamma)
        bins, hidden = self.output_size[0] * self.output_size[1], self.deform_fc_channels
        self.mask_fc = nn.Sequential(
            nn.Linear(bins * self.output_channels, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, bins),
            nn.Sigmoid(),
        )
        nn.init.zeros_(self.mask_fc[2].weight)
        nn.init.zeros_(self.mask_fc[2].bias)

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:  # type: ignore[override]
        """Features (B, C, H, W) and RoIs (K, 5) to (K, C, height, width)."""
        _checked(self, input)
        flat = DeformRoIPool.forward(self, input, rois).flatten(1)
        mask = self.mask_fc(flat).view(flat.shape[0], 1, *self.output_size)
        return torch.mul(DeformRoIPool.forward(self, input, rois, self._offset(flat)), mask)
