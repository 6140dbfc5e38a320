"""All that a GPU can show, in one command of less than nine minutes: `python -m arrayvision.bench.gpu --out bench/results/NAME.json`.

It needs torch, NumPy and NVRTC: first correctness (every operator's cases on memory that held NaN before, sizes round a
block's, 16-bit types, streams, a captured graph, threads), then the host's microseconds a call, then medians by events beside
torchvision, mmcv and spconv where they can be imported: of the work on the GPU alone ("warm"), of the same with the L2 cache flushed
before ("cold"), and from the call to its end where the GPU has nothing else to do ("lone"), which holds the host's part too.
The file is written after each case, so what was measured stays if the time is up. Without a GPU `--emulated` runs the same at
small sizes, in the emulator, whose times mean nothing: a test does so, lest the script be broken on the day.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import json
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from arrayvision import array, cases as operators, ops
from arrayvision.bench.measure import peer
from arrayvision.bench.report import machine

GOAL, SHARE, HOST = 2.0, 0.7, 12.0  # times a peer; of the copy's bandwidth; microseconds a launch
ROUNDS = 15
HOW = ("warm", "cold", "lone")
AHEAD = 2_000_000  # cycles of the GPU that the host has to be ahead: about a millisecond


class Timed(NamedTuple):
    """A call of ours beside others' of the same."""

    name: str
    ours: Callable[[], object]
    peers: Mapping[str, Callable[[], object]] = {}
    moved: int = 0  # bytes that must be read and written, where these are what it costs


class Place:
    """Where calls run: a GPU, or the emulator at small sizes."""

    def __init__(self, emulated: bool):
        import torch

        self.torch, self.emulated = torch, emulated
        self.device = torch.device("cpu" if emulated else "cuda")
        self.flushed = torch.empty(0 if emulated else 256 << 20, dtype=torch.uint8, device=self.device)

    def size(self, big: int, small: int) -> int:
        """How many, on a GPU and here."""
        return small if self.emulated else big

    def tensor(self, x, dtype=None):
        """A tensor there."""
        return self.torch.as_tensor(x, dtype=dtype).to(self.device)

    def wait(self):
        if not self.emulated:
            self.torch.cuda.synchronize()

    def poison(self):
        """Fill the memory that the next results will get with NaN."""
        if not self.emulated:
            blocks = [self.torch.full((1 << k,), float("nan"), device=self.device) for k in range(4, 24)]
            self.wait()
            del blocks

    def milliseconds(self, call, how="lone") -> float:
        """One call's time, by events on the stream; "warm" and "cold" with the GPU kept busy before, so that the host, which
        is ahead then, has no part in it (unless the call waits for the GPU)."""
        if self.emulated:
            start = time.perf_counter()
            call()
            return 1e3 * (time.perf_counter() - start)
        start, stop = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        if how != "lone":
            self.torch.cuda._sleep(AHEAD)
        if how == "cold":
            self.flushed.zero_()
        start.record()
        call()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop)

    def host_microseconds(self, call) -> float:
        """The host's time a call, while the GPU is not waited for."""
        many = self.size(200, 2)
        found = []
        for _ in range(self.size(5, 1)):
            self.wait()
            start = time.perf_counter()
            for _ in range(many):
                call()
            found.append(1e6 * (time.perf_counter() - start) / many)
            self.wait()
        return statistics.median(found)


# ---- inputs ----------------------------------------------------------------------------------------------------------


def boxes(n: int, side: float, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of 8 to 200 pixels over a square, and scores; where it is small they lie on one another."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, side, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(8, 200, (n, 2))], 1).astype(np.float32), rng.random(
        n, dtype=np.float32
    )


def rotated(n: int, side: float, seed=0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = np.concatenate([rng.uniform(0, side, (n, 2)), rng.uniform(8, 200, (n, 2)), rng.uniform(-3, 3, (n, 1))], 1)
    return found.astype(np.float32), rng.random(n, dtype=np.float32)


def regions(n: int, h: int, w: int, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 1, (n, 2)) * (w, h) * 0.8
    return np.concatenate([np.zeros((n, 1)), corner, corner + rng.uniform(0.05, 0.3, (n, 2)) * (w, h)], 1).astype(
        np.float32
    )


# ---- correctness -----------------------------------------------------------------------------------------------------


def iou(a, b) -> np.ndarray:
    """IoUs (M, N) in the boxes' dtype, as the kernels compute them."""
    shared = np.maximum(np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]), 0)
    inter = shared[..., 0] * shared[..., 1]
    area = [(x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b)]
    return inter / (area[0][:, None] + area[1][None] - inter)


