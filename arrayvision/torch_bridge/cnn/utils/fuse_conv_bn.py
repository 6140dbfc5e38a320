"""Batch norms moved into the convolutions before them."""

from __future__ import annotations

from collections import Counter

from torch import fx, nn
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
    lists the norm directly after the convolution (a `ConvModule`: where its `order` has it so), channels agree, and the
    module's `forward`, if torch.fx can follow it, gives the norm what comes from the convolution and uses neither
    otherwise. What stands between them, an activation for one, keeps them apart. Convolutions that change their weights
    at each call (`ConvWS2d`, weight or spectral norms) stay as they are, and so do convolutions and norms that more than
    one module holds.
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
            fits = child.running_var is not None and child.num_features == conv.out_channels
            if fits and _follows(module, last, name):
                module._modules[last] = _fuse_conv_bn(conv, child)
                module._modules[name] = nn.Identity()
        fusible = (is_plain_conv(child) or isinstance(child, Conv2dAdaptivePadding)) and id(child) not in shared
        changing = hasattr(child, "weight_orig") or hasattr(child, "weight_g") or hasattr(child, "parametrizations")
        last = name if fusible and not changing else None


class _Outline(fx.Tracer):
    """Follows one module's `forward`, its children being boxes."""

    def is_leaf_module(self, module, name):
        return True


def _follows(module, conv, norm):
    """Whether the module's `forward` calls each of the two once, the norm with the convolution's result alone.

    True, too, where it can't be followed: then the order in which the module lists them has to do.
    """
    if type(module) is nn.Sequential or isinstance(module, ConvModule):
        return True
    own = dict(module.__dict__)
    try:
        graph = _Outline().trace(module)
    except Exception:  # of any kind: forward runs on what isn't a tensor
        return True
    finally:
        module.__dict__.clear()
        module.__dict__.update(own)
    calls = {name: [n for n in graph.nodes if n.op == "call_module" and n.target == name] for name in (conv, norm)}
    if len(calls[conv]) != 1 or len(calls[norm]) != 1:
        return False
    node, last = calls[conv][0], calls[norm][0]
    while node is not last:  # by way of nothing but identities
        after = list(node.users)
        if len(after) != 1 or after[0].args != (node,) or after[0].op != "call_module":
            return False
        node = after[0]
        if node is not last and type(module.get_submodule(node.target)) is not nn.Identity:
            return False
    return True
