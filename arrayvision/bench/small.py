"""Small calls from torch, against torchvision: warm in loops, and cold, each once after work that empties the caches."""

from __future__ import annotations

import numpy as np

from arrayvision import ops
from arrayvision.bench.measure import Case, peer, same
from arrayvision.bench.ops.nms import boxes
from arrayvision.bench.ops.roi_align import close


def flush():
    """Read more memory and run more code than the caches hold."""
    _BIG.sum()
    (_SQUARE @ _SQUARE).sum()
    sorted(map(str, range(3000)))


_BIG = np.ones(8_000_000)
_SQUARE = np.ones((600, 600), np.float32)


def cases():
    """All cases."""
    torch, vision, bridge = peer("torch"), peer("torchvision"), peer("arrayvision.torch_bridge.ops")
    if torch and bridge:
        b, s = map(torch.from_numpy, boxes(100, 300))
        x, one = torch.randn(1, 8, 16, 16), torch.tensor([[0, 1, 2, 13, 14.0]])
        pairs = (
            ("nms, 100 boxes", lambda: bridge.nms(b, s, 0.5)[1], lambda: vision.ops.nms(b, s, 0.5), same),
            (
                "roi_align, 1 region, 8x16x16, 7x7",
                lambda: bridge.roi_align(x, one, 7, 1.0, 2),
                lambda: vision.ops.roi_align(x, one, 7, 1.0, 2, True),
                close,
            ),
        )
        for name, ours, theirs, agree in pairs:
            for how, before in (("warm", None), ("cold", flush)):
                peers = {"torchvision": theirs} if vision else {}
                yield Case(f"small call, {how}: {name}", ours, peers, 1, agree=agree, before=before)
    single, score = np.array([[0, 0, 10, 10]], np.float32), np.array([0.5], np.float32)
    yield Case("small call, warm: nms, 1 box, NumPy", lambda: ops.nms(single, score, 0.5), within=0.015)
