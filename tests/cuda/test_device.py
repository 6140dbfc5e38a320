"""What only a CUDA device can show: streams, captured graphs, several libraries at once. `pytest -m cuda`."""

import numpy as np
import pytest
import torch

from arrayvision import ops
from tests.ops.test_nms import make, plain_nms

pytestmark = pytest.mark.cuda


def on_device(*arrays):
    return [torch.from_numpy(a).cuda() for a in arrays]


def test_a_stream_of_the_callers():
    """Work is queued behind what the caller queued on the same stream, not beside it."""
    boxes, scores = make(4000, 0, "spread")
    b, s = on_device(boxes, scores)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late = torch.zeros_like(b).copy_(b)  # filled after the sleep
        inds = ops.nms(late, s, 0.5)[1]
        iou = ops.bbox_overlaps(late[:100], late)
    stream.synchronize()
    np.testing.assert_array_equal(inds.cpu(), plain_nms(boxes, scores, 0.5))
    np.testing.assert_array_equal(iou.cpu(), ops.bbox_overlaps(boxes[:100], boxes))


def test_a_cupy_stream():
    import cupy

    boxes, scores = make(2000, 1, "spread")
    with cupy.cuda.Stream(non_blocking=True) as stream:
        inds = ops.nms(cupy.asarray(boxes), cupy.asarray(scores), 0.5)[1]
        stream.synchronize()
        np.testing.assert_array_equal(inds.get(), plain_nms(boxes, scores, 0.5))


def test_a_captured_graph():
    """Operators whose result's size is fixed."""
    boxes, _ = make(300, 2)
    rotated = np.concatenate([boxes, boxes[:, :1] / 100], 1)
    b, r = on_device(boxes, rotated)
    calls = [
        lambda: ops.bbox_overlaps(b, b),
        lambda: ops.box_iou_rotated(r, r),
        lambda: ops.bbox_overlaps(b, b, aligned=True),
    ]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls:
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        results = [call() for call in calls]
    b += 1
    r[:, :4] += 2
    graph.replay()
    torch.cuda.synchronize()
    for result, call in zip(results, calls, strict=True):
        torch.testing.assert_close(result, call(), rtol=0, atol=0)


def test_torch_and_cupy_share_a_process():
    import cupy

    boxes, scores = make(1000, 3)
    b, s = on_device(boxes, scores)
    ours, theirs = ops.nms(b, s, 0.4)[1], ops.nms(cupy.from_dlpack(b), cupy.from_dlpack(s), 0.4)[1]
    np.testing.assert_array_equal(ours.cpu(), theirs.get())
    assert ours.device == b.device and theirs.device.id == b.device.index


def test_no_result_depends_on_the_run():
    b, s = on_device(*make(20000, 4, "spread"))
    first = ops.nms(b, s, 0.5)[0]
    for _ in range(5):
        assert torch.equal(ops.nms(b, s, 0.5)[0], first)
