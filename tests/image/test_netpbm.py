"""Netpbm files of every kind, read as they are stored by both back ends, and as pictures of 8 bits."""

import numpy as np
import pytest

from arrayvision import image

H, W = 9, 13
BACKENDS = ("cv2", "pillow")


def samples(most, channels, seed=0):
    return np.random.default_rng(seed).integers(0, most, (H, W, channels), endpoint=True)


def bgr(img):
    img = img[..., [2, 1, 0, 3][: img.shape[2]]] if img.shape[2] in (3, 4) else img
    return img[..., 0] if img.shape[2] == 1 else img


def files():
    for most in (1, 15, 100, 255, 1000, 4095, 65535):
        kind = "u1" if most < 256 else ">u2"
        for code, channels in ((5, 1), (6, 3)):
            img = samples(most, channels)
            head = b"P%d # made\n# here 7 7\n%d  %d\n%d\n"
            yield head % (code, W, H, most) + img.astype(kind).tobytes(), img, most
            words = " ".join(map(str, img.ravel())).encode().replace(b" ", b" # 5 5\n", 1)
            yield head % (code - 3, W, H, most) + words + b"\n", img, most
        for channels in (1, 2, 3, 4):
            img = samples(most, channels)
            head = f"P7\n# made\nWIDTH {W}\nHEIGHT {H}\nDEPTH {channels}\nMAXVAL {most}\nTUPLTYPE ANY\nENDHDR\n"
            yield head.encode() + img.astype(kind).tobytes(), img, most


@pytest.mark.parametrize("backend", BACKENDS)
def test_as_they_are_stored_and_as_pictures(backend):
    for content, img, most in files():
        got = image.imfrombytes(content, "unchanged", backend=backend)
        assert got.dtype == (np.uint8 if most < 256 else np.uint16) and got.dtype.isnative
        np.testing.assert_array_equal(got, bgr(img))
        light = img[..., :3] if img.shape[2] > 2 else np.repeat(img[..., :1], 3, axis=2)
        exact = light * (255 / most) if most < 65535 else light // 256
        color = image.imfrombytes(content, channel_order="rgb", backend=backend)
        assert color.dtype == np.uint8 and np.abs(color - exact).max() <= 0.501
        gray = image.imfrombytes(content, "grayscale", backend=backend)
        assert gray.shape == (H, W) and np.abs(gray - exact @ (0.299, 0.587, 0.114)).max() <= 1.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_bits(backend):
    img = samples(1, 1)[..., 0]
    packed = b"P4\n%d %d\n" % (W, H) + np.packbits(img.astype(np.uint8), axis=1).tobytes()
    digits = b"P1\n%d %d\n" % (W, H) + b"".join(b"%d" % v for v in img.ravel())  # no space between them
    for content in (packed, digits):
        np.testing.assert_array_equal(image.imfrombytes(content, "unchanged", backend=backend), 255 - 255 * img)


@pytest.mark.parametrize("backend", BACKENDS)
def test_floats(backend):
    for code, channels in (("Pf", 1), ("PF", 3)):
        img = np.random.default_rng(0).normal(size=(H, W, channels)).astype(np.float32)
        for scale, order in ((-1.0, "<"), (1.0, ">"), (-2.5, "<")):
            content = f"{code}\n{W} {H}\n{scale}\n".encode() + img[::-1].astype(f"{order}f4").tobytes()
            np.testing.assert_array_equal(image.imfrombytes(content, "unchanged", backend=backend), bgr(img))
            with pytest.raises(ValueError, match=r"float32 values have no form of 8 bits: read it with flag"):
                image.imfrombytes(content, backend=backend)


@pytest.mark.parametrize("extension", [".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".pfm"])
def test_what_imwrite_writes(tmp_path, extension):
    path = tmp_path / f"a{extension}"
    for channels in (1, 3, 4):
        img = samples(255, channels).astype(np.uint8)
        img = img[..., 0] if channels == 1 else img
        img = img.astype(np.float32) if extension == ".pfm" else img // 128 * 255 if extension == ".pbm" else img
        try:
            image.imwrite(img, path)
        except ValueError:
            continue  # not every format has colors, or alpha
        got = image.imread(path, "unchanged")
        if got.ndim == img.ndim:
            np.testing.assert_array_equal(got, img)
    if extension == ".pam":
        image.imwrite(samples(255, 3).astype(np.uint8), path)
        assert path.read_bytes().endswith(samples(255, 3).astype(np.uint8)[..., ::-1].tobytes())  # red comes first


def test_damaged():
    for content, wrong in (
        (b"P5\n9 9\n255\n" + bytes(80), "cut off"),
        (b"P4\n9 9\n" + bytes(17), "cut off"),
        (b"P1\n9 9\n" + b"1" * 80, "cut off"),
        (b"P2\n2 1\n255\n3", "cut off"),
        (b"P2\n2 1\n255\n3 x", "no numbers"),
        (b"P2\n2 1\n255\n3 256", "beyond 255"),
        (b"P2\n2 1\n255\n3 -1", "beyond 255"),
        (b"P2\n2 1\n255\n3 99999999999999999999", "no numbers|beyond"),
        (b"P5\n2 1\n100\n\1\x65", "beyond 100"),
        (b"P5\n2 1\n0\n\0\0", "greatest value is 0"),
        (b"P5\n2 1\n70000\n\0\0", "greatest value is 70000"),
        (b"P5\n2 1\n2.5\n\0\0", "greatest value is 2.5"),
        (b"P5\n2\n", "none of Netpbm"),
        (b"P5\n2 1\n", "no greatest value"),
        (b"P5" + b" " * 100_000 + b"x", "none of Netpbm"),
        (b"P5" + b"#\n" * 100_000 + b"x", "none of Netpbm"),
        (b"P7\nWIDTH 2\nHEIGHT 1\nMAXVAL 255\nENDHDR\n\0\0", "no DEPTH"),
        (b"P7\nWIDTH 2\nHEIGHT 1\n", "no ENDHDR"),
        (b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 5\nMAXVAL 255\nENDHDR\n" + bytes(10), "5 channels are no color picture"),
        (b"PF\n2 1\n1.2.3\n" + bytes(24), "float"),
    ):
        for backend in BACKENDS:
            with pytest.raises(ValueError, match=wrong):
                image.imfrombytes(content, backend=backend)
