import cv2
import numpy as np
import pytest
from PIL import Image

from arrayvision import image
from arrayvision.image.geometric import bbox_clip, bbox_scaling
from tests.image.pictures import noise, photo, views

IMG = photo(300, 400)
NINE = np.arange(1, 10, dtype=np.uint8).reshape(3, 3)


# ---- resizing --------------------------------------------------------------------------------------------------------
def test_imresize():
    assert image.imresize(IMG, (1000, 600)).shape == (600, 1000, 3)
    resized, w, h = image.imresize(IMG, (1000, 600), return_scale=True)
    assert resized.shape == (600, 1000, 3) and (w, h) == (2.5, 2.0)
    for mode, code in (("nearest", 0), ("bilinear", 1), ("bicubic", 2), ("area", 3), ("lanczos", 4)):
        np.testing.assert_array_equal(
            image.imresize(IMG, (120, 70), interpolation=mode), cv2.resize(IMG, (120, 70), interpolation=code)
        )
    for mode in ("nearest", "bilinear", "bicubic", "box", "lanczos", "hamming"):
        wanted = np.array(Image.fromarray(IMG).resize((120, 70), getattr(Image.Resampling, mode.upper())))
        np.testing.assert_array_equal(image.imresize(IMG, (120, 70), interpolation=mode, backend="pillow"), wanted)


def test_imresize_out():
    wanted = image.imresize(IMG, (50, 40))
    for out in (np.empty((40, 50, 3), np.uint8), np.empty((40, 100, 3), np.uint8)[:, ::2]):
        assert image.imresize(IMG, (50, 40), out=out) is out
        np.testing.assert_array_equal(out, wanted)
    with pytest.raises(ValueError, match=r"out must have shape \(40, 50, 3\)"):
        image.imresize(IMG, (50, 40), out=np.empty((40, 50), np.uint8))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int16", "int32", "int64", "uint64", "float16", "float64"])
def test_imresize_keeps_dtype_and_channels(dtype):
    labels = (np.arange(12).reshape(3, 4) % 2 if dtype == "bool" else np.arange(12).reshape(3, 4)).astype(dtype)
    doubled = image.imresize(labels, (8, 6), interpolation="nearest")
    np.testing.assert_array_equal(doubled, labels.repeat(2, 0).repeat(2, 1))
    assert doubled.dtype == dtype
    assert image.imresize(labels[..., None], (8, 6)).shape == (6, 8, 1)
    assert image.imresize(np.repeat(labels[..., None], 6, 2), (8, 6)).shape == (6, 8, 6)


def test_large_labels_survive():
    labels = np.array([[2**40, -(2**40)]], np.int64)
    np.testing.assert_array_equal(image.imresize(labels, (4, 1), interpolation="nearest"), labels.repeat(2, 1))


def test_rescale_size():
    assert image.rescale_size((400, 300), 1.5, True) == ((600, 450), 1.5)
    assert image.rescale_size((400, 300), 0.934) == (374, 280)
    assert image.rescale_size((400, 300), (1000, 600), True) == ((800, 600), 2.0)
    assert image.rescale_size((400, 300), (180, 200), True) == ((200, 150), 0.5)
    for bad in (-0.5, 0, np.nan, np.inf, (0, 5), (1, 2, 3)):
        with pytest.raises(ValueError, match="rescale_size: scale"):
            image.rescale_size((400, 300), bad)
    with pytest.raises(TypeError, match="scale must be a number or a tuple"):
        image.rescale_size((400, 300), [100, 100])