def plain_nms(b, s, threshold, labels=None) -> np.ndarray:
    """The kept boxes' indices by a plain loop."""
    order = np.argsort(-s, kind="stable")
    alive, kept = np.ones(len(b), bool), []
    for i in order:
        if alive[i]:
            kept.append(i)
            struck = iou(b[i : i + 1], b)[0] > np.float32(threshold)
            alive &= ~(struck & (True if labels is None else labels == labels[i]))
    return np.array(kept, np.int64)


def plain_soft_nms(b, s, threshold, least) -> tuple[np.ndarray, np.ndarray]:
    """Indices in the order of picking and the scores they had, for linear decay."""
    left, kept, scores = s.astype(np.float64), [], []
    while len(left) and left.max() >= least:
        i = int(left.argmax())
        kept.append(i)
        scores.append(left[i])
        share = iou(b[i : i + 1], b)[0]
        left = np.where(share > np.float32(threshold), left * (1 - share), left)
        left[i] = -1  # picked
    return np.array(kept, np.int64), np.array(scores)


def numpy_of(x) -> np.ndarray:
    return x.detach().cpu().float().numpy() if x.is_floating_point() else x.cpu().numpy()


def like(found, case, inputs):
    """Check the results of a case against its oracle."""
    found = tuple(found) if isinstance(found, (tuple, list)) else (found,)
    expected = case.expected(inputs)
    finite = [np.abs(x[np.isfinite(x)]) for x in map(np.asarray, (*expected, *inputs.values())) if x.dtype.kind == "f"]
    largest = max([1.0, *(float(x.max()) for x in finite if x.size)])
    for a, b in zip(found, expected, strict=True):
        allowed = case.tolerance * np.finfo(np.float32).eps
        np.testing.assert_allclose(numpy_of(a), np.asarray(b, np.float64), rtol=allowed, atol=allowed * largest)


