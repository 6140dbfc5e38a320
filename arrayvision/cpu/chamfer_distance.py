"""Distances between clouds of points, and their gradients: a cloud a thread, which adds in the order of the points."""

import numpy as np

from arrayvision.cpu import kernel, neighbours
from arrayvision.cpu.threads import claim, parallel_for


def forward(xyz1, xyz2, dist1, dist2, idx1, idx2):
    """Fill dist1 (B, N) and idx1 with what is nearest in xyz2 (B, M, D) to xyz1 (B, N, D), and dist2 and idx2 vice versa."""
    neighbours.nearest(xyz1, xyz2, dist1[..., None], idx1[..., None])
    neighbours.nearest(xyz2, xyz1, dist2[..., None], idx2[..., None])


@kernel(_nrt=False)
def pull(cloud, grad, own, other, index, out, out_other):
    """Add what the squares of the distances from a cloud of own to the points of other at index do to both."""
    for i in range(own.shape[1]):
        j = np.int64(index[cloud, i])
        if 0 <= j < other.shape[1]:
            twice = 2 * grad[cloud, i]
            for c in range(own.shape[2]):
                d = twice * (own[cloud, i, c] - other[cloud, j, c])
                out[cloud, i, c] += d
                out_other[cloud, j, c] -= d


@kernel
def backward_some(grad1, grad2, xyz1, xyz2, idx1, idx2, out1, out2, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for cloud in range(start, min(start + grain, n)):
            for i in range(out1.shape[1]):
                for c in range(out1.shape[2]):
                    out1[cloud, i, c] = 0
            for i in range(out2.shape[1]):
                for c in range(out2.shape[2]):
                    out2[cloud, i, c] = 0
            pull(cloud, grad1, xyz1, xyz2, idx1, out1, out2)
            pull(cloud, grad2, xyz2, xyz1, idx2, out2, out1)
        start = claim(turn, grain)


def backward(grad1, grad2, xyz1, xyz2, idx1, idx2, out1, out2):
    """Fill out1 (B, N, D) and out2 (B, M, D) with the gradients of `forward`, given those of its distances."""
    clouds = len(xyz1)
    cost = 3 * (xyz1.size + xyz2.size) // max(clouds, 1)
    parallel_for(backward_some, clouds, 1, grad1, grad2, xyz1, xyz2, idx1, idx2, out1, out2, cost=cost)