def test_thin_images_keep_a_pixel():
    for shape in ((3, 1000), (1000, 3), (1000, 1, 3)):
        for scale in ((50, 50), 0.01):
            got = image.imrescale(np.full(shape, 7, np.uint8), scale)
            assert min(got.shape[:2]) == 1 and max(got.shape[:2]) in (10, 50) and (got == 7).all()
    assert image.rescale_size((1000, 3), (50, 50)) == (50, 1)
    assert image.imresize_to_multiple(np.zeros((3, 1000), np.uint8), 1, size=(50, 50), keep_ratio=True).shape == (1, 50)
    assert image.imresize_like(np.zeros((3, 1000), np.uint8), np.zeros((1, 1))).shape == (1, 1)


def test_imrescale_and_like():
    assert image.imrescale(IMG, 1.5).shape == (450, 600, 3)
    resized, scale = image.imrescale(IMG, (180, 200), return_scale=True)
    assert resized.shape == (150, 200, 3) and scale == 0.5
    assert image.imresize_like(IMG, np.zeros((100, 200))).shape == (100, 200, 3)
    with pytest.raises(TypeError):
        image.imrescale(IMG, [100, 100])


def test_imresize_to_multiple():
    call = image.imresize_to_multiple
    assert call(IMG, 16, size=(511, 513)).shape == (528, 512, 3)
    assert call(IMG, (16, 32), size=(511, 513)).shape == (544, 512, 3)
    got, w, h = call(IMG, (18, 16), size=(1000, 600), keep_ratio=True, return_scale=True)
    assert got.shape == (608, 810, 3) and (w, h) == (810 / 400, 608 / 300)
    assert call(IMG, 16, scale_factor=2).shape == (608, 800, 3)
    assert call(IMG, (18, 16), scale_factor=(2, 3)).shape == (912, 810, 3)
    assert call(IMG, [18, 16], scale_factor=(2, 3), keep_ratio=True).shape == (912, 810, 3)  # which is for size
    for kwargs in ({}, {"size": (9, 9), "scale_factor": 2}):
        with pytest.raises(ValueError, match="give either size or scale_factor"):
            call(IMG, 16, **kwargs)
    with pytest.raises(ValueError, match="divisor"):
        call(IMG, 0, scale_factor=2)


@pytest.mark.parametrize("size", [(0, 5), (-3, 5), (5,), (1 << 20, 1 << 20), (np.nan, 4), (2.5, 3), 7])
def test_bad_sizes(size):
    with pytest.raises((ValueError, TypeError), match="imresize: size"):
        image.imresize(IMG, size)


def test_resize_refuses():
    with pytest.raises(ValueError, match="backend"):
        image.imresize(IMG, (5, 5), backend="not support")
    with pytest.raises(ValueError, match="interpolation must be"):
        image.imresize(IMG, (5, 5), interpolation="sinc")
    with pytest.raises(ValueError, match="must have pixels"):
        image.imresize(IMG[:0], (5, 5))
    with pytest.raises(AssertionError, match="uint8 for Pillow"):
        image.imresize(IMG.astype(float), (5, 5), backend="pillow")
    with pytest.raises(TypeError, match="real numbers"):
        image.imresize(IMG.astype(complex), (5, 5))


# ---- flipping --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("direction", "axes"), [("horizontal", (1,)), ("vertical", (0,)), ("diagonal", (0, 1))])
def test_flips(direction, axes):
    for img in (noise(), noise(c=0), noise(c=7), noise().astype(np.int64)):
        wanted = np.flip(img, axes)
        np.testing.assert_array_equal(image.imflip(img, direction), wanted)
        for layout in (img.copy(), np.asfortranarray(img), np.repeat(img, 2, axis=1)[:, ::2]):
            assert image.imflip_(layout, direction) is layout
            np.testing.assert_array_equal(layout, wanted)
    for function in (image.imflip, image.imflip_):
        with pytest.raises(AssertionError, match="direction must be 'horizontal'"):
            function(noise(), direction="random")


