"""`build_norm_layer` and `is_norm`."""

from __future__ import annotations

import inspect

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from arrayvision.errors import InvalidKind, InvalidValue, require
from arrayvision.registry import MODELS
from arrayvision.torch_bridge.cnn.bricks.conv import check_cfg

if MODELS._linked is not None:  # after arrayvision.openmmlab.install(): mmengine's subclass, which its users ask for
    from mmengine.utils.dl_utils.parrots_wrapper import SyncBatchNorm
else:
    SyncBatchNorm = nn.SyncBatchNorm

for _name, _kind in {
    "BN": nn.BatchNorm2d,
    "BN1d": nn.BatchNorm1d,
    "BN2d": nn.BatchNorm2d,
    "BN3d": nn.BatchNorm3d,
    "SyncBN": SyncBatchNorm,
    "GN": nn.GroupNorm,
    "LN": nn.LayerNorm,
    "IN": nn.InstanceNorm2d,
    "IN1d": nn.InstanceNorm1d,
    "IN2d": nn.InstanceNorm2d,
    "IN3d": nn.InstanceNorm3d,
}.items():
    MODELS.register_module(_name, module=_kind)

_ABBREVIATIONS = ((_InstanceNorm, "in"), (_BatchNorm, "bn"), (nn.GroupNorm, "gn"), (nn.LayerNorm, "ln"))


def infer_abbr(class_type: type) -> str:
    """A norm's name in a layer: its `_abbr_`, or bn, gn, ln, in from its bases, else from its name, else "norm_layer"."""
    if not inspect.isclass(class_type):
        raise TypeError(f"infer_abbr: class_type must be a class, got {type(class_type).__name__}")
    if hasattr(class_type, "_abbr_"):
        return class_type._abbr_
    for base, abbreviation in _ABBREVIATIONS:
        if issubclass(class_type, base):
            return abbreviation
    name = class_type.__name__.lower()
    for word, abbreviation in (("batch", "bn"), ("group", "gn"), ("layer", "ln"), ("instance", "in")):
        if word in name:
            return abbreviation
    return "norm_layer"


def build_norm_layer(cfg: dict, num_features: int, postfix: int | str = "") -> tuple[str, nn.Module]:
    """A norm from ``dict(type=..., ...)``, and the name to give it in a module.

    Parameters
    ----------
    cfg : dict
        `type`, arguments (`eps` is 1e-5 unless given; GN needs `num_groups`), and `requires_grad` (True) for its
        parameters.
    num_features : int
        Channels.
    postfix : int or str
        Goes after the abbreviation in the name.

    Returns
    -------
    name : str
        "bn1" for batch norm with postfix 1.
    layer : nn.Module

    Examples
    --------
    >>> name, layer = build_norm_layer(dict(type="GN", num_groups=2), 8, postfix=1)
    >>> name, layer.num_groups
    ('gn1', 2)
    """
    check_cfg("build_norm_layer", cfg)
    require(
        isinstance(postfix, (int, str)),
        f"build_norm_layer: postfix must be an int or str, got {type(postfix).__name__}",
        InvalidKind,
    )
    kind, scope, arguments = MODELS.split(cfg)
    norm = MODELS.find(kind, scope)
    requires_grad = arguments.pop("requires_grad", True)
    arguments.setdefault("eps", 1e-5)
    if norm is nn.GroupNorm:
        require("num_groups" in arguments, "build_norm_layer: cfg must have num_groups for GN", InvalidValue)
        layer = norm(num_channels=num_features, **arguments)
    else:
        layer = norm(num_features, **arguments)
    for parameter in layer.parameters():
        parameter.requires_grad = requires_grad
    return f"{infer_abbr(norm)}{postfix}", layer


def is_norm(layer: nn.Module, exclude: type | tuple | None = None) -> bool:
    """Whether a layer is a batch, instance, group or layer norm, and not of the classes in `exclude`."""
    if exclude is not None:
        exclude = exclude if isinstance(exclude, tuple) else (exclude,)
        if not all(isinstance(kind, type) for kind in exclude):
            raise TypeError(f"is_norm: exclude must be a class or a tuple of classes, got {exclude}")
        if isinstance(layer, exclude):
            return False
    return isinstance(layer, tuple(base for base, _ in _ABBREVIATIONS))
