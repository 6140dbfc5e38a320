"""`build_plugin_layer`."""

from __future__ import annotations

import inspect
import re

from torch import nn

from arrayvision.errors import InvalidKind, require
from arrayvision.registry import MODELS
from arrayvision.torch_bridge.cnn.bricks.conv import check_cfg


def infer_abbr(class_type: type) -> str:
    """A plugin's name in a layer: its `_abbr_`, else the class's name in snake_case (FancyBlock: fancy_block)."""
    if not inspect.isclass(class_type):
        raise TypeError(f"infer_abbr: class_type must be a class, got {type(class_type).__name__}")
    if hasattr(class_type, "_abbr_"):
        return class_type._abbr_
    words = re.sub(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_type.__name__)
    return words.replace("-", "_").lower()


def build_plugin_layer(cfg: dict, postfix: int | str = "", **kwargs) -> tuple[str, nn.Module]:
    """A plugin (ContextBlock, NonLocal2d, ...) from ``dict(type=..., ...)``, and the name to give it in a module.

    Examples
    --------
    >>> build_plugin_layer(dict(type="ContextBlock", ratio=0.25), postfix="_1", in_channels=16)[0]
    'context_block_1'
    """
    check_cfg("build_plugin_layer", cfg)
    require(
        isinstance(postfix, (int, str)),
        f"build_plugin_layer: postfix must be an int or str, got {type(postfix).__name__}",
        InvalidKind,
    )
    kind, scope, arguments = MODELS.split(cfg)
    plugin = MODELS.find(kind, scope)
    return f"{infer_abbr(plugin)}{postfix}", plugin(**kwargs, **arguments)