def checks(place: Place, files=None) -> Iterator[tuple[str, Callable[[], object]]]:
    """(What is checked, a function that raises if it isn't so)."""
    torch = place.torch
    from arrayvision.torch_bridge import ops as bridge

    def of_case(case):
        inputs = case.inputs_in(np.float32)
        place.poison()
        like(
            getattr(ops, case.function)(**{n: place.tensor(x) for n, x in inputs.items()}, **case.arguments),
            case,
            inputs,
        )

    for file in operators.files() if peer("numba") else ():  # some cases borrow from CPU kernels
        if files is None or file in files:
            for case in operators.cases(file):
                yield f"case {case.name}", functools.partial(of_case, case)

    def of_nms(n, side):
        b, s = boxes(n, side, n)
        place.poison()
        np.testing.assert_array_equal(numpy_of(ops.nms(place.tensor(b), place.tensor(s), 0.5)[1]), plain_nms(b, s, 0.5))

    for n in (0, 1, 255, 257, place.size(5000, 300)):
        yield f"nms of {n}, spread", functools.partial(of_nms, n, 1300)
        yield f"nms of {n}, clustered", functools.partial(of_nms, n, 100)

    def of_classes():
        n = place.size(3000, 200)
        b, s = boxes(n, 300)
        labels = np.arange(n) % 7
        given = [place.tensor(x) for x in (b, s, labels)]
        kept = ops.batched_nms(*given, dict(iou_threshold=0.5))[1]
        np.testing.assert_array_equal(numpy_of(kept), plain_nms(b, s, 0.5, labels))

    yield "batched_nms", of_classes

    def of_pairs(n):
        b, _ = boxes(n, 300)
        place.poison()
        found = ops.bbox_overlaps(place.tensor(b), place.tensor(b[:100]))
        np.testing.assert_allclose(numpy_of(found), iou(b, b[:100]), rtol=1e-6)

    for n in (0, 1, 255, 257):
        yield f"bbox_overlaps of {n}", functools.partial(of_pairs, n)

    def of_soft_nms():
        n = place.size(4096, 128)
        b, s = boxes(n, 600)
        dets, kept = ops.soft_nms(place.tensor(b), place.tensor(s), 0.3)
        expected, scores = plain_soft_nms(b, s, 0.3, 1e-3)
        assert len(kept) == len(expected)
        np.testing.assert_allclose(numpy_of(dets[:, -1]), scores, rtol=1e-4)  # near ties may change places

    yield "soft_nms of many", of_soft_nms

    x = np.random.default_rng(0).standard_normal((2, 70, 20, 24), dtype=np.float32)
    rois = regions(place.size(257, 9), 20, 24)

    def of_layouts(dtype):
        wide = place.tensor(x).to(dtype)
        last = wide.contiguous(memory_format=torch.channels_last)
        place.poison()
        first = ops.roi_align(wide.float(), place.tensor(rois), 7)
        step = torch.finfo(dtype).eps
        for features in (wide, last):
            found = ops.roi_align(features, place.tensor(rois), 7)
            assert found.dtype == dtype
            torch.testing.assert_close(
                found.float(), first, rtol=step, atol=4 * step if dtype == torch.float32 else step
            )

    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        yield f"roi_align, {dtype}, both layouts", functools.partial(of_layouts, dtype)

    def of_gradient():
        features = place.tensor(x).requires_grad_()
        grad = torch.ones(len(rois), 70, 7, 7, device=place.device)
        found = []
        for fixed in (False, True, True):
            torch.use_deterministic_algorithms(fixed)
            try:
                found.append(torch.autograd.grad(bridge.roi_align(features, place.tensor(rois), 7), features, grad)[0])
            finally:
                torch.use_deterministic_algorithms(False)
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)
        assert torch.equal(found[1], found[2])

    yield "gradient of roi_align, and in a fixed order", of_gradient

    def of_thread():
        b, s = (place.tensor(a) for a in boxes(place.size(3000, 100), 500))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            kept = pool.submit(ops.nms, b, s, 0.5).result()[1]
        assert torch.equal(kept, ops.nms(b, s, 0.5)[1])

    yield "a second thread", of_thread
    if place.emulated:
        return

    def of_stream():
        b, s = boxes(4000, 1300)
        late, stream = torch.zeros(4000, 4, device=place.device), torch.cuda.Stream()
        given, scores = place.tensor(b), place.tensor(s)
        place.wait()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)
            late.copy_(given)
            kept = ops.nms(late, scores, 0.5)[1]
        stream.synchronize()
        np.testing.assert_array_equal(numpy_of(kept), plain_nms(b, s, 0.5))

    def of_graph():
        b = place.tensor(boxes(300, 500)[0])
        features, r = place.tensor(x), place.tensor(rois)
        calls = [lambda: ops.bbox_overlaps(b, b), lambda: ops.roi_align(features, r, 7)]
        for call in calls:
            call()
        place.wait()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = [call() for call in calls]
        b += 1
        features *= 2
        graph.replay()
        for found, call in zip(captured, calls, strict=True):
            torch.testing.assert_close(found, call(), rtol=0, atol=0)

    yield "a side stream", of_stream
    yield "a captured graph", of_graph


# ---- times -----------------------------------------------------------------------------------------------------------


def host(place: Place) -> Iterator[tuple[str, Callable[[], object]]]:
    """Calls whose part on the host is timed: of little work on a GPU, without a wait for it."""
    few = place.tensor(boxes(32, 100)[0])
    x, r = place.torch.rand(1, 8, 16, 16, device=place.device), place.tensor([[0, 1.0, 1, 9, 9]])
    yield "bbox_overlaps", lambda: ops.bbox_overlaps(few, few)
    yield "roi_align", lambda: ops.roi_align(x, r, 7)


