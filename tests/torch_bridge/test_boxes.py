"""Suppression and overlaps of boxes on tensors: gradients to the kept rows, compilation with sizes that data decide."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import arrayvision.ops as arrays  # noqa: E402
from arrayvision.torch_bridge import ops  # noqa: E402

OLD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13)


def make(n=60, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    xy = torch.rand(n, 2, generator=generator) * 40
    boxes = torch.cat([xy, xy + 1 + torch.rand(n, 2, generator=generator) * 20], 1)
    scores = torch.rand(n, generator=generator)
    return boxes.to(dtype), scores.to(dtype), torch.arange(n) % 3


def rotated(boxes):
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2], boxes[:, :1] / 10], 1)


def quads(boxes):
    return boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]]


CALLS = {
    "nms": (lambda o, b, s, i: o.nms(b, s, 0.3, max_num=9), lambda b: b),
    "nms_rotated": (lambda o, b, s, i: o.nms_rotated(rotated(b), s, 0.3, i), rotated),
    "nms_quadri": (lambda o, b, s, i: o.nms_quadri(quads(b), s, 0.3), quads),
    "batched": (
        lambda o, b, s, i: o.batched_nms(b, s, i, dict(type="nms", iou_threshold=0.3, max_num=20)),
        lambda b: b,
    ),
    "batched_agnostic": (lambda o, b, s, i: o.batched_nms(b, s, None, dict(iou_threshold=0.3), True), lambda b: b),
    "batched_rotated": (
        lambda o, b, s, i: o.batched_nms(rotated(b), s, i, dict(type="nms_rotated", iou_threshold=0.3)),
        rotated,
    ),
    "batched_nothing": (lambda o, b, s, i: o.batched_nms(b, s, i, None), lambda b: b),
    "soft": (lambda o, b, s, i: o.soft_nms(b, s, 0.3, 0.5, 0.2, "gaussian"), None),
    "batched_soft": (lambda o, b, s, i: o.batched_nms(b, s, i, dict(type="soft_nms", min_score=0.2)), None),
}
every = pytest.mark.parametrize("name", CALLS)


@every
def test_as_on_arrays(name):
    call, _ = CALLS[name]
    b, s, i = make()
    for got, wanted in zip(call(ops, b, s, i), call(arrays, b, s, i), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


@every
def test_gradients_go_to_the_kept_rows(name):
    call, shape = CALLS[name]
    b, s, i = make()
    b.requires_grad_()
    s.requires_grad_()
    dets, inds = call(ops, b, s, i)
    assert not inds.requires_grad and inds.dtype == torch.int64
    got = torch.autograd.grad(dets.sin().sum(), (b, s))
    if shape is not None:
        rows = torch.cat([shape(b)[inds], s[inds][:, None]], 1)
    else:  # a soft score is the score times a decay, which is held constant
        decay = (dets[:, -1] / s[inds]).detach()
        rows = torch.cat([b[inds], (s[inds] * decay)[:, None]], 1)
    for a, e in zip(got, torch.autograd.grad(rows.sin().sum(), (b, s)), strict=True):
        torch.testing.assert_close(a, e)


@every
@pytest.mark.skipif(OLD, reason="whole graphs of sizes that data decide need torch 2.13")
def test_compile_whole(name):
    call, _ = CALLS[name]
    b, s, i = make()
    b.requires_grad_()
    s.requires_grad_()

    def loss(b, s, i):
        return call(ops, b * 1.5, s, i)[0].sin().sum()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for a, e in zip(
        torch.autograd.grad(compiled(b, s, i), (b, s)), torch.autograd.grad(loss(b, s, i), (b, s)), strict=True
    ):
        torch.testing.assert_close(a, e)


def test_opcheck():
    b, s, i = make()
    cases = {
        "nms": (b, s, 0.5, 0, 0.0, -1),
        "nms_rotated": (rotated(b), s, 0.5, i, True),
        "nms_quadri": (quads(b), s, 0.5, None),
        "soft_nms": (b, s, 0.3, 0.5, 1e-3, "linear", 0),
        "batched_nms": (b, s, i, "nms", [0.5, 0.0, 0.0, 0.5, 1e-3, 1.0], "linear", False, -1),
        "nms_match": (torch.cat([b, s[:, None]], 1), 0.5),
        "bbox_overlaps": (b, b[:5], "iou", False, 0),
        "box_iou_rotated": (rotated(b), rotated(b), "iof", True, False),
        "box_iou_quadri": (quads(b), quads(b), "iou", False),
    }
    for name, args in cases.items():
        found = torch.library.opcheck(getattr(torch.ops.arrayvision, name).default, args)
        assert set(found.values()) == {"SUCCESS"}, (name, found)


def test_overlaps():
    b, _, _ = make()
    b.requires_grad_()
    for function, wanted, shape in (
        (ops.bbox_overlaps, arrays.bbox_overlaps, lambda b: b),
        (ops.box_iou_rotated, arrays.box_iou_rotated, rotated),
        (ops.box_iou_quadri, arrays.box_iou_quadri, quads),
    ):
        boxes = shape(b)
        got = function(boxes, boxes[:7])
        assert not got.requires_grad
        torch.testing.assert_close(got, wanted(boxes.detach(), boxes[:7].detach()), rtol=0, atol=0)
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(boxes, boxes[:7]), got, rtol=0, atol=0)
    whole = ops.bbox_overlaps(torch.tensor([[0, 0, 10, 10]]), torch.tensor([[5, 0, 15, 10]]))
    torch.testing.assert_close(whole, torch.tensor([[1 / 3]]))


def test_match():
    b, s, _ = make()
    dets = torch.cat([b, s[:, None]], 1)
    groups = ops.nms_match(dets, 0.3)
    assert [g.tolist() for g in groups] == [g.tolist() for g in arrays.nms_match(dets, 0.3)]
    assert sorted(torch.cat(groups).tolist()) == list(range(60))
    assert ops.nms_match(dets[:0], 0.3) == []


def test_numpy_arrays_pass_through():
    b, s, i = (t.numpy() for t in make())
    for got, wanted in ((ops.nms(b, s, 0.5), arrays.nms(b, s, 0.5)), (ops.soft_nms(b, s), arrays.soft_nms(b, s))):
        assert all(isinstance(g, np.ndarray) for g in got)
        np.testing.assert_array_equal(got[1], wanted[1])
    assert isinstance(ops.nms_match(np.concatenate([b, s[:, None]], 1), 0.5)[0], np.ndarray)
    np.testing.assert_array_equal(
        ops.batched_nms(b, s, i, dict(iou_threshold=0.5))[1], arrays.batched_nms(b, s, i, dict(iou_threshold=0.5))[1]
    )


@pytest.mark.parametrize(
    ("cfg", "error", "message"),
    [
        (dict(type="best"), ValueError, "type"),
        (dict(iou_threshold=0.5, speed=1), TypeError, "nms_cfg has no speed"),
        (dict(), TypeError, "nms_cfg lacks iou_threshold"),
        ([], TypeError, "nms_cfg must be a mapping"),
    ],
)
def test_bad_configuration(cfg, error, message):
    b, s, i = make()
    with pytest.raises(error, match=message):
        ops.batched_nms(b.requires_grad_(), s, i, cfg)


def test_mixed_dtypes_and_integers():
    b, s, _ = make()
    dets, inds = ops.nms(b.int(), s.double(), 0.5)
    assert dets.dtype == torch.float64
    torch.testing.assert_close(dets[:, :4], b.int()[inds].double())
    dets, _ = ops.nms(b.half(), s.half(), 0.5)
    assert dets.dtype == torch.float16
