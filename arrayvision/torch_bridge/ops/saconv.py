"""Switchable atrous convolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from arrayvision import check
from arrayvision.errors import InvalidValue
from arrayvision.torch_bridge.cnn.bricks.conv import ConvAWS2d
from arrayvision.torch_bridge.cnn.bricks.init import constant_init
from arrayvision.torch_bridge.ops.deform_conv import checked_input, checked_sizes, deform_conv2d


class SAConv2d(ConvAWS2d):
    """Convolution that each position does at its own dilation, or at three times that, or between. "SAC" in configs.

    S. Qiao et al., "DetectoRS: Detecting Objects with Recursive Feature Pyramid and Switchable Atrous Convolution", 2020.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As in torch.nn.Conv2d.
    use_deform : bool
        Whether the two convolutions are deformable, for filters of 3 x 3.

    Notes
    -----
    The parameter `bias` is there for checkpoints, and isn't added: published weights are made so.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        use_deform: bool = False,
    ):
        sizes = checked_sizes("SAConv2d", in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        use_deform, bias = check.flag("SAConv2d", "use_deform", use_deform), check.flag("SAConv2d", "bias", bias)
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups = sizes
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.use_deform = use_deform
        if use_deform and self.kernel_size != (3, 3):
            raise InvalidValue(f"SAConv2d: kernel_size must be 3 with use_deform, got {self.kernel_size}")
        self.switch = nn.Conv2d(in_channels, 1, 1, stride)
        self.weight_diff = nn.Parameter(self.weight.new_empty(self.weight.shape))
        self.pre_context = nn.Conv2d(in_channels, in_channels, 1)
        self.post_context = nn.Conv2d(out_channels, out_channels, 1)
        if use_deform:
            self.offset_s = nn.Conv2d(in_channels, 18, 3, stride, 1)
            self.offset_l = nn.Conv2d(in_channels, 18, 3, stride, 1)
        self.init_weights()

    def init_weights(self) -> None:
        """Let all positions use the small dilation, and nothing else be added."""
        constant_init(self.switch, 0, bias=1)
        nn.init.zeros_(self.weight_diff)
        constant_init(self.pre_context, 0)
        constant_init(self.post_context, 0)
        if self.use_deform:
            constant_init(self.offset_s, 0)
            constant_init(self.offset_l, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, C, H, W), at least 3 x 3, to (B, O, oh, ow)."""
        checked_input(self, x)
        if min(x.shape[2:]) < 3:
            raise InvalidValue(f"SAConv2d: x must have at least 3 x 3 positions, got shape {tuple(x.shape)}")
        x = x + self.pre_context(F.adaptive_avg_pool2d(x, 1))
        near = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), 5, 1)
        switch = self.switch(near)
        weight = self._get_weight(self.weight)
        small = self._convolved(x, near, weight, 1, "offset_s")
        large = self._convolved(x, near, weight + self.weight_diff, 3, "offset_l")
        out = switch * small + (1 - switch) * large
        return out + self.post_context(F.adaptive_avg_pool2d(out, 1))

    def _convolved(self, x, near, weight, times, offset):
        padding, dilation = (tuple(times * step for step in steps) for steps in (self.padding, self.dilation))
        if self.use_deform:
            return deform_conv2d(x, getattr(self, offset)(near), weight, self.stride, padding, dilation, self.groups)
        return F.conv2d(x, weight, None, self.stride, padding, dilation, self.groups)
