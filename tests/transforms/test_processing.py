"""Each transform against OpenCV, NumPy and short formulas; keys, shapes, seeds; bad input."""

import random

import cv2
import numpy as np
import pytest

from arrayvision.transforms import (
    CenterCrop,
    Compose,
    LoadAnnotations,
    LoadImageFromFile,
    MultiScaleFlipAug,
    Normalize,
    Pad,
    RandomChoiceResize,
    RandomFlip,
    RandomGrayscale,
    RandomResize,
    Resize,
    TestTimeAug,
)

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
DIRECTIONS = ["horizontal", "vertical", "diagonal"]


@pytest.fixture
def img():
    return np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


@pytest.fixture
def sample(img):
    return {
        "img": img,
        "gt_bboxes": np.array([[0, 0, 21, 16], [20, 15, 60, 45]], np.float32),
        "gt_bboxes_labels": np.array([1, 2]),
        "gt_keypoints": np.array([[[2, 5, 1]], [[20, 15, 2]], [[39, 29, 1]]], np.float32),
        "gt_seg_map": (np.arange(1200) % 7).astype(np.uint8).reshape(30, 40),
    }


# ---- loading ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def files(tmp_path, img):
    smooth = cv2.GaussianBlur(img, (9, 9), 4)
    cv2.imwrite(str(tmp_path / "color.jpg"), smooth)
    cv2.imwrite(str(tmp_path / "seg.png"), (np.arange(1200) % 19).astype(np.uint8).reshape(30, 40))
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    return tmp_path


def test_load_image(files):
    path = str(files / "color.jpg")
    wanted = cv2.imread(path)
    results = LoadImageFromFile()({"img_path": path})
    assert np.array_equal(results["img"], wanted) and results["img_path"] == path
    assert results["img_shape"] == results["ori_shape"] == (30, 40)
    results = LoadImageFromFile(to_float32=True, color_type="grayscale")({"img_path": path})
    assert results["img"].dtype == np.float32 and results["img"].shape == (30, 40)
    with pytest.warns(DeprecationWarning, match='"file_client_args" is deprecated'):
        transform = LoadImageFromFile(file_client_args={"backend": "disk"})
    assert np.array_equal(transform({"img_path": path})["img"], wanted)
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(ValueError, match='"file_client_args" and "backend_args" cannot be set at the same time'),
    ):
        LoadImageFromFile(file_client_args={}, backend_args={})


def test_load_image_that_is_not_there(files):
    with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
        LoadImageFromFile()({"img_path": str(files / "none.jpg")})
    with pytest.raises(AssertionError, match=r"broken\.jpg"):
        LoadImageFromFile()({"img_path": str(files / "broken.jpg")})
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        LoadImageFromFile()({"img_path": str(files / "broken.jpg")})
    for name in ("none.jpg", "broken.jpg"):
        assert LoadImageFromFile(ignore_empty=True)({"img_path": str(files / name)}) is None
    with pytest.raises(KeyError, match=r"LoadImageFromFile\(.*\): results must have 'img_path', got 'path'"):
        LoadImageFromFile(ignore_empty=True)({"path": 1})


def test_load_annotations(files):
    instances = [
        {"bbox": [0, 0, 10, 20], "bbox_label": 1, "keypoints": [1, 2, 3]},
        {"bbox": [10, 10, 110, 120], "bbox_label": 2, "keypoints": [4, 5, 6]},
    ]
    transform = LoadAnnotations(with_seg=True, with_keypoints=True)
    results = transform({"instances": instances, "seg_map_path": str(files / "seg.png")})
    assert results["gt_bboxes"].dtype == np.float32 and results["gt_bboxes"].tolist() == [i["bbox"] for i in instances]
    assert results["gt_bboxes_labels"].dtype == np.int64 and results["gt_bboxes_labels"].tolist() == [1, 2]
    assert results["gt_keypoints"].dtype == np.float32
    assert results["gt_keypoints"].tolist() == [[[1, 2, 3]], [[4, 5, 6]]]
    assert np.array_equal(results["gt_seg_map"].ravel(), np.arange(1200) % 19)
    empty = LoadAnnotations(with_keypoints=True)({"instances": []})
    assert [empty[k].shape for k in ("gt_bboxes", "gt_bboxes_labels", "gt_keypoints")] == [(0, 4), (0,), (0, 0, 3)]
    with pytest.raises(ValueError, match=r"bbox must have 4 numbers, got \[1, 2, 3\]"):
        LoadAnnotations()({"instances": [{"bbox": [1, 2, 3], "bbox_label": 0}]})
    with pytest.raises(KeyError, match="results must have 'bbox_label', got 'bbox'"):
        LoadAnnotations()({"instances": [{"bbox": [1, 2, 3, 4]}]})
    with pytest.raises(
        ValueError, match="keypoints must have K \\* 3 numbers, as many for each instance, got \\[3, 4\\]"
    ):
        LoadAnnotations(False, False, with_keypoints=True)(
            {"instances": [{"keypoints": [1] * 3}, {"keypoints": [1] * 4}]}
        )


