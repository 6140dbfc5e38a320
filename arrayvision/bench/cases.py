"""What the operators' cases time (`arrayvision/cases`), on NumPy and torch arrays, beside the peers that they name."""

from __future__ import annotations

import functools

import numpy as np

from arrayvision import cases as operators, ops
from arrayvision.bench.measure import Case, peer, to_numpy


def close(a, b):
    """Equal up to a few roundings of the results' dtype."""
    a, b = to_numpy(a), to_numpy(b)
    return np.allclose(a, b, rtol=1e-5, atol=1e-5) if a.dtype.kind == "f" else np.array_equal(a, b)


def cases():
    """All cases."""
    torch = peer("torch")
    for timed in operators.timed():
        function = functools.partial(getattr(ops, timed.function), **timed.arguments)
        peers = {}
        for name, (modules, call) in timed.peers.items():
            found = [peer(module) for module in modules.split()]
            if all(found):
                given = {n: torch.from_numpy(x) if "torch" in modules else x for n, x in timed.inputs.items()}
                peers[name] = functools.partial(call, *found, **given)
        ours = timed.inputs
        if torch and any("torch" in modules for modules, _ in timed.peers.values()):
            ours = {n: torch.from_numpy(x) for n, x in ours.items()}
        yield Case(timed.name, functools.partial(function, **ours), peers, timed.at_least, agree=timed.agree or close)
