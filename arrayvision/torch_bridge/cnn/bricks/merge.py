"""Cells that merge two feature maps of any sizes. G. Ghiasi et al., "NAS-FPN", 2019."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arrayvision.errors import require
from arrayvision.torch_bridge.cnn.bricks.conv_module import ConvModule


class BaseMergeCell(nn.Module):
    """Two maps resized to one size, merged by a subclass's `_binary_op`, and convolved.

    Parameters
    ----------
    fused_channels, out_channels : int
        Channels after the merge, and of the result.
    with_out_conv : bool
        Convolve the result, by `out_conv_cfg`, `out_norm_cfg` and `out_conv_order`.
    with_input1_conv, with_input2_conv : bool
        Convolve the inputs first, by `input_conv_cfg` and `input_norm_cfg`.
    upsample_mode : {"nearest", "bilinear"}
        How smaller maps are made larger; larger ones are max-pooled, padded with zeros where sizes don't divide.
    """

    def __init__(
        self,
        fused_channels: int | None = 256,
        out_channels: int | None = 256,
        with_out_conv: bool = True,
        out_conv_cfg: dict = {"groups": 1, "kernel_size": 3, "padding": 1, "bias": True},  # noqa: B006  (never changed)
        out_norm_cfg: dict | None = None,
        out_conv_order: tuple = ("act", "conv", "norm"),
        with_input1_conv: bool = False,
        with_input2_conv: bool = False,
        input_conv_cfg: dict | None = None,
        input_norm_cfg: dict | None = None,
        upsample_mode: str = "nearest",
    ):
        super().__init__()
        name = type(self).__name__
        require(
            upsample_mode in ("nearest", "bilinear"),
            f"{name}: upsample_mode must be 'nearest' or 'bilinear', got {upsample_mode!r}",
        )
        self.with_out_conv = with_out_conv
        self.with_input1_conv = with_input1_conv
        self.with_input2_conv = with_input2_conv
        self.upsample_mode = upsample_mode
        if with_out_conv:
            self.out_conv = ConvModule(
                fused_channels,  # type: ignore[arg-type]
                out_channels,  # type: ignore[arg-type]
                **out_conv_cfg,
                norm_cfg=out_norm_cfg,
                order=out_conv_order,
            )

        def before(wanted):
            if not wanted:
                return nn.Sequential()
            return ConvModule(
                out_channels,  # type: ignore[arg-type]
                out_channels,  # type: ignore[arg-type]
                3,
                padding=1,
                conv_cfg=input_conv_cfg,
                norm_cfg=input_norm_cfg,
                bias=True,
            )

        self.input1_conv = before(with_input1_conv)
        self.input2_conv = before(with_input2_conv)

    def _binary_op(self, x1: Tensor, x2: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__}: a subclass must define _binary_op")

    def _resize(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        have = tuple(x.shape[-2:])
        if have == size:
            return x
        if have < size:
            return F.interpolate(x, size=size, mode=self.upsample_mode)
        (top, bottom), (left, right) = ((-n % s // 2, -n % s - -n % s // 2) for n, s in zip(have, size, strict=True))
        x = F.pad(x, (left, right, top, bottom))
        window = (x.shape[-2] // size[0], x.shape[-1] // size[1])
        return F.max_pool2d(x, window, window)

    def forward(self, x1: Tensor, x2: Tensor, out_size: tuple | None = None) -> Tensor:
        """(B, C, H, W) and (B, C, H', W') to (B, out_channels, h, w), the larger of the two sizes unless given."""
        name = type(self).__name__
        require(
            x1.shape[:2] == x2.shape[:2],
            f"{name}: x1 and x2 must have as many samples and channels, got {tuple(x1.shape)} and {tuple(x2.shape)}",
        )
        require(out_size is None or len(out_size) == 2, f"{name}: out_size must be (h, w), got {out_size}")
        size = max(tuple(x1.shape[2:]), tuple(x2.shape[2:])) if out_size is None else tuple(out_size)
        x = self._binary_op(self._resize(self.input1_conv(x1), size), self._resize(self.input2_conv(x2), size))
        return self.out_conv(x) if self.with_out_conv else x


class SumCell(BaseMergeCell):
    """The sum of both maps."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs):
        super().__init__(in_channels, out_channels, **kwargs)

    def _binary_op(self, x1: Tensor, x2: Tensor) -> Tensor:
        return x1 + x2


class ConcatCell(BaseMergeCell):
    """Both maps' channels, one after the other."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs):
        super().__init__(in_channels * 2, out_channels, **kwargs)

    def _binary_op(self, x1: Tensor, x2: Tensor) -> Tensor:
        return torch.cat([x1, x2], dim=1)


class GlobalPoolingCell(BaseMergeCell):
    """The second map, and the first weighted by the sigmoid of the second's means."""

    def __init__(self, in_channels: int | None = None, out_channels: int | None = None, **kwargs):
        super().__init__(in_channels, out_channels, **kwargs)
        self.global_pool = nn.AdaptiveAvgPool2d((1, 1))

    def _binary_op(self, x1: Tensor, x2: Tensor) -> Tensor:
        return x2 + self.global_pool(x2).sigmoid() * x1
