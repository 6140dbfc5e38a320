"""`build_padding_layer`."""

from __future__ import annotations

from torch import nn

from arrayvision.registry import MODELS
from arrayvision.torch_bridge.cnn.bricks.conv import check_cfg

MODELS.register_module("zero", module=nn.ZeroPad2d)
MODELS.register_module("reflect", module=nn.ReflectionPad2d)
MODELS.register_module("replicate", module=nn.ReplicationPad2d)


def build_padding_layer(cfg: dict, *args, **kwargs) -> nn.Module:
    """A padding layer from ``dict(type="zero" | "reflect" | "replicate")``; the arguments give the padding.

    Examples
    --------
    >>> build_padding_layer(dict(type="reflect"), 2)
    ReflectionPad2d((2, 2, 2, 2))
    """
    check_cfg("build_padding_layer", cfg)
    kind, scope, arguments = MODELS.split(cfg)
    return MODELS.find(kind, scope)(*args, **kwargs, **arguments)
