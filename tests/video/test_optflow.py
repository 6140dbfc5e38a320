import math

import cv2
import numpy as np
import pytest

import arrayvision
from arrayvision import image, video
from tests.image.pictures import noise, photo


def flow_of(h=60, w=80, scale=3.0, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(0, scale, (h, w, 2)).astype(dtype)


# ---- files -----------------------------------------------------------------------------------------------------------
def test_flo_round_trip(tmp_path):
    flow = flow_of()
    for name in ("a.flo", "made/b.flo", "c"):
        video.flowwrite(flow, str(tmp_path / name))
        got = video.flowread(tmp_path / name)
        np.testing.assert_array_equal(got, flow)
        assert got.dtype == np.float32 and got.flags.writeable
    content = (tmp_path / "a.flo").read_bytes()
    assert content[:4] == b"PIEH" and np.frombuffer(content, "<i4", 2, 4).tolist() == [80, 60]
    np.testing.assert_array_equal(video.flow_from_bytes(content), flow)
    video.flowwrite(flow, "memory://flows/a.flo")
    np.testing.assert_array_equal(video.flowread("memory://flows/a.flo"), flow)
    assert video.flowread(flow) is flow
    video.flowwrite(flow[:, ::-1].astype(np.float64), tmp_path / "d.flo")
    np.testing.assert_array_equal(video.flowread(tmp_path / "d.flo"), flow[:, ::-1])


@pytest.mark.parametrize("axis", [0, 1])
def test_quantized_round_trip(tmp_path, axis):
    y, x = np.mgrid[:96, :128]
    flow = np.stack([np.sin(y / 20), np.cos(x / 25)], axis=-1).astype(np.float32)
    path = str(tmp_path / "flow.jpg")
    video.flowwrite(flow, path, quantize=True, concat_axis=axis)
    assert image.imread(path, "unchanged").shape == ((192, 128), (96, 256))[axis]
    got = video.flowread(path, quantize=True, concat_axis=axis, denorm=True)
    assert got.dtype == np.float32 and got.shape == flow.shape
    assert np.abs(got - flow).mean() < 0.04  # a level is 0.04 * 128 / 255 pixels wide


def test_flow_files_refused(tmp_path):
    image.imwrite(photo(), tmp_path / "color.png")
    for kwargs in ({}, {"quantize": True}):
        with pytest.raises(OSError, match=r"color\.png"):
            video.flowread(str(tmp_path / "color.png"), **kwargs)
    image.imwrite(photo()[:59, :, 0], tmp_path / "odd.png")
    with pytest.raises(AssertionError, match="can't be split in two along axis 0"):
        video.flowread(str(tmp_path / "odd.png"), quantize=True)
    with pytest.raises(TypeError, match="flow_or_path must be a path or an array"):
        video.flowread(1)
    with pytest.raises(ValueError, match=r"\(H, W, 2\)"):
        video.flowread(np.zeros((10, 10, 1)))
    with pytest.raises(FileNotFoundError):
        video.flowread("none.flo")
    with pytest.raises(AssertionError, match="concat_axis must be 0 or 1"):
        video.flowwrite(flow_of(), "x.jpg", quantize=True, concat_axis=2)
    for content, what in (
        (b"PIEH", "cut off"),
        (b"PIEH" + np.array([-1, 5], "<i4").tobytes(), "-1 x 5"),
        (b"PIEH" + np.array([2**31 - 1, 2**31 - 1], "<i4").tobytes(), "cut off"),
        (b"HEIP" + bytes(100), "PIEH"),
    ):
        with pytest.raises(OSError, match=what):
            video.flow_from_bytes(content)
    with pytest.raises(TypeError, match="must be bytes"):
        video.flow_from_bytes("PIEH")


def test_sparse_flow():
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 2**16, (30, 40, 3)).astype(np.uint16)
    stored[..., 2] = rng.integers(0, 2, (30, 40))
    content = cv2.imencode(".png", stored[..., ::-1])[1].tobytes()
    flow, valid = video.sparse_flow_from_bytes(content)
    np.testing.assert_array_equal(flow, (stored[..., :2].astype(np.float32) - 2**15) / 64)
    np.testing.assert_array_equal(valid, stored[..., 2])
    for bad in (b"", content[:-20], b"text"):
        with pytest.raises(ValueError, match="sparse_flow_from_bytes"):
            video.sparse_flow_from_bytes(bad)


# ---- quantization ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("max_val", "norm"), [(5.0, False), (0.5, True), (0.02, True)])
def test_quantize_flow(dtype, max_val, norm):
    flow = flow_of(40, 50, 4, dtype=dtype)
    got = video.quantize_flow(flow, max_val, norm)
    for part, d, size in zip(got, (flow[..., 0], flow[..., 1]), (50, 40), strict=True):
        exact = (
            255 * (np.clip(d.astype(np.float64) / (size if norm else 1), -max_val, max_val) + max_val) / (2 * max_val)
        )
        wanted = np.minimum(np.floor(exact), 254)
        sure = np.abs(exact - np.rint(exact)) > 1e-4  # not within float32's rounding of a border
        np.testing.assert_array_equal(part[sure], wanted[sure])
        assert part.dtype == np.uint8 and np.abs(part - wanted).max() <= 1
    assert video.quantize_flow(np.full((1, 1, 2), np.nan))[0].tolist() == [[0]]
    assert video.quantize_flow(np.full((1, 1, 2), np.inf, np.float32))[0].tolist() == [[254]]


