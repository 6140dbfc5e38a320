"""RoIAlign of all kinds, against torchvision, and rotated against the plain loop over outputs that C++ and CUDA codes run,
compiled by Numba for one thread.

Cases of the others state, as a note, the least time that reading and writing their data once and their arithmetic take:
bytes at the rate at which this machine copies, and multiplications and additions at 8 a nanosecond and thread.
"""

from __future__ import annotations

import functools
import time

import numba
import numpy as np

import arrayvision
from arrayvision import ops
from arrayvision.bench.measure import Case, peer, to_numpy

SHAPE, SCALE, COUNT = (2, 256, 100, 152), 0.125, 512


def close(a, b) -> bool:
    """Equal but for rounding of sums, and of samples' positions."""
    return np.allclose(to_numpy(a), to_numpy(b), rtol=1e-3, atol=1e-3)


def inputs(shape=SHAPE, count=COUNT, seed=0):
    """Features, and regions of 16 to 300 px on an image eight times their size."""
    rng = np.random.default_rng(seed)
    b, _, h, w = shape
    xy = rng.uniform(0, 1, (count, 2)) * (w * 7.2, h * 7.2)
    xy2 = np.minimum(xy + rng.uniform(16, 300, (count, 2)), (w * 8, h * 8))
    rois = np.concatenate([rng.integers(0, b, (count, 1)), xy, xy2], 1).astype(np.float32)
    return rng.standard_normal(shape, np.float32), rois


def rotated(rois):
    """The same regions, by centre and angle."""
    angle = np.random.default_rng(1).uniform(-np.pi, np.pi, (len(rois), 1))
    wh = rois[:, 3:] - rois[:, 1:3]
    return np.concatenate([rois[:, :1], (rois[:, 1:3] + rois[:, 3:]) / 2, wh, angle], 1).astype(np.float32)


@numba.njit(error_model="numpy")
def plain_rotated(x, rois, oh, ow, scale, samples):
    """One output after the other, each from its samples' four pixels."""
    channels, height, width = x.shape[1:]
    out = np.empty((rois.shape[0], channels, oh, ow), x.dtype)
    half, one, zero = np.float32(0.5), np.float32(1), np.float32(0)
    for k in range(rois.shape[0]):
        cx, cy = rois[k, 1] * scale - half, rois[k, 2] * scale - half
        w, h, theta = rois[k, 3] * scale, rois[k, 4] * scale, rois[k, 5]
        cos, sin = np.cos(theta), np.sin(theta)
        bw, bh = w / np.float32(ow), h / np.float32(oh)
        for c in range(channels):
            plane = x[int(rois[k, 0]), c]
            for i in range(oh):
                for j in range(ow):
                    total = zero
                    for u in range(samples):
                        yy = -h * half + np.float32(i) * bh + (np.float32(u) + half) * bh / np.float32(samples)
                        for v in range(samples):
                            xx = -w * half + np.float32(j) * bw + (np.float32(v) + half) * bw / np.float32(samples)
                            y, p = yy * cos - xx * sin + cy, yy * sin + xx * cos + cx
                            if y < -one or y > height or p < -one or p > width:
                                continue
                            y, p = max(y, zero), max(p, zero)
                            yl, xl = int(y), int(p)
                            if yl >= height - 1:
                                yl = yh = height - 1
                                y = np.float32(yl)
                            else:
                                yh = yl + 1
                            if xl >= width - 1:
                                xl = xh = width - 1
                                p = np.float32(xl)
                            else:
                                xh = xl + 1
                            fy, fx = y - np.float32(yl), p - np.float32(xl)
                            total += (one - fy) * ((one - fx) * plane[yl, xl] + fx * plane[yl, xh]) + fy * (
                                (one - fx) * plane[yh, xl] + fx * plane[yh, xh]
                            )
                    out[k, c, i, j] = total / np.float32(samples * samples)
    return out


@functools.cache
def rate():
    """Bytes that this machine reads and writes in a millisecond, copying."""
    a = np.ones(2**24, np.float32)
    b = np.empty_like(a)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        b[:] = a
        best = min(best, time.perf_counter() - start)
    return 2 * a.nbytes / best / 1e3


def least(flops, *arrays):
    """Milliseconds: the arrays once through memory, and the arithmetic."""
    return sum(a.nbytes for a in arrays) / rate() + flops / 8e6 / arrayvision.get_num_threads()


