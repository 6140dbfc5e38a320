"""Text regions against golden data and a plain search in Python; labels out of range, empty kernels, ties, long ways."""

from collections import deque

import numpy as np
import pytest
import torch

from arrayvision import array, get_num_threads, ops, set_num_threads
from arrayvision.cuda import text_growth as kernels
from tests.conftest import Library
from tests.golden import cases

CONTOUR, PIXEL = cases("contour_expand"), cases("pixel_group")
DTYPES = ("float32", "float64", "float16", "bfloat16")


def search(mask, labels, seeds, taken):
    """Grow labels over a mask by a queue of pixels in the map's order."""
    out = labels.copy()
    waiting = deque(zip(*np.nonzero(seeds & (labels > 0)), strict=True))
    while waiting:
        y, x = waiting.popleft()
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if (
                0 <= v < out.shape[0]
                and 0 <= u < out.shape[1]
                and mask[v, u]
                and out[v, u] == 0
                and taken(out[y, x], v, u)
            ):
                out[v, u] = out[y, x]
                waiting.append((v, u))
    return out


def grown(mask, labels, least):
    """What contour_expand should give."""
    kept = np.where(np.bincount(labels.ravel(), minlength=labels.max(initial=0) + 1)[labels] >= least, labels, 0)
    return search(mask[0], kept, np.ones(labels.shape, bool), lambda *_: True) if len(mask) > 1 else kept


def grouped(mask, embedding, labels, contour, count, threshold):
    """What pixel_group_labels should give."""
    vectors = embedding.astype(np.float64)
    centers = [vectors[labels == k].mean(0) if (labels == k).any() else None for k in range(count)]
    return search(mask, labels, contour != 0, lambda k, v, u: np.sum((vectors[v, u] - centers[k]) ** 2) < threshold**2)


def listed(score, labels, count):
    """What pixel_group makes of labels."""
    out = [[0.0, 0.0]]
    for k in range(1, count):
        y, x = np.nonzero(labels == k)
        out.append([score[y, x].mean() if len(y) else 0.0, len(y), *np.stack([x, y], 1).ravel()])
    return out


