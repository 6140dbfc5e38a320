import colorsys

import cv2
import numpy as np
import pytest

from arrayvision import image
from arrayvision.image.colorspace import _convert_input_type_range, _convert_output_type_range
from tests.image.pictures import noise


@pytest.fixture
def floats():
    return np.random.default_rng(0).random((10, 11, 3), np.float32)


def test_gray(floats):
    wanted = floats @ np.array([0.114, 0.587, 0.299], np.float32)
    np.testing.assert_allclose(image.bgr2gray(floats), wanted, atol=1e-6)
    np.testing.assert_allclose(image.rgb2gray(floats[..., ::-1]), wanted, atol=1e-6)
    assert image.bgr2gray(floats, True).shape == image.rgb2gray(floats, keepdim=True).shape == (10, 11, 1)
    for back in (image.gray2bgr, image.gray2rgb):
        for gray in (floats[..., 0], floats[..., :1]):
            np.testing.assert_array_equal(back(gray), np.repeat(gray.reshape(10, 11, 1), 3, 2))


def test_swaps(floats):
    for swap in (image.bgr2rgb, image.rgb2bgr):
        got = swap(floats)
        np.testing.assert_array_equal(got, floats[..., ::-1])
        assert not np.shares_memory(got, floats)


def test_hue_as_colorsys(floats):
    hsv, hls = image.bgr2hsv(floats), image.bgr2hls(floats)
    for pixel, a, b in zip(floats.reshape(-1, 3), hsv.reshape(-1, 3), hls.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*map(float, pixel[::-1]))
        np.testing.assert_allclose(a, (360 * h, s, v), atol=2e-3)
        h, lightness, s = colorsys.rgb_to_hls(*map(float, pixel[::-1]))
        np.testing.assert_allclose(b, (360 * h, lightness, s), atol=2e-3)
    np.testing.assert_allclose(image.hsv2bgr(hsv), floats, atol=1e-5)
    np.testing.assert_allclose(image.hls2bgr(hls), floats, atol=1e-5)


@pytest.mark.parametrize(
    ("src", "dst"), [("bgr", "gray"), ("rgb", "gray"), ("bgr", "hsv"), ("hls", "bgr"), ("bgr", "lab")]
)
def test_imconvert(floats, src, dst):
    code = getattr(cv2, f"COLOR_{src.upper()}2{dst.upper()}")
    np.testing.assert_array_equal(image.imconvert(floats, src, dst), cv2.cvtColor(floats, code))


def test_imconvert_refuses(floats):
    with pytest.raises(ValueError, match="no conversion from 'bgr' to 'cmyk'"):
        image.imconvert(floats, "bgr", "cmyk")
    with pytest.raises(TypeError, match="src must be a string"):
        image.imconvert(floats, 1, "bgr")
    with pytest.raises(ValueError, match="bgr2hsv: img of shape"):
        image.bgr2hsv(floats[..., :2])
    with pytest.raises(ValueError, match="must have pixels"):
        image.bgr2gray(floats[:0])


# MATLAB's documented matrix: rows Y, Cb, Cr
M = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])


def test_ycbcr_forward(floats):
    exact = floats @ M.T + [16, 128, 128]
    np.testing.assert_allclose(image.rgb2ycbcr(floats), exact / 255, atol=1e-6)
    np.testing.assert_allclose(image.bgr2ycbcr(floats[..., ::-1]), exact / 255, atol=1e-6)
    np.testing.assert_allclose(image.rgb2ycbcr(floats, y_only=True), exact[..., 0] / 255, atol=1e-6)
    img = noise()
    exact = img / 255.0 @ M.T + [16, 128, 128]
    for got, wanted in (
        (image.rgb2ycbcr(img), exact),
        (image.bgr2ycbcr(img[..., ::-1]), exact),
        (image.bgr2ycbcr(img[..., ::-1], y_only=True), exact[..., 0]),
    ):
        assert got.dtype == np.uint8 and np.abs(got - wanted).max() <= 0.5 + 1e-3
    black_and_white = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    assert image.rgb2ycbcr(black_and_white).tolist() == [[[16, 128, 128], [235, 128, 128]]]


def test_ycbcr_back(floats):
    inside = 0.25 + floats / 2
    np.testing.assert_allclose(image.ycbcr2rgb(image.rgb2ycbcr(inside)), inside, atol=2e-4)
    np.testing.assert_allclose(image.ycbcr2bgr(image.bgr2ycbcr(inside)), inside, atol=2e-4)
    img = noise()
    assert np.abs(image.ycbcr2rgb(image.rgb2ycbcr(img)).astype(int) - img).max() <= 3  # two roundings
    clipped = image.ycbcr2rgb(np.array([[[255, 255, 255], [0, 0, 0]]], np.uint8))
    assert clipped.tolist() == [[[255, 125, 255], [0, 136, 0]]]


def test_ycbcr_refuses():
    for function in (image.rgb2ycbcr, image.ycbcr2rgb, image.bgr2ycbcr, image.ycbcr2bgr):
        with pytest.raises(TypeError, match="must be uint8 or float32, got uint64"):
            function(np.zeros((2, 2, 3), np.uint64))
        with pytest.raises(ValueError, match=r"shape \(H, W, 3\)"):
            function(np.zeros((2, 2), np.uint8))


def test_type_ranges():
    img = noise()
    assert _convert_input_type_range(img).max() <= 1
    assert _convert_output_type_range(img.astype(np.float32), np.uint8).dtype == np.uint8
    assert _convert_output_type_range(img.astype(np.float32), np.float32).max() <= 1
    with pytest.raises(TypeError):
        _convert_input_type_range(img.astype(np.uint64))
    with pytest.raises(TypeError):
        _convert_output_type_range(img, np.uint64)
