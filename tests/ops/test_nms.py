"""nms, soft_nms, nms_match and batched_nms, against plain loops that share no code with them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from arrayvision import ops, set_num_threads
from arrayvision.cpu import threads
from arrayvision.cuda import suppress
from arrayvision.torch_bridge import ops as torch_ops
from tests.conftest import on
from tests.golden import cases

SHAPES = [
    "spread", "dense", "one over all", "one far away", "all equal", "stacked", "concentric", "needles", "zero size",
    "inverted", "power law", "pixels",
]  # fmt: skip


def make_boxes(shape, n, rng, dtype=np.float32):
    """Boxes of a shape that is hard for some way of searching."""
    xy, wh = rng.uniform(0, 1000, (n, 2)), rng.uniform(8, 200, (n, 2))
    if shape == "dense":
        xy /= 10
    elif shape == "all equal":
        xy[:], wh[:] = 5, 50
    elif shape == "stacked":
        xy[:] = rng.uniform(0, 2, (n, 2))
        wh[:] = 100 + rng.uniform(0, 2, (n, 2))
    elif shape == "concentric":
        wh = np.linspace(1, 900, n)[:, None].repeat(2, 1)
        xy = 500 - wh / 2
    elif shape == "needles":
        wh = np.where(rng.random((n, 1)) < 0.5, [[0.01, 800]], [[800, 0.01]])
    elif shape == "zero size":
        wh[::2] = 0
    elif shape == "inverted":
        wh[::2] *= -1
    elif shape == "power law":
        wh = np.repeat(rng.pareto(0.7, (n, 1)) + 1, 2, 1) * rng.uniform(0.5, 1, (n, 2))
    elif shape == "pixels":
        xy, wh = np.floor(xy / 5), np.ceil(wh / 10)
    boxes = np.concatenate([xy, xy + wh], 1)
    if shape == "one over all" and n:
        boxes[n // 2] = -1e4, -1e4, 1e4, 1e4
    elif shape == "one far away" and n:
        boxes[n // 3] += 1e6
    return boxes.astype(dtype)


def iou_matrix(boxes, offset=0):
    """IoUs in the boxes' own dtype, NaN where a box is not finite or has no extent."""
    b = np.asarray(boxes)
    offset = b.dtype.type(offset)
    w, h = b[:, 2] - b[:, 0] + offset, b[:, 3] - b[:, 1] + offset
    with np.errstate(all="ignore"):
        area = np.where((w > 0) & (h > 0) & np.isfinite(w * h), w * h, np.nan)
        iw = np.minimum(b[:, None, 2], b[None, :, 2]) - np.maximum(b[:, None, 0], b[None, :, 0]) + offset
        ih = np.minimum(b[:, None, 3], b[None, :, 3]) - np.maximum(b[:, None, 1], b[None, :, 1]) + offset
        inter = np.maximum(iw, 0) * np.maximum(ih, 0)
        return inter / (area[:, None] + area[None, :] - inter)


def plain_nms(boxes, scores, threshold, offset=0, score_threshold=0, max_num=-1, labels=None):
    """Each box against those kept before it."""
    iou, threshold, kept = iou_matrix(boxes, offset), boxes.dtype.type(threshold), []
    for i in np.argsort(-scores, kind="stable"):
        if np.isnan(scores[i]) or (score_threshold > 0 and not scores[i] > scores.dtype.type(score_threshold)):
            continue
        rivals = [j for j in kept if labels is None or labels[i] == labels[j]]
        if not (iou[i, rivals] > threshold).any():
            kept.append(i)
    return np.array(kept[: max_num if max_num > 0 else None], np.int64)


def plain_soft_nms(boxes, scores, threshold=0.3, sigma=0.5, min_score=1e-3, method="linear", offset=0):
    iou, s, picked = iou_matrix(boxes, offset).astype(np.float64), scores.astype(np.float64), []
    left = [i for i in range(len(s)) if not np.isnan(s[i])]
    while left := [i for i in left if s[i] >= min_score]:
        best = max(left, key=lambda i: (s[i], -i))
        left.remove(best)
        picked.append((best, s[best]))
        for i in left:
            v = iou[best, i]
            if method == "gaussian" and v > 0:
                s[i] *= np.exp(-v * v / sigma)
            elif method != "gaussian" and v > threshold:
                s[i] *= 1 - v if method == "linear" else 0
    return np.array([p for p, _ in picked], np.int64), np.array([v for _, v in picked])


