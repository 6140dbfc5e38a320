"""CNN layers built by name, small backbones, and tools for models."""

import importlib

import arrayvision.torch_bridge.cnn.bricks.transformer  # noqa: F401  (registers its layers)
from arrayvision.torch_bridge.cnn.alexnet import AlexNet
from arrayvision.torch_bridge.cnn.bricks import *  # noqa: F403
from arrayvision.torch_bridge.cnn.bricks import __all__ as _bricks
from arrayvision.torch_bridge.cnn.checkpoint import load_checkpoint
from arrayvision.torch_bridge.cnn.resnet import ResNet, make_res_layer
from arrayvision.torch_bridge.cnn.utils import fuse_conv_bn, get_model_complexity_info
from arrayvision.torch_bridge.cnn.vgg import VGG, make_vgg_layer

_LAZY = ("Conv2dRFSearchOp", "RFSearchHook")  # a hook is mmengine's, which is imported if it is there

__all__ = [
    "VGG",
    "AlexNet",
    "ResNet",
    "fuse_conv_bn",
    "get_model_complexity_info",
    "load_checkpoint",
    "make_res_layer",
    "make_vgg_layer",
    *_bricks,
    *_LAZY,
]


def __getattr__(name):
    if name in _LAZY:
        return getattr(importlib.import_module("arrayvision.torch_bridge.cnn.rfsearch"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
