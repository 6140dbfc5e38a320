"""Batch norms moved into the convolutions before them."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from arrayvision.torch_bridge.cnn.bricks.conv import Conv2dAdaptivePadding
from arrayvision.torch_bridge.cnn.bricks.conv_module import fused_weights, is_plain_conv


def _fuse_conv_bn(conv: nn.Module, bn: nn.Module) -> nn.Module:
    weight, bias = fused_weights(conv, bn)
    conv.weight, conv.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    return conv


def fuse_conv_bn(module: nn.Module) -> nn.Module:
    """Fuse each batch norm into the convolution before it in the same module, for inference.

    Parameters
    ----------
    module : nn.Module
        Changed in place: convolutions get new weights, norms become nn.Identity.

    Returns
    -------
    nn.Module
        The same module.

    Notes
    -----
    The norm's running statistics are used. A convolution and a norm are taken to follow each other where their module
    lists them so and channels agree. Convolutions that change their weights at each call (`ConvWS2d`) stay as they are.
    """
    last_name = None
    for name, child in list(module.named_children()):
        if isinstance(child, _BatchNorm):
            conv = module._modules[last_name] if last_name is not None else None
            if conv is not None and child.running_var is not None and child.num_features == conv.out_channels:
                module._modules[last_name] = _fuse_conv_bn(conv, child)
                module._modules[name] = nn.Identity()
            last_name = None
        elif is_plain_conv(child) or isinstance(child, Conv2dAdaptivePadding):
            last_name = name if not hasattr(child, "weight_orig") else None
        else:
            if isinstance(child, nn.modules.conv._ConvNd):  # of another kind: the norm after it is its own
                last_name = None
            fuse_conv_bn(child)
    return module
