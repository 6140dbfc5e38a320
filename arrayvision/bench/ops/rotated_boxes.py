"""Rotated boxes, against torchvision where it has them, and absolute limits (what the established C++ takes over 20)."""

from __future__ import annotations

import numpy as np

from arrayvision import ops
from arrayvision.bench.measure import Case, peer


def boxes(n, side=500, low=5, high=85, seed=0):
    """Rotated boxes of 5 to 85 px spread over a square, and scores."""
    rng = np.random.default_rng(seed)
    columns = [*rng.uniform(0, side, (2, n)), *rng.uniform(low, high, (2, n)), rng.uniform(-3.2, 3.2, n)]
    return np.stack(columns, 1).astype(np.float32), rng.random(n, dtype=np.float32)


def cases():
    """All cases."""
    b, s = boxes(1000)
    turned = np.stack([np.cos(b[:, 4]), np.sin(b[:, 4])], 1) * b[:, 2:3] / 2
    up = np.stack([-np.sin(b[:, 4]), np.cos(b[:, 4])], 1) * b[:, 3:4] / 2
    quads = np.concatenate([b[:, :2] + i * turned + j * up for i, j in ((1, 1), (-1, 1), (-1, -1), (1, -1))], 1).astype(
        np.float32
    )
    yield Case("box_iou_rotated, 1,000 x 1,000", lambda: ops.box_iou_rotated(b, b), within=70)
    yield Case("nms_rotated, 1,000 boxes", lambda: ops.nms_rotated(b, s, 0.1), within=7)
    yield Case("box_iou_quadri, 1,000 x 1,000", lambda: ops.box_iou_quadri(quads, quads), within=70)
    yield Case("nms_quadri, 1,000 boxes", lambda: ops.nms_quadri(quads, s, 0.1), within=7)
    many, scores = boxes(50_000, 4000)
    yield Case("nms_rotated, 50,000 boxes in 4,000 px", lambda: ops.nms_rotated(many, scores, 0.1))
    torch = peer("torch")
    if torch and torch.cuda.is_available():
        g, gs = torch.from_numpy(b).cuda(), torch.from_numpy(s).cuda()
        yield Case("box_iou_rotated on a GPU, 1,000 x 1,000", lambda: ops.box_iou_rotated(g, g))
        yield Case("nms_rotated on a GPU, 1,000 boxes", lambda: ops.nms_rotated(g, gs, 0.1))