def make(n, seed=0, shape="dense", dtype=np.float32):
    rng = np.random.default_rng(seed)
    return make_boxes(shape, n, rng, dtype), rng.random(n).astype(dtype)


# ---- results ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", cases("nms"), ids=lambda c: c.name)
def test_nms_golden(case, library):
    dets, inds = ops.nms(*map(library.asarray, case.inputs.values()), **case.args)
    assert library.owns(dets) and library.owns(inds)
    np.testing.assert_array_equal(library.numpy(inds), case.outputs["1"])
    np.testing.assert_array_equal(library.numpy(dets), case.outputs["0"])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threshold", [0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("n", [40, 1500])
def test_nms_is_the_plain_loop(shape, threshold, n, backend):
    if backend != "cpu":
        n = min(n, 600)
    boxes, scores = make(n, 1, shape)
    scores[: n // 4] = np.round(scores[: n // 4], 1)  # ties
    inds = on(backend, ops.nms)(boxes, scores, threshold)[1]
    np.testing.assert_array_equal(inds, plain_nms(boxes, scores, threshold))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "uint8"])
def test_nms_dtypes(dtype, library):
    if not library.has(dtype):
        pytest.skip("the library has no such dtype")
    boxes, scores = make(120, 3)
    boxes = library.asarray(boxes, dtype)
    scores = library.asarray(scores, dtype if "float" in dtype else "float32")
    dets, inds = ops.nms(boxes, scores, 0.4)
    wide = np.float64 if dtype == "float64" else np.float32
    b, s = library.numpy(boxes).astype(wide), library.numpy(scores).astype(wide)
    expected = plain_nms(b, s, 0.4)
    np.testing.assert_array_equal(library.numpy(inds), expected)
    assert str(dets.dtype).rsplit(".", 1)[-1] == (dtype if "float" in dtype else "float32")
    np.testing.assert_array_equal(library.numpy(dets).astype(wide), np.concatenate([b, s[:, None]], 1)[expected])


def test_large_integers_keep_their_value():
    boxes = np.array([[2**25, 0, 2**25 + 10, 10], [2**25 + 9, 0, 2**25 + 19, 10]])
    dets, inds = ops.nms(boxes, np.array([0.5, 0.25], np.float32), 0.1)
    assert dets.dtype == np.float64 and len(inds) == 2
    np.testing.assert_array_equal(dets[:, :4], boxes)


def test_mixed_floats_are_promoted(backend):
    boxes, scores = make(30)
    dets, _ = on(backend, ops.nms)(boxes.astype(np.float16), scores, 0.5)
    assert dets.dtype == np.float32
    dets, _ = on(backend, ops.nms)(boxes, scores.astype(np.float64), 0.5)
    assert dets.dtype == np.float64


@pytest.mark.parametrize("max_num", [1, 5, 63, 64, 65, 100, 10**6])
@pytest.mark.parametrize("n", [200, 3500])
def test_max_num_is_a_prefix(max_num, n, backend):
    boxes, scores = make(n, 4, "spread")
    boxes[:7, 2] = np.nan  # kept, suppress nothing, and count
    f = on(backend, ops.nms)
    every, some = f(boxes, scores, 0.3), f(boxes, scores, 0.3, max_num=max_num)
    np.testing.assert_array_equal(some[1], every[1][:max_num])
    np.testing.assert_array_equal(some[0], every[0][:max_num])
    assert len(f(boxes, scores, 0.3, max_num=0)[1]) == len(every[1])


@pytest.mark.parametrize("offset", [0, 1])
def test_offset_and_score_threshold(offset, backend):
    boxes, scores = make(300, 5, "pixels")
    scores[::3] = 0.25
    inds = on(backend, ops.nms)(boxes, scores, 0.3, offset, 0.25)[1]
    np.testing.assert_array_equal(inds, plain_nms(boxes, scores, 0.3, offset, 0.25))
    assert (scores[inds] > 0.25).all()
    every = on(backend, ops.nms)(boxes, scores - 0.5, 0.3, offset, -0.1)[1]
    np.testing.assert_array_equal(every, plain_nms(boxes, scores - np.float32(0.5), 0.3, offset))


