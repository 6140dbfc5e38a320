"""Filters in several orientations: numbers are gathered through a table of where each place's number comes from."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def find_sources(places, sources):
    """For each rotation and each place of a filter (R, E), which number goes there: the last one, E for none."""
    for r in range(sources.shape[0]):
        row = sources[r]
        for t in range(row.shape[0]):
            row[t] = places.shape[0]
        for e in range(places.shape[0]):
            row[places[e, r] - 1] = e


@kernel
def rotate(x, sources, out, turn, grain, n):
    inputs, entries = x.shape[1], x.shape[2]
    values = np.empty(entries + 1, out.dtype)
    values[entries] = 0  # for a place that no number goes to
    start = claim(turn, grain)
    while start < n:
        for row in range(start, min(start + grain, n)):
            o, i = row // inputs, row % inputs
            own = x[o, i]
            for e in range(own.shape[0]):
                values[e] = own[e]
            for r in range(sources.shape[0]):
                source, target = sources[r], out[o, r, i]
                for t in range(target.shape[0]):
                    target[t] = values[source[t]]
        start = claim(turn, grain)


@kernel
def rotate_back(grad, sources, out, turn, grain, n):
    inputs, entries = out.shape[1], out.shape[2]
    sums = np.empty(entries + 1, out.dtype)
    start = claim(turn, grain)
    while start < n:
        for row in range(start, min(start + grain, n)):
            o, i = row // inputs, row % inputs
            for e in range(entries):
                sums[e] = 0
            for r in range(sources.shape[0]):
                source, values = sources[r], grad[o, r, i]
                for t in range(values.shape[0]):
                    sums[source[t]] += values[t]
            target = out[o, i]
            for e in range(target.shape[0]):
                target[e] = sums[e]
        start = claim(turn, grain)


def _sources(places):
    sources = np.empty(places.shape[::-1], np.uint32)
    find_sources(places, sources)
    return sources


def forward(x, places, out):
    """Fill out (O, R, I, E) with x (O, I, E), whose numbers go to places (E, R) less 1."""
    if out.size:
        o, r, i, e = out.shape
        parallel_for(rotate, o * i, max(1, 32768 // (r * e)), x, _sources(places), out, cost=0.5 * r * e)


def backward(grad, places, out):
    """Fill out (O, I, E) with the gradient, from that of the result (O, R, I, E)."""
    if out.size:
        o, r, i, e = grad.shape
        each = max(r * e, 1)
        parallel_for(rotate_back, o * i, max(1, 32768 // each), grad, _sources(places), out, cost=each)
