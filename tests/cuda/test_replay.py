"""Calls on a GPU that were made before, with a stub driver whose kernels run in the emulator: launched again for other values,
and only where that is all that there is to a call.
"""

import gc
import weakref

import numpy as np
import pytest
import torch

from arrayvision import array, cases, ops, replay, warmup
from arrayvision.bench import launches
from arrayvision.cuda import driver
from arrayvision.cuda.bbox_overlaps import KERNELS
from arrayvision.torch_bridge import ops as bridge
from tests.cuda.test_launch import driven  # noqa: F401

AGAIN = {
    "ball_query", "bias_act", "corner_pool", "fused_bias_leakyrelu", "psa_mask", "bbox_overlaps", "box_iou_quadri", "box_iou_rotated", "boxes_iou3d", "boxes_iou_bev", "boxes_overlap_bev",
    "carafe", "carafe_naive", "correlation", "downsample2d", "filter2d", "furthest_point_sample", "grouping_operation", "knn", "multi_scale_deformable_attn",
    "points_in_boxes_all", "points_in_boxes_cpu", "points_in_boxes_part", "roi_align", "roi_align_rotated", "roi_pool",
    "sigmoid_focal_loss", "softmax_focal_loss", "three_interpolate", "three_nn", "tin_shift", "upfirdn2d", "upsample2d", "voxelization",
}  # fmt: skip
CASES = [case for case in cases.cases() if case.function in AGAIN]


@pytest.fixture
def on_gpu(driven):  # noqa: F811
    """Tensors in the CPU's memory count as a GPU's, and what kernels are launched on them runs in the emulator."""
    with launches._staged(torch, driven.library._name):
        library = array.library_of(torch.zeros(1))
        kept, library.replay = library.replay, replay.with_tensors(torch, library)
        yield driven
        library.replay = kept


def tensors(inputs, integers):
    made = {k: torch.from_numpy(np.ascontiguousarray(x)) for k, x in inputs.items()}
    return {k: x if x.is_floating_point() else x.to(integers) for k, x in made.items()}


def flat(result):
    return [x.clone() for x in (result if type(result) is tuple else (result,))]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_other_values_at_other_addresses(case, on_gpu, monkeypatch):
    """Rows in the other order are launched without another look at them, and give what a first call gives."""
    kernels = warmup.cuda_kernels(next(f for f in cases.files() if case in cases.cases(f)))
    on_gpu.serve(kernels)
    monkeypatch.setattr(kernels, "_loaded", {k: v for k, v in kernels._loaded.items() if k == "emulated"})
    given = tensors(
        case.inputs_in("float32"), torch.int32 if "indices" in case.inputs else torch.int64
    )  # as kernels want them
    other = {k: x.flip(0) if x.is_floating_point() else x.clone() for k, x in given.items()}
    function = getattr(ops, case.function)
    with monkeypatch.context() as patch:
        patch.setattr(array.library_of(torch.zeros(1)), "replay", array.NumPy().replay)
        expected = [flat(function(**x, **case.arguments)) for x in (given, other)]
    launched = len(on_gpu.launched)
    found = [flat(function(**given, **case.arguments))]
    # Of these torch turns the points first, or adds up the counts, or there are as many voxels as are counted.
    more = case.arguments.get("transposed") or any("batch_cnt" in k for k in given) or case.name == "voxelization"
    with monkeypatch.context() as patch:
        if not more:
            patch.setattr(array.Arrays, "kernels", None)
        found += [flat(function(**x, **case.arguments)) for x in (other, given)]
    assert len(on_gpu.launched) == launched // 2 * 5 > 0
    for mine, theirs in zip(found, [expected[0], expected[1], expected[0]], strict=True):
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@pytest.fixture
def boxes(on_gpu, monkeypatch):
    """bbox_overlaps' kernels are served; ten boxes, and ten others."""
    on_gpu.serve(KERNELS)
    monkeypatch.setattr(KERNELS, "_loaded", {k: v for k, v in KERNELS._loaded.items() if k == "emulated"})
    corners = torch.rand(2, 10, 2) * 50
    return torch.cat([corners, corners + 20], 2).unbind(0)


def test_wrong_calls_like_one_before(boxes):
    """Errors are those of a first call."""
    first, second = boxes
    for _ in range(2):
        ops.bbox_overlaps(first, second, "iou", True, 0)
    with pytest.raises(TypeError, match="aligned must be"):
        ops.bbox_overlaps(first, second, "iou", 2, 0)
    with pytest.raises(ValueError, match="offset must be"):
        ops.bbox_overlaps(first, second, "iou", True, 2)
    with pytest.raises(TypeError, match="requires grad"):
        ops.bbox_overlaps(first.requires_grad_(), second, "iou", True, 0)
    with pytest.raises(TypeError, match="must be an array"):
        ops.bbox_overlaps(first.detach().tolist(), second, "iou", True, 0)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(second, second)
        with pytest.raises(TypeError, match="forward-mode tangent"):
            ops.bbox_overlaps(first.detach(), dual, "iou", True, 0)


