"""What modules share."""

import functools
import warnings

from arrayvision.errors import InvalidKind


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


def shown(module, *names):
    """What repr shows: the module's class and these attributes."""
    return f"{type(module).__name__}({', '.join(f'{name}={getattr(module, name)!r}' for name in names)})"
