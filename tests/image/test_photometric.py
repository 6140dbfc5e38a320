import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from arrayvision import image
from tests.image.pictures import noise, photo, views

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
SMALL = np.array([[0, 128, 255], [1, 127, 254], [2, 129, 253]], np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("to_rgb", [True, False])
def test_imnormalize(dtype, to_rgb):
    img = photo().astype(dtype)
    wanted = ((img[..., ::-1] if to_rgb else img) - MEAN) / STD
    got = image.imnormalize(img, MEAN, STD, to_rgb)
    assert got.dtype == np.float32 and got.shape == img.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=4 * np.finfo(np.float32).eps * 5)  # values up to 2.6


def test_imnormalize_other_channels():
    gray, five = noise(c=0), noise(c=5)
    np.testing.assert_allclose(image.imnormalize(gray, 3, 2, to_rgb=False), (gray - 3.0) / 2, rtol=1e-6)
    mean, std = np.arange(5.0), np.arange(1.0, 6)
    np.testing.assert_allclose(image.imnormalize(five, mean, std, False), (five - mean) / std, rtol=1e-6)
    floats = five.astype(np.float32)
    np.testing.assert_allclose(image.imnormalize(floats, mean, std, False), (five - mean) / std, rtol=1e-6, atol=1e-5)


def test_imnormalize_in_place():
    for img in (photo().astype(np.float32), photo().astype(np.float64), np.asfortranarray(photo().astype(np.float32))):
        wanted = (img[..., ::-1] - MEAN) / STD
        assert image.imnormalize_(img, MEAN, STD) is img
        np.testing.assert_allclose(img, wanted, atol=3e-6)
    with pytest.raises(TypeError, match="imnormalize_: img must be float32 or float64, got uint8"):
        image.imnormalize_(photo(), MEAN, STD)
    locked = photo().astype(np.float32)
    locked.flags.writeable = False
    with pytest.raises(TypeError, match="can't be written"):
        image.imnormalize_(locked, MEAN, STD)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_imdenormalize_undoes_imnormalize(dtype):
    img = photo()
    normal = ((img[..., ::-1] - MEAN) / STD).astype(dtype)
    got = image.imdenormalize(normal, MEAN, STD)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, img, atol=1e-4 if dtype == np.float32 else 1e-10)
    np.testing.assert_allclose(image.imdenormalize(normal, MEAN, STD, False), img[..., ::-1], atol=1e-4)
    gray = image.imdenormalize(normal[..., 0], 1.5, 2.0, False)
    np.testing.assert_allclose(gray, normal[..., 0] * 2 + 1.5, rtol=1e-6)


STATISTICS = [((127.5,), (127.5,)), (MEAN, STD), ((116.28, 103.53, 123.675), (57.12, 57.375, 58.395)), ((0,), (255,))]
STATISTICS += [tuple(np.random.default_rng(i).uniform((60, 20), (160, 90), (3, 2)).T) for i in range(40)]


@pytest.mark.parametrize("channels", [0, 1, 2, 3, 5])
def test_pixels_survive_normalizing(channels):
    """Every 8-bit and many 16-bit values, by any statistics: the same after a cast, which cuts fractions off."""
    values = np.concatenate([np.arange(256), np.arange(256, 65536, 97)]).astype(np.float32)
    img = np.repeat(values, max(channels, 1)).reshape((1, -1, channels) if channels else (1, -1))
    for mean, std in STATISTICS:
        mean, std = np.resize(mean, max(channels, 1)), np.resize(std, max(channels, 1))
        for swap in (False, True)[: 2 if channels == 3 else 1]:
            back = image.imdenormalize(image.imnormalize(img, mean, std, swap), mean, std, swap)
            np.testing.assert_array_equal(back.astype(np.uint16), img.astype(np.uint16), err_msg=f"{mean} {std}")


def test_denormalizing_moves_only_what_is_a_rounding_away():
    x = np.linspace(-2, 2, 6003).astype(np.float32).reshape(1, -1, 3)
    got = image.imdenormalize(x, 127.5, 127.5, False)
    np.testing.assert_allclose(got, x.astype(float) * 127.5 + 127.5, rtol=0, atol=400 * 5e-7)
    assert (got != np.rint(got)).mean() > 0.9
    special = np.array([[[np.nan, np.inf, -np.inf]]], np.float32)
    np.testing.assert_array_equal(image.imdenormalize(special, 127.5, 127.5, False), special)


def test_normalize_refuses():
    img = photo()
    with pytest.raises(ValueError, match="mean must have 3 numbers"):
        image.imnormalize(img, [1, 2], STD)
    with pytest.raises(ValueError, match="to_rgb must be False"):
        image.imnormalize(img[..., 0], 1, 2)
    with pytest.raises(TypeError, match="img must be an array"):
        image.imnormalize([[1]], 1, 2, False)


