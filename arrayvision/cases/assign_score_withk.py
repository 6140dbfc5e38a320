"""Calls of `assign_score_withk`."""

import numpy as np

from arrayvision import ops
from arrayvision.cases import Case, Timed


def plain(scores, point_features, center_features, knn_idx, aggregate="sum"):
    """Cloud by cloud, an einsum of what the indices name."""
    out = np.zeros((len(scores), point_features.shape[3], *scores.shape[1:3]))
    if 0 not in point_features.shape[:2]:
        for b, index in enumerate(knn_idx):
            inside = (index >= 0) & (index < point_features.shape[1]) if index.size else index
            index = np.where(inside, index, 0)
            values = point_features[b][index] - center_features[b][index[:, :1]]
            out[b] = np.einsum("pkm,pkmo->opk", scores[b], values) * inside * (inside[:, :1] != 0)
    return out


_RNG = np.random.default_rng(0)
_INDEX = _RNG.integers(0, 6, (2, 5, 4))
_INDEX[0, 1, 2], _INDEX[1, 3, 0], _INDEX[1, 0, 1] = -1, 6, 2**31 - 1
CASES = (
    Case(
        "assign_score_withk",
        "assign_score_withk",
        dict(
            scores=_RNG.uniform(0, 1, (2, 5, 4, 3)), point_features=_RNG.standard_normal((2, 6, 3, 10)),
            center_features=_RNG.standard_normal((2, 6, 3, 10)), knn_idx=_INDEX,
        ),
        dict(scores="B P K M", point_features="B N M O", center_features="B N M O", knn_idx="B P K"),
        plain,
        wrt=("center_features", "point_features", "scores"),
        backward=lambda grad, scores, point_features, center_features, knn_idx: ops.assign_score_withk_backward(
            grad, scores, point_features, center_features, knn_idx
        )[::-1],
    ),
)  # fmt: skip


def _torch(torch, scores, point_features, center_features, knn_idx):
    batch = torch.arange(len(scores))[:, None, None]
    values = point_features[batch, knn_idx] - center_features[batch, knn_idx[:, :, :1]]
    return torch.einsum("bpkm,bpkmo->bopk", scores, values)


def timed():
    for points, channels in ((128, 16), (1024, 64)):
        inputs = dict(
            scores=_RNG.random((2, points, 16, 8), dtype=np.float32),
            point_features=_RNG.standard_normal((2, points, 8, channels)).astype(np.float32),
            center_features=_RNG.standard_normal((2, points, 8, channels)).astype(np.float32),
            knn_idx=_RNG.integers(0, points, (2, points, 16)),
        )
        yield Timed(
            f"assign_score_withk, 2x{points}x16, 8 matrices, {channels} features", "assign_score_withk", inputs,
            peers={"torch einsum": ("torch", _torch)},
        )  # fmt: skip
