"""Calls of `active_rotated_filter`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed


def plain(input, indices):
    planes, inputs, *filters = input.shape
    rotations = indices.shape[3]
    out = np.zeros((planes, rotations, inputs, int(np.prod(filters))))
    for o, i, r in np.ndindex(planes, inputs, rotations):
        for value, place in zip(input[o, i].ravel(), indices[..., r].ravel(), strict=True):
            out[o, r, i, place - 1] = value
    return out.reshape(planes * rotations, inputs * filters[0], *filters[1:])


_RNG = np.random.default_rng(0)


def _permutations(shape, rotations):
    return np.stack([_RNG.permutation(int(np.prod(shape))).reshape(shape) + 1 for _ in range(rotations)], -1)


_INPUT, _INDICES = _RNG.standard_normal((3, 2, 4, 2, 3)), _permutations((4, 2, 3), 5)
_TWICE = np.where(_RNG.random(_INDICES.shape) < 0.2, 7, _INDICES)  # several numbers to one place, none to others
CASES = tuple(
    Case(
        name,
        "active_rotated_filter",
        dict(input=_INPUT, indices=indices),
        dict(input="O I N H W", indices="N H W R"),
        plain,
        wrt=("input",),
        backward=lambda grad, input, indices: (ops.active_rotated_filter_backward(grad, indices, input.shape),),
    )
    for name, indices in (("active_rotated_filter", _INDICES), ("active_rotated_filter, places taken twice", _TWICE))
)


def _gathered(torch, input, indices):
    """Where each rotation is a permutation: a table of sources, and a gather."""
    planes, inputs, *filters = input.shape
    flat = indices.flatten(0, 2).long() - 1
    entries, rotations = flat.shape
    sources = torch.empty_like(flat).scatter_(0, flat, torch.arange(entries)[:, None].expand_as(flat)).T[None, :, None]
    size = (planes, rotations, inputs, entries)
    out = input.flatten(2)[:, None].expand(size).gather(3, sources.expand(size))
    return out.reshape(planes * rotations, inputs * filters[0], *filters[1:])


def timed():
    for planes, inputs, orientations in ((8, 8, 1), (32, 32, 8), (256, 256, 8)):
        shape = (orientations, 3, 3)
        inputs_of = dict(
            input=_RNG.standard_normal((planes, inputs, *shape)).astype(np.float32), indices=_permutations(shape, 8)
        )
        name = f"active_rotated_filter, {planes} x {inputs} x {orientations} x 3 x 3"
        yield Timed(name, "active_rotated_filter", inputs_of, peers={"torch gather": ("torch", _gathered)})
