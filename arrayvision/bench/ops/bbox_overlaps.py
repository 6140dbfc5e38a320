"""IoU of axis-aligned boxes, against torchvision and against writing the result's memory once."""

from __future__ import annotations

import numpy as np

from arrayvision import ops
from arrayvision.bench.measure import Case, peer, to_numpy
from arrayvision.bench.ops.nms import boxes


def close(a, b):
    """Equal up to the rounding of float32."""
    return np.allclose(to_numpy(a), to_numpy(b), atol=1e-6)


def cases():
    """All cases."""
    torch, vision = peer("torch"), peer("torchvision")
    give = torch.from_numpy if torch else (lambda x: x)
    one = boxes(1, 100)[0]
    yield Case("bbox_overlaps, 1 x 1, NumPy", lambda: ops.bbox_overlaps(one, one), within=0.015)
    if torch:
        t = give(one)
        theirs = {"torchvision": lambda: vision.ops.box_iou(t, t)} if vision else {}
        yield Case("bbox_overlaps, 1 x 1, torch", lambda: ops.bbox_overlaps(t, t), theirs, within=0.025)
    for n in (300, 5000):
        b = give(boxes(n, 1300)[0])
        theirs = {"torchvision": lambda b=b: vision.ops.box_iou(b, b)} if vision else {}
        yield Case(f"bbox_overlaps, {n:,} x {n:,}", lambda b=b: ops.bbox_overlaps(b, b), theirs, 1, agree=close)
    b = boxes(5000, 1300)[0]
    fill = {"filling such a result": lambda: np.full((5000, 5000), 0.5, np.float32)}
    yield Case("bbox_overlaps, 5,000 x 5,000, against memory", lambda: ops.bbox_overlaps(b, b), fill, 0.9)
    if torch and torch.cuda.is_available():
        g = torch.from_numpy(boxes(10_000, 1300)[0]).cuda()
        theirs = {"torchvision": lambda: vision.ops.box_iou(g, g)} if vision else {}
        theirs["filling such a result"] = lambda: torch.full((10_000, 10_000), 0.5, device="cuda")
        yield Case("bbox_overlaps on a GPU, 10,000 x 10,000", lambda: ops.bbox_overlaps(g, g), theirs, 0.8)
