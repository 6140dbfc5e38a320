"""Weight initialisation of single layers, and the base class of those that take `init_cfg`."""

from __future__ import annotations

import copy
import warnings
from abc import ABCMeta
from collections.abc import Callable

from torch import Tensor, nn

from arrayvision.registry import MODELS


def _weight(module: nn.Module) -> Tensor | None:
    # under spectral norm `weight` is recomputed from this parameter at each call
    weight = getattr(module, "weight_orig", None)
    return weight if weight is not None else getattr(module, "weight", None)


def _fill_bias(module: nn.Module, value: float) -> None:
    bias = getattr(module, "bias", None)
    if isinstance(bias, Tensor):
        nn.init.constant_(bias, value)


def constant_init(module: nn.Module, val: float, bias: float = 0) -> None:
    """Set a layer's weight to `val` and its bias to `bias`, where it has them."""
    weight = _weight(module)
    if weight is not None:
        nn.init.constant_(weight, val)
    _fill_bias(module, bias)


def normal_init(module: nn.Module, mean: float = 0, std: float = 1, bias: float = 0) -> None:
    """Draw a layer's weight from a normal distribution."""
    weight = _weight(module)
    if weight is not None:
        nn.init.normal_(weight, mean, std)
    _fill_bias(module, bias)


def xavier_init(module: nn.Module, gain: float = 1, bias: float = 0, distribution: str = "normal") -> None:
    """Draw a layer's weight after Glorot and Bengio, "Understanding the difficulty of training deep feedforward nets"."""
    weight = _weight(module)
    if weight is not None:
        draw = {"uniform": nn.init.xavier_uniform_, "normal": nn.init.xavier_normal_}[distribution]
        draw(weight, gain=gain)
    _fill_bias(module, bias)


def kaiming_init(
    module: nn.Module,
    a: float = 0,
    mode: str = "fan_out",
    nonlinearity: str = "relu",
    bias: float = 0,
    distribution: str = "normal",
) -> None:
    """Draw a layer's weight after He et al., "Delving Deep into Rectifiers"; the bias becomes `bias`."""
    weight = _weight(module)
    if weight is not None:
        draw = {"uniform": nn.init.kaiming_uniform_, "normal": nn.init.kaiming_normal_}[distribution]
        draw(weight, a=a, mode=mode, nonlinearity=nonlinearity)
    _fill_bias(module, bias)


# ---- init_cfg --------------------------------------------------------------------------------------------------------
def _uniform(module, a=0, b=1, bias=0):
    weight = _weight(module)
    if weight is not None:
        nn.init.uniform_(weight, a, b)
    _fill_bias(module, bias)


def _trunc_normal(module, mean=0, std=1, a=-2, b=2, bias=0):
    weight = _weight(module)
    if weight is not None:
        nn.init.trunc_normal_(weight, mean, std, a, b)
    _fill_bias(module, bias)


def _caffe2_xavier(module, bias=0):
    kaiming_init(module, a=1, mode="fan_in", nonlinearity="leaky_relu", bias=bias, distribution="uniform")


_INITIALISERS: dict[str, Callable[..., None]] = {
    "Constant": constant_init,
    "Xavier": xavier_init,
    "Normal": normal_init,
    "TruncNormal": _trunc_normal,
    "Uniform": _uniform,
    "Kaiming": kaiming_init,
    "Caffe2Xavier": _caffe2_xavier,
}


