"""What modules share."""

from arrayvision.check import renamed as renamed


def shown(module, *names):
    """What repr shows: the module's class and these attributes."""
    return f"{type(module).__name__}({', '.join(f'{name}={getattr(module, name)!r}' for name in names)})"
