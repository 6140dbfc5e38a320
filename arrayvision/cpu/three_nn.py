"""The three nearest points of each point."""

import numpy as np

from arrayvision.cpu import neighbours


def nearest(target, source, distances, indices):
    """Fill distances and indices (B, N, 3) with those of the points of source (B, M, 3) nearest to target (B, N, 3)."""
    neighbours.nearest(target, source, distances, indices)
    np.sqrt(distances, out=distances)