@pytest.mark.parametrize("denorm", [True, False])
def test_dequantize_flow(denorm):
    dx, dy = noise(10, 8, 0) % 255, noise(10, 8, 0, seed=1) % 255
    flow = video.dequantize_flow(dx, dy, 5.0, denorm)
    np.testing.assert_allclose(flow[..., 0], ((dx + 0.5) * 10 / 255 - 5) * (8 if denorm else 1))
    np.testing.assert_allclose(flow[..., 1], ((dy + 0.5) * 10 / 255 - 5) * (10 if denorm else 1))
    np.testing.assert_array_equal(video.dequantize_flow(dx[..., None], dy[..., None], 5.0, denorm), flow)
    again = video.quantize_flow(flow, 5.0, denorm)
    np.testing.assert_array_equal(again[0], dx)
    np.testing.assert_array_equal(again[1], dy)


def test_no_motion_stays_none():
    still = np.zeros((3, 4, 2), np.float32)
    np.testing.assert_allclose(video.dequantize_flow(*video.quantize_flow(still)), still, atol=1e-12)


def test_quantization_refuses():
    for bad in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="max_val"):
            video.quantize_flow(flow_of(), bad)
        with pytest.raises(ValueError, match="max_val"):
            video.dequantize_flow(noise(c=0), noise(c=0), bad)
    with pytest.raises(AssertionError, match="one shape"):
        video.dequantize_flow(noise(c=0), noise(3, 3, 0))
    with pytest.raises(ValueError, match=r"\(H, W, 2\)"):
        video.quantize_flow(np.zeros((3, 4)))


# ---- warping ---------------------------------------------------------------------------------------------------------
def warped(img, flow, fill, mode):
    """The definition, pixel by pixel."""
    h, w, _channels = img.shape
    out = np.full(img.shape, fill, np.float64)
    for y in range(h):
        for x in range(w):
            sx, sy = x + float(flow[y, x, 0]), y + float(flow[y, x, 1])
            if not (0 <= sx < w - 1 and 0 <= sy < h - 1):
                continue
            if mode == "nearest":
                out[y, x] = img[round(sy), round(sx)]
            else:
                j, i = math.floor(sx), math.floor(sy)
                a, b = sx - j, sy - i
                p = img[i : i + 2, j : j + 2].astype(np.float64)
                out[y, x] = (p[0, 0] * (1 - a) + p[0, 1] * a) * (1 - b) + (p[1, 0] * (1 - a) + p[1, 1] * a) * b
    return out


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_flow_warp(dtype, channels):
    img, flow = noise(30, 40, channels).astype(dtype), flow_of(30, 40)
    for mode in ("nearest", "bilinear"):
        wanted = warped(img, flow, 7, mode)
        got = video.flow_warp(img, flow, 7, mode)
        assert got.dtype == dtype and got.shape == img.shape
        if mode == "nearest":
            np.testing.assert_array_equal(got, wanted)
        elif got.dtype.kind == "f":
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 if dtype == "float32" else 1e-10)
        else:
            assert np.abs(got - wanted).max() <= 0.6  # rounded, from within 0.1
        np.testing.assert_array_equal(video.flow_warp(img, flow.astype(np.float64), 7, mode), got)


def test_flow_warp_known_values():
    img = np.zeros((5, 5, 1))
    img[2, 2, 0], img[2, 3, 0] = 1, 0.75
    flow = np.zeros((5, 5, 2))
    flow[2, 2] = 0.5, 0.7
    wanted = img.copy()
    wanted[2, 2] = 0.5 * 0.3 + 0.75 * 0.5 * 0.3
    np.testing.assert_allclose(video.flow_warp(img, flow, interpolate_mode="bilinear"), wanted, atol=1e-12)


def test_flow_warp_of_nowhere():
    img = noise(6, 7)
    for bad in (np.nan, np.inf, -np.inf, 1e30):
        for mode in ("nearest", "bilinear"):
            assert (video.flow_warp(img, np.full((6, 7, 2), bad, np.float32), 9, mode) == 9).all()
    floats = video.flow_warp(img.astype(np.float32), np.full((6, 7, 2), 99.0), np.nan)
    assert np.isnan(floats).all()
    flags = video.flow_warp(img > 127, np.zeros((6, 7, 2)), 0)
    np.testing.assert_array_equal(flags[:5, :6], (img > 127)[:5, :6])
    assert video.flow_warp(np.zeros((0, 4, 3)), np.zeros((0, 4, 2))).shape == (0, 4, 3)
    assert (video.flow_warp(noise(1, 1), np.zeros((1, 1, 2)), 5) == 5).all()


def test_flow_warp_does_not_depend_on_threads():
    img, flow = noise(300, 700), flow_of(300, 700, 9)
    before = arrayvision.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        arrayvision.set_num_threads(threads)
        results.append(video.flow_warp(img, flow, interpolate_mode="bilinear"))
    arrayvision.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_flow_warp_refuses():
    img, flow = noise(6, 7), np.zeros((6, 7, 2))
    with pytest.raises(NotImplementedError, match="'nearest' or 'bilinear', got 'xxx'"):
        video.flow_warp(img, flow, interpolate_mode="xxx")
    for a, b in ((img, flow[:, :, 0]), (img[..., 0], flow), (img[:5], flow)):
        with pytest.raises(AssertionError, match="flow_warp: "):
            video.flow_warp(a, b)
    with pytest.raises(ValueError, match="must fit uint8, got 300"):
        video.flow_warp(img, flow, 300)
    with pytest.raises(TypeError, match="real numbers"):
        video.flow_warp(img.astype(complex), flow)
