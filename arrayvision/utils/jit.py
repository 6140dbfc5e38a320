"""Decorators of older libraries, accepted and without effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def jit(
    func: Callable | None = None,
    check_input: Any = None,
    full_shape: bool = True,
    derivate: bool = False,
    coderize: bool = False,
    optimize: bool = False,
) -> Callable:
    """Return the function as it is: a decorator of older code, which compiled nothing under stock torch either.

    Parameters
    ----------
    func : callable, optional
        The function; without it, a decorator is returned.
    check_input, full_shape, derivate, coderize, optimize
        Accepted, without effect.

    Returns
    -------
    callable
        The function itself.

    Examples
    --------
    >>> @jit(derivate=True)
    ... def double(x):
    ...     return 2 * x
    >>> double(4)
    8
    """
    return (lambda function: function) if func is None else func


def skip_no_elena(func: Callable) -> Callable:
    """Return the function as it is: a decorator of older test suites."""
    return func