def test_an_iou_of_exactly_the_threshold_stays(backend):
    """IoU 1/10, 1/5, 3/10 ... as quotients of pixels; as a double, 0.1 is less than the float32 next to it."""
    for tenths in range(1, 10):
        boxes = np.array([[0, 0, 10, 10], [0, 0, 10, tenths]], np.float32)
        assert len(on(backend, ops.nms)(boxes, np.array([0.9, 0.8], np.float32), tenths / 10)[1]) == 2
        assert len(on(backend, ops.nms)(boxes, np.array([0.9, 0.8], np.float32), tenths / 10 - 0.01)[1]) == 1


def test_what_is_not_finite(backend):
    """A NaN score is never kept; a box without an area or not finite stands outside the contest."""
    boxes = np.array(
        [[0, 0, 10, 10], [0, 0, np.nan, 10], [0, 0, np.inf, 10], [-np.inf, 0, 10, 10], [0, 0, 0, 10], [10, 10, 0, 0],
         [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]], np.float32,
    )  # fmt: skip
    scores = np.array([0.5, 0.9, 0.8, 0.7, 0.6, 0.55, np.nan, np.inf, -np.inf, 0.1], np.float32)
    f = on(backend, ops.nms)
    np.testing.assert_array_equal(f(boxes, scores, 0.5)[1], [7, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(f(boxes, scores, 0.5, 1)[1][:4], [7, 1, 2, 3])
    soft = on(backend, ops.soft_nms)(boxes, scores, 0.5, method="naive")[1]
    np.testing.assert_array_equal(soft, [7, 1, 2, 3, 4, 5])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2, 0.5, 0.8]), st.sampled_from(SHAPES))
def test_nms_properties(n, seed, threshold, shape):
    """Kept boxes don't overlap each other too much; each other box overlaps a better kept one; scores fall."""
    boxes, scores = make(n, seed, shape)
    dets, inds = ops.nms(boxes, scores, threshold)
    iou = iou_matrix(boxes)
    kept = iou[np.ix_(inds, inds)]
    with np.errstate(invalid="ignore"):
        assert not (kept[~np.eye(len(inds), dtype=bool)] > np.float32(threshold)).any()
        for i in set(range(n)) - set(inds.tolist()):
            assert (iou[i, inds[scores[inds] >= scores[i]]] > np.float32(threshold)).any()
    assert (np.diff(dets[:, 4]) <= 0).all() and len(set(inds.tolist())) == len(inds)


# ---- soft, match, batched --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", cases("soft_nms"), ids=lambda c: c.name)
def test_soft_nms_golden(case, library):
    dets, inds = ops.soft_nms(*map(library.asarray, case.inputs.values()), **case.args)
    np.testing.assert_array_equal(library.numpy(inds), case.outputs["1"])
    np.testing.assert_allclose(library.numpy(dets), case.outputs["0"], rtol=1e-6)


@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
@pytest.mark.parametrize("n", [1, 70, 2000])
def test_soft_nms_is_the_plain_loop(method, n, backend):
    """Enough boxes for strips, too; float64, so that rounding doesn't reorder."""
    if backend != "cpu":
        n = min(n, 150)
    boxes, scores = make(n, 6, "spread", np.float64)
    dets, inds = on(backend, ops.soft_nms)(boxes, scores, 0.2, 0.4, 0.05, method, 1)
    expected, decayed = plain_soft_nms(boxes, scores, 0.2, 0.4, 0.05, method, 1)
    np.testing.assert_array_equal(inds, expected)
    np.testing.assert_allclose(dets[:, 4], decayed, rtol=1e-12)
    np.testing.assert_array_equal(dets[:, :4], boxes[expected])


@pytest.mark.parametrize("case", cases("nms_match"), ids=lambda c: c.name)
def test_nms_match_golden(case, library):
    groups = [library.numpy(g) for g in ops.nms_match(library.asarray(case.inputs["dets"]), **case.args)]
    np.testing.assert_array_equal(np.concatenate(groups), case.outputs["groups"])
    np.testing.assert_array_equal([len(g) for g in groups], case.outputs["lengths"])


@pytest.mark.parametrize("shape", ["spread", "dense", "power law", "zero size"])
def test_nms_match_is_the_plain_loop(shape, backend):
    n = 4000 if backend == "cpu" else 500
    boxes, scores = make(n, 7, shape)
    scores[3] = np.nan
    groups = on(backend, ops.nms_match)(np.concatenate([boxes, scores[:, None]], 1), 0.3)
    iou, owner = iou_matrix(boxes), {}
    kept = plain_nms(boxes, scores, 0.3)
    for i in np.argsort(-scores, kind="stable"):
        if not np.isnan(scores[i]):
            owner[i] = (
                next((k for k in kept if k != i and iou[k, i] > np.float32(0.3) and k not in [i]), i)
                if i not in kept
                else i
            )
    expected = [[k, *(i for i in owner if owner[i] == k and i != k)] for k in kept]
    assert [g.tolist() for g in groups] == expected


