"""`PixelShufflePack` and `build_upsample_layer`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from arrayvision.registry import MODELS
from arrayvision.torch_bridge.cnn.bricks.conv import check_cfg
from arrayvision.torch_bridge.cnn.bricks.init import xavier_init

MODELS.register_module("nearest", module=nn.Upsample)
MODELS.register_module("bilinear", module=nn.Upsample)


@MODELS.register_module("pixel_shuffle")
class PixelShufflePack(nn.Module):
    """Upsampling by a convolution to scale_factor**2 times the channels, and a pixel shuffle.

    Parameters
    ----------
    in_channels, out_channels : int
    scale_factor : int
        (B, in_channels, H, W) becomes (B, out_channels, H * scale_factor, W * scale_factor).
    upsample_kernel : int
        The convolution's kernel size, odd.
    """

    def __init__(self, in_channels: int, out_channels: int, scale_factor: int, upsample_kernel: int):
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.scale_factor = scale_factor
        self.upsample_kernel = upsample_kernel
        self.upsample_conv = nn.Conv2d(
            in_channels, out_channels * scale_factor**2, upsample_kernel, padding=(upsample_kernel - 1) // 2
        )
        self.init_weights()

    def init_weights(self) -> None:
        """Xavier, uniform."""
        xavier_init(self.upsample_conv, distribution="uniform")

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.upsample_conv(x), self.scale_factor)


def build_upsample_layer(cfg: dict, *args, **kwargs) -> nn.Module:
    """An upsampling layer: nearest, bilinear, deconv, deconv3d, pixel_shuffle or carafe.

    Examples
    --------
    >>> build_upsample_layer(dict(type="nearest", scale_factor=2))
    Upsample(scale_factor=2.0, mode='nearest')
    """
    check_cfg("build_upsample_layer", cfg)
    kind, scope, arguments = MODELS.split(cfg)
    layer = MODELS.find(kind, scope)
    if layer is nn.Upsample and isinstance(kind, str):
        arguments["mode"] = kind.rsplit(".")[-1]
    return layer(*args, **kwargs, **arguments)