def test_values():
    np.testing.assert_array_equal(image.iminvert(SMALL), 255 - SMALL)
    np.testing.assert_array_equal(image.solarize(SMALL), [[0, 127, 0], [1, 127, 1], [2, 126, 2]])
    np.testing.assert_array_equal(image.solarize(SMALL, 100), [[0, 127, 0], [1, 128, 1], [2, 126, 2]])
    np.testing.assert_array_equal(image.posterize(SMALL, 1), [[0, 128, 128], [0, 0, 128], [0, 128, 128]])
    np.testing.assert_array_equal(image.posterize(SMALL, 3), [[0, 128, 224], [0, 96, 224], [0, 128, 224]])


@pytest.mark.parametrize("thr", [-3, 0, 0.5, 1, 77.3, 128, 255, 255.5, 300])
def test_solarize_against_numpy(thr):
    for img in (noise(), noise(c=0)):
        np.testing.assert_array_equal(image.solarize(img, thr), np.where(img < thr, img, 255 - img))
    wide = noise().astype(np.int64)
    np.testing.assert_array_equal(image.solarize(wide, thr), np.where(wide < thr, wide, 255 - wide))


@pytest.mark.parametrize("bits", range(9))
def test_posterize_against_shifts(bits):
    for img in (noise(), noise(c=0), noise(c=7)):
        np.testing.assert_array_equal(image.posterize(img, bits), img >> (8 - bits) << (8 - bits))
    wide = noise().astype(np.int32)
    np.testing.assert_array_equal(image.posterize(wide, bits), wide >> (8 - bits) << (8 - bits))


def test_lut_transform():
    table = np.random.default_rng(0).integers(0, 256, 256)
    for shape in ((3, 4), (3, 4, 3), (2, 3, 4, 5), (0, 4)):
        img = np.random.default_rng(1).integers(0, 256, shape)
        for dtype in (np.uint8, np.int64, np.float64):
            for kind in (np.uint8, np.float32, np.int64):
                got = image.lut_transform(img.astype(dtype), table.astype(kind))
                np.testing.assert_array_equal(got, table[img])
                assert got.dtype == kind
    for bad in (np.array([256]), np.array([-1]), np.array([np.nan])):
        with pytest.raises(AssertionError, match="values from 0 to 255"):
            image.lut_transform(bad, table)
    with pytest.raises(AssertionError):
        image.lut_transform(np.array([1]), np.arange(257))
    with pytest.raises(TypeError):
        image.lut_transform(np.array([1]), list(range(256)))


def test_adjust_color():
    img = noise()
    gray = np.repeat(image.bgr2gray(img)[..., None], 3, axis=2)
    np.testing.assert_array_equal(image.adjust_color(img), img)
    np.testing.assert_array_equal(image.adjust_color(img, 0), gray)
    for alpha, beta, gamma in ((0.5, 0.5, 0), (1, 1.5, 0), (0.8, -0.6, 2), (0.8, -0.6, -0.6), (-1, 2, 300)):
        exact = np.clip(img.astype(float) * alpha + gray.astype(float) * beta + gamma, 0, 255)
        got = image.adjust_color(img, alpha, beta, gamma).astype(int)
        assert np.abs(got - exact).max() <= 0.5 + 1e-4  # rounded to nearest, in float32
        floats = image.adjust_color(img.astype(np.float32), alpha, beta, gamma)
        luma = img @ np.array([0.114, 0.587, 0.299])
        exact = np.clip(img.astype(float) * alpha + luma[..., None] * beta + gamma, 0, 255)
        np.testing.assert_allclose(floats, exact, atol=1e-3)
    pil = np.array(ImageEnhance.Color(Image.fromarray(img[..., ::-1])).enhance(1.4))[..., ::-1]
    np.testing.assert_array_equal(image.adjust_color(img, 1.4, backend="pillow"), pil)
    assert np.abs(image.adjust_color(img, 1.4).astype(int) - pil).max() <= 2


@pytest.mark.parametrize("factor", [0, 0.3, 0.77, 1, 1.5, 3])
def test_brightness_and_contrast_as_pillow(factor):
    img = photo(100, 120)
    rgb = Image.fromarray(np.ascontiguousarray(img[..., ::-1]))
    for name, function in (("Brightness", image.adjust_brightness), ("Contrast", image.adjust_contrast)):
        wanted = np.array(getattr(ImageEnhance, name)(rgb).enhance(factor))[..., ::-1].astype(int)
        assert np.abs(function(img, factor) - wanted).max() <= 1
        np.testing.assert_array_equal(function(img, factor, backend="pillow"), wanted)
        floats = function(img.astype(np.float32), factor)
        assert np.abs(floats - wanted).max() < 2.5 and floats.dtype == np.float32