@pytest.mark.parametrize("shape", ["spread", "dense", "all equal", "concentric", "pixels"])
def test_many_bands(shape, backend, monkeypatch):
    """On a GPU, a band's kept boxes strike those of later ones; whole words, and a rest."""
    n = 640 if shape == "pixels" else 500
    boxes, scores = make(n, 11, shape)
    scores[::50] = np.nan
    labels = np.arange(n) % 3
    for band in (64, 192):
        monkeypatch.setattr(suppress, "BAND", band)
        np.testing.assert_array_equal(on(backend, ops.nms)(boxes, scores, 0.3)[1], plain_nms(boxes, scores, 0.3))
        some = on(backend, ops.nms)(boxes, scores, 0.3, max_num=20)[1]
        np.testing.assert_array_equal(some, plain_nms(boxes, scores, 0.3, max_num=20))
        by_class = on(backend, ops.batched_nms)(boxes, scores, labels, dict(iou_threshold=0.3))[1]
        np.testing.assert_array_equal(by_class, plain_nms(boxes, scores, 0.3, labels=labels))
        groups = on(backend, ops.nms_match)(np.concatenate([boxes, scores[:, None]], 1), 0.3)
        assert [g[0] for g in groups] == plain_nms(boxes, scores, 0.3).tolist()
        iou = iou_matrix(boxes)
        for first, *others in groups:
            for i in others:
                better = [g[0] for g in groups if scores[g[0]] >= scores[i] and iou[g[0], i] > np.float32(0.3)]
                assert better[0] == first


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-19, 1e-12, 1.0, 1e18])
def test_ious_next_to_the_threshold(dtype, size, backend):
    """Of whole numbers there are many whose IoU is just the threshold, or rounds to it, also where products underflow."""
    rng = np.random.default_rng(12)
    corner = rng.integers(0, 12, (300, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 12, (300, 2))], 1).astype(dtype) * dtype(size)
    scores = rng.permutation(300).astype(dtype)
    for threshold in (1 / 3, 0.25, 0.2, 1 / 7, 1.0):
        np.testing.assert_array_equal(
            on(backend, ops.nms)(boxes, scores, threshold)[1], plain_nms(boxes, scores, threshold)
        )


@pytest.mark.parametrize("case", cases("batched_nms"), ids=lambda c: c.name)
def test_batched_nms_golden(case, library):
    cfg = dict(type="nms", iou_threshold=case.args["iou_threshold"])
    arrays = [library.asarray(case.inputs[k]) for k in ("boxes", "scores", "idxs")]
    dets, inds = ops.batched_nms(*arrays, cfg, case.args["class_agnostic"])
    np.testing.assert_array_equal(library.numpy(inds), case.outputs["1"])
    np.testing.assert_array_equal(library.numpy(dets), case.outputs["0"])
    agnostic = dict(cfg, class_agnostic=case.args["class_agnostic"], split_thr=1, max_num=5)
    np.testing.assert_array_equal(library.numpy(ops.batched_nms(*arrays, agnostic)[1]), case.outputs["1"][:5])


@pytest.mark.parametrize("shift", [0, -1e6])
def test_batched_nms_is_nms_by_class(shift, backend):
    """Also far from the origin, on its negative side, and with labels of any integers."""
    boxes, scores = make(900, 8, "spread")
    boxes = (boxes + shift).astype(np.float32)
    labels = np.random.default_rng(0).choice([-(2**62), -1, 0, 3, 2**62], 900)
    cfg = dict(iou_threshold=0.3, score_threshold=0.1)
    inds = on(backend, ops.batched_nms)(boxes, scores, labels, cfg)[1]
    np.testing.assert_array_equal(inds, plain_nms(boxes, scores, 0.3, score_threshold=0.1, labels=labels))


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("n", (33, 500, 4300))
def test_soft_nms_in_registers_and_in_memory(n, dtype, backend):
    """The CUDA kernel keeps one box, some or none of a thread in registers, by how many there are; classes are labels."""
    boxes, scores = make(n, 2, dtype=dtype)
    scores[5:9] = scores[:4]  # ties
    labels = np.arange(n) % 3
    least = np.sort(scores)[-12]
    cfg = dict(type="soft_nms", iou_threshold=0.1, min_score=float(least))
    _, inds = on(backend, ops.batched_nms)(boxes, scores, labels, cfg)
    _, expected = on("cpu", ops.batched_nms)(boxes, scores, labels, cfg)
    np.testing.assert_array_equal(inds, expected)
    assert 3 <= len(inds) <= 12


