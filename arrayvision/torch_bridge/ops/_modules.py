"""What modules share."""

import functools
import warnings

import torch

from arrayvision.errors import InvalidKind
from arrayvision.torch_bridge.library import check_tensors


def renamed(**names):
    """Accept a constructor's old argument names (old="new"), with a DeprecationWarning."""

    def decorate(init):
        @functools.wraps(init)
        def call(self, *args, **kwargs):
            for old, new in names.items():
                if old in kwargs:
                    if new in kwargs:
                        raise InvalidKind(f"{type(self).__name__}: give {new} or {old}, not both")
                    warnings.warn(f"{type(self).__name__}: {old} is now {new}", DeprecationWarning, stacklevel=2)
                    kwargs[new] = kwargs.pop(old)
            init(self, *args, **kwargs)

        return call

    return decorate


def check_input(name, input, own, narrow=False, argument="input"):
    """Check a module's input: floats where the module's own tensor `own` is (None for any), in its dtype, or 16 bits if
    `narrow`."""
    check_tensors(name, **{argument: input})
    if not input.is_floating_point():
        raise InvalidKind(f"{name}: {argument} must hold floats, got dtype {input.dtype}")
    if own is not None and own.device != input.device:
        raise InvalidKind(f"{name}: {argument} must be on {own.device}, where the module is, got {input.device}")
    if own is not None and input.dtype not in (own.dtype, *((torch.half, torch.bfloat16) if narrow else ())):
        wider = ", or 16 bits" if narrow else ""
        raise InvalidKind(f"{name}: {argument} must have the module's dtype {own.dtype}{wider}, got {input.dtype}")


def shown(module, *names):
    """What repr shows: the module's class and these attributes."""
    return f"{type(module).__name__}({', '.join(f'{name}={getattr(module, name)!r}' for name in names)})"