# ---- cropping --------------------------------------------------------------------------------------------------------
def test_imcrop():
    boxes = np.array([[100, 100, 199, 199], [0, 0, 150, 100], [250, 200, 399, 299], [150, 0, 299, 299]])
    np.testing.assert_array_equal(image.imcrop(IMG, boxes[0]), IMG[100:200, 100:200])
    for patch, (x1, y1, x2, y2) in zip(image.imcrop(IMG, boxes), boxes, strict=True):
        np.testing.assert_array_equal(patch, IMG[y1 : y2 + 1, x1 : x2 + 1])
    for patch, box in zip(image.imcrop(IMG, boxes, 1.2), bbox_scaling(boxes, 1.2).astype(int), strict=True):
        x1, y1, x2, y2 = bbox_clip(box, IMG.shape)
        np.testing.assert_array_equal(patch, IMG[y1 : y2 + 1, x1 : x2 + 1])
    filled = image.imcrop(IMG, np.array([-5, -7, 9, 11]), pad_fill=[255, 254, 0])
    assert filled.shape == (19, 15, 3)
    np.testing.assert_array_equal(filled[7:, 5:], IMG[:12, :10])
    assert (filled[:7] == [255, 254, 0]).all() and (filled[:, :5] == [255, 254, 0]).all()


def test_imcrop_outside():
    boxes = np.array([[-50, -50, -40, -30], [500, 400, 504, 402]])
    edge = image.imcrop(IMG, boxes)
    np.testing.assert_array_equal(edge[0], IMG[:1, :1])
    np.testing.assert_array_equal(edge[1], IMG[-1:, -1:])
    filled = image.imcrop(IMG[..., 0], boxes, pad_fill=9)
    assert [f.shape for f in filled] == [(21, 11), (3, 5)] and all((f == 9).all() for f in filled)


def test_imcrop_refuses():
    for box, what in (
        ([5, 5, 3, 9], "x2 >= x1"),
        ([0, 0, np.nan, 3], "finite"),
        ([0, 0, 1e30, 3], "within"),
        ([1, 2, 3], "shape"),
    ):
        with pytest.raises(ValueError, match=what):
            image.imcrop(IMG, np.array(box))
    with pytest.raises(ValueError, match="at most"):
        image.imcrop(IMG, np.array([0, 0, 2**29, 2**29]), pad_fill=0)
    with pytest.raises(ValueError, match="scale"):
        image.imcrop(IMG, np.array([0, 0, 5, 5]), scale=-1)
    with pytest.raises(AssertionError, match="pad_fill must have 3"):
        image.imcrop(IMG, np.array([0, 0, 5, 5]), pad_fill=[1, 2])
    assert image.imcrop(IMG, np.zeros((0, 4))) == []


# ---- padding ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "uint16", "int32", "int64", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("channels", [0, 1, 3, 6])
def test_impad_as_numpy(dtype, channels):
    img = (noise(5, 6, channels) % 2).astype(dtype)
    widths = ((2, 4), (1, 3), (0, 0))[: img.ndim]
    got = image.impad(img, padding=(1, 2, 3, 4), pad_val=1)
    np.testing.assert_array_equal(got, np.pad(img, widths, constant_values=1))
    assert got.dtype == dtype
    for mode in ("edge", "reflect", "symmetric"):
        np.testing.assert_array_equal(
            image.impad(img, padding=(1, 2, 3, 4), padding_mode=mode), np.pad(img, widths, mode)
        )
    values = tuple(range(1, max(channels, 1) + 1))
    filled = image.impad(img.astype(np.float32), shape=(9, 8), pad_val=values)
    assert (filled[5:] == (values if img.ndim == 3 else 1)).all()