def test_batched_soft_nms_is_soft_nms_by_class(backend):
    boxes, scores = make(120, 9, "dense", np.float64)
    labels = np.arange(120) % 4
    f = on(backend, ops.batched_nms)
    cfg = dict(type="soft_nms", iou_threshold=0.2, min_score=0.1, method="gaussian")
    dets, inds = f(boxes, scores, labels, cfg)
    expected = {}
    for label in range(4):
        own = np.flatnonzero(labels == label)
        picked, decayed = plain_soft_nms(boxes[own], scores[own], 0.2, 0.5, 0.1, "gaussian")
        expected.update(zip(own[picked], decayed, strict=True))
    order = sorted(expected, key=lambda i: -expected[i])
    np.testing.assert_array_equal(inds, order)
    np.testing.assert_allclose(dets[:, 4], [expected[i] for i in order], rtol=1e-12)
    np.testing.assert_array_equal(f(boxes, scores, labels, dict(cfg, max_num=7))[1], order[:7])


def test_batched_nms_without_a_configuration_sorts(library):
    boxes, scores = make(50, 10)
    scores[4], scores[9], scores[11] = np.nan, 0.5, 0.5
    arrays = map(library.asarray, (boxes, scores, np.zeros(50, np.int32)))
    dets, inds = ops.batched_nms(*arrays, None)
    order = np.argsort(-scores, kind="stable")
    np.testing.assert_array_equal(library.numpy(inds), order)
    np.testing.assert_array_equal(library.numpy(dets), np.concatenate([boxes, scores[:, None]], 1)[order])


def test_batched_nms_of_other_kinds(backend):
    boxes, scores = make(200, 11)
    labels = np.arange(200) % 3
    rotated = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2], np.zeros((200, 1))], 1)
    quads = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]]
    f = on(backend, ops.batched_nms)
    expected = plain_nms(boxes, scores, 0.35, labels=labels)
    np.testing.assert_array_equal(
        f(rotated.astype(np.float32), scores, labels, dict(type="nms_rotated", iou_threshold=0.35))[1], expected
    )
    np.testing.assert_array_equal(f(quads, scores, labels, dict(type="nms_quadri", iou_threshold=0.35))[1], expected)
    assert f(quads, scores, None, dict(type="nms_quadri", iou_threshold=0.35, max_num=3), True)[0].shape == (3, 9)


# ---- layouts, sizes, threads -----------------------------------------------------------------------------------------
def layouts(x):
    yield np.asfortranarray(x)
    yield np.repeat(x, 2, 0)[::2]
    yield x[::-1].copy()[::-1]
    yield x.astype(x.dtype.newbyteorder(">"))
    raw = np.empty(x.nbytes + 1, np.uint8)
    misaligned = raw[1:].view(x.dtype).reshape(x.shape)
    misaligned[...] = x
    yield misaligned
    frozen = x.copy()
    frozen.flags.writeable = False
    yield frozen


def test_any_layout():
    boxes, scores = make(100, 12)
    expected = ops.nms(boxes, scores, 0.4)
    for b, s in zip(layouts(boxes), layouts(scores), strict=True):
        before = b.tobytes(), s.tobytes()
        for got, want in zip(ops.nms(b, s, 0.4), expected, strict=True):
            np.testing.assert_array_equal(got, want)
        assert (b.tobytes(), s.tobytes()) == before