# ---- one after the other ---------------------------------------------------------------------------------------------
def test_normalize(img):
    for to_rgb in (True, False):
        results = Normalize(MEAN, STD, to_rgb)({"img": img})
        wanted = ((img[..., ::-1] if to_rgb else img).astype(np.float64) - MEAN) / STD
        assert results["img"].dtype == np.float32
        np.testing.assert_allclose(results["img"], wanted, rtol=0, atol=4 * np.finfo(np.float32).eps * 3)
        assert results["img_norm_cfg"]["to_rgb"] is to_rgb
    assert repr(Normalize(MEAN, STD)) == (
        "Normalize(mean=[123.675 116.28  103.53 ], std=[58.395 57.12  57.375], to_rgb=True)"
    )
    with pytest.raises(ValueError, match="std must not be 0"):
        Normalize(MEAN, [1, 0, 1])


@pytest.mark.parametrize(
    ("arguments", "size", "factor"),
    [
        ({"scale": 20}, (20, 20), (20 / 40, 20 / 30)),
        ({"scale": (80, 45)}, (80, 45), (2, 1.5)),
        ({"scale_factor": 2.0}, (80, 60), (2, 2)),
        ({"scale_factor": (1.5, 2)}, (60, 60), (1.5, 2)),
        ({"scale": (20, 20), "keep_ratio": True}, (20, 15), (0.5, 0.5)),
        ({"scale": (1333, 60), "keep_ratio": True}, (80, 60), (2, 2)),
    ],
)
def test_resize(sample, arguments, size, factor):
    before = {k: v.copy() for k, v in sample.items()}
    results = Resize(**arguments)(dict(sample))
    assert np.array_equal(results["img"], cv2.resize(sample["img"], size, interpolation=cv2.INTER_LINEAR))
    assert results["img_shape"] == size[::-1] and results["scale_factor"] == factor
    assert results["keep_ratio"] is arguments.get("keep_ratio", False)
    assert np.array_equal(
        results["gt_seg_map"], cv2.resize(sample["gt_seg_map"], size, interpolation=cv2.INTER_NEAREST)
    )
    boxes = np.clip(before["gt_bboxes"] * np.tile(factor, 2), 0, np.tile(size, 2))
    points = np.clip(before["gt_keypoints"][..., :2] * factor, 0, size)
    assert results["gt_bboxes"].dtype == results["gt_keypoints"].dtype == np.float32
    np.testing.assert_allclose(results["gt_bboxes"], boxes, rtol=1e-6)
    np.testing.assert_allclose(results["gt_keypoints"][..., :2], points, rtol=1e-6)
    assert np.array_equal(results["gt_keypoints"][..., 2], before["gt_keypoints"][..., 2])
    for key, value in before.items():  # the caller's arrays stay as they were
        assert np.array_equal(sample[key], value)


