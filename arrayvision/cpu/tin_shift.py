"""Shifts of groups of channels along time: each thread copies whole groups of a frame."""

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def copy_groups(x, shifts, out, turn, grain, n):
    _, frames, groups, size = x.shape
    start = claim(turn, grain)
    while start < n:
        for row in range(start, min(start + grain, n)):
            clip, t, g = row // (frames * groups), row // groups % frames, row % groups
            source, target = t - shifts[clip, g], out[clip, t, g]
            if 0 <= source < frames:
                values = x[clip, source, g]
                for k in range(size):
                    target[k] = values[k]
            else:
                for k in range(size):
                    target[k] = 0
        start = claim(turn, grain)


def shift(x, shifts, out):
    """Fill out (N, T, G, size) with x moved by shifts (N, G) along T."""
    n, size = x.shape[0] * x.shape[1] * x.shape[2], x.shape[3]
    if n and size:
        parallel_for(copy_groups, n, max(1, 32768 // size), x, shifts, out, cost=0.2 * size)