def _apply(module: nn.Module, cfg: dict) -> None:
    """One entry of `init_cfg`: `layer` names the classes it is for; without it, it is for all that have a weight."""
    cfg = dict(cfg)
    kind, layers, override = cfg.pop("type"), cfg.pop("layer", None), cfg.pop("override", None)
    if kind not in _INITIALISERS:
        raise KeyError(f"init_cfg: type must be one of {', '.join(_INITIALISERS)} or 'Pretrained', got {kind!r}")
    draw = _INITIALISERS[kind]
    layers = [layers] if isinstance(layers, str) else layers
    if layers is not None or override is None:
        for part in module.modules():
            if layers is None or {c.__name__ for c in type(part).__mro__} & set(layers):
                draw(part, **cfg)
    for part in [override] if isinstance(override, dict) else override or ():
        part = dict(part)
        name = part.pop("name")
        if not hasattr(module, name):
            raise RuntimeError(f"init_cfg: {type(module).__name__} has no attribute {name!r} to override")
        _apply(getattr(module, name), {"type": kind, **cfg, **part})


def initialize(module: nn.Module, init_cfg: dict | list[dict]) -> None:
    """Initialise a module as its `init_cfg` says; with mmengine in use, by mmengine's initialisers."""
    if MODELS._linked is not None:
        from mmengine.model.weight_init import initialize as theirs

        return theirs(module, init_cfg)
    for cfg in [init_cfg] if isinstance(init_cfg, dict) else init_cfg:
        if cfg.get("type") == "Pretrained":
            from arrayvision.torch_bridge.cnn.checkpoint import load_checkpoint

            load_checkpoint(module, cfg["checkpoint"], cfg.get("map_location"), revise_keys=_without(cfg.get("prefix")))
        else:
            _apply(module, cfg)


def _without(prefix):
    return [(rf"^{prefix.rstrip('.')}\.", "")] if prefix else []


class BaseModule(nn.Module, metaclass=ABCMeta):
    """A module with `init_cfg`: `init_weights()` initialises it as that says, then its children.

    Parameters
    ----------
    init_cfg : dict or list of dict, optional
        For example ``dict(type="Xavier", layer="Linear", distribution="uniform")``.
    """

    def __init__(self, init_cfg: dict | list[dict] | None = None):
        super().__init__()
        self.init_cfg = copy.deepcopy(init_cfg)
        self.is_init = False

    def init_weights(self) -> None:
        """Initialise the weights, once; a "Pretrained" entry comes last, over the others."""
        if self.is_init:
            warnings.warn(f"init_weights of {type(self).__name__} has been called more than once.", stacklevel=2)
            return
        entries = [self.init_cfg] if isinstance(self.init_cfg, dict) else self.init_cfg or []
        pretrained = [cfg for cfg in entries if cfg.get("type") == "Pretrained"]
        others = [cfg for cfg in entries if cfg.get("type") != "Pretrained"]
        if others:
            initialize(self, others)
        for child in self.children():
            if hasattr(child, "init_weights") and not getattr(child, "is_init", False):
                child.init_weights()
        if pretrained:
            initialize(self, pretrained)
        self.is_init = True

    def __repr__(self) -> str:
        text = super().__repr__()
        return f"{text}\ninit_cfg={self.init_cfg}" if self.init_cfg else text


class ModuleList(BaseModule, nn.ModuleList):
    """nn.ModuleList whose parts are reached by `init_weights`."""

    def __init__(self, modules=None, init_cfg=None):
        BaseModule.__init__(self, init_cfg)
        nn.ModuleList.__init__(self, modules)


class Sequential(BaseModule, nn.Sequential):
    """nn.Sequential whose parts are reached by `init_weights`."""

    def __init__(self, *modules, init_cfg=None):
        BaseModule.__init__(self, init_cfg)
        nn.Sequential.__init__(self, *modules)


def count_as_mmengine() -> None:
    """Let these classes, taken before mmengine was linked, count as its own: it asks for them in places."""
    from mmengine.model import base_module

    for ours in (BaseModule, ModuleList, Sequential):
        theirs = getattr(base_module, ours.__name__)
        if ours is not theirs:
            theirs.register(ours)


if MODELS._linked is not None:  # arrayvision.openmmlab.install() has run: its users want mmengine's own
    from mmengine.model.base_module import BaseModule, ModuleList, Sequential  # type: ignore[assignment,no-redef]
