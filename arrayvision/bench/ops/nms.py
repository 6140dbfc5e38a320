"""Suppression of axis-aligned boxes, against torchvision and against two plain loops compiled by Numba."""

from __future__ import annotations

import numba
import numpy as np

from arrayvision import ops
from arrayvision.bench.measure import Case, peer, same, same_set

SHAPES = (
    "one over everything", "one a million px away", "all equal", "stacked on one spot", "concentric", "needles",
    "zero size", "inverted", "power-law sizes",
)  # fmt: skip


def boxes(n, side, low=8, high=200, seed=0):
    """Boxes of 8 to 200 px spread over a square, and scores."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, side, (n, 2))
    return np.concatenate([xy, xy + rng.uniform(low, high, (n, 2))], 1).astype(np.float32), rng.random(
        n, dtype=np.float32
    )


def bad_shape(shape, n=10_000):
    """Boxes that are hard for some way of searching."""
    b, s = boxes(n, 1300)
    rng = np.random.default_rng(1)
    if shape == "one over everything":
        b[n // 2] = -1e4, -1e4, 1e4, 1e4
    elif shape == "one a million px away":
        b[n // 2] += 1e6
    elif shape == "all equal":
        b[:] = 5, 5, 60, 60
    elif shape == "stacked on one spot":
        b = rng.uniform(0, 2, (n, 4)).astype(np.float32) + np.float32([0, 0, 100, 100])
    elif shape == "concentric":
        half = np.linspace(1, 650, n, dtype=np.float32)[:, None]
        b = np.concatenate([650 - half, 650 - half, 650 + half, 650 + half], 1)
    elif shape == "needles":
        thin = rng.random((n, 1)) < 0.5
        b[:, 2:] = b[:, :2] + np.where(thin, [[0.01, 1000]], [[1000, 0.01]])
    elif shape == "zero size":
        b[:, 2:] = b[:, :2]
    elif shape == "inverted":
        b = b[:, [2, 3, 0, 1]]
    elif shape == "power-law sizes":
        wh = (rng.pareto(0.7, (n, 1)) + 1) * rng.uniform(0.5, 1, (n, 2))
        b[:, 2:] = b[:, :2] + wh
    return np.ascontiguousarray(b, np.float32), s


@numba.njit(nogil=True, error_model="numpy")
def strike_out(b, order, threshold):
    """Each kept box strikes out the rest."""
    n = b.shape[0]
    x1, y1, x2, y2, area = (
        np.empty(n, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.float32),
    )
    for k in range(n):
        i = order[k]
        x1[k], y1[k], x2[k], y2[k] = b[i, 0], b[i, 1], b[i, 2], b[i, 3]
        w, h = x2[k] - x1[k], y2[k] - y1[k]
        area[k] = w * h if w > 0 and h > 0 else np.nan
    dead, keep = np.zeros(n, np.uint8), []
    zero = np.float32(0)
    for i in range(n):
        if dead[i]:
            continue
        keep.append(order[i])
        u1, v1, u2, v2, d, a, own = x1[i:], y1[i:], x2[i:], y2[i:], dead[i:], area[i:], area[i]
        for j in range(d.shape[0]):
            w, h = max(min(x2[i], u2[j]) - max(x1[i], u1[j]), zero), max(min(y2[i], v2[j]) - max(y1[i], v1[j]), zero)
            d[j] |= np.uint8(w * h / (own + a[j] - w * h) > threshold)
    return np.array(keep)


@numba.njit(nogil=True, error_model="numpy")
def early_exit(b, order, threshold):
    """Each box against the kept ones, until one overlaps it."""
    n = b.shape[0]
    x1, y1, x2, y2, area = (
        np.empty(n, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.float32),
    )
    keep, m, zero = np.empty(n, np.int64), 0, np.float32(0)
    for k in range(n):
        i = order[k]
        a, c, e, g = b[i, 0], b[i, 1], b[i, 2], b[i, 3]
        own = (e - a) * (g - c) if e > a and g > c else np.float32(np.nan)
        fine = True
        for j in range(m):
            w, h = max(min(e, x2[j]) - max(a, x1[j]), zero), max(min(g, y2[j]) - max(c, y1[j]), zero)
            if w * h / (own + area[j] - w * h) > threshold:
                fine = False
                break
        if fine:
            x1[m], y1[m], x2[m], y2[m], area[m], keep[m] = a, c, e, g, own, i
            m += 1
    return keep[:m]


def cases():
    """All cases."""
    torch, vision = peer("torch"), peer("torchvision")
    give = torch.from_numpy if torch else (lambda x: x)
    one, one_score = boxes(1, 100)
    yield Case("nms, 1 box, NumPy", lambda: ops.nms(one, one_score, 0.5), within=0.015)
    if torch:
        a, s = give(one), give(one_score)
        yield Case("nms, 1 box, torch", lambda: ops.nms(a, s, 0.5), within=0.025)
    sizes = [(100, 1000, None, 0.045), (1000, 1000, 12, None), (10_000, 1300, 30, None), (50_000, 10_000, 150, None)]
    for n, side, at_least, within in sizes:
        b, s = map(give, boxes(n, side))
        theirs = {"torchvision": lambda b=b, s=s: vision.ops.nms(b, s, 0.5)} if vision else {}
        ours = lambda b=b, s=s: ops.nms(b, s, 0.5)[1]  # noqa: E731
        yield Case(f"nms, {n:,} boxes in {side:,} px, torch", ours, theirs, at_least, within, same)
    b, s = map(give, boxes(10_000, 1300))
    yield Case("nms, 10,000 boxes, the best 100", lambda: ops.nms(b, s, 0.5, max_num=100)[1])
    for n, side, classes, at_least in ((100_000, 2000, 80, 15), (300_000, 2000, 1200, None)):
        b, s = map(give, boxes(n, side))
        label = give(np.random.default_rng(2).integers(0, classes, n))
        theirs = {"torchvision": lambda b=b, s=s, c=label: vision.ops.batched_nms(b, s, c, 0.5)} if vision else {}
        ours = lambda b=b, s=s, c=label: ops.batched_nms(b, s, c, dict(iou_threshold=0.5))[1]  # noqa: E731
        yield Case(f"batched_nms, {n:,} boxes, {classes:,} classes", ours, theirs, at_least, agree=same_set)
    b, s = map(give, boxes(64_000, 1000))
    index = give(np.arange(64_000) % 16 * 80 + np.random.default_rng(3).integers(0, 80, 64_000))
    theirs = {"torchvision": lambda: vision.ops.batched_nms(b, s, index, 0.5)} if vision else {}
    yield Case(
        "batched_nms, 16 images x 80 classes, 64,000 boxes",
        lambda: ops.batched_nms(b, s, index, dict(iou_threshold=0.5))[1],
        theirs,
        agree=same_set,
    )
    for shape in SHAPES:
        for threshold in (0.0, 0.1, 0.5, 0.9):
            b, s = bad_shape(shape)
            t = np.float32(threshold)
            loops = {
                f.__name__: (lambda f=f, b=b, s=s, t=t: f(b, np.argsort(-s, kind="stable"), t))
                for f in (strike_out, early_exit)
            }
            yield Case(
                f"nms, 10,000 boxes, {shape}, {threshold}",
                lambda b=b, s=s, t=threshold: ops.nms(b, s, t)[1],
                loops,
                1 / 1.3,
                agree=same,
            )
    b, s = boxes(2000, 600)
    for method in ("naive", "linear", "gaussian"):
        yield Case(f"soft_nms, 2,000 boxes, {method}", lambda m=method: ops.soft_nms(b, s, method=m))
    many, scores = boxes(20_000, 3000)
    yield Case("soft_nms, 20,000 boxes, linear", lambda: ops.soft_nms(many, scores))
    yield Case("nms_match, 2,000 boxes", lambda: ops.nms_match(np.concatenate([b, s[:, None]], 1), 0.5))
    if torch and torch.cuda.is_available():
        yield from gpu_cases(torch, vision)


def gpu_cases(torch, vision):
    """On a GPU, torch tensors in and out."""
    for n, side in ((10_000, 1300), (100_000, 10_000)):
        b, s = (torch.from_numpy(x).cuda() for x in boxes(n, side))
        theirs = {"torchvision": lambda b=b, s=s: vision.ops.nms(b, s, 0.5)} if vision else {}
        yield Case(f"nms on a GPU, {n:,} boxes", lambda b=b, s=s: ops.nms(b, s, 0.5)[1], theirs, 1.5, agree=same)
    b, s = (torch.from_numpy(x).cuda() for x in boxes(100_000, 2000))
    label = torch.randint(0, 80, (100_000,), device="cuda")
    theirs = {"torchvision": lambda: vision.ops.batched_nms(b, s, label, 0.5)} if vision else {}
    yield Case(
        "batched_nms on a GPU, 100,000 boxes, 80 classes",
        lambda: ops.batched_nms(b, s, label, dict(iou_threshold=0.5))[1],
        theirs,
        1.5,
        agree=same_set,
    )