def cases():
    """All cases."""
    torch, vision = peer("torch"), peer("torchvision")
    give = torch.from_numpy if torch else (lambda x: x)
    x, rois = inputs()
    a, r = give(x), give(rois)
    for size, ratio, at_least in ((7, 2, 8), (14, 0, 6), (7, 0, None), (14, 2, None)):
        theirs = (
            {"torchvision": lambda s=size, n=ratio: vision.ops.roi_align(a, r, s, SCALE, n, True)} if vision else {}
        )
        label = f"{size}x{size}, {f'{ratio}x{ratio} samples' if ratio else 'adaptive'}"
        ours = lambda s=size, n=ratio: ops.roi_align(a, r, s, SCALE, n)  # noqa: E731
        yield Case(f"roi_align, 512 regions, {label}", ours, theirs, at_least, agree=close)
        if torch:
            last = a.contiguous(memory_format=torch.channels_last)
            same_last = {"contiguous": ours}
            yield Case(
                f"roi_align, 512 regions, {label}, channels-last",
                lambda s=size, n=ratio, last=last: ops.roi_align(last, r, s, SCALE, n),
                same_last,
                1,
                agree=close,
            )
        grad = give(np.random.default_rng(2).standard_normal((COUNT, SHAPE[1], size, size), np.float32))
        theirs = {}
        if vision:
            theirs["torchvision"] = lambda g=grad, s=size, n=ratio: torch.ops.torchvision._roi_align_backward(
                g, r, SCALE, s, s, *SHAPE, n, True
            )
        ours = lambda g=grad, n=ratio: ops.roi_align_backward(g, r, SHAPE, SCALE, n)  # noqa: E731
        yield Case(f"roi_align_backward, 512 regions, {label}", ours, theirs, 5, agree=close)
    if torch:
        small, one = torch.randn(1, 8, 16, 16), torch.tensor([[0, 1, 2, 13, 14.0]])
        theirs = {"torchvision": lambda: vision.ops.roi_align(small, one, 7, 1.0, 2, True)} if vision else {}
        yield Case("roi_align, 1 region, 8x16x16", lambda: ops.roi_align(small, one, 7, 1.0, 2), theirs, agree=close)
        bridge = peer("arrayvision.torch_bridge.ops")
        yield Case(
            "roi_align, 1 region, 8x16x16, differentiable", lambda: bridge.roi_align(small, one, 7, 1.0, 2), within=0.06
        )
    turned = rotated(rois)
    yield Case(
        "roi_align_rotated, 512 regions, 7x7, 2x2 samples",
        lambda: ops.roi_align_rotated(x, turned, 7, SCALE, 2),
        {"plain loop, 1 thread": lambda: plain_rotated(x, turned, 7, 7, np.float32(SCALE), 2)},
        8,
        agree=close,
    )
    yield from others(x, rois, turned)
    if torch and torch.cuda.is_available():
        yield from gpu_cases(torch, vision)


