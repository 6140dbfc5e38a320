"""Calls of the operators with small inputs: what `arrayvision warmup` runs, the tests check and the benchmark starts from.

A file here, ``cases/FILE.py``, belongs to ``ops/FILE.py`` and has ``CASES``, and where it is timed ``timed()``.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from arrayvision.operators import OPERATORS


@dataclass(frozen=True)
class Case:
    """A call of an operator, what it should give, and what it can do.

    Attributes
    ----------
    name : str
        What tells it from others.
    function : str
        The name in `arrayvision.ops` and `arrayvision.torch_bridge.ops`.
    inputs : dict of NumPy arrays
        By the names of the function's arguments; floats in float64, from which other dtypes are made.
    shapes : dict of str
        The inputs' shapes as `Arrays.sizes` takes them: ``{"boxes": "N 4"}``. Tests make each letter's size 0.
    oracle : callable
        ``oracle(**inputs, **arguments)`` gives the result, or a tuple of them, in float64, by other code than ours.
    arguments : dict
        The function's other arguments.
    wrt : tuple of str
        The inputs in which the (first) result is differentiable.
    backward : callable
        ``backward(grad, **inputs, **arguments)`` gives the gradients for these by the array functions, as a tuple. Of what is
        `linear` it is NAME_backward, if nothing else is given.
    derivatives : {"", "once", "any"}
        How many times that can be done, if not as the table says of the operator.
    never_empty : str
        The letters of sizes that may not be 0: an error says so.
    indexed : str
        The letters of sizes that indices point into. With 0 that is an error on the CPU; a GPU's indices aren't looked at
        before, and its kernels read nothing for them.
    indices : tuple of str
        Inputs of integers, of which one out of range is an error on the CPU. On a GPU its term is left out, by the oracle too.
    linear : bool
        Whether the result is linear in ``wrt[0]``, and that alone: with all inputs here its gradient is compared as well.
    edges : dict of dict
        Further inputs by what is special about them (ties, NaN, more than a block holds), in place of those above. Only their
        values are compared, in float64.
    known : tuple of (dict, tuple)
        Inputs, and the results that an established implementation gives for them, to four decimals.
    any_axes : tuple of str
        Inputs that may have more axes or fewer than they have here, with another meaning.
    tolerance : float
        The error that is allowed, in units of the dtype's rounding of the greatest number that comes.
    """

    name: str
    function: str
    inputs: Mapping[str, np.ndarray]
    shapes: Mapping[str, str]
    oracle: Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    wrt: tuple[str, ...] = ()
    backward: Callable[..., tuple] | None = None
    derivatives: str = ""
    never_empty: str = ""
    indexed: str = ""
    indices: tuple[str, ...] = ()
    linear: bool = False
    edges: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    known: tuple[tuple[Mapping[str, np.ndarray], tuple], ...] = ()
    any_axes: tuple[str, ...] = ()
    tolerance: float = 8.0

    def __post_init__(self):
        if self.linear and self.backward is None:
            object.__setattr__(self, "backward", self._backward)

    def _backward(self, grad, **given):
        """By NAME_backward, with the arguments that it has."""
        from arrayvision import ops

        function = getattr(ops, f"{self.function}_backward")
        given |= {"grad": grad, "input_shape": given[self.wrt[0]].shape}
        return (function(**{name: given[name] for name in inspect.signature(function).parameters if name in given}),)

    def __str__(self):
        return self.name

    def inputs_in(self, dtype) -> dict[str, np.ndarray]:
        """The inputs with floats in this NumPy dtype; integers as they are."""
        return {name: x.astype(dtype, "K") if x.dtype.kind == "f" else x for name, x in self.inputs.items()}

    def expected(self, inputs) -> tuple[np.ndarray, ...]:
        """What the oracle makes of these inputs, always as a tuple."""
        wide = {name: x.astype(np.float64) if x.dtype.kind not in "biu" else x for name, x in inputs.items()}
        found = self.oracle(**wide, **self.arguments)
        return found if isinstance(found, tuple) else (found,)


@dataclass(frozen=True)
class Timed:
    """A call that the benchmark times beside others.

    Attributes
    ----------
    name : str
        For the table.
    function : str
        The name in `arrayvision.ops`.
    inputs : dict of NumPy arrays
        As they are given.
    arguments : dict
        The function's other arguments.
    peers : dict
        A peer's name -> (the modules that it needs, a call of these and then the inputs): it is left out where a module
        can't be imported.
    at_least : float
        The ratio (a peer's time over ours) that we mean to reach.
    agree : callable, optional
        ``agree(ours, theirs)`` tells whether a peer's result is ours; without it, equal up to a few roundings.
    """

    name: str
    function: str
    inputs: Mapping[str, np.ndarray]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    peers: Mapping[str, tuple[str, Callable[..., Any]]] = field(default_factory=dict)
    at_least: float = 1.0
    agree: Callable[[Any, Any], bool] | None = None


class TorchGradient:
    """A peer: torch's gradient of a function at each call, whose graph is made once.

    Parameters
    ----------
    function : callable
        ``function(module, **given)``, of tensors.
    *wrt : str
        The arguments in which it is differentiated; without any, all floats.
    """

    def __init__(self, function: Callable[..., Any], *wrt: str):
        self.function, self.wrt, self.graph = function, wrt, None

    def __call__(self, module, grad, **given):
        import torch

        if self.graph is None:
            floats = [name for name, x in given.items() if isinstance(x, torch.Tensor) and x.is_floating_point()]
            leaves = {name: given[name].clone().requires_grad_() for name in self.wrt or floats}
            self.graph = self.function(module, **{**given, **leaves}), tuple(leaves.values())
        return torch.autograd.grad(*self.graph, grad, retain_graph=True)


def files() -> list[str]:
    """The files of operators that have cases."""
    found = []
    for file in sorted({row.file for row in OPERATORS}):
        try:
            importlib.import_module(f"{__name__}.{file}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{file}":
                raise
        else:
            found.append(file)
    return found


def cases(file: str | None = None) -> list[Case]:
    """The cases of a file, or all."""
    return [
        case for name in ([file] if file else files()) for case in importlib.import_module(f"{__name__}.{name}").CASES
    ]


def timed() -> Iterator[Timed]:
    """What the benchmark times."""
    for name in files():
        module = importlib.import_module(f"{__name__}.{name}")
        if hasattr(module, "timed"):
            yield from module.timed()


def run(case: Case, dtype) -> tuple:
    """Call a case's function on inputs of a dtype, and its gradient: (the results, the gradients)."""
    from arrayvision import ops

    inputs = case.inputs_in(dtype)
    out = getattr(ops, case.function)(**inputs, **case.arguments)
    out = tuple(out) if isinstance(out, (tuple, list)) else (out,)
    if case.backward is None:
        return out, ()
    return out, case.backward(np.ones_like(out[0]), **inputs, **case.arguments)
