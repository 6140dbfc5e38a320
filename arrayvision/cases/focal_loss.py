"""Calls of `sigmoid_focal_loss` and `softmax_focal_loss`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case


def _reduced(loss, reduction):
    with np.errstate(invalid="ignore"):  # of no rows there is no mean
        return {"none": loss, "mean": np.divide(loss.sum(), len(loss)), "sum": loss.sum()}[reduction]


def _parts(target, classes, weight):
    known = (target >= 0) & (target < classes)
    own = (target[:, None] == np.arange(classes)) & known[:, None]
    weights = np.ones(len(target)) if weight is None else np.where(known, weight[np.where(known, target, 0)], 1)
    return known, own, weights


def sigmoid(input, target, gamma=2.0, alpha=0.25, weight=None, reduction="mean"):
    _, own, weights = _parts(target, input.shape[1], weight)
    log_p, log_q = -np.logaddexp(0, -input), -np.logaddexp(0, input)
    loss = np.where(own, -alpha * np.exp(gamma * log_q) * log_p, -(1 - alpha) * np.exp(gamma * log_p) * log_q)
    return np.asarray(_reduced(loss * weights[:, None], reduction))


def softmax(input, target, gamma=2.0, alpha=0.25, weight=None, reduction="mean"):
    known, own, weights = _parts(target, input.shape[1], weight)
    log_p = input - np.logaddexp.reduce(input, 1)[:, None]
    rest = (np.exp(log_p) * ~own).sum(1)
    loss = np.where(known, -alpha * rest**gamma * (log_p * own).sum(1) * weights, 0.0)
    return np.asarray(_reduced(loss, reduction))


_RNG = np.random.default_rng(0)
_INPUTS = dict(input=_RNG.uniform(-3, 3, (7, 4)), target=np.arange(7) % 4)
_WEIGHED = {**_INPUTS, "weight": _RNG.uniform(0.5, 1, 4)}
_SHAPES = dict(input="N C", target="N", weight="C")


def _case(name, oracle, inputs, **arguments):
    backward = getattr(ops, f"{name}_backward")
    return Case(
        f"{name}, {arguments.get('reduction', 'mean')}",
        name,
        inputs,
        {n: _SHAPES[n] for n in inputs},
        oracle,
        arguments,
        wrt=("input",),
        backward=lambda grad, **given: (backward(grad, **given),),
        indexed="C",
        tolerance=64,
    )


CASES = (
    _case("sigmoid_focal_loss", sigmoid, _WEIGHED, reduction="none"),
    _case("sigmoid_focal_loss", sigmoid, _INPUTS, gamma=1.5),
    _case("softmax_focal_loss", softmax, _WEIGHED, reduction="none"),
    _case("softmax_focal_loss", softmax, _INPUTS, gamma=0.5, reduction="sum"),
)
