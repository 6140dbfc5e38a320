"""Batch norms moved into the convolutions before them."""

from __future__ import annotations

from collections import Counter

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from arrayvision.torch_bridge.cnn.bricks.conv import Conv2dAdaptivePadding
from arrayvision.torch_bridge.cnn.bricks.conv_module import ConvModule, fused_weights, is_plain_conv


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
    lists the norm directly after the convolution (a `ConvModule`: where its `order` has it so) and channels agree. What
    else stands between them, an activation for one, keeps them apart. Convolutions that change their weights at each
    call (`ConvWS2d`, weight or spectral norms) stay as they are, and so do convolutions and norms that more than one
    module holds.
    """
    holders = Counter(
        id(child) for parent in module.modules() for child in parent._modules.values() if child is not None
    )
    shared = {key for key, count in holders.items() if count > 1}
    for parent in list(module.modules()):
        _fuse_in(parent, shared)
    return module


def _fuse_in(module, shared):
    order = getattr(module, "order", None) if isinstance(module, ConvModule) else None
    if order is not None and order.index("norm") != order.index("conv") + 1:
        return
    last = None  # the name of the convolution directly before
    for name, child in list(module._modules.items()):
        if child is None or type(child) is nn.Identity:
            continue
        if isinstance(child, _BatchNorm) and last is not None and id(child) not in shared:
            conv = module._modules[last]
            if child.running_var is not None and child.num_features == conv.out_channels:
                module._modules[last] = _fuse_conv_bn(conv, child)
                module._modules[name] = nn.Identity()
        fusible = (is_plain_conv(child) or isinstance(child, Conv2dAdaptivePadding)) and id(child) not in shared
        changing = hasattr(child, "weight_orig") or hasattr(child, "weight_g") or hasattr(child, "parametrizations")
        last = name if fusible and not changing else None