def test_what_is_in_the_key(boxes, monkeypatch):
    """Other shapes, dtypes, layouts, numbers and places within 16 bytes are other calls."""
    first, second = boxes
    room = torch.zeros(41)
    odd = room[1:].view(10, 4).copy_(first)
    calls = [
        (first, second), (first[:5], second), (first.double(), second.double()), (odd, second), (first, second, "iof"),
        (first, second, "iou", True), (first, second, "iou", False, 1), (second, first),
    ]  # fmt: skip
    turned = first.T.contiguous().T
    expected = [ops.bbox_overlaps(*(x.numpy() if torch.is_tensor(x) else x for x in call)) for call in calls]
    for _ in range(2):
        for call, wanted in zip(calls, expected, strict=True):
            torch.testing.assert_close(ops.bbox_overlaps(*call), torch.from_numpy(wanted), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(ops.bbox_overlaps(turned, second), torch.from_numpy(expected[0]))
    monkeypatch.setattr(array.Arrays, "kernels", None)
    for call in calls:
        ops.bbox_overlaps(*call)
    for call in ((first[:4], second), (turned, second), (first, second[:9])):  # not made before, or not usual
        with pytest.raises(TypeError):
            ops.bbox_overlaps(*call)


def test_two_of_one_array_are_not_taken_for_two(boxes):
    first, second = boxes
    same, other = ops.bbox_overlaps(first, first), ops.bbox_overlaps(first, second)
    assert (same.diag() == 1).all()
    for _ in range(2):
        torch.testing.assert_close(ops.bbox_overlaps(first, first), same)
        torch.testing.assert_close(ops.bbox_overlaps(first, second), other)


def test_nothing_is_kept_alive(boxes):
    """What is remembered refers to no memory."""
    first, second = (x.clone() for x in boxes)
    out = ops.bbox_overlaps(first, second)
    gone = [weakref.ref(x) for x in (first, second, out)]
    del first, second, out
    gc.collect()
    assert [x() for x in gone] == [None, None, None]


def test_a_launch_that_is_refused_names_the_kernel(boxes, on_gpu):
    first, second = boxes
    ops.bbox_overlaps(first, second)
    on_gpu.hook(lambda *_: 1)
    with pytest.raises(driver.DriverError, match="all_pairs<float>: CUDA refuses a launch"):
        ops.bbox_overlaps(first, second)


def test_calls_are_forgotten_when_there_are_many(boxes, monkeypatch):
    monkeypatch.setattr(replay, "MOST", 3)
    first, second = boxes
    for _ in range(2):
        for n in range(1, 9):
            assert ops.bbox_overlaps(first[:n], second).shape == (n, 10)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize(("name", "n"), [("nms", 100), ("nms", 700), ("nms_rotated", 60), ("nms_quadri", 200)])
def test_suppression(name, n, labelled, on_gpu, monkeypatch):
    """Of few boxes in one launch, and of some thousand by ranks; how many are kept differs from call to call."""
    for kernels in {*map(warmup.cuda_kernels, ("nms", "nms" if name == "nms" else "rotated_boxes"))}:
        on_gpu.serve(kernels)
        monkeypatch.setattr(kernels, "_loaded", {k: v for k, v in kernels._loaded.items() if k == "emulated"})
    rng, calls = np.random.default_rng(0), []
    for spread in range(60, 240, 60):
        x, y, w, h = *rng.uniform(0, spread, (2, n)), *rng.uniform(5, 20, (2, n))
        of = {
            "nms": (x, y, x + w, y + h), "nms_rotated": (x, y, w, h, rng.uniform(-3, 3, n)),
            "nms_quadri": (x, y, x + w, y, x + w, y + h, x, y + h),
        }  # fmt: skip
        boxes, scores = np.stack(of[name], 1).astype(np.float32), rng.random(n, dtype=np.float32)
        calls.append((boxes, scores, rng.integers(0, 3, n) if labelled else None))

    def suppress(boxes, scores, labels):
        how = dict(type=name, iou_threshold=0.3, split_thr=10**6)
        return ops.batched_nms(boxes, scores, labels, how, class_agnostic=not labelled)

    expected = [suppress(*call) for call in calls]
    assert len({len(inds) for _, inds in expected}) > 1
    for k, (call, (dets, inds)) in enumerate(zip(calls, expected, strict=True)):
        if k == 1:  # from here on nothing but launches
            monkeypatch.setattr(array.Arrays, "kernels", None)
        found = suppress(*(None if x is None else torch.from_numpy(x) for x in call))
        np.testing.assert_array_equal(found[1].numpy(), inds)
        np.testing.assert_array_equal(found[0].numpy(), dets)


def test_through_the_bridge(boxes, monkeypatch):
    first, second = boxes
    expected = torch.from_numpy(ops.bbox_overlaps(first.numpy(), second.numpy()))
    for call in (
        bridge.bbox_overlaps,
        torch.ops.arrayvision.bbox_overlaps.default,
    ):  # without the dispatcher, and with it
        given = (first, second, "iou", False, 0)
        call(*given)
        with monkeypatch.context() as patch:
            patch.setattr(array.Arrays, "kernels", None)
            torch.testing.assert_close(call(*given), expected)