def test_absurd_weights():
    img = noise()
    for factor in (1e9, 1e30, -1e30):
        wanted = np.where(img > 0, 255, 0) if factor > 0 else np.zeros_like(img)
        np.testing.assert_array_equal(image.adjust_brightness(img, factor), wanted)
        np.testing.assert_array_equal(image.adjust_color(img, factor, 0), wanted)
        assert set(np.unique(image.adjust_contrast(img, factor))) <= {0, 255, *np.unique(img)}
    np.testing.assert_array_equal(image.adjust_color(img, 1, 0, 1e30), np.full_like(img, 255))


def test_contrast_of_all_sizes():
    for h, w in ((1, 1), (3, 5), (257, 300)):
        img = noise(h, w)
        mean = round(int(image.bgr2gray(img).astype(np.int64).sum()) / (h * w))
        wanted = np.clip(np.float32(1.7) * img.astype(np.float32) + np.float32(mean * (1 - 1.7)), 0, 255)
        assert np.abs(image.adjust_contrast(img, 1.7).astype(int) - wanted.astype(np.uint8)).max() <= 1


@pytest.mark.parametrize("seed", range(6))
def test_imequalize_as_pillow(seed):
    rng = np.random.default_rng(seed)
    img = np.clip(rng.normal(128, 10 + 20 * seed, (70, 91, 3)), 0, 255).astype(np.uint8)
    wanted = np.array(ImageOps.equalize(Image.fromarray(img)))
    np.testing.assert_array_equal(image.imequalize(img), wanted)
    np.testing.assert_array_equal(image.imequalize(img[..., 0]), wanted[..., 0])
    np.testing.assert_array_equal(image.imequalize(np.concatenate([img, img], 2))[..., 3:], wanted)


def test_imequalize_leaves_what_cannot_be_equalized():
    flat = np.full((4, 5, 3), 7, np.uint8)
    np.testing.assert_array_equal(image.imequalize(flat), flat)
    few = np.repeat(np.array([0, 120, 255], np.uint8)[:, None, None], 3, 2).repeat(3, 1)
    np.testing.assert_array_equal(image.imequalize(few), few)


@pytest.mark.parametrize("cutoff", [0, 1, 5.5, (2, 10), 50, 60, (70, 40), 100])
def test_auto_contrast_as_pillow(cutoff):
    img = photo(90, 70) // 2 + 30
    wanted = np.array(ImageOps.autocontrast(Image.fromarray(img), cutoff)).astype(int)
    got = image.auto_contrast(img, cutoff).astype(int)
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(image.auto_contrast(img[..., 1], cutoff), got[..., 1])


def test_auto_contrast_refuses():
    for cutoff, kind in (((1, 2, 3), ValueError), ("1", AssertionError), (-1, ValueError)):
        with pytest.raises(kind, match="auto_contrast: cutoff"):
            image.auto_contrast(SMALL, cutoff)


def test_adjust_sharpness_as_pillow():
    """To the bit, border and rounding included."""
    img = photo()
    for factor in (-1.0, 0.0, 0.5, 1.0, 1.7, 1.8, 5.0):
        for part in (img, img[..., 0], *(img[:h, :w] for h, w in ((1, 9), (2, 2), (9, 2), (3, 3)))):
            wanted = ImageEnhance.Sharpness(Image.fromarray(part)).enhance(factor)
            np.testing.assert_array_equal(image.adjust_sharpness(part, factor), np.array(wanted))
    np.testing.assert_array_equal(image.adjust_sharpness(img, 1.0), img)
    for kernel in (1.0, np.ones((3, 3, 3))):
        with pytest.raises(AssertionError, match="kernel"):
            image.adjust_sharpness(img, 1.0, kernel=kernel)


def test_adjust_hue():
    img = photo()
    for factor in (-0.5, -0.2, 0, 0.1, 0.5):
        h, s, v = Image.fromarray(img[..., ::-1]).convert("HSV").split()
        turned = Image.fromarray(((np.array(h).astype(int) + int(factor * 255)) % 256).astype(np.uint8))
        wanted = np.array(Image.merge("HSV", (turned, s, v)).convert("RGB"))[..., ::-1]
        np.testing.assert_array_equal(image.adjust_hue(img, factor, backend="pillow"), wanted)
        got = image.adjust_hue(img, factor)
        assert np.abs(got.astype(int) - wanted).mean() < 3
        floats = image.adjust_hue(img.astype(np.float32) + 0.4, factor)
        assert floats.dtype == np.float32 and np.array_equal(floats, got)
    assert image.adjust_hue(np.array([[[255, 0, 0]]], np.uint8), 1 / 3)[0, 0].argmax() == 2  # blue turns to red
    with pytest.raises(AssertionError, match="img must be uint8, got float32"):
        image.adjust_hue(img.astype(np.float32), 0.1, backend="pillow")
    gray = photo()[..., 0]
    assert image.adjust_hue(gray, 0.3) is gray
    for bad in (-0.6, 0.6, np.nan):
        with pytest.raises(ValueError, match="hue_factor"):
            image.adjust_hue(img, bad)
    with pytest.raises(TypeError):
        image.adjust_hue(object(), 0)


