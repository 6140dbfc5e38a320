"""Focal losses of classifiers, over sigmoids or a softmax, and their gradients."""

from __future__ import annotations

import numpy as np

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.typing import Array

REDUCTIONS = ("none", "mean", "sum")


def sigmoid_focal_loss(
    input: Array,
    target: Array,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """Focal loss of independent binary classifiers, one a class.

    With p = sigmoid(input), an element costs ``-alpha * (1 - p)**gamma * log(p)`` where the row's label is its class, and
    ``-(1 - alpha) * p**gamma * log(1 - p)`` elsewhere.

    Parameters
    ----------
    input : array (N, C)
        Logits.
    target : array (N,)
        Labels, integers: 0 to C - 1; C or any negative number for background, which belongs to no class.
    gamma : float
        How much easy examples are played down; 0 gives the balanced cross entropy.
    alpha : float
        The weight of an element of the row's class; 1 - alpha is that of the others.
    weight : array (C,), optional
        A weight for each class: a row is multiplied by that of its label, a background row by 1.
    reduction : {"mean", "none", "sum"}
        "mean": the sum divided by N, the number of rows (not of elements); NaN for no rows.

    Returns
    -------
    array (N, C) for "none", else ()
        In the dtype of `input` (float32 for integers). A row whose input is NaN costs NaN.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype, or a number is none.
    ValueError
        If a shape or `reduction` is wrong, gamma is negative, or (on the CPU) a label exceeds C. On a CUDA device, where
        labels are not looked at before, such a row costs NaN.

    Notes
    -----
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollar: Focal loss for dense object detection, ICCV 2017. Logarithms are
    not cut off: a logit of -200 for the row's class costs 200 * alpha. Sums are taken in float64.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid_focal_loss(np.array([[1.0, 0], [0, 1]]), np.array([0, 1]), reduction="none").round(4)
    array([[0.0057, 0.13  ],
           [0.13  , 0.0057]])
    """
    return replay(_loss, (input, target, weight), "sigmoid_focal_loss", gamma, alpha, reduction)


def sigmoid_focal_loss_backward(
    grad: Array,
    input: Array,
    target: Array,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """The gradient of `sigmoid_focal_loss` for its input.

    Parameters
    ----------
    grad : array (N, C) for reduction "none", else ()
        The gradient of what `sigmoid_focal_loss` returned.
    input, target, gamma, alpha, weight, reduction
        What it was called with.

    Returns
    -------
    array (N, C)
        In the dtype of `input`. Infinite logits have the limits' gradients.

    Raises
    ------
    TypeError, ValueError
        As `sigmoid_focal_loss`, and for a `grad` of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid_focal_loss_backward(np.array(1.0), np.array([[1.0, 0], [0, 1]]), np.array([0, 1])).round(4)
    array([[-0.0066,  0.1119],
           [ 0.1119, -0.0066]])
    """
    return _gradient("sigmoid_focal_loss_backward", grad, input, target, gamma, alpha, weight, reduction)


def softmax_focal_loss(
    input: Array,
    target: Array,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """Focal loss of one classifier among C classes.

    With p the softmax's value for the row's label, a row costs ``-alpha * (1 - p)**gamma * log(p)``.

    Parameters
    ----------
    input : array (N, C)
        Logits.
    target : array (N,)
        Labels, integers from 0 to C - 1; rows of negative ones are left out: they cost 0.
    gamma : float
        How much easy examples are played down; 0 gives the cross entropy times alpha.
    alpha : float
        A factor of every row.
    weight : array (C,), optional
        A weight for each class: a row is multiplied by that of its label.
    reduction : {"mean", "none", "sum"}
        "mean": the sum divided by N, rows left out included; NaN for no rows.

    Returns
    -------
    array (N,) for "none", else ()
        In the dtype of `input` (float32 for integers). A row with a NaN or +infinity among its logits costs NaN.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype, or a number is none.
    ValueError
        If a shape or `reduction` is wrong, gamma is negative, or (on the CPU) a label is C or greater. On a CUDA device,
        where labels are not looked at before, such a row costs NaN.

    Notes
    -----
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollar: Focal loss for dense object detection, ICCV 2017. Sums are taken
    in float64; 1 - p keeps its digits where p is near 1.

    Examples
    --------
    >>> import numpy as np
    >>> softmax_focal_loss(np.array([[1.0, 0], [0, 1]]), np.array([0, 1]), reduction="none").round(4)
    array([0.0057, 0.0057])
    """
    return replay(_loss, (input, target, weight), "softmax_focal_loss", gamma, alpha, reduction)


def softmax_focal_loss_backward(
    grad: Array,
    input: Array,
    target: Array,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """The gradient of `softmax_focal_loss` for its input.

    Parameters
    ----------
    grad : array (N,) for reduction "none", else ()
        The gradient of what `softmax_focal_loss` returned.
    input, target, gamma, alpha, weight, reduction
        What it was called with.

    Returns
    -------
    array (N, C)
        In the dtype of `input`; 0 in rows left out.

    Raises
    ------
    TypeError, ValueError
        As `softmax_focal_loss`, and for a `grad` of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> softmax_focal_loss_backward(np.array(1.0), np.array([[1.0, 0], [0, 1]]), np.array([0, 1])).round(4)
    array([[-0.0066,  0.0066],
           [ 0.0066, -0.0066]])
    """
    return _gradient("softmax_focal_loss_backward", grad, input, target, gamma, alpha, weight, reduction)


def _arguments(name, at, input, target, gamma, alpha, weight, reduction):
    """The dtype, and the arguments as kernels take them."""
    classes = at.sizes(input="N C", target="N", weight="C?").C
    gamma = check.number(name, "gamma", gamma, 0)
    alpha = check.number(name, "alpha", alpha)
    check.choice(name, "reduction", reduction, REDUCTIONS)
    dtype = at.floats(input=input)
    if weight is not None:
        at.real(weight=weight)
        weight = at.read(weight, dtype)
    labels = at.integers(target=target)
    if at.backend == "cpu":
        most = classes if name.startswith("sigmoid") else classes - 1
        if at.kernels("focal_loss").beyond(labels, -(2**63), most):
            raise ValueError(f"{name}: target must be at most {most} for {classes} classes, got {labels.max()}")
    return dtype, at.read(input, dtype), labels, gamma, alpha, weight, reduction


def _loss(input, target, weight, name, gamma, alpha, reduction):
    at = arrays(name, input=input, target=target, weight=weight)
    dtype, *arguments = _arguments(name, at, input, target, gamma, alpha, weight, reduction)
    shape = tuple(input.shape) if name.startswith("sigmoid") else (input.shape[0],)
    out = at.empty(shape if reduction == "none" else (), dtype)
    getattr(at.kernels("focal_loss"), name)(*arguments, out.view)
    return out.result()


def _gradient(name, grad, input, target, gamma, alpha, weight, reduction):
    if isinstance(grad, np.generic):  # what arithmetic makes of NumPy's () arrays
        grad = np.asarray(grad)
    at = arrays(name, grad=grad, input=input, target=target, weight=weight)
    dtype, *arguments = _arguments(name, at, input, target, gamma, alpha, weight, reduction)
    shape = tuple(input.shape) if name.startswith("sigmoid") else (input.shape[0],)
    check.shape(name, "grad", grad, *(shape if reduction == "none" else ()))
    at.real(grad=grad)
    out = at.empty(tuple(input.shape), dtype)
    if input.shape[0] and input.shape[1]:
        getattr(at.kernels("focal_loss"), name)(at.read(grad, dtype), *arguments, out.view)
    return out.result()
