"""The base class of transforms, and errors that name them."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any

from arrayvision.errors import InvalidValue, MissingKey


class BaseTransform(metaclass=ABCMeta):
    """A transform of a sample: a subclass defines `transform`, and its objects are called.

    Examples
    --------
    >>> class Double(BaseTransform):
    ...     def transform(self, results):
    ...         results["value"] *= 2
    ...         return results
    >>> Double()(dict(value=3))
    {'value': 6}
    """

    def __call__(self, results: dict) -> Any:
        return self.transform(results)

    @abstractmethod
    def transform(self, results: dict) -> Any:
        """Change a sample.

        Parameters
        ----------
        results : dict
            The sample; it may be changed in place.

        Returns
        -------
        dict or None
            The sample; None stops the pipeline, and its caller takes another sample.
        """


def named(transform: Any) -> str:
    """A transform with its arguments, on one line."""
    try:
        text = " ".join(repr(transform).split())
    except Exception:  # the user's own, on the way to an error that matters more
        text = type(transform).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def need(transform: Any, results: dict, key: str) -> Any:
    """``results[key]``, or an error that names the transform and the key."""
    try:
        return results[key]
    except KeyError:
        have = ", ".join(map(repr, results)) or "nothing"
        raise MissingKey(f"{named(transform)}: results must have {key!r}, got {have}") from None


def expect(transform: Any, condition: Any, message: str, kind: type[Exception] = InvalidValue) -> None:
    """Raise `kind` with the transform's name and arguments before the message, unless the condition holds."""
    if not condition:
        raise kind(f"{named(transform)}: {message}")