def test_resize_without_limits_and_with_what_is_there(sample):
    results = Resize((80, 60), clip_object_border=False)(
        {"img": sample["img"], "gt_bboxes": np.array([[20, 15, 60, 45]])}
    )
    assert results["gt_bboxes"].tolist() == [[40, 30, 120, 90]]
    assert Resize((8, 6))({})["scale"] == (8, 6)  # nothing to resize
    whole = np.array([[[3, 5, 2], [1, 9, 1]]])  # keypoints keep their dtype: parts of pixels are dropped
    results = Resize((60, 75))({"img": sample["img"], "gt_keypoints": whole})
    assert results["gt_keypoints"].dtype == whole.dtype
    assert results["gt_keypoints"].tolist() == [[[4, 12, 2], [1, 22, 1]]] and whole[0, 0, 0] == 3
    assert repr(Resize((80, 60), keep_ratio=True)) == (
        "Resize(scale=(80, 60), scale_factor=None, keep_ratio=True, clip_object_border=True, backend=cv2, "
        "interpolation=bilinear)"
    )


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"size": (50, 33)}, (33, 50)),
        ({"size": (50, 9)}, (30, 50)),
        ({"size": (9, 9)}, (30, 40)),
        ({"size_divisor": 32}, (32, 64)),
        ({"pad_to_square": True}, (40, 40)),
        ({"pad_to_square": True, "size_divisor": 11}, (44, 44)),
    ],
)
@pytest.mark.parametrize("value", [0, 7, {"img": (1, 2, 3), "seg": 9}])
def test_pad(sample, arguments, shape, value):
    results = Pad(**arguments, pad_val=value)(dict(sample))
    color, label = (value["img"], value["seg"]) if isinstance(value, dict) else (value, 255)
    img = np.empty((*shape, 3), np.uint8)
    img[...] = color
    img[:30, :40] = sample["img"]
    seg = np.full(shape, label, np.uint8)
    seg[:30, :40] = sample["gt_seg_map"]
    assert np.array_equal(results["img"], img) and np.array_equal(results["gt_seg_map"], seg)
    assert results["pad_shape"] == (*shape, 3) and results["img_shape"] == shape
    assert results["pad_fixed_size"] == arguments.get("size")
    assert results["pad_size_divisor"] == arguments.get("size_divisor")


def test_pad_whose_size_is_set_later(sample):
    """Each image's own, by a transform that has one of these."""
    pad = Pad(size=0)
    pad.size = (50, 40)
    assert pad(dict(sample))["img"].shape[:2] == (40, 50)


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric"])
def test_pad_by_the_image(img, mode):
    results = Pad(size=(45, 37), padding_mode=mode)({"img": img})
    assert np.array_equal(results["img"], np.pad(img, ((0, 7), (0, 5), (0, 0)), mode=mode))


def test_center_crop(sample):
    results = CenterCrop((20, 10))(dict(sample))
    assert np.array_equal(results["img"], sample["img"][10:20, 10:30])
    assert np.array_equal(results["gt_seg_map"], sample["gt_seg_map"][10:20, 10:30])
    assert results["img_shape"] == results["pad_shape"] == (10, 20)
    assert results["gt_bboxes"].tolist() == [[0, 0, 11, 6], [10, 5, 20, 10]]
    assert results["gt_keypoints"].tolist() == [[[0, 0, 0]], [[10, 5, 2]], [[20, 10, 0]]]
    assert results["gt_bboxes"].dtype == results["gt_keypoints"].dtype == np.float32
    whole = {"img": sample["img"], "gt_bboxes": np.ones((1, 4), np.int32), "gt_keypoints": np.ones((1, 2, 3), np.int16)}
    results = CenterCrop((20, 10), clip_object_border=False)(whole)
    assert results["gt_bboxes"].dtype == results["gt_keypoints"].dtype == np.int64
    assert (
        results["gt_bboxes"].tolist() == [[-9, -9, -9, -9]] and results["gt_keypoints"][0].tolist() == [[0, 0, 0]] * 2
    )
    assert repr(CenterCrop(9)) == (
        "CenterCrop(crop_size = (9, 9), auto_pad=False, pad_cfg={'type': 'Pad'},clip_object_border = True)"
    )
    assert CenterCrop(99)({"img": sample["img"]})["img_shape"] == (30, 40)
    padded = CenterCrop((50, 20), auto_pad=True, pad_cfg={"type": "Pad", "pad_val": 5})({"img": sample["img"]})
    assert np.array_equal(padded["img"][:, :40], sample["img"][5:25]) and (padded["img"][:, 40:] == 5).all()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_flip(sample, direction):
    results = RandomFlip(1.0, direction, swap_seg_labels=[(1, 2)])(dict(sample))
    turn = {"horizontal": np.s_[:, ::-1], "vertical": np.s_[::-1], "diagonal": np.s_[::-1, ::-1]}[direction]
    assert results["flip"] is True and results["flip_direction"] == direction
    assert np.array_equal(results["img"], sample["img"][turn])
    labels = np.array([0, 2, 1, 3, 4, 5, 6])
    assert np.array_equal(results["gt_seg_map"], labels[sample["gt_seg_map"]][turn])
    boxes, points = sample["gt_bboxes"].copy(), sample["gt_keypoints"].copy()
    if direction != "vertical":
        boxes[:, [0, 2]] = 40 - boxes[:, [2, 0]]
        points[..., 0] = 40 - points[..., 0]
    if direction != "horizontal":
        boxes[:, [1, 3]] = 30 - boxes[:, [3, 1]]
        points[..., 1] = 30 - points[..., 1]
    assert np.array_equal(results["gt_bboxes"], boxes) and np.array_equal(results["gt_keypoints"], points)
    unflipped = RandomFlip(0.0)(dict(sample))
    assert unflipped["flip"] is False and unflipped["flip_direction"] is None and unflipped["img"] is sample["img"]