def test_empty_inputs(library):
    boxes, scores = library.asarray(np.zeros((0, 4), np.float32)), library.asarray(np.zeros(0, np.float32))
    labels = library.asarray(np.zeros(0, np.int64))
    results = [
        ops.nms(boxes, scores, 0.5),
        ops.soft_nms(boxes, scores),
        ops.batched_nms(boxes, scores, labels, dict(iou_threshold=0.5)),
        ops.batched_nms(boxes, scores, labels, dict(type="soft_nms")),
        ops.batched_nms(boxes, scores, labels, None),
    ]
    for dets, inds in results:
        assert tuple(dets.shape) == (0, 5) and tuple(inds.shape) == (0,)
        assert "float32" in str(dets.dtype) and "int" in str(inds.dtype)
    for shape in ((0, 5), (0,)):
        assert ops.nms_match(library.asarray(np.zeros(shape, np.float32)), 0.5) == []


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_same_bits_for_any_number_of_threads(count, monkeypatch):
    boxes, scores = make(30000, 13, "spread")
    labels = np.arange(30000) % 50
    monkeypatch.setattr(threads, "_chosen", None)
    set_num_threads(1)
    one = ops.batched_nms(boxes, scores, labels, dict(iou_threshold=0.5)), ops.bbox_overlaps(boxes[:2000], boxes)
    set_num_threads(count)
    many = ops.batched_nms(boxes, scores, labels, dict(iou_threshold=0.5)), ops.bbox_overlaps(boxes[:2000], boxes)
    np.testing.assert_array_equal(one[0][0], many[0][0])
    np.testing.assert_array_equal(one[0][1], many[0][1])
    np.testing.assert_array_equal(one[1], many[1])


# ---- bad input -------------------------------------------------------------------------------------------------------
BOXES, SCORES = make(6)
LABELS = np.zeros(6, np.int64)
CFG = dict(iou_threshold=0.5)
BAD = [
    (ops.nms, (BOXES, SCORES[:5], 0.5), {}, ValueError, "nms: scores must have as many rows as boxes, got 5 and 6"),
    (ops.nms, (BOXES, np.append(SCORES, SCORES), 0.5), {}, ValueError, "scores"),
    (ops.nms, (BOXES[:, :3], SCORES, 0.5), {}, ValueError, r"nms: boxes must have shape \(N, 4\), got \(6, 3\)"),
    (ops.nms, (BOXES[0], SCORES, 0.5), {}, ValueError, r"boxes must have shape \(N, 4\), got \(4,\)"),
    (ops.nms, (BOXES, BOXES, 0.5), {}, ValueError, r"scores must have shape \(N,\)"),
    (
        ops.nms,
        (BOXES.astype(complex), SCORES, 0.5),
        {},
        TypeError,
        "boxes must hold real numbers, got dtype complex128",
    ),
    (ops.nms, (BOXES.astype(str), SCORES, 0.5), {}, TypeError, "boxes must hold real numbers"),
    (ops.nms, (BOXES.astype(object), SCORES, 0.5), {}, TypeError, "boxes must hold real numbers"),
    (ops.nms, (BOXES, SCORES > 0.5, 0.5), {}, TypeError, "scores must hold real numbers, got dtype bool"),
    (ops.nms, (BOXES.tolist(), SCORES, 0.5), {}, TypeError, "boxes must be an array .* got list"),
    (ops.nms, (BOXES, None, 0.5), {}, TypeError, "scores must be an array, got None"),
    (ops.nms, (None, None, 0.5), {}, TypeError, "boxes must be an array, got None"),
    (ops.nms, (BOXES, SCORES, float("nan")), {}, ValueError, "iou_threshold must be at least 0, got nan"),
    (ops.nms, (BOXES, SCORES, -0.1), {}, ValueError, "iou_threshold must be at least 0, got -0.1"),
    (ops.nms, (BOXES, SCORES, "0.5"), {}, TypeError, "iou_threshold must be a number, got str"),
    (ops.nms, (BOXES, SCORES, None), {}, TypeError, "iou_threshold must be a number, got NoneType"),
    (ops.nms, (BOXES, SCORES, 0.5), dict(offset=7), ValueError, "offset must be 0 or 1, got 7"),
    (ops.nms, (BOXES, SCORES, 0.5), dict(max_num=-2), ValueError, "max_num must be at least -1, got -2"),
    (ops.nms, (BOXES, SCORES, 0.5), dict(max_num=1.5), TypeError, "max_num must be an int"),
    (ops.nms, (BOXES, SCORES, 0.5), dict(score_threshold=float("nan")), ValueError, "score_threshold must be a number"),
    (ops.nms, (np.ma.masked_array(BOXES), SCORES, 0.5), {}, TypeError, "masked"),
    (ops.soft_nms, (BOXES, SCORES), dict(method="soft"), ValueError, "method must be 'naive', 'linear' or 'gaussian'"),
    (ops.soft_nms, (BOXES, SCORES), dict(sigma=0), ValueError, "sigma must be greater than 0"),
    (ops.soft_nms, (BOXES, SCORES[:2]), {}, ValueError, "scores"),
    (ops.soft_nms, (BOXES, SCORES), dict(min_score=float("nan")), ValueError, "min_score"),
    (ops.nms_match, (BOXES, 0.5), {}, ValueError, r"dets must have shape \(N, 5\), got \(6, 4\)"),
    (ops.batched_nms, (BOXES, SCORES, LABELS[:3], CFG), {}, ValueError, "idxs must have as many rows as boxes"),
    (ops.batched_nms, (BOXES, SCORES, LABELS + 0.5, CFG), {}, ValueError, "idxs must hold whole numbers"),
    (ops.batched_nms, (BOXES, SCORES, LABELS, dict(type="hard", **CFG)), {}, ValueError, "must be 'nms', 'soft_nms'"),
    (ops.batched_nms, (BOXES, SCORES, LABELS, dict(iou=0.5)), {}, TypeError, "nms_cfg has no iou .* it takes"),
    (ops.batched_nms, (BOXES, SCORES, LABELS, {}), {}, TypeError, "nms_cfg lacks iou_threshold"),
    (ops.batched_nms, (BOXES, SCORES, LABELS, 0.5), {}, TypeError, "nms_cfg must be a mapping or None, got float"),
    (ops.batched_nms, (BOXES, SCORES, None, CFG), {}, TypeError, "idxs must be an array unless class_agnostic"),
    (ops.batched_nms, (BOXES, SCORES, LABELS, dict(CFG, max_num=-3)), {}, ValueError, "max_num"),
    (ops.batched_nms, (BOXES, SCORES, LABELS, dict(type="nms_rotated", **CFG)), {}, ValueError, r"\(N, 5\)"),
    (ops.batched_nms, (BOXES, SCORES, LABELS, CFG, "yes"), {}, TypeError, "class_agnostic must be True or False"),
]