def test_impad_arguments():
    img = noise(10, 10)
    assert image.impad(img, padding=2).shape == (14, 14, 3)
    assert image.impad(img, padding=(5, 2)).shape == (14, 20, 3)
    assert image.impad(img, shape=(15, 12)).shape == (15, 12, 3)
    assert image.impad(img, shape=(5, 12)).shape == (10, 12, 3)  # a longer side stays so
    assert image.impad_to_multiple(noise(11, 14), 4).shape == (12, 16, 3)
    assert (image.impad_to_multiple(noise(11, 14), 4, pad_val=7)[11:] == 7).all()
    for kwargs, kind in (
        ({"padding": (1, 1, 1)}, ValueError),
        ({"padding": 1, "pad_val": "wrong"}, TypeError),
        ({"padding": 3, "pad_val": (100, 200)}, AssertionError),
        ({"padding": 2, "padding_mode": "unknown"}, AssertionError),
        ({"padding": 2, "shape": (12, 15)}, AssertionError),
        ({}, AssertionError),
        ({"padding": -1}, ValueError),
        ({"padding": 1 << 29}, ValueError),
    ):
        with pytest.raises(kind, match="impad: "):
            image.impad(img, **kwargs)


def test_cutout():
    np.testing.assert_array_equal(image.cutout(NINE, 6), np.zeros_like(NINE))
    np.testing.assert_array_equal(image.cutout(NINE, 0), NINE)
    np.random.seed(0)  # noqa: NPY002
    assert image.cutout(NINE, 1).tolist() == [[1, 2, 3], [4, 0, 6], [7, 8, 9]]
    assert image.cutout(NINE, 1, pad_val=10).tolist() == [[1, 2, 3], [4, 10, 6], [7, 8, 9]]
    img = noise()
    cut = image.cutout(img, (10, 20), pad_val=(1, 2, 3))
    assert 0 < (cut != img).any(-1).sum() <= 200
    for args, kind in (
        ((2.5,), AssertionError),
        ((1, (1, 2, 3)), AssertionError),
        ((1, None), TypeError),
        ((-1,), ValueError),
    ):
        with pytest.raises(kind, match="cutout: "):
            image.cutout(NINE, *args)


# ---- warping ---------------------------------------------------------------------------------------------------------
def test_imrotate():
    np.testing.assert_array_equal(image.imrotate(NINE, 0), NINE)
    np.testing.assert_array_equal(image.imrotate(NINE, 90), np.rot90(NINE, -1))
    np.testing.assert_array_equal(image.imrotate(NINE, -90), np.rot90(NINE))
    eight = np.arange(1, 9, dtype=np.uint8).reshape(2, 4)
    assert image.imrotate(eight, 90).tolist() == [[0, 6, 2, 0], [0, 7, 3, 0]]
    assert image.imrotate(eight, 90, center=(0, 0)).tolist() == [[1, 0, 0, 0], [2, 0, 0, 0]]
    assert image.imrotate(eight, 90, border_value=255).tolist() == [[255, 6, 2, 255], [255, 7, 3, 255]]
    assert image.imrotate(eight, 90, auto_bound=True).tolist() == [[5, 1], [6, 2], [7, 3], [8, 4]]
    line = np.arange(1, 6, dtype=np.uint8)[None].repeat(5, 0)  # moved by 2 to the right and down
    for mode, row in (
        ("replicate", [1, 1, 1, 2, 3]),
        ("edge", [1, 1, 1, 2, 3]),
        ("reflect", [2, 1, 1, 2, 3]),
        ("symmetric", [2, 1, 1, 2, 3]),
        ("reflect_101", [3, 2, 1, 2, 3]),
        ("wrap", [4, 5, 1, 2, 3]),
    ):
        turned = image.imrotate(line[:, ::-1], 180, center=(3.0, 3.0), border_mode=mode)
        assert turned[2].tolist() == row, mode
    framed = image.imrotate(noise(8, 8), 0, scale=0.25, border_value=[1, 2, 3])
    assert framed[0, 0].tolist() == [1, 2, 3]
    turned = image.imrotate(noise(20, 30), 33, auto_bound=True)
    assert turned.shape == (round(20 * 0.83867 + 30 * 0.54464), round(20 * 0.54464 + 30 * 0.83867), 3)
    many = np.concatenate([noise(), noise(seed=1)], 2)
    np.testing.assert_array_equal(image.imrotate(many, 20)[..., :4], image.imrotate(many[..., :4], 20))
    assert image.imrotate(NINE[..., None].astype(np.int64), 90)[..., 0].tolist() == np.rot90(NINE, -1).tolist()
    with pytest.raises(ValueError, match="either center or auto_bound"):
        image.imrotate(NINE, 90, center=(0, 0), auto_bound=True)
    for kwargs in (
        {"angle": np.nan},
        {"angle": 1, "scale": 0},
        {"angle": 1, "scale": 1e9, "auto_bound": True},
        {"angle": 1, "border_mode": "x"},
    ):
        with pytest.raises(ValueError, match="imrotate: "):
            image.imrotate(NINE, **kwargs)