def others(x, rois, turned):
    """Those without a peer: within three times what their data and arithmetic take."""
    shape = COUNT, SHAPE[1], 7, 7
    pooled = np.random.default_rng(3).standard_normal(shape, np.float32)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))  # most turn the features once: read, written, read
    bilinear = pooled.size * 4 * 4 * 2
    span = (rois[:, 3:] - rois[:, 1:3]).astype(np.float64) * SCALE
    exact = 2 * SHAPE[1] * ((span[:, 0] + 14) * (span[:, 1] + 14)).sum()
    covered = SHAPE[1] * ((span[:, 0] + 7) * (span[:, 1] + 7)).sum()
    curves = np.concatenate([rois[:, :1], *(rois[:, [1, 2]] + (rois[:, 3:4] - rois[:, 1:2]) * (t, 0) for t in (0, 1 / 3, 2 / 3, 1)), *(rois[:, [3, 4]] - (rois[:, 3:4] - rois[:, 1:2]) * (t, 0) for t in (0, 1 / 3, 2 / 3, 1))], 1).astype(np.float32)  # fmt: skip
    offset = np.random.default_rng(4).standard_normal((COUNT, 2, 7, 7), np.float32)
    _, which = ops.roi_pool_with_argmax(x, rois, 7, SCALE)
    moved = [x, last, last, pooled]
    border = np.random.default_rng(5).standard_normal((2, 256, 40, 50), np.float32)
    boxes = np.random.default_rng(6).uniform(0, 40, (2, 2000, 4)).astype(np.float32)
    edge, step = ops.border_align_with_argmax(border, boxes, 10)
    places = np.random.default_rng(7).uniform(0, 800, (2, 100, 152, 5)).astype(np.float32)
    listed = [
        ("roi_align, maximum", lambda: ops.roi_align(x, rois, 7, SCALE, 2, "max"), bilinear * 1.5, moved),
        ("roi_align_rotated_backward", lambda: ops.roi_align_rotated_backward(pooled, turned, SHAPE, SCALE, 2), bilinear, moved),
        ("riroi_align_rotated", lambda: ops.riroi_align_rotated(x, turned, 7, SCALE, 2), bilinear, [*moved, pooled, pooled]),
        ("roi_pool", lambda: ops.roi_pool(x, rois, 7, SCALE), 2 * covered, [*moved, pooled]),
        ("roi_pool_backward", lambda: ops.roi_pool_backward(pooled, which, rois, SHAPE), pooled.size, [x, pooled, pooled]),
        ("prroi_pool", lambda: ops.prroi_pool(x, rois, 7, SCALE), exact, moved),
        ("prroi_pool_backward", lambda: ops.prroi_pool_backward(pooled, x, rois, SCALE), 2 * exact, [*moved, x, last]),
        ("deform_roi_pool", lambda: ops.deform_roi_pool(x, rois, offset, 7, SCALE, 2), bilinear, moved),
        ("deform_roi_pool_backward", lambda: ops.deform_roi_pool_backward(pooled, x, rois, offset, SCALE, 2), 2 * bilinear, [*moved, x, last]),
        ("bezier_align", lambda: ops.bezier_align(x, curves, 7, SCALE, 2), bilinear, moved),
        ("border_align, 2,000 boxes, 11 points", lambda: ops.border_align(border, boxes, 10), edge.size * 11 * 9, [border] * 3 + [edge] * 2),
        # a point takes 10 operations for its place, 8 for its weights, 8 to add its four parts
        ("border_align_backward", lambda: ops.border_align_backward(edge, step, boxes, border.shape, 10), edge.size * 26, [border, edge, edge]),
        ("rotated_feature_align, 5 points", lambda: ops.rotated_feature_align(x, places, SCALE, 5), x.size * 42, [*moved[:3], x]),
        ("rotated_feature_align_backward, 5 points", lambda: ops.rotated_feature_align_backward(x, places, SCALE, 5), x.size * 42, [*moved[:3], x]),
    ]  # fmt: skip
    for name, call, flops, arrays in listed:
        floor = least(flops, *arrays)
        yield Case(f"{name}", call, within=round(3 * floor, 3), note=f"data and arithmetic alone: {floor:.2f} ms")


def gpu_cases(torch, vision):
    """On a GPU: forward and backward, in both layouts; the note is the time that copying the data once takes."""
    x, rois = (torch.from_numpy(a).cuda() for a in inputs())
    for dtype in (torch.float32, torch.float16):
        for layout in (torch.contiguous_format, torch.channels_last):
            a, r = x.to(dtype).contiguous(memory_format=layout), rois.to(dtype)
            label = f"GPU, {str(dtype)[6:]}, {'channels-last' if layout is torch.channels_last else 'contiguous'}"
            theirs = {"torchvision": lambda a=a, r=r: vision.ops.roi_align(a, r, 7, SCALE, 2, True)} if vision else {}
            yield Case(
                f"roi_align, {label}", lambda a=a, r=r: ops.roi_align(a, r, 7, SCALE, 2), theirs, 2,
                agree=lambda p, q: np.allclose(to_numpy(p).astype(np.float32), to_numpy(q).astype(np.float32), atol=2e-2),
            )  # fmt: skip
        g = torch.randn(COUNT, SHAPE[1], 7, 7, device="cuda", dtype=dtype)
        theirs = {}
        if vision:
            theirs["torchvision"] = lambda g=g, r=r: torch.ops.torchvision._roi_align_backward(
                g, r, SCALE, 7, 7, *SHAPE, 2, True
            )
        yield Case(
            f"roi_align_backward, GPU, {str(dtype)[6:]}",
            lambda g=g, r=r: ops.roi_align_backward(g, r, SHAPE, SCALE, 2),
            theirs,
            2,
        )