@pytest.mark.parametrize(("function", "args", "kwargs", "error", "message"), BAD)
def test_bad_input(function, args, kwargs, error, message, backend):
    with pytest.raises(error, match=message) as caught:
        on(backend, function)(*args, **kwargs)
    assert function.__name__ in str(caught.value)


@pytest.mark.parametrize("library", [ops, torch_ops], ids=["arrays", "torch"])
def test_the_older_name_of_the_threshold(library):
    """`iou_thr`, with a warning that points at the caller; not beside the newer name."""
    convert = torch.from_numpy if library is torch_ops else np.asarray
    boxes, scores, labels = (convert(x) for x in (BOXES, SCORES, LABELS))
    for call in (
        lambda **how: library.nms(boxes, scores, **how),
        lambda **how: library.soft_nms(boxes, scores, **how),
        lambda **how: library.batched_nms(boxes, scores, labels, dict(type="nms", **how)),
        lambda **how: library.batched_nms(boxes, scores, labels, dict(type="soft_nms", **how)),
    ):
        with pytest.warns(DeprecationWarning, match='nms: "iou_thr" is deprecated, use "iou_threshold"'):
            older = call(iou_thr=0.2)
        for a, b in zip(older, call(iou_threshold=0.2), strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        with pytest.raises(TypeError, match="give iou_threshold or iou_thr, not both"):
            call(iou_thr=0.5, iou_threshold=0.5)
    with pytest.warns(DeprecationWarning) as warned:
        library.nms(boxes, scores, iou_thr=0.2)
    assert warned[0].filename == __file__


def test_errors_are_those_that_older_code_catches():
    """It asserted shapes."""
    with pytest.raises(AssertionError):
        ops.nms_match(np.zeros((2, 3)), 0.5)
    with pytest.raises(AssertionError):
        ops.nms(BOXES, SCORES, 0.5, offset=7)


def test_libraries_and_devices_are_not_mixed():
    import torch

    with pytest.raises(TypeError, match="nms: boxes is a NumPy array, scores is a torch tensor"):
        ops.nms(BOXES, torch.from_numpy(SCORES), 0.5)
    with pytest.raises(TypeError, match="nms: boxes has no values"):
        ops.nms(torch.empty(6, 4, device="meta"), torch.from_numpy(SCORES), 0.5)
