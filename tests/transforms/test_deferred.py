"""Resize, flip, normalize, pad and tensor in one pass: the same as step by step, to the bit."""

import cv2
import numpy as np
import pytest
import torch

import arrayvision
from arrayvision.transforms import (
    Compose,
    ImageToTensor,
    Normalize,
    Pad,
    RandomFlip,
    Resize,
    TransformBroadcaster,
    _deferred,
    cache_random_params,
)

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
TENSOR = ImageToTensor(["img"])


def picture(h, w, c=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (h, w, c), np.uint8)


def both(steps, sample):
    """The result of a Compose, and of its steps one by one; keys, numbers and types are compared."""
    np.random.seed(0)  # noqa: NPY002
    together = Compose(steps)(dict(sample))
    np.random.seed(0)  # noqa: NPY002
    apart = dict(sample)
    for step in steps:
        apart = step(apart)
    assert list(together) == list(apart)
    for key, value in apart.items():
        assert type(together[key]) is type(value), key
        if isinstance(value, (np.ndarray, torch.Tensor)):
            assert together[key].dtype == value.dtype and together[key].shape == value.shape, key
            np.testing.assert_array_equal(np.asarray(together[key]), np.asarray(value), err_msg=key)
        elif key != "img_norm_cfg":
            assert together[key] == value, key
    assert together["img"].is_contiguous()
    return together


@pytest.fixture
def passes(monkeypatch):
    """Which kernels ran."""
    ran = []
    run = _deferred._run
    monkeypatch.setattr(_deferred, "_run", lambda name, *rest: ran.append(name) or run(name, *rest))
    assert _deferred._as_opencv()  # on the machines that the tests run on
    ran.clear()
    return ran


@pytest.mark.parametrize("pad", [Pad(size_divisor=32), Pad(size=(96, 70), pad_val=114), Pad(pad_to_square=True)])
@pytest.mark.parametrize("view", [np.s_[:], np.s_[:, ::-1], np.s_[::-1, ::-1], np.s_[::2]])
@pytest.mark.parametrize("shape", [(64, 96), (61, 93), (1, 1), (33, 40)])
def test_normalize_pad_tensor(shape, view, pad, passes):
    for to_rgb in (True, False):
        both([Normalize(MEAN, STD, to_rgb), pad, TENSOR], {"img": picture(*shape)[view]})
    assert passes == ["normalize_planes"] * 2


