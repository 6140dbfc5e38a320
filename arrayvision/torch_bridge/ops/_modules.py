"""What modules share."""

import torch

from arrayvision.check import renamed as renamed
from arrayvision.errors import InvalidKind
from arrayvision.torch_bridge.library import check_tensors


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
