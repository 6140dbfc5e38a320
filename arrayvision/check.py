"""Checks of arguments, with one wording: which function, which argument, what is wanted, what came.

TypeError for a wrong kind, ValueError for a wrong shape or value; before any kernel runs.
"""

import difflib
import functools
import math
import numbers
import warnings
from collections.abc import Callable
from typing import TypeVar, cast

from arrayvision.errors import InvalidKind, InvalidValue

F = TypeVar("F", bound=Callable)


def shape(function: str, argument: str, x, *wanted) -> None:
    """Check an array's shape against sizes (ints) and names for any size: ``shape("nms", "boxes", boxes, "N", 4)``."""
    if x is None:
        raise InvalidKind(f"{function}: {argument} must be an array, got None")
    have = x.shape
    if len(have) == len(wanted):
        for size, want in zip(have, wanted, strict=True):
            if size != want and type(want) is int:
                break
        else:
            return
    text = f"({', '.join(map(str, wanted))}{',' if len(wanted) == 1 else ''})"
    raise InvalidValue(f"{function}: {argument} must have shape {text}, got {tuple(have)}")


def same_length(function: str, argument: str, x, other: str, y) -> None:
    """Check that two arrays have as many rows."""
    if x.shape[0] != y.shape[0]:
        raise InvalidValue(
            f"{function}: {argument} must have as many rows as {other}, got {x.shape[0]} and {y.shape[0]}"
        )


def number(function: str, argument: str, value, least=-math.inf, most=math.inf, *, above=None) -> float:
    """A real number, not NaN, at least `least` (greater than `above`), at most `most`; one-element arrays count."""
    if type(value) is not float:
        try:
            value = _real(value)
        except OverflowError:
            raise InvalidValue(
                f"{function}: {argument} must be a number that a float holds, got a larger one"
            ) from None
        except (
            AttributeError,
            TypeError,
            ValueError,
            RuntimeError,
        ):  # RuntimeError: torch's, of a tensor without values
            raise InvalidKind(f"{function}: {argument} must be a number, got {_kind(value)}") from None
    if not value >= least or (above is not None and not value > above):
        wanted = (
            f"greater than {above:g}"
            if above is not None
            else "a number"
            if least == -math.inf
            else f"at least {least:g}"
        )
        raise InvalidValue(f"{function}: {argument} must be {wanted}, got {value:g}")
    if value > most:
        raise InvalidValue(f"{function}: {argument} must be at most {most:g}, got {value:g}")
    return value


def _real(value) -> float:
    """A number, or an array of one, as a float; a bool, a complex number, a text and an array of these are none."""
    if isinstance(value, numbers.Real):
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    kind = str(value.dtype)
    if math.prod(value.shape) != 1 or "bool" in kind or "complex" in kind or "str" in kind or kind.startswith("<U"):
        raise TypeError
    return float(value.item() if hasattr(value, "item") else value)


def integer(function: str, argument: str, value, least=None, most=2**63 - 1) -> int:
    """An int (not a bool), at least `least`, at most `most`."""
    if type(value) is not int:
        try:
            if isinstance(value, bool):
                raise TypeError
            value = value.__index__()
        except (AttributeError, TypeError, ValueError, RuntimeError):  # also of an array of more than one, or of bools
            raise InvalidKind(f"{function}: {argument} must be an int, got {_kind(value)}") from None
    if least is not None and value < least:
        raise InvalidValue(f"{function}: {argument} must be at least {least}, got {_short(value)}")
    if not -(2**63) <= value <= most:
        raise InvalidValue(f"{function}: {argument} must be {_limit(most, value)}, got {_short(value)}")
    return value


def integers(function: str, argument: str, value, count: int, least=None, most=2**63 - 1) -> tuple[int, ...]:
    """So many ints, as a tuple, each at least `least`, at most `most`."""
    try:
        value = tuple(value)
    except TypeError:
        raise InvalidKind(f"{function}: {argument} must be {count} ints, got {type(value).__name__}") from None
    if len(value) != count:
        raise InvalidValue(f"{function}: {argument} must be {count} ints, got {len(value)}")
    return tuple(integer(function, argument, v, least, most) for v in value)


def pair(function: str, argument: str, value, least=None, most=2**31 - 1) -> tuple[int, int]:
    """Two ints (vertical, horizontal), given so or as one for both."""
    if type(value) is int:
        first = second = value
    elif isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise InvalidValue(f"{function}: {argument} must be an int or two, got {len(value)}")
        first, second = value
    elif hasattr(value, "__index__"):
        first = second = value
    else:
        raise InvalidKind(f"{function}: {argument} must be an int or two, got {type(value).__name__}")
    return integer(function, argument, first, least, most), integer(function, argument, second, least, most)


def _limit(most, value):
    return f"at least {-(2**63)}" if value < 0 else f"at most {most}"


def _short(value):
    """An int's digits; of a huge one (Python refuses to write those out) how many bits it has."""
    return str(value) if value.bit_length() < 1000 else f"one of {value.bit_length()} bits"


_WORDS = {2: "two", 3: "three", 4: "four"}


def sizes(function: str, argument: str, value, count: int) -> tuple[int, ...]:
    """The shape of an array of `count` axes: as many ints of at least 0."""
    wanted = f"{_WORDS[count]} ints"
    try:
        value = tuple(value)
    except TypeError:
        raise InvalidKind(f"{function}: {argument} must be {wanted}, got {type(value).__name__}") from None
    if len(value) != count:
        raise InvalidValue(f"{function}: {argument} must be {wanted}, got {len(value)}")
    return tuple(integer(function, argument, v, 0) for v in value)


def flag(function: str, argument: str, value) -> bool:
    """True or False, NumPy's too."""
    if type(value) is bool:
        return value
    if type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise InvalidKind(f"{function}: {argument} must be True or False, got {_kind(value)}")


def choice(function: str, argument: str, value, choices):
    """One of a few values."""
    try:
        if value in choices and not isinstance(value, bool):
            return value
    except (TypeError, ValueError, RuntimeError):  # an array, which says neither yes nor no
        pass
    *most, last = map(repr, choices)
    raise InvalidValue(f"{function}: {argument} must be {', '.join(most)} or {last}, got {value!r}")


def nearest(name: str, known) -> str:
    """`` (did you mean X?)`` for a misspelt name, "" where none is near."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {found[0]}?)" if found else ""


def _kind(value):
    return f"{type(value).__name__} of shape {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__


def take_older(owner: str, given: dict, names: dict, depth: int = 3) -> None:
    """Put what was given by an older name (old: new) under the newer one; a DeprecationWarning says so, `depth` up."""
    for old, new in names.items():
        if old in given:
            if new in given:
                raise InvalidKind(f"{owner}: give {new} or {old}, not both")
            text = f'{owner}: "{old}" is deprecated, use "{new}" instead'
            warnings.warn(text, DeprecationWarning, stacklevel=depth)
            given[new] = given.pop(old)


def renamed(**names: str) -> Callable[[F], F]:
    """Accept a function's, or a constructor's, older keywords (old="new"), with a DeprecationWarning."""

    def decorate(function: F) -> F:
        owner = function.__qualname__.partition(".")[0]

        @functools.wraps(function)
        def call(*args, **kwargs):
            if kwargs:
                take_older(owner, kwargs, names)
            return function(*args, **kwargs)

        return cast(F, call)  # types stay those of the function

    return decorate