@pytest.mark.parametrize("shape", [(20, 30, 4), (20, 30)])
def test_what_normalize_refuses(shape):
    with pytest.raises(ValueError, match="Compose: step 1 of 3"):
        Compose([Normalize(MEAN, STD), Pad(size_divisor=8), TENSOR])({"img": np.zeros(shape, np.uint8)})


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal", None])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((108, 192), (133, 75)),
        ((37, 53), (200, 111)),  # larger
        ((100, 40), (7, 300)),
        ((300, 500), (3, 2)),
        ((9, 2), (31, 9)),  # height stays
        ((40, 60), (1, 1)),
        ((50, 61), (61, 50)),  # nothing to do
    ],
)
def test_resize_flip_normalize_pad_tensor(old, new, direction, passes):
    flip = RandomFlip(0.0 if direction is None else 1.0, direction or "horizontal")
    sample = {
        "img": picture(*old),
        "gt_bboxes": np.array([[1, 2, 30, 8], [0, 0, 5, 5]], np.float32),
        "gt_seg_map": picture(*old)[:, :, 0],
        "gt_keypoints": np.ones((2, 3, 3), np.float32),
    }
    steps = [Resize(new), flip, Normalize(MEAN, STD), Pad(size_divisor=32, pad_val=7), TENSOR]
    assert both(steps, sample)["img_shape"] == (-(-new[1] // 32) * 32, -(-new[0] // 32) * 32)
    assert passes == ["normalize_planes" if old == new[::-1] else "resize_to_planes"]


def test_many_sizes(passes):
    rng = np.random.default_rng(0)
    for seed in range(150):
        h, w, height, width = (int(n) for n in rng.integers(1, 150, 4))
        flip = RandomFlip([0.25, 0.25, 0.25], ["horizontal", "vertical", "diagonal"])
        resize = Resize((width, height), keep_ratio=bool(seed % 3 == 0))
        both(
            [resize, flip, Normalize(MEAN, STD, bool(seed % 2)), Pad(size_divisor=8), TENSOR],
            {"img": picture(h, w, 3, seed)},
        )
    assert passes.count("resize_to_planes") > 120


def test_without_what_may_be_missing(passes):
    end = [Normalize(MEAN, STD), Pad(size_divisor=32), TENSOR]
    both([Resize(scale_factor=0.7), *end], {"img": picture(64, 90)})
    both([RandomFlip(1.0), *end], {"img": picture(64, 90)})
    both([Resize((90, 64)), RandomFlip(1.0, "vertical"), *end], {"img": picture(64, 90)})
    assert passes == ["resize_to_planes", "normalize_planes", "normalize_planes"]


def test_statistics_that_were_set_later(passes):
    normalize = Normalize(MEAN, STD)
    normalize.mean, normalize.std = [1, 2, 3], (4.0, 5, 6)
    image = Compose([normalize, Pad(size_divisor=8), TENSOR])({"img": picture(8, 8)})["img"]
    wanted = (picture(8, 8)[..., ::-1] - [1.0, 2, 3]) / [4, 5, 6]
    np.testing.assert_allclose(image.numpy(), wanted.transpose(2, 0, 1), rtol=1e-6)
    assert passes == ["normalize_planes"]


def test_half_the_size_is_left_to_opencv(passes):
    both([Resize((45, 32)), Normalize(MEAN, STD), Pad(size_divisor=32), TENSOR], {"img": picture(64, 90)})
    assert passes == ["normalize_planes"]


def test_a_resize_that_rounds_otherwise_is_left_to_opencv(passes, monkeypatch):
    monkeypatch.setattr(_deferred, "_as_opencv", lambda: False)
    both(
        [Resize((40, 30)), RandomFlip(1.0), Normalize(MEAN, STD), Pad(size_divisor=8), TENSOR], {"img": picture(64, 90)}
    )
    assert passes == ["normalize_planes"]


def test_such_a_resize_is_noticed(monkeypatch):
    real = cv2.resize
    monkeypatch.setattr(cv2, "resize", lambda img, size, **how: real(img, size, **how) ^ 1)
    _deferred._as_opencv.cache_clear()
    assert not _deferred._as_opencv()
    _deferred._as_opencv.cache_clear()


class Mine(Resize):
    pass


@pytest.mark.parametrize(
    "steps",
    [
        [Mine((40, 30)), Normalize(MEAN, STD), Pad(size_divisor=8, padding_mode="reflect"), TENSOR],
        [
            Resize((40, 30), interpolation="bicubic"),
            Normalize(MEAN, STD),
            Pad(size_divisor=8, pad_val={"img": (1, 2, 3)}),
            TENSOR,
        ],
        [Resize((40, 30)), Normalize(MEAN, STD), TENSOR],
        [Normalize(MEAN, STD), Resize((40, 30)), Pad(size_divisor=8), TENSOR],
        [Resize((40, 30)), dict, Normalize(MEAN, STD), Pad(size_divisor=8, padding_mode="edge"), TENSOR],
        [Normalize(MEAN, STD), Pad(size_divisor=8), ImageToTensor(["img", "other"])],
    ],
)
def test_other_rows_go_step_by_step(steps, passes):
    both(steps, {"img": picture(64, 90), "other": picture(4, 4)})
    assert passes == []


def test_a_subclass_may_stand_before_a_row(passes):
    both([Mine((40, 30)), Normalize(MEAN, STD), Pad(size_divisor=8), TENSOR], {"img": picture(64, 90)})
    both(
        [Resize((40, 30), backend="pillow"), Normalize(MEAN, STD), Pad(size_divisor=8), TENSOR],
        {"img": picture(64, 90)},
    )
    assert passes == ["normalize_planes"] * 2


def test_a_step_whose_transform_was_replaced_sees_an_array(passes):
    resize, seen = Resize((40, 30)), []
    own = resize.transform

    def transform(results):
        seen.append(type(results["img"]))
        return own(results)

    resize.transform = transform
    both([resize, Normalize(MEAN, STD), Pad(size_divisor=8), TENSOR], {"img": picture(64, 90)})
    assert seen == [np.ndarray] * 2 and passes == ["normalize_planes"]


def test_float_images_go_step_by_step(passes):
    steps = [Resize((40, 30)), Normalize(MEAN, STD), Pad(size_divisor=8), TENSOR]
    both(steps, {"img": picture(64, 90).astype(np.float32)})
    assert passes == []


def test_an_error_leaves_an_array(passes):
    pad = Pad(size=(32, 64), pad_val={"img": 7, "seg": (1, 2)})
    steps = [Resize((40, 30)), RandomFlip(1.0), Normalize(MEAN, STD), pad, TENSOR]
    sample = {"img": picture(64, 90), "gt_seg_map": np.zeros((64, 90), np.uint8)}
    with pytest.raises(ValueError, match=r"Compose: step 4 of 5.*pad_val must have 1"):
        Compose(steps)(sample)
    wanted = {"img": picture(64, 90)}
    for step in steps[:4]:
        wanted = step(wanted)
    assert wanted["img"].shape == (64, 40, 3)  # a longer side stays so
    np.testing.assert_array_equal(sample["img"], wanted["img"])
    sample = {"img": picture(64, 90), "gt_bboxes": np.zeros((2, 3))}
    with pytest.raises(ValueError, match=r"Compose: step 1 of 5.*gt_bboxes must have shape"):
        Compose(steps)(sample)
    np.testing.assert_array_equal(sample["img"], cv2.resize(picture(64, 90), (40, 30)))


def test_shared_random_parameters(passes):
    steps = [Resize((40, 30)), RandomFlip(0.5), Normalize(MEAN, STD), Pad(size_divisor=8), TENSOR]
    pipeline = Compose(steps)
    with cache_random_params(pipeline):
        flips = {pipeline({"img": picture(64, 90)})["flip"] for _ in range(20)}
    assert len(flips) == 1
    several = TransformBroadcaster(steps, mapping={"img": ["a", "b"]}, auto_remap=True, share_random_params=True)
    out = several({"a": picture(64, 90), "b": picture(50, 70)})
    assert out["a"].shape == out["b"].shape == (3, 32, 40)


def test_any_number_of_threads_gives_the_same():
    steps = Compose([Resize((333, 500)), RandomFlip(1.0), Normalize(MEAN, STD), Pad(size_divisor=32), TENSOR])
    before = arrayvision.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            arrayvision.set_num_threads(count)
            results.append(steps({"img": picture(720, 480)})["img"])
    finally:
        arrayvision.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