def test_imshear():
    np.testing.assert_array_equal(image.imshear(NINE, 0), NINE)
    assert image.imshear(NINE, 1).tolist() == [[1, 2, 3], [0, 4, 5], [0, 0, 7]]
    assert image.imshear(NINE, -1, "vertical").tolist() == [[1, 5, 9], [4, 8, 0], [7, 0, 0]]
    three = np.stack([NINE] * 3, -1)
    for border in (100, (100, 100, 100)):
        got = image.imshear(three, 1, "vertical", border)
        assert got[..., 1].tolist() == [[1, 100, 100], [4, 2, 100], [7, 5, 3]]
    for args, kind in (
        ((0.5, "horizontal", (100,)), AssertionError),
        ((0.5, "horizontal", [100]), ValueError),
        ((0.5, "diagonal"), AssertionError),
        ((np.nan,), ValueError),
    ):
        with pytest.raises(kind, match="imshear: "):
            image.imshear(three, *args)


def test_imtranslate():
    assert image.imtranslate(NINE, 1, border_value=128).tolist() == [[128, 1, 2], [128, 4, 5], [128, 7, 8]]
    assert image.imtranslate(NINE, -1, "vertical").tolist() == [[4, 5, 6], [7, 8, 9], [0, 0, 0]]
    img = noise(c=3)
    moved = image.imtranslate(img, 2, "vertical", (110, 120, 130))
    assert (moved[:2] == (110, 120, 130)).all()
    np.testing.assert_array_equal(moved[2:], img[:-2])
    for args, kind in (
        ((1, "diagonal"), AssertionError),
        ((1, "horizontal", (1,)), AssertionError),
        ((1, "horizontal", [1, 2, 3]), ValueError),
    ):
        with pytest.raises(kind, match="imtranslate: "):
            image.imtranslate(img, *args)


FUNCTIONS = {
    "imresize": lambda x: image.imresize(x, (33, 21)),
    "imflip": image.imflip,
    "imcrop": lambda x: image.imcrop(x, np.array([3, 4, 30, 20])),
    "impad": lambda x: image.impad(x, padding=3),
    "imrotate": lambda x: image.imrotate(x, 30),
    "imshear": lambda x: image.imshear(x, 0.3),
    "imtranslate": lambda x: image.imtranslate(x, 5),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_layouts_and_inputs_kept(name):
    function, img = FUNCTIONS[name], photo()
    wanted = function(img)
    for layout, view in views(img):
        np.testing.assert_array_equal(function(view), wanted, err_msg=layout)
        np.testing.assert_array_equal(view, photo(), err_msg=layout)


@pytest.mark.parametrize("shape", [(1, 2**31 + 5, 3), (2**31 + 5, 1, 3)])
def test_imrescale_of_sides_that_opencv_cannot_count(shape):
    """The error is about what the caller gave, not about a helper's argument."""
    img = np.broadcast_to(np.zeros((1, 1, 1), np.uint8), shape)
    with pytest.raises(ValueError, match=r"^imrescale: img must"):
        image.imrescale(img, (8, 8))