def timed(place: Place) -> Iterator[Timed]:
    """What is timed on the GPU."""
    torch, vision, mmcv = place.torch, peer("torchvision"), peer("mmcv.ops")
    from arrayvision.torch_bridge import ops as bridge

    part = functools.partial

    def beside(**calls: Any) -> dict[str, Callable]:
        """Those whose peer is there."""
        return {name: call for name, call in calls.items() if call is not None}

    def same(name, function, *args, moved=0, **how):
        """The replaced library's function of the same name and arguments beside ours."""
        theirs = mmcv and getattr(mmcv, function, None)
        theirs = getattr(theirs, function, theirs)  # some names are those of modules
        peers = beside(mmcv=theirs and part(theirs, *args, **how))
        return Timed(name, part(getattr(bridge, function), *args, **how), peers, moved)

    for n in (100, 1000, 10_000, 50_000):
        for how, side in (("spread", 13 * n**0.5), ("clustered", 200)):
            b, s = (place.tensor(a) for a in boxes(place.size(n, min(n, 200)), side))
            peers = beside(
                torchvision=vision and part(vision.ops.nms, b, s, 0.5),
                mmcv=mmcv and part(mmcv.nms, b, s, 0.5),
            )
            yield Timed(f"nms of {n:,}, {how}", part(ops.nms, b, s, 0.5), peers)
    n = place.size(20_000, 200)
    b, s = (place.tensor(a) for a in boxes(n, 1300))
    labels = torch.arange(n, device=place.device) % 80
    peers = beside(torchvision=vision and part(vision.ops.batched_nms, b, s, labels, 0.5))
    yield Timed(
        "batched_nms of 20,000, 80 classes", part(ops.batched_nms, b, s, labels, dict(iou_threshold=0.5)), peers
    )
    for n in (500, 2000):
        r, q = (place.tensor(a) for a in rotated(place.size(n, 40), 600))
        peers = beside(mmcv=mmcv and part(mmcv.nms_rotated, r, q, 0.3))
        yield Timed(f"nms_rotated of {n:,}", part(ops.nms_rotated, r, q, 0.3), peers)
        peers = beside(mmcv=mmcv and part(mmcv.box_iou_rotated, r, r))
        yield Timed(f"box_iou_rotated, {n:,} x {n:,}", part(ops.box_iou_rotated, r, r), peers)

    c, h, w, k = (place.size(*sizes) for sizes in ((256, 8), (200, 20), (304, 24), (1000, 4)))
    rois = place.tensor(regions(k, h, w))
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        x = torch.randn(1, c, h, w, device=place.device).to(dtype)
        own = rois.to(dtype)
        for layout, features in (("", x), (", channels last", x.contiguous(memory_format=torch.channels_last))):
            peers = beside(
                torchvision=vision and part(vision.ops.roi_align, features, own, 7, 1.0, 2, True),
                mmcv=mmcv and part(mmcv.roi_align, features, own, 7, 1.0, 2, "avg", True),
            )
            name = f"roi_align, {str(dtype).removeprefix('torch.')}{layout}"
            yield Timed(name, part(ops.roi_align, features, rois, 7, 1.0, 2), peers if dtype != torch.bfloat16 else {})
    x = torch.randn(1, c, h, w, device=place.device, requires_grad=True)
    grad = torch.randn(k, c, 7, 7, device=place.device)

    def gradient(function, fixed=False):
        out = function(x)

        def call():
            torch.use_deterministic_algorithms(fixed)
            try:
                return torch.autograd.grad(out, x, grad, retain_graph=True)
            finally:
                torch.use_deterministic_algorithms(False)

        return call

    theirs = beside(
        torchvision=vision and (lambda x: vision.ops.roi_align(x, rois, 7, 1.0, 2, True)),
        mmcv=mmcv and (lambda x: mmcv.roi_align(x, rois, 7, 1.0, 2, "avg", True)),
    )
    ours = functools.partial(bridge.roi_align, rois=rois, output_size=7, spatial_scale=1.0, sampling_ratio=2)
    yield Timed("roi_align, gradient", gradient(ours), {n: gradient(f) for n, f in theirs.items()})
    yield Timed("roi_align, gradient in a fixed order", gradient(ours, fixed=True))
    yield Timed(
        "roi_align, maxima",
        lambda: ops.roi_align(x.detach(), rois, 7, 1.0, 2, "max"),
        beside(mmcv=mmcv and part(mmcv.roi_align, x.detach(), rois, 7, 1.0, 2, "max", True)),
    )

    n = place.size(4096, 64)
    many = place.tensor(boxes(n, 1300)[0])
    yield Timed(
        f"bbox_overlaps, {n:,} x {n:,}",
        lambda: ops.bbox_overlaps(many, many),
        beside(torchvision=vision and part(vision.ops.box_iou, many, many)),
        4 * n * n,
    )
    n = place.size(200_000, 50)
    logits, target = torch.randn(n, 80, device=place.device), torch.randint(0, 81, (n,), device=place.device)
    one_hot = torch.nn.functional.one_hot(target, 81)[:, :80].float()
    yield Timed(
        f"sigmoid_focal_loss, {n:,} x 80",
        lambda: ops.sigmoid_focal_loss(logits, target, reduction="none"),
        beside(torchvision=vision and part(vision.ops.sigmoid_focal_loss, logits, one_hot, reduction="none")),
        2 * 4 * n * 80,
    )
    clips = torch.randn(place.size(8, 1), 8, 64, place.size(56, 4), 56, device=place.device)
    shift = torch.tensor([[1, -1, 0, 2]] * len(clips), device=place.device)
    yield Timed("tin_shift", lambda: ops.tin_shift(clips, shift), {}, 2 * 4 * clips.numel())

    yield from dense(place, bridge, beside, same, vision, mmcv)
    yield from in_space(place, same)


