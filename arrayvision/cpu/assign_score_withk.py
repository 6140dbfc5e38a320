"""Sums of neighbours' features, weighted by scores: a few centres a thread. Gradients of features are added by the thread that
holds a cloud's weight matrix, in the order of the centres."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for


@kernel(_nrt=False)
def combine(scores, points, centers, neighbours, total, out, p):
    """out (O, P, K) at centre p, from scores (K, M) and features (N, M, O); total (O,) is for its sums."""
    size, center = points.shape[0], neighbours[0]
    for k in range(neighbours.shape[0]):
        n = neighbours[k]
        for o in range(total.shape[0]):
            total[o] = 0
        if 0 <= n < size and 0 <= center < size:
            for m in range(scores.shape[1]):
                score, x, y = scores[k, m], points[n, m], centers[center, m]
                for o in range(total.shape[0]):
                    total[o] += score * (x[o] - y[o])
        for o in range(total.shape[0]):
            out[o, p, k] = total[o]


@kernel
def combine_some(scores, points, centers, index, out, turn, grain, n):
    count, total = scores.shape[1], np.empty(out.shape[1], out.dtype)
    start = claim(turn, grain)
    while start < n:
        for row in range(start, min(start + grain, n)):
            b, p = row // count, row % count
            combine(scores[b, p], points[b], centers[b], index[b, p], total, out[b], p)
        start = claim(turn, grain)


@kernel(_nrt=False)
def differentiate_scores(grad, points, centers, neighbours, turned, out, p):
    """out (K, M), the gradient of centre p's scores; turned (K, O) becomes that of its result, features last."""
    size, center = points.shape[0], neighbours[0]
    for k in range(neighbours.shape[0]):
        n, g = neighbours[k], turned[k]
        for o in range(g.shape[0]):
            g[o] = grad[o, p, k]
        inside = 0 <= n < size and 0 <= center < size
        for m in range(out.shape[1]):
            total = out.dtype.type(0)
            if inside:
                x, y = points[n, m], centers[center, m]
                for o in range(g.shape[0]):
                    total += g[o] * (x[o] - y[o])
            out[k, m] = total


@kernel(fastmath={"contract", "reassoc"})
def scores_some(grad, points, centers, index, turned, out, turn, grain, n):
    count = out.shape[1]
    start = claim(turn, grain)
    while start < n:
        for row in range(start, min(start + grain, n)):
            b, p = row // count, row % count
            differentiate_scores(grad[b], points[b], centers[b], index[b, p], turned[b, p], out[b, p], p)
        start = claim(turn, grain)


@kernel(_nrt=False)
def differentiate_features(turned, scores, index, m, for_points, for_centers):
    """The gradients of a cloud's features by matrix m, (N, M, O), from that of its result, (P, K, O), and scores (P, K, M)."""
    size = for_points.shape[0]
    for n in range(size):
        for o in range(for_points.shape[2]):
            for_points[n, m, o] = for_centers[n, m, o] = 0
    for p in range(index.shape[0]):
        center = index[p, 0]
        for k in range(index.shape[1]):
            n = index[p, k]
            if 0 <= n < size and 0 <= center < size:
                score, g, x, y = scores[p, k, m], turned[p, k], for_points[n, m], for_centers[center, m]
                for o in range(g.shape[0]):
                    x[o] += score * g[o]
                for o in range(g.shape[0]):
                    y[o] -= score * g[o]


@kernel
def features_some(turned, scores, index, for_points, for_centers, turn, grain, n):
    matrices = scores.shape[3]
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            b = task // matrices
            differentiate_features(turned[b], scores[b], index[b], task % matrices, for_points[b], for_centers[b])
        start = claim(turn, grain)


def forward(scores, points, centers, index, out):
    """Fill out (B, O, P, K) from scores (B, P, K, M), features (B, N, M, O) and index (B, P, K)."""
    batch, count, k, matrices = scores.shape
    each = k * (matrices + 2) * out.shape[1] // 4 + 10
    if out.size:
        parallel_for(
            combine_some, batch * count, max(1, 20_000 // each), scores, points, centers, index, out, cost=each
        )


def backward(grad, scores, points, centers, index, for_scores, for_points, for_centers):
    """Fill the gradients of `forward`, given that of its result."""
    batch, count, k, matrices = scores.shape
    turned = np.empty((batch, count, k, grad.shape[1]), grad.dtype)
    each = k * (matrices + 4) * grad.shape[1] // 4 + 10
    if batch * count * k:
        parallel_for(
            scores_some,
            batch * count,
            max(1, 20_000 // each),
            grad,
            points,
            centers,
            index,
            turned,
            for_scores,
            cost=each,
        )
    cost = count * k * (grad.shape[1] // 2 + 5)
    if for_points.size:
        parallel_for(features_some, batch * matrices, 1, turned, scores, index, for_points, for_centers, cost=cost)
