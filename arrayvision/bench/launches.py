"""The host's part of launches on a GPU, with a driver that launches nothing (`stub`): no GPU is needed to see it.

Tensors on the CPU stand for a GPU's: allocation by torch's CPU allocator in the place of its caching one, and stream 0.
"""

from __future__ import annotations

import contextlib
import os

from arrayvision import array, ops
from arrayvision.bench import stub
from arrayvision.bench.measure import Case, peer
from arrayvision.bench.ops.nms import boxes
from arrayvision.cuda import driver
from arrayvision.cuda.bbox_overlaps import KERNELS


def cases():
    """Without torch, a C compiler or NVRTC there are none."""
    torch, library = peer("torch"), stub.build()
    if torch is None or library is None or peer("arrayvision.cuda.nvrtc") is None:
        return
    from arrayvision.torch_bridge import ops as bridge

    few, others = (torch.from_numpy(boxes(32, seed)[0]) for seed in (100, 101))
    x, rois = torch.rand(1, 8, 16, 16), torch.tensor([[0, 1.0, 1, 9, 9]])
    many, scores = (torch.from_numpy(a) for a in boxes(1000, 1000))
    out = torch.empty(32, 32)
    calls = {
        "a launch": (
            lambda: KERNELS.launch("all_pairs<float>", (1, 8), 32, 32, 4, True, few, few, 0, False, out, block=128),
            0.004,
        ),
        "bbox_overlaps": (lambda: ops.bbox_overlaps(few, others), 0.012),
        "bbox_overlaps, torch bridge": (lambda: bridge.bbox_overlaps(few, others), 0.012),
        "roi_align": (lambda: ops.roi_align(x, rois, 7), 0.012),
        "roi_align, torch bridge": (lambda: bridge.roi_align(x, rois, 7), 0.012),
        "nms of 1,000": (lambda: ops.nms(many, scores, 0.5), None),
    }
    with _staged(torch, library):
        for name, (call, within) in calls.items():
            yield Case(f"host time on a GPU, {name}", call, within=within, note="stub driver")


@contextlib.contextmanager
def _staged(torch, library):
    """CPU tensors are taken for a GPU's, and the stub for its driver."""
    own = array.library_of(torch.zeros(1))
    kind = type(own)
    kept = {name: getattr(kind, name) for name in ("on_gpu", "empty", "stream", "ordinal", "plain")}
    before = os.environ.get("ARRAYVISION_CUDA_DRIVER", "")
    os.environ["ARRAYVISION_CUDA_DRIVER"] = str(library)
    driver.driver.cache_clear()

    def empty(self, shape, dtype, device):
        made = torch.empty(shape, dtype=self._dtypes[dtype])
        return made, made

    kind.on_gpu, kind.empty = (lambda self, device: True), empty
    kind.stream = kind.ordinal = lambda self, device: 0
    kind.plain = lambda self, x: None
    quick, own.quick = own.quick, lambda *_: None
    try:
        yield
    finally:
        os.environ["ARRAYVISION_CUDA_DRIVER"] = before
        driver.driver.cache_clear()
        for name, method in kept.items():
            setattr(kind, name, method)
        own.quick = quick