def scene(h, w, seed, dtype="float32", size=4, scales=3):
    """Blots of text, kernels within them, and embeddings about each kernel's own vector; rounded, so that many are alike."""
    rng = np.random.default_rng(seed)
    mask, labels, count = np.zeros((h, w), bool), np.zeros((h, w), np.int32), int(rng.integers(2, 9))
    embedding = rng.normal(0, 0.5, (h, w, size))
    for k in range(1, count):
        y, x, high, wide = rng.integers(0, h), rng.integers(0, w), rng.integers(1, h + 1), rng.integers(1, w + 1)
        mask[max(y - high, 0) : y + high, max(x - wide, 0) : x + wide] = True
        labels[y : y + max(high // 3, 1), x : x + max(wide // 3, 1)] = k
    mask &= rng.random((h, w)) < 0.85
    embedding[:, :, : size // 2] += (
        rng.integers(-1, 2, (h // 4 + 1, w // 4 + 1, size // 2)).repeat(4, 0).repeat(4, 1)[:h, :w]
    )
    masks = np.stack([mask] + [mask & (rng.random((h, w)) < 0.5) for _ in range(scales - 1)])
    contour = (rng.random((h, w)) < 0.7).astype(np.uint8) * 255
    score = rng.random((h, w))
    dtype = array.numpy_dtype(dtype)
    return masks, labels, contour, count, np.round(embedding, 1).astype(dtype), score.astype(dtype)


@pytest.mark.parametrize("case", CONTOUR, ids=lambda c: c.name)
def test_contour_expand_golden(case, library):
    given = {n: library.asarray(x) for n, x in case.inputs.items()}
    out = ops.contour_expand(**given, **case.args)
    assert isinstance(out, list) and isinstance(out[0], list) and type(out[0][0]) is int
    np.testing.assert_array_equal(out, case.outputs["0"])
    labels = ops.contour_expand_labels(**given, **case.args)
    assert library.owns(labels)
    np.testing.assert_array_equal(library.numpy(labels), out)


@pytest.mark.parametrize("case", PIXEL, ids=lambda c: c.name)
def test_pixel_group_golden(case, library):
    given = {n: library.asarray(x) for n, x in case.inputs.items()}
    out = ops.pixel_group(**given, **case.args)
    assert isinstance(out, list) and {type(x) for region in out for x in region} == {float}
    np.testing.assert_array_equal([len(region) for region in out], case.outputs["lengths"])
    np.testing.assert_allclose(np.concatenate(out), case.outputs["flat"], rtol=1e-6)
    labels = ops.pixel_group_labels(**{n: x for n, x in given.items() if n != "score"}, **case.args)
    assert library.owns(labels)
    expected = listed(case.inputs["score"], library.numpy(labels), 3)
    assert [region[1:] for region in out] == [region[1:] for region in expected]


SHAPES = [(1, 1), (1, 40), (33, 1), (17, 23), (50, 41)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_contour_expand_random(shape, backend):
    library = Library("numpy", backend)
    for seed in range(12):
        masks, labels, _, count, *_ = scene(*shape, seed, scales=1 + seed % 3)
        least = (0, 1, 4, 1000)[seed % 4]
        out = ops.contour_expand_labels(library.asarray(masks), library.asarray(labels), least, count)
        np.testing.assert_array_equal(library.numpy(out), grown(masks, labels, least))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_pixel_group_random(shape, dtype, backend):
    library = Library("numpy", backend)
    for seed in range(6):
        masks, labels, contour, count, embedding, score = scene(*shape, seed, dtype, 1 + seed)
        threshold = (0.8, 1.25, 0.0)[seed % 3]
        expected = grouped(masks[0], embedding, labels, contour, count, threshold)
        given = [library.asarray(x) for x in (masks[0], embedding, labels, contour)]
        np.testing.assert_array_equal(library.numpy(ops.pixel_group_labels(*given, count, threshold)), expected)
        lists = ops.pixel_group(library.asarray(score), *given, count, threshold)
        for got, wanted in zip(lists, listed(score.astype(np.float64), expected, count), strict=True):
            assert got[1:] == wanted[1:]
            assert got[0] == pytest.approx(wanted[0], rel=1e-12)


@pytest.mark.parametrize("size", [1, 3, 4, 6])
def test_labels_that_change_from_pixel_to_pixel(size):
    """There are more runs of one label than kernels make room for at first; and embeddings are of any size."""
    masks, _, contour, _, embedding, score = scene(40, 50, 0, size=size)
    labels = np.random.default_rng(1).integers(0, 5, (40, 50)).astype(np.int32)
    labels[:, 30:] = np.minimum(labels[:, 30:], 1) * 4
    least = int(np.median(np.bincount(labels.ravel())[1:]))
    np.testing.assert_array_equal(ops.contour_expand_labels(masks, labels, least, 4), grown(masks, labels, least))
    expected = grouped(masks[0], embedding, labels, contour, 5, 0.7)
    out = ops.pixel_group(score, masks[0], embedding, labels, contour, 5, 0.7)
    for mine, theirs in zip(out, listed(score, expected, 5), strict=True):
        assert mine[1:] == theirs[1:]
        np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-6)


@pytest.mark.parametrize("width", [1, 2, 63, 64, 65, 66, 127, 128, 129, 130, 193])
def test_rows_of_any_width(width):
    """Rows are gone through 64 pixels at a time, and what is left of them."""
    rng = np.random.default_rng(width)
    labels = rng.integers(0, 3, (6, width)).repeat(rng.integers(1, 9, width), 1)[:, :width].astype(np.int32)
    labels[0], labels[1, -1], labels[2, 0] = 1, 2, 2
    ones = np.ones((2, 6, width), bool)
    np.testing.assert_array_equal(ops.contour_expand_labels(ones, labels, 1, 2), grown(ones, labels, 1))
    embedding, score = rng.normal(0, 1, (6, width, 4)), rng.random((6, width))
    expected = grouped(ones[0], embedding, labels, ones[0], 3, 2.0)
    out = ops.pixel_group(score, ones[0], embedding, labels, ones[0], 3, 2.0)
    for mine, theirs in zip(out, listed(score, expected, 3), strict=True):
        assert mine[1:] == theirs[1:]
        assert mine[0] == pytest.approx(theirs[0], rel=1e-12)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "array_api_strict"])
def test_kinds_of_labels_and_masks(name, backend):
    """Any numbers that are whole, any flags; in any layout."""
    if backend == "cuda" and name == "array_api_strict":
        pytest.skip("array_api_strict has no GPU arrays")
    library = Library(name, backend)
    masks, labels, contour, count, embedding, _ = scene(20, 30, 3)
    expected = grown(masks, labels, 1)
    for mask_dtype, label_dtype in (("bool", "uint8"), ("float32", "float32"), ("uint8", "int16"), ("int32", "int32")):
        made = library.asarray(masks.astype(mask_dtype) / 2 if mask_dtype == "float32" else masks.astype(mask_dtype))
        out = ops.contour_expand_labels(made, library.asarray(labels.astype(label_dtype)), 1, count)
        np.testing.assert_array_equal(library.numpy(out), expected)
    expected = grouped(masks[0], embedding, labels, contour, count, 0.8)
    given = [np.asfortranarray(x) if name == "numpy" else x for x in (masks[0], embedding, labels, contour > 0)]
    out = ops.pixel_group_labels(*map(library.asarray, given), count, 0.8)
    np.testing.assert_array_equal(library.numpy(out), expected)


def test_a_tie_goes_to_the_label_that_began_first(library):
    labels = np.zeros((3, 5), np.int32)
    labels[0, 4], labels[2, 0] = 2, 1  # 2 begins first in the map's order
    out = ops.contour_expand_labels(library.asarray(np.ones((2, 3, 5))), library.asarray(labels), 0, 2)
    np.testing.assert_array_equal(library.numpy(out), [[1, 2, 2, 2, 2], [1, 1, 2, 2, 2], [1, 1, 1, 2, 2]])


def test_a_long_way(backend):
    """A snake through the whole map: a ring for each of its pixels."""
    library = Library("numpy", backend)
    mask, labels = np.zeros((2, 21, 24), np.uint8), np.zeros((21, 24), np.int32)
    mask[:, ::2] = 1
    mask[:, 1::4, -1] = mask[:, 3::4, 0] = 1
    labels[0, 0] = 7
    out = library.numpy(ops.contour_expand_labels(library.asarray(mask), library.asarray(labels), 1, 7))
    np.testing.assert_array_equal(out, 7 * mask[0].astype(int))


def test_large_maps(library):
    """2,000 x 2,000; the emulator takes a smaller one."""
    side = 120 if array.EMULATED else 2000
    y, x = np.ogrid[:side, :side]
    disc = (y - side / 2) ** 2 + (x - side / 2) ** 2 < (0.45 * side) ** 2
    labels = np.zeros((side, side), np.int32)
    labels[side // 2, side // 4] = 1
    labels[side // 2, 3 * side // 4] = 2
    out = library.numpy(
        ops.contour_expand_labels(library.asarray(np.stack([disc, disc])), library.asarray(labels), 1, 2)
    )
    nearer = np.abs(y - side // 2) + np.abs(x - side // 4) <= np.abs(y - side // 2) + np.abs(x - 3 * side // 4)
    np.testing.assert_array_equal(out, np.where(disc, np.where(nearer, 1, 2), 0))
    embedding = np.where(x < side / 3, 0.0, 1.0) * np.ones((side, 1))
    given = [library.asarray(a) for a in (disc, embedding[:, :, None], labels, labels)]
    found = ops.pixel_group(library.asarray(np.ones((side, side))), *given, 3, 0.5)
    assert found[0] == [0, 0] and [region[1] for region in found[1:]] == [
        (disc & (x < side / 3)).sum(),
        (disc & (x >= side / 3)).sum(),
    ]


def test_empty_kernels_and_maps(library):
    zeros, ones = np.zeros((4, 5), np.int32), np.ones((4, 5))
    for n in (0, 1, 3):
        given = [library.asarray(x) for x in (ones, ones, ones[:, :, None], zeros, ones)]
        assert ops.pixel_group(*given, n, 0.5) == [[0.0, 0.0]] * n
    labels = zeros.copy()
    labels[1, 1] = 2  # kernel 1 has no pixels
    given = [library.asarray(x) for x in (ones, ones, ones[:, :, None], labels, ones)]
    assert [region[:2] for region in ops.pixel_group(*given, 4, 0.5)] == [[0, 0], [0, 0], [1, 20], [0, 0]]
    assert ops.contour_expand(library.asarray(np.ones((2, 4, 5))), library.asarray(zeros), 0, 0) == zeros.tolist()
    for h, w in ((0, 0), (0, 4), (4, 0)):
        none = np.zeros((h, w), np.int32)
        given = [library.asarray(x) for x in (none, none, none.astype(float)[:, :, None], none, none)]
        assert ops.pixel_group(*given, 2, 0.5) == [[0.0, 0.0]] * 2
        assert ops.contour_expand(library.asarray(np.zeros((2, h, w))), library.asarray(none), 0, 0) == [[]] * h
    given = [
        library.asarray(x) for x in (ones, np.ones((4, 5, 0)), labels, ones)
    ]  # vectors of no numbers are all alike
    np.testing.assert_array_equal(library.numpy(ops.pixel_group_labels(*given, 3, 0.5)), 2)


def test_nan_and_infinite_numbers(library):
    mask, labels, embedding, score = np.ones((1, 5)), np.array([[1, 0, 0, 0, 2]]), np.zeros((1, 5, 1)), np.ones((1, 5))
    embedding[0, 2], score[0, 0] = np.nan, np.nan
    given = [library.asarray(x) for x in (score, mask, embedding, labels, labels)]
    out = ops.pixel_group(*given, 3, 0.5)
    assert np.isnan(out[1][0]) and out[1][1:] == [2, 0, 0, 1, 0] and out[2] == [1, 2, 3, 0, 4, 0]
    embedding[0, 0] = np.nan
    np.testing.assert_array_equal(
        library.numpy(
            ops.pixel_group_labels(*(library.asarray(x) for x in (mask, embedding, labels, labels)), 3, np.inf)
        ),
        [[1, 0, 0, 2, 2]],
    )


def test_labels_out_of_range():
    masks, labels, contour, count, embedding, score = scene(8, 9, 0)
    for wrong in (-1, count, 2**31, 2**40):
        bad = labels.astype(np.int64)
        bad[3, 4] = wrong
        with pytest.raises(
            ValueError, match=rf"^pixel_group: kernel_label must hold numbers at least 0 and below {count}, got"
        ):
            ops.pixel_group(score, masks[0], embedding, bad, contour, count, 0.8)
        with pytest.raises(
            ValueError,
            match=rf"^contour_expand: internal_kernel_label must hold numbers at least 0 and below {count}, got",
        ):
            ops.contour_expand(masks, bad, 0, count - 1)


def test_labels_out_of_range_that_a_gpu_does_not_look_at(monkeypatch):
    """They count as 0."""
    masks, labels, contour, count, embedding, _ = scene(12, 13, 4)
    bad = labels.copy()
    bad[labels == 1] = -5
    bad[0, :2] = 2**31 - 1, count
    clean = np.where((bad < 0) | (bad >= count), 0, bad)
    out = np.empty(bad.shape, np.int32)
    kernels.expand(masks[0], bad, count, 2, True, out)
    np.testing.assert_array_equal(out, grown(masks, clean, 2))
    kernels.group(embedding, masks[0], bad, contour > 0, count, 0.64, out)
    np.testing.assert_array_equal(out, grouped(masks[0], embedding, clean, contour, count, 0.8))


def test_maps_whose_border_32_bits_do_not_count():
    """A column of 2**30 pixels has three times as many with its border; nothing of it is read."""
    labels = np.broadcast_to(np.int32(0), (2**30, 1))
    masks, embedding = np.broadcast_to(True, (1, 2**30, 1)), np.broadcast_to(np.float32(0), (2**30, 1, 1))
    with pytest.raises(ValueError, match="internal_kernel_label must have at most 2147483646 pixels"):
        ops.contour_expand_labels(masks, labels, 1, 1)
    with pytest.raises(ValueError, match="kernel_label must have at most 2147483646 pixels"):
        ops.pixel_group_labels(masks[0], embedding, labels, labels, 2, 0.5)


def test_wrong_arguments():
    masks, labels, contour, count, embedding, score = scene(8, 9, 0)
    contour_args = dict(kernel_mask=masks, internal_kernel_label=labels, min_kernel_area=0, kernel_num=count)
    pixel_args = dict(score=score, mask=masks[0], embedding=embedding, kernel_label=labels, kernel_contour=contour)
    pixel_args |= dict(kernel_region_num=count, distance_threshold=0.8)
    for call, good, bad, error, text in [
        (
            ops.contour_expand,
            contour_args,
            dict(kernel_mask=masks[:0]),
            ValueError,
            "kernel_mask must have at least one scale",
        ),
        (ops.contour_expand, contour_args, dict(kernel_mask=masks[0]), ValueError, "kernel_mask must have shape"),
        (ops.contour_expand, contour_args, dict(kernel_mask=masks.tolist()), TypeError, "kernel_mask must be an array"),
        (
            ops.contour_expand,
            contour_args,
            dict(kernel_mask=masks + 0j),
            TypeError,
            "kernel_mask must hold real numbers",
        ),
        (
            ops.contour_expand,
            contour_args,
            dict(internal_kernel_label=labels[1:]),
            ValueError,
            "internal_kernel_label must",
        ),
        (
            ops.contour_expand,
            contour_args,
            dict(internal_kernel_label=labels / 2),
            ValueError,
            "internal_kernel_label must hold whole",
        ),
        (ops.contour_expand, contour_args, dict(kernel_num=-1), ValueError, "kernel_num must be at least 0, got -1"),
        (ops.contour_expand, contour_args, dict(kernel_num=1.5), TypeError, "kernel_num must be an int"),
        (ops.contour_expand, contour_args, dict(min_kernel_area="1"), TypeError, "min_kernel_area must be an int"),
        (ops.pixel_group, pixel_args, dict(score=score[1:]), ValueError, "score must"),
        (ops.pixel_group, pixel_args, dict(mask=masks), ValueError, "mask must have shape"),
        (ops.pixel_group, pixel_args, dict(embedding=embedding[:, 1:]), ValueError, "embedding must have shape"),
        (
            ops.pixel_group,
            pixel_args,
            dict(embedding=embedding.astype(str)),
            TypeError,
            "embedding must hold real numbers",
        ),
        (ops.pixel_group, pixel_args, dict(score=score.astype(str)), TypeError, "score must hold real numbers"),
        (ops.pixel_group, pixel_args, dict(kernel_region_num=2**40), ValueError, "kernel_region_num must be at most"),
        (ops.pixel_group, pixel_args, dict(distance_threshold=-1), ValueError, "distance_threshold must be at least 0"),
        (ops.pixel_group, pixel_args, dict(distance_threshold=np.nan), ValueError, "distance_threshold must be"),
    ]:
        with pytest.raises(error, match=rf"^{call.__name__}: {text}"):
            call(**{**good, **bad})


def test_the_same_on_any_number_of_threads():
    masks, labels, contour, count, embedding, score = scene(60, 70, 5)
    before, found = get_num_threads(), []
    try:
        for threads in (1, 3):
            set_num_threads(threads)
            found.append(ops.pixel_group(score, masks[0], embedding, labels, contour, count, 0.8))
    finally:
        set_num_threads(before)
    assert found[0] == found[1]


def test_tensors_that_record_gradients():
    torch = pytest.importorskip("torch")
    from arrayvision.torch_bridge import ops as torch_ops

    masks, labels, contour, count, embedding, score = scene(12, 13, 6)
    given = [torch.from_numpy(x) for x in (score, masks[0], embedding, labels, contour)]
    given[0].requires_grad_(), given[2].requires_grad_()
    expected = ops.pixel_group(score, masks[0], embedding, labels, contour, count, 0.8)
    assert torch_ops.pixel_group(*given, count, 0.8) == expected
    expected = ops.contour_expand(masks, labels, 1, count)
    assert torch_ops.contour_expand(torch.from_numpy(masks), given[3], 1, count) == expected


def test_the_number_of_kernels_may_be_a_tensor():
    mask, labels = np.ones((2, 1, 3)), np.array([[1, 0, 0]])
    assert ops.contour_expand(mask, labels, 1, torch.tensor(1, dtype=torch.uint64)) == [[1, 1, 1]]
    assert ops.contour_expand(mask, labels, 1, 10**6) == [[1, 1, 1]]  # more labels than pixels
