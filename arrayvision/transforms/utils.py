"""Random parameters that several calls of a transform share."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from arrayvision.errors import InvalidKind, require
from arrayvision.transforms.base import BaseTransform, named

_DRAWING = object()  # stands for a parameter that is being drawn


class cache_randomness:
    """Mark a method that draws a transform's random parameters: under `cache_random_params` it draws once.

    The method may be called at most once while a sample is processed; else one draw would stand for several.
    """

    def __init__(self, func):
        if not inspect.isfunction(func):
            raise TypeError(f"cache_randomness: func must be a function, got {type(func).__name__}")
        arguments = inspect.getfullargspec(func).args
        if not arguments or arguments[0] != "self":
            raise TypeError("cache_randomness: func must be a method, whose first argument is self")
        functools.update_wrapper(self, func)
        self.func = func

    def __set_name__(self, owner, name):
        inherited = getattr(owner, "_methods_with_randomness", ())
        owner._methods_with_randomness = [*dict.fromkeys([*inherited, name])]

    def __get__(self, obj, cls=None):
        return self if obj is None else types.MethodType(self, obj)

    def __call__(self, obj, *args, **kwargs):
        drawn = obj.__dict__.get("_random_params")
        name = self.func.__name__
        if drawn is None or drawn.get(name) is _DRAWING:  # the inherited method, called by the one that overrides it
            return self.func(obj, *args, **kwargs)
        calls = obj.__dict__["_random_calls"]
        calls[name] = calls.get(name, 0) + 1
        if name not in drawn:
            drawn[name] = _DRAWING
            try:
                drawn[name] = self.func(obj, *args, **kwargs)
            finally:
                if drawn[name] is _DRAWING:
                    del drawn[name]
        return drawn[name]


class _Mark:
    """True for the class that has been marked, not for those that inherit from it."""

    def __get__(self, obj, cls=None):
        return "_avoids_cache_randomness" in cls.__dict__


def avoid_cache_randomness(cls: type[BaseTransform]) -> type[BaseTransform]:
    """Mark a transform class whose random parameters can't be shared; subclasses are not marked.

    Raises
    ------
    TypeError
        If it is no transform class.
    RuntimeError
        If it has methods marked by `cache_randomness`.
    """
    require(
        inspect.isclass(cls) and issubclass(cls, BaseTransform),
        f"avoid_cache_randomness: cls must be a transform class, got {cls!r}",
        InvalidKind,
    )
    methods = getattr(cls, "_methods_with_randomness", None)
    if methods:
        raise RuntimeError(
            f"avoid_cache_randomness: {cls.__name__} must not have methods marked by cache_randomness, got {methods}"
        )
    cls.avoid_cache_randomness = _Mark()  # type: ignore[attr-defined]
    cls._avoids_cache_randomness = True  # type: ignore[attr-defined]
    return cls


_STATE = ("_random_params", "_random_calls", "transform")  # what sharing puts into a transform


def _all(transforms: Any) -> Iterator[BaseTransform]:
    if isinstance(transforms, BaseTransform):
        yield transforms
    if isinstance(transforms, Iterable):
        for transform in transforms:
            yield from _all(transform)


@contextmanager
def cache_random_params(transforms: BaseTransform | Iterable) -> Iterator[None]:
    """While this lasts, transforms (and those inside them) draw their random parameters once, and use them again.

    Raises
    ------
    RuntimeError
        If one is marked by `avoid_cache_randomness`, or draws more than once for a sample.

    Examples
    --------
    >>> from arrayvision.transforms import RandomFlip
    >>> flip = RandomFlip(0.5)
    >>> with cache_random_params(flip):
    ...     len({flip._choose_direction() for _ in range(1)})
    1
    """
    unique = list({id(transform): transform for transform in _all(transforms)}.values())
    for transform in unique:
        if getattr(transform, "avoid_cache_randomness", False):
            raise RuntimeError(
                f"{named(transform)}: its class is marked by avoid_cache_randomness: random parameters can't be shared"
            )
    sharing = [transform for transform in unique if getattr(transform, "_methods_with_randomness", None)]
    before: list[tuple[dict[str, Any], dict[str, Any]]] = []
    try:
        for transform in sharing:
            state = transform.__dict__
            before.append((state, {key: state[key] for key in _STATE if key in state}))
            state["_random_params"], state["_random_calls"] = {}, {}
            state["transform"] = _counting(transform, state["_random_calls"])
        yield
    finally:
        for state, old in before:
            for key in _STATE:
                state.pop(key, None)
            state.update(old)


def _counting(obj, calls):
    method = obj.transform

    @functools.wraps(method)
    def transform(*args, **kwargs):
        calls.clear()  # a new sample
        output = method(*args, **kwargs)
        for name, count in calls.items():
            if count > 1:
                raise RuntimeError(
                    f"{named(obj)}: {name}, marked by cache_randomness, must be called at most once a sample"
                )
        return output

    return transform