def dense(place: Place, bridge, beside, same, vision, mmcv) -> Iterator[Timed]:
    """Operators of two-dimensional features, as modules call them."""
    torch, part = place.torch, functools.partial

    def rand(*shape):
        return torch.randn(*shape, device=place.device)

    def gradients(name, function, inputs, peers):
        """The gradients of a function and of its peers in all inputs that need one."""

        def of(f):
            made: list = []

            def call():
                if not made:  # at the first call, which isn't timed
                    out = f()
                    made.append((out, torch.ones_like(out)))
                ((out, grad),) = made
                return torch.autograd.grad(out, inputs, grad, retain_graph=True)

            return call

        return Timed(name, of(function), {n: of(f) for n, f in peers.items()})

    b, c, h = (place.size(*sizes) for sizes in ((4, 1), (256, 4), (64, 6)))
    x, weight = rand(b, c, h, h).requires_grad_(), rand(c, c, 3, 3).requires_grad_()
    offset, mask = rand(b, 18, h, h).requires_grad_(), rand(b, 9, h, h).sigmoid().requires_grad_()
    with torch.no_grad():
        given = [y.detach() for y in (x, offset, weight)]
        yield Timed(
            "deform_conv2d",
            part(bridge.deform_conv2d, *given, padding=1),
            beside(
                torchvision=vision and part(vision.ops.deform_conv2d, *given, padding=1),
                mmcv=mmcv and part(mmcv.deform_conv2d, *given, 1, 1),
            ),
        )
        half = [y.half() for y in given]
        yield Timed(
            "deform_conv2d, float16",
            part(bridge.deform_conv2d, *half, padding=1),
            beside(torchvision=vision and part(vision.ops.deform_conv2d, *half, padding=1)),
        )
    yield gradients(
        "modulated_deform_conv2d, gradient",
        part(bridge.modulated_deform_conv2d, x, offset, mask, weight, None, 1, 1),
        (x, offset, mask, weight),
        beside(
            torchvision=vision and part(vision.ops.deform_conv2d, x, offset, weight, padding=1, mask=mask),
            mmcv=mmcv and part(mmcv.modulated_deform_conv2d, x, offset, mask, weight, None, 1, 1, 1, 1, 1),
        ),
    )
    sizes = torch.tensor([[place.size(100, 6), place.size(152, 8)], [3, 4]], device=place.device)
    keys, queries = int(sizes.prod(1).sum()), place.size(10_000, 12)
    starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
    value = rand(1, keys, 8, 32).requires_grad_()
    places, shares = (torch.rand(1, queries, 8, 2, 4, *end, device=place.device) for end in ((2,), ()))
    attention = peer("mmcv.ops.multi_scale_deform_attn")
    theirs = attention and (
        lambda: attention.MultiScaleDeformableAttnFunction.apply(value, sizes, starts, places, shares, 64)
    )
    ours = part(bridge.MultiScaleDeformableAttnFunction.apply, value, sizes, starts, places, shares, 64)
    for name in ("multi_scale_deformable_attn", "multi_scale_deformable_attn, gradient"):
        if name.endswith("gradient"):
            places.requires_grad_()
            shares.requires_grad_()
            yield gradients(name, ours, (value, places, shares), beside(mmcv=theirs))
        else:
            yield Timed(name, ours, beside(mmcv=theirs))
    with torch.no_grad():
        c, h, w = (place.size(*sizes) for sizes in ((256, 8), (100, 8), (152, 9)))
        x = rand(1, c, h, w)
        masks = torch.softmax(rand(1, 25, 2 * h, 2 * w), 1)
        yield same("carafe", "carafe", x, masks, 5, 1, 2, moved=4 * (5 * x.numel() + masks.numel()))
        filters = rand(4).abs()
        if mmcv is None or hasattr(mmcv, "upfirdn2d"):
            yield same("upfirdn2d, up 2", "upfirdn2d", x, filters, up=2, padding=[2, 1, 2, 1], moved=4 * 5 * x.numel())
        bias = rand(c)
        yield same("bias_act, lrelu", "bias_act", x, bias, act="lrelu", moved=8 * x.numel())
        few = x[:, : max(c // 8, 1)].contiguous()
        apply = mmcv and mmcv.Correlation(max_displacement=4)
        yield Timed(
            "correlation",
            part(bridge.Correlation(max_displacement=4), few, few),
            beside(mmcv=apply and part(apply, few, few)),
        )
        apply = mmcv and mmcv.CornerPool("top")
        yield Timed(
            "corner_pool", part(bridge.CornerPool("top"), x), beside(mmcv=apply and part(apply, x)), 8 * x.numel()
        )
        n = place.size(60, 6)
        yield same("psa_mask", "psa_mask", rand(2, (2 * n - 1) ** 2, n, n), 0, (2 * n - 1, 2 * n - 1))
        rois = place.tensor(regions(place.size(1000, 4), h, w))
        yield same("roi_pool", "roi_pool", x, rois, 7)
        turned = torch.cat(
            [rois[:, :1], (rois[:, 1:3] + rois[:, 3:]) / 2, rois[:, 3:] - rois[:, 1:3], rois[:, :1] + 0.5], 1
        )
        yield same("roi_align_rotated", "roi_align_rotated", x, turned, 7, 1.0, 2)
        yield same("prroi_pool", "prroi_pool", x, rois, (7, 7), 1.0)
        offsets = rand(len(rois), 2, 7, 7)
        yield same("deform_roi_pool", "deform_roi_pool", x, rois, offsets, (7, 7), 1.0, 2)
        curves = torch.rand(len(rois), 17, device=place.device) * h
        curves[:, 0] = 0
        yield same("bezier_align", "bezier_align", x, curves, (8, 32))


def in_space(place: Place, same) -> Iterator[Timed]:
    """Operators of points, voxels and boxes in space."""
    torch = place.torch

    points = torch.rand(2, place.size(16_384, 100), 3, device=place.device)
    few = place.size(1024, 8)
    yield same("furthest_point_sample", "furthest_point_sample", points, few)
    centres = points[:, :few].contiguous()
    yield same("knn of 16", "knn", 16, points, centres)
    for radius in (0.2, 0.02):
        yield same(f"ball_query, radius {radius}", "ball_query", 0, radius, 32, points, centres)
    yield same("three_nn", "three_nn", points, centres)
    yield same("chamfer_distance", "chamfer_distance", points[:, :, :2].contiguous(), centres[:, :, :2].contiguous())
    features = torch.randn(2, 64, points.shape[1], device=place.device)
    near = torch.randint(0, points.shape[1], (2, few, 32), device=place.device, dtype=torch.int32)
    yield same("grouping_operation", "grouping_operation", features, near)
    cloud = torch.rand(place.size(200_000, 300), 4, device=place.device) * 50
    region = (0, 0, 0, 50, 50, 4)
    yield same("voxelization, hard", "voxelization", cloud, (0.2, 0.2, 4), region, 10, 40_000)
    yield same("voxelization, dynamic", "voxelization", cloud, (0.2, 0.2, 4), region, -1, -1)
    voxels = (cloud[:, :3] * 4).int()
    yield same("dynamic_scatter", "dynamic_scatter", cloud, voxels, "mean")
    n = place.size(500, 9)
    rng = np.random.default_rng(0)
    solids = np.concatenate([rng.uniform(0, 50, (n, 3)), rng.uniform(1, 5, (n, 3)), rng.uniform(-3, 3, (n, 1))], 1)
    solid, scores = place.tensor(solids, torch.float32), torch.rand(n, device=place.device)
    yield same("points_in_boxes_part", "points_in_boxes_part", cloud[None, :, :3].contiguous(), solid[None])
    yield same("points_in_boxes_all", "points_in_boxes_all", cloud[None, :, :3].contiguous(), solid[None])
    yield same("boxes_iou3d", "boxes_iou3d", solid, solid)
    yield same("nms3d", "nms3d", solid, scores, 0.3)
    yield from sparse(place)


def sparse(place: Place) -> Iterator[Timed]:
    """A submanifold convolution, with the search for its pairs, beside spconv's and torch's own operations."""
    torch, spconv = place.torch, peer("spconv.pytorch")
    from arrayvision.cases.sparse_conv import surface
    from arrayvision.torch_bridge import ops as bridge

    shape, side, channels = (48, 256, 256), place.size(245, 12), place.size(64, 8)
    sites = place.tensor(surface(np.random.default_rng(0), side))
    features = torch.randn(len(sites), channels, device=place.device)
    layer = bridge.SubMConv3d(channels, channels, 3, bias=False).to(place.device)
    taps = layer.weight.detach().reshape(27, channels, channels)

    def composed():
        """Neighbours' keys are looked up among sorted ones; then a product for each tap."""
        z, y, x = sites[:, 1:].long().unbind(1)
        keys = (z * 258 + y + 1) * 258 + x + 1
        ordered, order = keys.sort()
        out = torch.zeros_like(features)
        for k, tap in enumerate(taps):
            step = ((k // 9 - 1) * 258 + k // 3 % 3 - 1) * 258 + k % 3 - 1
            at = torch.searchsorted(ordered, keys + step).clamp(max=len(keys) - 1)
            to = (ordered[at] == keys + step).nonzero()[:, 0]
            out.index_add_(0, to, features[order[at[to]]] @ tap)
        return out

    def of(library, convolution):
        return lambda: convolution(library.SparseConvTensor(features, sites, list(shape), 1)).features

    peers = {"torch, tap by tap": composed}
    with torch.no_grad():
        if spconv is not None:
            theirs = spconv.SubMConv3d(channels, channels, 3, bias=False).to(place.device)
            peers["spconv"] = of(spconv, theirs)
        yield Timed(f"SubMConv3d, {len(sites):,} sites", of(bridge, layer), peers)


def copy_bandwidth(place: Place) -> float:
    """GB/s of a copy of a large array, which is what kernels bound by memory can reach."""
    n = place.size(1 << 28, 1 << 12)
    x = place.torch.empty(n, dtype=place.torch.uint8, device=place.device)
    y = place.torch.empty_like(x)
    return 2 * n / (1e6 * statistics.median(place.milliseconds(lambda: y.copy_(x)) for _ in range(10)))


def measure(place: Place, case: Timed, copy: float) -> dict:
    """A case's row: medians in turns."""
    calls = {"arrayvision": case.ours, **case.peers}
    row: dict[str, Any] = {"case": case.name}
    for how in HOW:
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(1 if place.emulated else ROUNDS + 3):
            for name, call in calls.items():
                times[name].append(place.milliseconds(call, how))
        row[how] = {name: round(statistics.median(t[3:] or t), 5) for name, t in times.items()}
    row["ratios"] = {
        name: round(t / row["warm"]["arrayvision"], 2) for name, t in row["warm"].items() if name in case.peers
    }
    row["lone ratios"] = {
        name: round(t / row["lone"]["arrayvision"], 2) for name, t in row["lone"].items() if name in case.peers
    }
    row["passed"] = all(r >= GOAL for r in row["ratios"].values()) if row["ratios"] else None  # nothing to compare with
    if case.moved:
        row["GB/s"] = round(case.moved / (1e6 * row["cold"]["arrayvision"]), 1)
        row["share of copy"] = round(row["GB/s"] / copy, 2)
        row["passed"] = row["passed"] is not False and row["share of copy"] >= SHARE
    return row


def run(place: Place, out=None, minutes: float = 9.0, files=None, wanted=None) -> dict:
    """Check and time everything; the results, which are also in the file `out` after each step.

    `files`, if given, are the operators' whose cases are checked; `wanted` are parts of the names of what is timed.
    """
    begun = time.monotonic()
    found: dict[str, Any] = {"machine": machine(), "checks": {}, "host microseconds": {}, "cases": [], "left out": []}
    if not place.emulated:
        properties = place.torch.cuda.get_device_properties(0)
        found["machine"] |= {
            "GPU": properties.name,
            "multiprocessors": properties.multi_processor_count,
            "CUDA of torch": place.torch.version.cuda,
        }

    def keep():
        if out is not None:
            pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
            pathlib.Path(out).write_text(json.dumps(found, indent=1) + "\n")

    def over():
        return time.monotonic() - begun > 60 * minutes

    print(", ".join(f"{k} {v}" for k, v in found["machine"].items()), flush=True)
    copy = found["copy GB/s"] = round(copy_bandwidth(place), 1)
    print(f"copy: {copy:.0f} GB/s", flush=True)
    if peer("numba") is None:
        found["left out"].append("the operators' cases, which need Numba")
    for name, check in checks(place, files):
        if over():
            found["left out"].append(name)
            continue
        try:
            check()
            place.wait()
            found["checks"][name] = "ok"
        except Exception as error:  # whatever it is, the next check is run
            found["checks"][name] = f"{type(error).__name__}: {error}"[:500]
            print(f"FAIL {name}: {found['checks'][name]}", flush=True)
        keep()
    bad = sum(v != "ok" for v in found["checks"].values())
    print(f"{len(found['checks']) - bad} checks passed, {bad} failed", flush=True)
    for name, call in host(place):
        call()
        found["host microseconds"][name] = took = round(place.host_microseconds(call), 2)
        print(f"host time of {name}: {took} microseconds {'PASS' if took <= HOST else 'FAIL'}", flush=True)
        keep()
    print(
        f"{'case':42} {'warm, ms':>9} {'cold, ms':>9} {'lone, ms':>9} {'GB/s':>7} {'of copy':>7}  peers, warm (ratio, lone)"
    )
    for case in timed(place):
        if wanted is not None and not any(part in case.name for part in wanted):
            continue
        if over():
            found["left out"].append(case.name)
            continue
        try:
            row = measure(place, case, copy)
        except Exception as error:
            row = {"case": case.name, "error": f"{type(error).__name__}: {error}"[:500], "passed": False}
            print(f"{case.name:42} {row['error']}  FAIL", flush=True)
        else:
            peers = "  ".join(
                f"{n} {row['warm'][n]:.4f} ({r:.2f}x, {row['lone ratios'][n]:.2f}x)" for n, r in row["ratios"].items()
            )
            own = " ".join(f"{row[how]['arrayvision']:9.4f}" for how in HOW)
            speed = f"{row.get('GB/s', ''):>7} {row.get('share of copy', ''):>7}"
            print(
                f"{case.name:42} {own} {speed}  {peers}  "
                f"{'no peer' if row['passed'] is None else 'PASS' if row['passed'] else 'FAIL'}",
                flush=True,
            )
        found["cases"].append(row)
        keep()
    keep()
    if found["left out"]:
        print(f"no time for: {', '.join(found['left out'])}")
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m arrayvision.bench.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--out", help="the file of the results, as JSON")
    parser.add_argument("--minutes", type=float, default=8.5, help="what isn't begun by then is left out (8.5)")
    parser.add_argument("--emulated", action="store_true", help="small sizes, in the emulator: no GPU is needed")
    parser.add_argument("--files", nargs="*", help="operators' files whose cases are checked (all)")
    parser.add_argument("--cases", nargs="*", metavar="NAME", help="what is timed, by parts of names (all)")
    args = parser.parse_args()
    if args.emulated:
        array.EMULATED = True
    run(Place(args.emulated), args.out, args.minutes, args.files, args.cases)


if __name__ == "__main__":
    main()