def test_adjust_lighting():
    img = photo()
    value, vector = np.array([0.2, 0.5]), np.random.default_rng(0).normal(size=(3, 2))
    np.testing.assert_array_equal(image.adjust_lighting(img, value, vector, 0.0), img[..., ::-1])
    np.testing.assert_array_equal(image.adjust_lighting(img, value, vector, 0.0, to_rgb=False), img)
    np.random.seed(3)  # noqa: NPY002
    got = image.adjust_lighting(img, value, vector, 1.0, to_rgb=False)
    np.random.seed(3)  # noqa: NPY002
    added = vector @ (np.random.normal(0, 1.0, 2) * value)  # noqa: NPY002
    np.testing.assert_allclose(got, img + added)
    for args in ((1, vector), (value, [1]), (value, np.eye(2)), (value, value)):
        with pytest.raises(AssertionError):
            image.adjust_lighting(img, *args)


def test_clahe_as_opencv():
    img = photo()[..., 1]
    for limit, tiles in ((40.0, (8, 8)), (1.2, (3, 5))):
        np.testing.assert_array_equal(image.clahe(img, limit, tiles), cv2.createCLAHE(limit, tiles).apply(img))
    for bad in (
        {"img": photo()},
        {"tile_grid_size": (8.0, 8)},
        {"tile_grid_size": [8, 8]},
        {"tile_grid_size": (1,)},
    ):
        with pytest.raises(AssertionError):
            image.clahe(**{"img": img, **bad})
    with pytest.raises(ValueError, match="tile_grid_size"):
        image.clahe(img, tile_grid_size=(0, 8))


FUNCTIONS = {
    "imnormalize": lambda x: image.imnormalize(x, MEAN, STD),
    "iminvert": image.iminvert,
    "solarize": image.solarize,
    "posterize": lambda x: image.posterize(x, 3),
    "adjust_color": lambda x: image.adjust_color(x, 0.3),
    "adjust_brightness": lambda x: image.adjust_brightness(x, 0.7),
    "adjust_contrast": lambda x: image.adjust_contrast(x, 1.3),
    "adjust_hue": lambda x: image.adjust_hue(x, 0.2),
    "imequalize": image.imequalize,
    "auto_contrast": image.auto_contrast,
    "adjust_sharpness": lambda x: image.adjust_sharpness(x, 1.6),
    "lut_transform": lambda x: image.lut_transform(x, np.arange(256)[::-1].astype(np.uint8)),
    "bgr2ycbcr": image.bgr2ycbcr,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_layouts_and_inputs_kept(name):
    function, img = FUNCTIONS[name], photo()
    wanted = function(img)
    np.testing.assert_array_equal(img, photo())
    for layout, view in views(img):
        before = view.copy()
        np.testing.assert_array_equal(function(view), wanted, err_msg=layout)
        np.testing.assert_array_equal(view, before, err_msg=layout)


def test_bad_factors():
    for function in (image.adjust_brightness, image.adjust_contrast, image.adjust_sharpness, image.adjust_color):
        for factor in (np.nan, np.inf):
            with pytest.raises(ValueError, match=f"{function.__name__}: "):
                function(photo(), factor)
        with pytest.raises(TypeError, match=f"{function.__name__}: "):
            function(photo(), "1")
    with pytest.raises(ValueError, match="backend must be 'cv2', 'pillow' or None"):
        image.adjust_brightness(photo(), 1, backend="gimp")
    for function in (image.adjust_contrast, image.adjust_color):
        with pytest.raises(ValueError, match=r"img must have shape \(H, W, 3\)"):
            function(photo()[..., :2])
    for bits in (-1, 9):
        with pytest.raises(ValueError, match="bits"):
            image.posterize(photo(), bits)
    with pytest.raises(TypeError, match="must hold integers"):
        image.posterize(photo().astype(float), 3)


def test_empty_images():
    empty = np.zeros((0, 5, 3), np.uint8)
    assert image.imnormalize(empty, MEAN, STD).shape == (0, 5, 3)
    assert image.iminvert(empty).shape == image.posterize(empty, 2).shape == image.solarize(empty).shape == (0, 5, 3)
    assert image.adjust_brightness(empty, 2).shape == (0, 5, 3)
    for function in (image.imequalize, image.auto_contrast, image.adjust_contrast, image.adjust_color):
        with pytest.raises(ValueError, match="must have pixels"):
            function(empty)
