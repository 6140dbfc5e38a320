"""Calls of `criss_cross_attention`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed


def plain(query, key, value):
    out = np.zeros(value.shape)
    for n, y, x in np.ndindex(value.shape[0], *value.shape[2:]):
        places = [(v, x) for v in range(value.shape[2]) if v != y] + [(y, u) for u in range(value.shape[3])]
        energies = np.array([query[n, :, y, x] @ key[n, :, v, u] for v, u in places])
        weights = np.exp(energies - energies.max())
        out[n, :, y, x] = sum(w * value[n, :, v, u] for w, (v, u) in zip(weights, places, strict=True)) / weights.sum()
    return out


def _backward(grad, query, key, value):
    found = ops.criss_cross_attention_with_logsumexp(query, key, value)
    to_query, to_key, to_value = ops.criss_cross_attention_backward(grad, query, key, value, *found)
    return to_key, to_query, to_value  # by their names


_RNG = np.random.default_rng(0)


def _inputs(n, k, c, h, w, dtype=np.float64):
    shapes = dict(query=(n, k, h, w), key=(n, k, h, w), value=(n, c, h, w))
    return {name: _RNG.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


CASES = tuple(
    Case(
        f"criss_cross_attention, {name}",
        "criss_cross_attention",
        _inputs(*sizes),
        dict(query="N K H W", key="N K H W", value="N C H W"),
        plain,
        wrt=("query", "key", "value"),
        backward=_backward,
    )
    for name, sizes in (("tall", (2, 2, 3, 4, 3)), ("flat", (1, 1, 7, 1, 5)))
)


def _einsum(torch, query, key, value):
    h = value.shape[2]
    alone = torch.full((h,), -torch.inf).diag()
    columns = (torch.einsum("bchw,bciw->bwhi", query, key) + alone).transpose(1, 2)
    energies = torch.cat([columns, torch.einsum("bchw,bchj->bhwj", query, key)], -1)
    weights = energies.softmax(-1)
    out = torch.einsum("bciw,bhwi->bchw", value, weights[..., :h])
    return out + torch.einsum("bchj,bhwj->bchw", value, weights[..., h:])


def timed():
    for sizes in ((1, 4, 32, 16, 16), (1, 64, 512, 97, 97), (2, 32, 256, 64, 128)):
        inputs = _inputs(*sizes, np.float32)
        inputs["query"] /= np.float32(sizes[1] ** 0.5)
        name = f"criss_cross_attention, {'x'.join(map(str, (sizes[0], *sizes[2:])))}"
        peers = {"torch einsum": ("torch", _einsum)}
        yield Timed(name, "criss_cross_attention", inputs, peers=peers, at_least=3 if 97 in sizes else 1)
