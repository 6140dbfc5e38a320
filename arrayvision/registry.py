"""Names that configs give as `type`, and the classes they stand for.

>>> from arrayvision.registry import Registry
>>> SHAPES = Registry("SHAPES")
>>> @SHAPES.register_module()
... class Circle:
...     def __init__(self, radius):
...         self.radius = radius
>>> SHAPES.build(dict(type="Circle", radius=2)).radius
2
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from arrayvision import check


class Registry:
    """A dict from names to classes, filled by a decorator.

    An entry may be lazy: the name of a module and of the attribute in it, imported when the entry is first used.

    Parameters
    ----------
    name : str
        For messages.
    modules : tuple of str
        Modules that fill it when they are imported; they are, at the first look-up.
    """

    def __init__(self, name: str, modules: tuple[str, ...] = ()):
        self.name = name
        self._modules = modules
        self._filling: set[str] = set()
        self._lock = threading.RLock()
        self._entries: dict[str, Any] = {}  # name -> class, or (module, attribute) until it is first used
        self._linked: Any = None  # mmengine's registry of this kind, once arrayvision.openmmlab.install() has run

    # ---- putting in --------------------------------------------------------------------------------------------------
    def register_module(
        self, name: str | Iterable[str] | None = None, force: bool = False, module: Callable | None = None
    ) -> Callable:
        """Register a class or function: ``@R.register_module()``, ``R.register_module("Name", module=Class)``.

        Parameters
        ----------
        name : str or list of str, optional
            One name or several; the class's own by default.
        force : bool
            Replace what has this name already.
        module : class or function, optional
            What to register; without it, a decorator is returned.

        Raises
        ------
        KeyError
            If the name is taken and `force` is not set.
        """
        if not isinstance(force, bool):
            raise TypeError(f"register_module: force must be True or False, got {type(force).__name__}")
        names = [name] if isinstance(name, str) else name
        if names is not None and not (isinstance(names, Iterable) and all(isinstance(n, str) for n in names)):
            raise TypeError(f"register_module: name must be a str or several, got {type(name).__name__}")

        def register(target):
            if not (inspect.isclass(target) or callable(target)):
                raise TypeError(f"register_module: module must be a class or a function, got {type(target).__name__}")
            for key in names or [target.__name__]:
                self._put(key, target, force)
            return target

        return register if module is None else register(module)

    def register_lazy(self, name: str, module: str, attribute: str) -> None:
        """Let `name` stand for an attribute of a module that is imported when it is first used."""
        self._put(name, (module, attribute), False)

    def _put(self, key, target, force):
        if key in self._entries and not force and self._entries[key] is not target:
            raise KeyError(f"{self.name}: {key!r} is registered already, as {_describe(self._entries[key])}")
        self._entries[key] = target

    # ---- taking out --------------------------------------------------------------------------------------------------
    def own(self, name: str) -> Any:
        """What this registry itself holds under a name; None if nothing.

        Raises
        ------
        ImportError
            If the entry is lazy and what it stands for can't be imported.
        """
        self._fill()
        entry = self._entries.get(name)
        if isinstance(entry, tuple):
            module, attribute = entry
            try:
                entry = getattr(importlib.import_module(module), attribute)
            except (ImportError, AttributeError) as error:
                raise ImportError(
                    f"{self.name}: {name!r} needs the operator {attribute} of {module}: {error}"
                ) from error
            self._entries[name] = entry
        return entry

    def _fill(self):
        if self._modules:
            with self._lock:  # another thread waits until all are imported
                for module in self._modules:
                    if module not in self._filling:  # what it imports may look something up
                        self._filling.add(module)
                        try:
                            importlib.import_module(module)
                        finally:
                            self._filling.discard(module)
                        self._modules = tuple(m for m in self._modules if m != module)

    def get(self, name: str, scope: str | None = None) -> Any:
        """The class of that name, or None. With mmengine in use, its registries (the current scope's first) are asked too."""
        if self._linked is not None:
            with self._linked.switch_scope_and_registry(scope) as registry:
                found = registry.get(name)
            if found is not None:
                return found
        return self.own(name)

    def find(self, kind: Any, scope: str | None = None) -> Any:
        """The class that a config's `type` means: a name, or the class itself.

        Raises
        ------
        KeyError
            If no class of that name is registered; the message lists close matches.
        TypeError
            If `kind` is neither a name nor callable.
        """
        if isinstance(kind, str):
            found = self.get(kind, scope)
            if found is None:
                close = difflib.get_close_matches(kind, self._names(), 4, 0.5)
                hint = f"; close matches: {', '.join(close)}" if close else ""
                raise KeyError(
                    f"{self.name}: {kind!r} is not registered{hint}. If you defined it, import its module before building"
                )
            return found
        if not callable(kind):
            raise TypeError(f"{self.name}: type must be a name or a class, got {type(kind).__name__}")
        return kind

    def build(self, cfg: dict, *args, default_args: dict | None = None, **kwargs) -> Any:
        """Build an object from a config: ``build(dict(type="Resize", scale=(2, 3)))`` is ``Resize(scale=(2, 3))``.

        Parameters
        ----------
        cfg : dict
            `type` (a name or a class) and the arguments; it is not changed. With mmengine in use, whatever else its
            registries build: its own Config, a list of layers for a Sequential.
        *args, **kwargs
            More arguments; where both give one, `cfg` wins.
        default_args : dict, optional
            Arguments, or a `type`, for what `cfg` does not give.
        """
        if self._linked is not None and not isinstance(cfg, dict):
            return self._linked.build(cfg, *args, default_args=default_args, **kwargs)
        kind, scope, arguments = self.split(cfg, default_args)
        made = self.find(kind, scope)
        try:
            return made(*args, **{**kwargs, **arguments})
        except TypeError as error:
            _suggest(error, made, {**kwargs, **arguments})
            raise

    def split(self, cfg: dict, default_args: dict | None = None) -> tuple[Any, str | None, dict]:
        """A config's type, scope and arguments."""
        if not isinstance(cfg, dict):
            raise TypeError(f"{self.name}: cfg must be a dict, got {type(cfg).__name__}")
        arguments = {**(default_args or {}), **cfg}
        if "type" not in arguments:
            raise KeyError(f"{self.name}: cfg must have the key 'type', got {cfg!r}")
        return arguments.pop("type"), arguments.pop("_scope_", None), arguments

    def _names(self) -> list[str]:
        self._fill()
        names = list(self._entries)
        registry = self._linked
        if registry is not None:
            with registry.switch_scope_and_registry(None) as current:
                while current is not None:
                    names += dict.keys(current._module_dict)
                    current = current.parent
        return names

    @property
    def module_dict(self) -> dict[str, Any]:
        """All names and classes; lazy entries whose operators can't be imported are left out."""
        self._fill()
        found = {}
        for name in list(self._entries):
            try:
                found[name] = self.own(name)
            except ImportError:
                continue
        return found

    def __contains__(self, name: object) -> bool:
        self._fill()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return iter(self._entries)

    def __len__(self) -> int:
        self._fill()
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Registry({self.name!r}: {', '.join(sorted(self._entries))})"


def _suggest(error, made, arguments):
    """To an error about an argument that there is not, add the nearest that there is."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if found and found[1] in arguments and error.args:
        try:
            known = inspect.signature(made).parameters
        except (TypeError, ValueError):
            return
        error.args = (f"{error.args[0]}{check.nearest(found[1], known)}", *error.args[1:])


def _describe(entry):
    return ":".join(entry) if isinstance(entry, tuple) else f"{entry.__module__}.{entry.__qualname__}"


MODELS = Registry("MODELS", ("arrayvision.torch_bridge.cnn",))
TRANSFORMS = Registry("TRANSFORMS", ("arrayvision.transforms",))
