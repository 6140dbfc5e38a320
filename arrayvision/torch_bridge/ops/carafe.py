"""Content-aware reassembly of features, on tensors."""

from __future__ import annotations

from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.ops.carafe import arguments, odd
from arrayvision.torch_bridge.library import bilinear
from arrayvision.torch_bridge.ops._modules import check_input, shown


def _shape(features, masks, kernel_size, group_size, scale_factor):
    n, c, h, w = features.shape
    return n, c, h * scale_factor, w * scale_factor


def _registered(name, forward):
    return bilinear(
        name,
        "int kernel_size, int group_size, int scale_factor",
        forward,
        lambda grad, masks, k, groups, scale, shape: ops.carafe_features_backward(grad, masks, shape, k, groups, scale),
        lambda grad, features, k, groups, scale, shape: ops.carafe_masks_backward(
            grad, features, shape, k, groups, scale
        ),
        _shape,
    )


_carafe, _carafe_naive = _registered("carafe", ops.carafe), _registered("carafe_naive", ops.carafe_naive)


def carafe(features: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale_factor: int) -> Tensor:
    """`arrayvision.ops.carafe` on tensors, differentiable in maps and weights any number of times.

    Parameters
    ----------
    features : Tensor (N, C, H, W)
        Maps.
    masks : Tensor (N, group_size * kernel_size**2, H * scale_factor, W * scale_factor)
        The weights of each pixel of the result.
    kernel_size, group_size, scale_factor
        As there.

    Returns
    -------
    Tensor (N, C, H * scale_factor, W * scale_factor)
        As there.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _carafe(features, masks, kernel_size, group_size, scale_factor)


def carafe_naive(features: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale_factor: int) -> Tensor:
    """`carafe`, by an older name.

    Parameters
    ----------
    features, masks, kernel_size, group_size, scale_factor
        As of `carafe`.

    Returns
    -------
    Tensor (N, C, H * scale_factor, W * scale_factor)
        As there.

    Raises
    ------
    TypeError, ValueError
        As `carafe`.
    """
    return _carafe_naive(features, masks, kernel_size, group_size, scale_factor)


class CARAFE(nn.Module):
    """`carafe` as a module.

    Parameters
    ----------
    kernel_size, group_size, scale_factor
        As of `carafe`.
    """

    _function = staticmethod(carafe)

    def __init__(self, kernel_size: int, group_size: int, scale_factor: int) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size, self.group_size, self.scale_factor = arguments(name, 0, kernel_size, group_size, scale_factor)

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """Maps (N, C, H, W) and weights to maps (N, C, H * scale_factor, W * scale_factor)."""
        return self._function(features, masks, self.kernel_size, self.group_size, self.scale_factor)

    def __repr__(self):
        return shown(self, "kernel_size", "group_size", "scale_factor")


class CARAFENaive(CARAFE):
    """`CARAFE`, by an older name."""

    _function = staticmethod(carafe_naive)


class CARAFEPack(nn.Module):
    """Upsampling by `carafe`, with weights that convolutions make of the maps; 'carafe' in configs.

    Parameters
    ----------
    channels : int
        Of the maps, and of the result.
    scale_factor : int
        How many times as high and wide the result is.
    up_kernel : int
        The window's height and width, odd.
    up_group : int
        How many groups of channels have weights of their own.
    encoder_kernel, encoder_dilation : int
        Of the convolution that makes weights; the kernel is odd.
    compressed_channels : int
        What it makes them of.
    """

    def __init__(
        self,
        channels: int,
        scale_factor: int,
        up_kernel: int = 5,
        up_group: int = 1,
        encoder_kernel: int = 3,
        encoder_dilation: int = 1,
        compressed_channels: int = 64,
    ) -> None:
        super().__init__()
        name = "CARAFEPack"
        self.channels = check.integer(name, "channels", channels, 1, 2**31 - 1)
        self.up_kernel, self.up_group, self.scale_factor = arguments(
            name, self.channels, up_kernel, up_group, scale_factor, "up_kernel", "up_group"
        )
        self.encoder_kernel = odd(name, "encoder_kernel", encoder_kernel)
        self.encoder_dilation = check.integer(name, "encoder_dilation", encoder_dilation, 1, 2**15)
        self.compressed_channels = check.integer(name, "compressed_channels", compressed_channels, 1, 2**31 - 1)
        self.channel_compressor = nn.Conv2d(self.channels, self.compressed_channels, 1)
        self.content_encoder = nn.Conv2d(
            self.compressed_channels,
            self.up_kernel**2 * self.up_group * self.scale_factor**2,
            self.encoder_kernel,
            padding=(self.encoder_kernel - 1) * self.encoder_dilation // 2,
            dilation=self.encoder_dilation,
        )
        self.init_weights()

    def init_weights(self) -> None:
        """Xavier, uniform; what makes the weights begins near 0, so that all of a window are about the same."""
        from arrayvision.torch_bridge.cnn.bricks.init import normal_init, xavier_init

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                xavier_init(module, distribution="uniform")
        normal_init(self.content_encoder, std=0.001)

    def kernel_normalizer(self, mask: Tensor) -> Tensor:
        """Weights (N, up_group * up_kernel**2 * scale_factor**2, H, W) to (N, up_group * up_kernel**2, H * scale_factor, W *
        scale_factor), those of a window positive with the sum 1."""
        (n, _, h, w), s, taps = mask.shape, self.scale_factor, self.up_kernel**2
        # As torch's pixel_shuffle, which has no gradient of an empty batch.
        mask = mask.reshape(n, self.up_group, taps, s, s, h, w).softmax(2)
        return mask.permute(0, 1, 2, 5, 3, 6, 4).reshape(n, self.up_group * taps, h * s, w * s)

    def feature_reassemble(self, x: Tensor, mask: Tensor) -> Tensor:
        """`carafe` of maps and these weights."""
        return carafe(x, mask, self.up_kernel, self.up_group, self.scale_factor)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, channels, H, W) to maps (N, channels, H * scale_factor, W * scale_factor)."""
        check_input("CARAFEPack", x, self.channel_compressor.weight, argument="x")
        check.shape("CARAFEPack", "x", x, "N", self.channels, "H", "W")
        if not x.shape[2] * x.shape[3]:  # torch's convolutions refuse such maps
            return x.reshape(_shape(x, None, None, None, self.scale_factor))
        mask = self.content_encoder(self.channel_compressor(x))
        return self.feature_reassemble(x, self.kernel_normalizer(mask))
