"""Biases and activations in one pass, as StyleGAN has them, and their derivatives of any order."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from arrayvision import check
from arrayvision.array import _kernels, arrays, quick, replay
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.typing import Array

ROOT = math.sqrt(2)
SELU = 1.0507009873554805, 1.0507009873554805 * 1.6732632423543772
_NUMBERS = {float, int}
# Of each activation the default slope below 0, which only "lrelu" has, and the default gain.
ACTIVATIONS = {
    "linear": (0.0, 1.0),
    "relu": (0.0, ROOT),
    "lrelu": (0.2, ROOT),
    "tanh": (0.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "elu": (0.0, 1.0),
    "selu": (0.0, 1.0),
    "softplus": (0.0, 1.0),
    "swish": (0.0, ROOT),
}
KINDS = {name: k for k, name in enumerate(("lines", "exponential", "tanh", "sigmoid", "softplus", "swish"))}


class Form(NamedTuple):
    """An activation, and its derivative of an order, as kernels take them; t is the biased input, and s the sigmoid function
    of it, of 2 t for "tanh".

    Attributes
    ----------
    kind : int
        A number of `KINDS`.
    order : int
        Of the derivative; 0 for none.
    above, below : float
        Of "lines" and "exponential": the activation is ``above * t`` for t > 0, else ``below * t`` or ``below * (exp(t) - 1)``.
    floor : float
        Of "lines": t is no less, so that infinity times 0 is 0.
    high, decay : float
        Of "exponential": the derivative is `high` for t > 0, else ``decay * exp(t)``.
    share : float
        Of other kinds: the derivative is ``share * s + s * (1 - s) * (even(d) + t * odd(d))``, with d = 2 s - 1.
    even, odd : tuple of float
        The two polynomials, the constant first, of one length.
    """

    kind: int
    order: int
    above: float = 1.0
    below: float = 1.0
    floor: float = -math.inf
    high: float = 0.0
    decay: float = 0.0
    share: float = 0.0
    even: tuple[float, ...] = (0.0,)
    odd: tuple[float, ...] = (0.0,)


@functools.cache
def _sigmoid(order):
    """The polynomial p with which the sigmoid function's derivative of this order is s (1 - s) p(d), for d = 2 s - 1.

    d' = 2 s (1 - s) and s (1 - s) = (1 - d**2) / 4, so (s (1 - s) p)' = s (1 - s) ((1 - d**2) / 2 * p' - d p).
    """
    if order == 1:
        return np.ones(1)
    last = _sigmoid(order - 1)
    slope = np.polynomial.polynomial.polyder(last)
    return np.polynomial.polynomial.polysub(
        np.polynomial.polynomial.polymul([0.5, 0, -0.5], slope), np.polynomial.polynomial.polymulx(last)
    )


@functools.lru_cache(256)
def form(act: str, alpha: float, order: int) -> Form:
    """An activation, and its derivative of an order."""
    if act in ("linear", "relu", "lrelu"):
        below = {"linear": 1.0, "relu": 0.0}.get(act, alpha)
        return Form(KINDS["lines"], order, below=below, floor=-3e38 if act == "relu" else -math.inf)
    if act in ("elu", "selu"):
        above, below = (1.0, 1.0) if act == "elu" else SELU
        return Form(KINDS["exponential"], order, above, below, high=above if order == 1 else 0.0, decay=below)
    share, even, odd = 0.0, np.zeros(1), np.zeros(1)
    if order and act == "tanh":
        even = _sigmoid(order) * 2.0 ** (order + 1)
    elif order and act == "sigmoid":
        even = _sigmoid(order)
    elif order == 1:
        share, odd = 1.0, np.full(1, float(act == "swish"))
    elif order:
        even = _sigmoid(order - 1) * (order if act == "swish" else 1)
        odd = _sigmoid(order) if act == "swish" else odd
    size = max(len(even), len(odd))
    polynomials = [tuple(np.pad(a, (0, size - len(a))).tolist()) for a in (even, odd)]
    return Form(KINDS[act], order, share=share, even=polynomials[0], odd=polynomials[1])


def _bias_act(name, given, bias, dim, act, alpha, gain, clamp, order=0):
    """The activation of `input`, or its derivative times `grad`; `given` has the two."""
    act = check.choice(name, "act", act, tuple(ACTIVATIONS))
    slope, factor = ACTIVATIONS[act]
    alpha = slope if alpha is None else check.number(name, "alpha", alpha)
    gain = factor if gain is None else check.number(name, "gain", gain)
    clamp = math.inf if clamp is None else check.number(name, "clamp", clamp, 0)
    for argument, x in given.items():
        if x is None:
            raise InvalidKind(f"{name}: {argument} must be an array, got None")
    at = arrays(name, **given, bias=bias)
    x, grad = given["input"], given.get("grad")
    dtype = at.floats(**{n: a for n, a in (*given.items(), ("bias", bias)) if a is not None})
    shape = tuple(x.shape)
    biases, (outer, channels, inner) = None, (1, 1, math.prod(shape))
    if bias is not None:
        dim = check.integer(name, "dim", dim)
        if not 0 <= dim < len(shape):
            raise InvalidValue(f"{name}: dim must be an axis of input, which has {len(shape)}, got {dim}")
        if tuple(bias.shape) != shape[dim : dim + 1]:
            raise InvalidValue(
                f"{name}: bias must have shape ({shape[dim]},), input's size along axis {dim}, got {tuple(bias.shape)}"
            )
        biases, channels = at.read(bias, dtype), shape[dim]
        outer, inner = math.prod(shape[:dim]), math.prod(shape[dim + 1 :])
    if order:
        check.shape(name, "grad", grad, *shape)
    out = at.empty(shape, dtype)
    parts = outer, channels, inner
    read = [at.read(a, dtype).reshape(parts) for a in given.values()]
    at.kernels("bias_act").bias_act(
        *(read if order else (None, *read)), biases, form(act, alpha, order), gain, clamp,
        out.view.reshape(parts),
    )  # fmt: skip
    return out.result()


def _of_input(input, bias, name, dim, act, alpha, gain, clamp):
    return _bias_act(name, dict(input=input), bias, dim, act, alpha, gain, clamp)


@functools.lru_cache(1024, typed=True)  # True is no axis, and 1 is
def _plan(shape, biases, dim, act, alpha, gain, clamp):
    """What a kernel takes for a call of usual arrays, with a bias of that shape or None; None where there is something to check."""
    known, total = ACTIVATIONS.get(act) if type(act) is str else None, math.prod(shape)
    if known is None or not total:
        return None
    parts = 1, 1, total
    if biases is not None:
        if type(dim) is not int or not 0 <= dim < len(shape) or biases != shape[dim : dim + 1]:
            return None
        parts = math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])
    alpha = known[0] if alpha is None else alpha
    gain = known[1] if gain is None else gain
    clamp = math.inf if clamp is None else clamp
    if not {type(alpha), type(gain), type(clamp)} <= _NUMBERS:
        return None
    name = "bias_act"
    alpha, gain = check.number(name, "alpha", alpha), check.number(name, "gain", gain)
    clamp = check.number(name, "clamp", clamp, 0)
    fill, sizes, kept = _kernels("cpu", "bias_act").filling(parts, biases is not None, form(act, alpha, 0), gain, clamp)
    return fill, tuple(shape), sizes, kept


def bias_act(
    input: Array,
    bias: Array | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    use_custom_op: bool = True,
) -> Array:
    """Add a bias, apply an activation, multiply and clamp: ``clip(gain * act(input + bias), -clamp, clamp)``.

    Parameters
    ----------
    input : array (...)
        Of any shape and real dtype, integers count as float32.
    bias : array (C,), optional
        A number for each place along axis `dim`, which has C.
    dim : int
        The axis.
    act : str
        "linear", "relu", "lrelu" (of slope `alpha` below 0), "tanh", "sigmoid", "elu", "selu", "softplus" or "swish"
        (x times its sigmoid).
    alpha : float, optional
        The slope below 0 of "lrelu", 0.2 if left out; others have none.
    gain : float, optional
        If left out, sqrt(2) for "relu", "lrelu" and "swish", 1 for others.
    clamp : float, optional
        At least 0; if left out, nothing is clamped.
    use_custom_op : bool
        Accepted for older code, and of no influence.

    Returns
    -------
    array (...)
        Of input's shape, in the dtype of input and bias together; float16 and bfloat16 are computed in float32.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If bias doesn't fit, `dim` is no axis, `act` is unknown, or `clamp` is negative.

    Notes
    -----
    T. Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020. NaN stays NaN.

    Examples
    --------
    >>> import numpy as np
    >>> bias_act(np.array([[1.0, -2, 3]]), np.array([0.0, 1, 1]), act="lrelu", gain=1)
    array([[ 1. , -0.2,  4. ]])
    """
    out = quick(_plan, (input, bias), dim, act, alpha, gain, clamp)
    if out is not None:
        return out
    return replay(_of_input, (input, bias), "bias_act", dim, act, alpha, gain, clamp)


def bias_act_backward(
    grad: Array,
    input: Array,
    bias: Array | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    order: int = 1,
) -> Array:
    """The gradient of `bias_act` for its input: `grad` times the derivative there.

    The gradient for the bias is this one's sum over all axes but `dim`.

    Parameters
    ----------
    grad : array (...)
        The gradient of the result, of its shape.
    input, bias, dim, act, alpha, gain, clamp
        As given to `bias_act`. Where its result is clamped, the derivative is 0.
    order : int
        1, or a higher derivative's: gradients of the gradient need it.

    Returns
    -------
    array (...)
        In the dtype of grad, input and bias together.

    Raises
    ------
    TypeError, ValueError
        As `bias_act`.
    """
    name = "bias_act_backward"
    order = check.integer(name, "order", order, 1, 32)
    return _bias_act(name, dict(grad=grad, input=input), bias, dim, act, alpha, gain, clamp, order)


def fused_bias_leakyrelu(input: Array, bias: Array, negative_slope: float = 0.2, scale: float = 2**0.5) -> Array:
    """Add a bias for each channel, apply a leaky ReLU, and multiply: `bias_act` with `act` "lrelu".

    Parameters
    ----------
    input : array (N, C, ...)
        Features; any real dtype, integers count as float32.
    bias : array (C,)
        Of each channel.
    negative_slope : float
        Of the ReLU below 0.
    scale : float
        What the result is multiplied by; sqrt(2) keeps a normal distribution's variance, about.

    Returns
    -------
    array (N, C, ...)
        In the dtype of input and bias together.

    Raises
    ------
    TypeError, ValueError
        As `bias_act`.

    Notes
    -----
    T. Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> fused_bias_leakyrelu(np.array([[1.0, -2]]), np.array([0.0, 1]), scale=1)
    array([[ 1. , -0.2]])
    """
    name = "fused_bias_leakyrelu"
    slope, scale = check.number(name, "negative_slope", negative_slope), check.number(name, "scale", scale)
    if bias is None:
        raise InvalidKind(f"{name}: bias must be an array, got None")
    return replay(_of_input, (input, bias), name, 1, "lrelu", slope, scale, None)