def test_flip_moves_keypoints_of_any_shape(img):
    results = RandomFlip(1.0)({"img": img, "gt_keypoints": np.array([[1.0, 2, 0], [39, 4, 1]])})
    assert results["gt_keypoints"].tolist() == [[39, 2, 0], [1, 4, 1]]


def test_flip_draws_each_direction_with_its_probability():
    np.random.seed(0)  # noqa: NPY002
    flip, n = RandomFlip([0.2, 0.3], ["horizontal", "vertical"]), 4000
    drawn = [flip._choose_direction() for _ in range(n)]
    for direction, p in (("horizontal", 0.2), ("vertical", 0.3), (None, 0.5)):
        assert abs(drawn.count(direction) / n - p) < 4 * np.sqrt(p * (1 - p) / n)
    shared = RandomFlip(0.6, DIRECTIONS)
    drawn = [shared._choose_direction() for _ in range(n)]
    assert abs(drawn.count("diagonal") / n - 0.2) < 4 * np.sqrt(0.2 * 0.8 / n)


def test_grayscale(img):
    exact, rest = np.divmod(img.astype(int) @ [1, 2, 3], 6)
    gray = RandomGrayscale(1.0, channel_weights=(1, 2, 3))({"img": img})["img"]
    assert gray.dtype == np.uint8 and gray.shape == (30, 40)
    assert np.array_equal(gray[rest > 0], exact[rest > 0])  # rounded down
    assert np.isin(exact - gray, (0, 1)).all()  # whole sums may lose a rounding
    kept = RandomGrayscale(1.0, keep_channels=True, channel_weights=(1, 2, 3))({"img": img})
    assert np.array_equal(kept["img"], np.dstack([gray] * 3))
    assert np.array_equal(RandomGrayscale(0.0)({"img": img})["img"], img)
    with pytest.raises(ValueError, match="channel_weights must have one for each of 3 channels, got 2"):
        RandomGrayscale(1.0, channel_weights=(1, 2))({"img": img})


def test_random_sizes(img):
    np.random.seed(0)  # noqa: NPY002
    sizes = [RandomResize((100, 50), (0.5, 2.0))({"img": img})["scale"] for _ in range(50)]
    assert all(50 <= w <= 200 and 25 <= h <= 100 for w, h in sizes) and len(set(sizes)) > 40
    sizes = [RandomResize([(20, 40), (10, 60)])({"img": img})["img_shape"] for _ in range(200)]
    assert {w for _, w in sizes} == set(range(10, 21)) and {h for h, _ in sizes} == set(range(40, 61))
    chosen = [RandomChoiceResize([(10, 20), 15], keep_ratio=False)({"img": img}) for _ in range(50)]
    assert {(r["scale_idx"], r["img_shape"]) for r in chosen} == {(0, (20, 10)), (1, (15, 15))}
    with pytest.raises(NotImplementedError, match=r"scale must be \(w, h\) or a list of two"):
        RandomResize([(1, 2), [3, 4]])({"img": img})


