"""Layers and builders."""

from arrayvision.torch_bridge.cnn.bricks.activation import HSigmoid, HSwish, Swish, build_activation_layer
from arrayvision.torch_bridge.cnn.bricks.attention import (
    ContextBlock,
    GeneralizedAttention,
    NonLocal1d,
    NonLocal2d,
    NonLocal3d,
)
from arrayvision.torch_bridge.cnn.bricks.conv import (
    Conv2dAdaptivePadding,
    ConvAWS2d,
    ConvWS2d,
    build_conv_layer,
    conv_ws_2d,
)
from arrayvision.torch_bridge.cnn.bricks.conv_module import ConvModule, DepthwiseSeparableConvModule
from arrayvision.torch_bridge.cnn.bricks.drop import Dropout, DropPath
from arrayvision.torch_bridge.cnn.bricks.norm import build_norm_layer, is_norm
from arrayvision.torch_bridge.cnn.bricks.padding import build_padding_layer
from arrayvision.torch_bridge.cnn.bricks.plugin import build_plugin_layer
from arrayvision.torch_bridge.cnn.bricks.scale import LayerScale, Scale
from arrayvision.torch_bridge.cnn.bricks.upsample import build_upsample_layer
from arrayvision.torch_bridge.cnn.bricks.wrappers import (
    Conv2d,
    Conv3d,
    ConvTranspose2d,
    ConvTranspose3d,
    Linear,
    MaxPool2d,
    MaxPool3d,
)

__all__ = [
    "ContextBlock",
    "Conv2d",
    "Conv2dAdaptivePadding",
    "Conv3d",
    "ConvAWS2d",
    "ConvModule",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "ConvWS2d",
    "DepthwiseSeparableConvModule",
    "DropPath",
    "Dropout",
    "GeneralizedAttention",
    "HSigmoid",
    "HSwish",
    "LayerScale",
    "Linear",
    "MaxPool2d",
    "MaxPool3d",
    "NonLocal1d",
    "NonLocal2d",
    "NonLocal3d",
    "Scale",
    "Swish",
    "build_activation_layer",
    "build_conv_layer",
    "build_norm_layer",
    "build_padding_layer",
    "build_plugin_layer",
    "build_upsample_layer",
    "conv_ws_2d",
    "is_norm",
]
