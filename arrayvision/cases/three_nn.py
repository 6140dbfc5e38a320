"""Calls of `three_nn`."""

import numpy as np

from arrayvision.cases import Case, Timed, clouds

_RNG = np.random.default_rng(0)
CASES = (
    Case(
        "three_nn",
        "three_nn",
        dict(
            target=_RNG.permutation(150).reshape(2, 25, 3) / 4,
            source=_RNG.permutation(45).reshape(1, 15, 3) / 2 + [[[1.0]], [[9.0]]],
        ),
        dict(target="B N 3", source="B M 3"),
        lambda target, source: clouds.nearest(target, source, 3),
    ),
)


def _search(search, target, source):
    found = [search(t, s, 3) for t, s in zip(target, source, strict=True)]
    return np.stack([distances for distances, _ in found]), np.stack([indices for _, indices in found])


def timed():
    for targets, sources in ((1000, 100), (16384, 1024)):
        inputs = dict(target=clouds.cloud(_RNG, targets)[None], source=clouds.cloud(_RNG, sources)[None])
        yield Timed(
            f"three_nn, {targets} of {sources}",
            "three_nn",
            inputs,
            peers=clouds.peers(_search),
            at_least=1.3,
            agree=clouds.alike,
        )