def test_a_pipeline_draws_what_numpy_and_python_are_seeded_for(sample):
    steps = [
        {"type": "RandomResize", "scale": (60, 40), "ratio_range": (0.5, 2.0)},
        {"type": "RandomFlip", "prob": 0.5, "direction": DIRECTIONS},
        {"type": "RandomGrayscale", "prob": 0.5, "keep_channels": True},
        {"type": "RandomChoice", "transforms": [[{"type": "Pad", "size_divisor": d}] for d in (8, 16, 32)]},
        {"type": "RandomApply", "transforms": {"type": "Normalize", "mean": MEAN, "std": STD}, "prob": 0.5},
    ]
    pipeline = Compose(steps)

    def run(seed):
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        return [pipeline(dict(sample)) for _ in range(10)]

    first, second, other = run(3), run(3), run(4)
    for a, b in zip(first, second, strict=True):
        assert (
            a.keys() == b.keys()
            and np.array_equal(a["img"], b["img"])
            and np.array_equal(a["gt_bboxes"], b["gt_bboxes"])
        )
    assert any(a["img"].shape != c["img"].shape for a, c in zip(first, other, strict=True))


# ---- several versions ------------------------------------------------------------------------------------------------
def pack(results):
    return {"inputs": results["img"], "data_sample": (results["img_shape"], results["flip_direction"])}


def test_multi_scale_flip_aug(img):
    transform = MultiScaleFlipAug(
        [pack],
        scales=[(20, 20), (40, 40)],
        allow_flip=True,
        flip_direction=["horizontal", "vertical"],
    )
    results = transform({"img": img})
    shapes = [(15, 20)] * 3 + [(30, 40)] * 3
    assert results["data_sample"] == list(zip(shapes, [None, "horizontal", "vertical"] * 2, strict=True))
    assert np.array_equal(results["inputs"][4], img[:, ::-1])
    factors = MultiScaleFlipAug([pack], scale_factor=[0.5, 2.0])({"img": img})
    assert [x.shape for x in factors["inputs"]] == [(15, 20, 3), (60, 80, 3)]
    with pytest.warns(UserWarning, match="flip_direction has no effect when flip is set to False"):
        MultiScaleFlipAug([], flip_direction="vertical")
    with pytest.raises(TypeError, match="flip_direction must be a str or a list of them, got 1"):
        MultiScaleFlipAug([], flip_direction=1)
    with pytest.raises(TypeError, match=r"scales must be a tuple or a list of tuples, got \[\[1333, 800\]\]"):
        MultiScaleFlipAug([], scales=[[1333, 800]])


def test_test_time_aug(img):
    sample = {"img": img}
    resize = [{"type": "Resize", "scale": (20, 15)}, Resize((40, 30))]
    results = TestTimeAug([resize, [RandomFlip(0.0), RandomFlip(1.0)]])(sample)
    assert [x.shape[:2] for x in results["img"]] == [(15, 20), (15, 20), (30, 40), (30, 40)]
    assert results["flip"] == [False, True, False, True] and np.array_equal(results["img"][3], img[:, ::-1])
    assert sample.keys() == {"img"}
    with pytest.raises(TypeError, match=r"must return a dict, got NoneType"):
        TestTimeAug([[lambda results: None]])(sample)
    with pytest.raises(TypeError, match=r"transforms\[0\]\[0\] must be a dict or callable, got int"):
        TestTimeAug([[3]])


# ---- bad input -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Resize(), "scale or scale_factor must be given"),
        (lambda: Resize(scale_factor=[]), r"scale_factor must be a float or two, got \[\]"),
        (lambda: Resize(scale_factor=(1.0,)), r"scale_factor must have 2 numbers, got \(1.0,\)"),
        (lambda: Pad(size=(10, 10), size_divisor=2), "one of size and size_divisor must be given"),
        (lambda: Pad(), "one of size and size_divisor must be given"),
        (lambda: Pad(size=(10, 10), pad_to_square=True), "size must be None with pad_to_square"),
        (lambda: Pad(size=(10, 10), pad_val=[]), r"pad_val must be a number or a dict, got \[\]"),
        (lambda: Pad(size=(10, 10), padding_mode="edg"), "padding_mode must be one of constant, edge"),
        (lambda: Pad(size_divisor=0), "size_divisor must be an int greater than 0, got 0"),
        (lambda: CenterCrop(-1), r"crop_size must be greater than 0, got \(-1, -1\)"),
        (lambda: CenterCrop((224,)), r"crop_size must be an int or \(w, h\), got \(224,\)"),
        (lambda: RandomFlip(None), "prob must be a float or a list of floats, got None"),
        (lambda: RandomFlip(1.5), r"prob must be a probability in \[0, 1\], got 1.5"),
        (lambda: RandomFlip([0.6, 0.6], DIRECTIONS[:2]), "prob must sum to at most 1"),
        (lambda: RandomFlip([0.1], DIRECTIONS[:2]), "prob must have one for each direction, got 1 and 2"),
        (lambda: RandomFlip(0.1, "sideways"), "direction must be of horizontal, vertical, diagonal, got 'sideways'"),
        (lambda: RandomFlip(0.1, 1), "direction must be a str or a list of them, got 1"),
        (lambda: RandomGrayscale(-0.1), "prob must be a probability"),
        (lambda: RandomGrayscale(color_format="lab"), "color_format must be one of bgr, rgb, hsv, got 'lab'"),
        (lambda: RandomChoiceResize([0.5, 1]), r"scales must be ints or tuples \(w, h\), got \[0.5, 1\]"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    ("transform", "change", "error", "message"),
    [
        (Normalize(MEAN, STD), {"img": None}, ValueError, r"Normalize\(mean=.*\): img must have shape \(H, W\) or"),
        (Resize(0), {}, ValueError, r"Resize\(scale=\(0, 0\).*\): scale must be \(w, h\) greater than 0, got \(0, 0\)"),
        (Resize((3, -1)), {}, ValueError, r"scale must be \(w, h\) greater than 0, got \(3, -1\)"),
        (Resize("big"), {}, ValueError, r"scale must be \(w, h\) greater than 0, got 'big'"),
        (Resize(scale_factor=0.0), {}, ValueError, "scale_factor must be greater than 0"),
        (Resize(scale_factor=1e-9), {}, ValueError, r"scale_factor must leave pixels, got \(0, 0\) of \(40, 30\)"),
        (Resize(9), {"gt_bboxes": np.zeros((2, 5))}, ValueError, r"gt_bboxes must have shape \(N, 4\), got \(2, 5\)"),
        (Resize(9), {"gt_bboxes": [[1, 2, 3, 4]]}, ValueError, r"gt_bboxes must have shape \(N, 4\), got list"),
        (Resize(9), {"gt_keypoints": np.zeros((2, 3))}, ValueError, r"gt_keypoints must have shape \(N, K, 3\)"),
        (Pad(size=0), {}, ValueError, r"Pad\(.*\): size must be \(w, h\) greater than 0, got 0"),
        (Pad(size=(9, 0)), {}, ValueError, r"size must be \(w, h\) greater than 0, got \(9, 0\)"),
        (RandomFlip(1.0), {"gt_bboxes": np.zeros((2, 5))}, ValueError, r"gt_bboxes must have shape \(N, 4\)"),
        (RandomFlip(1.0, swap_seg_labels=[3]), {}, TypeError, r"swap_seg_labels must be pairs, got \[3\]"),
        (CenterCrop(9), {"gt_bboxes": np.zeros((2, 5))}, ValueError, r"CenterCrop\(.*\): gt_bboxes must have shape"),
    ],
)
def test_bad_samples(sample, transform, change, error, message):
    with pytest.raises(error, match=message):
        transform({**sample, **change})


@pytest.mark.parametrize(
    "transform", [Normalize(MEAN, STD), Pad(size_divisor=2), CenterCrop(3), RandomFlip(1.0), RandomGrayscale(1.0)]
)
def test_a_missing_image_is_named(transform):
    with pytest.raises(KeyError, match=rf"{type(transform).__name__}\(.*\): results must have 'img', got 'other'"):
        transform({"other": 1})
