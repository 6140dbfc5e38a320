"""TIFFs in every arrangement: the samples that were written, whatever reads them."""

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from arrayvision import image
from tests.image.pictures import photo
from tests.image.tiffs import packed, tiff, written

BACKENDS = ("cv2", "pillow")
H, W = 37, 51
KINDS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
FORMS = ((1, 1), (0, 1), (1, 2), (2, 3), (1, 3), (2, 4), (1, 5), (2, 6))  # photometric interpretation, channels


def noise(kind, channels, seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return rng.normal(size=(H, W, channels)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, (H, W, channels), dtype, endpoint=True)


def shown(img, photometric):
    """What is to be read of such samples: lighter is more, BGR."""
    if photometric == 0 and img.dtype.kind == "u":
        img = np.iinfo(img.dtype).max - img
    if photometric == 2:
        img = img[..., [2, 1, 0, *range(3, img.shape[2])]]
    return img[..., 0] if img.shape[2] == 1 else img


def arrangements():
    """Any two choices meet in some file."""
    rng = np.random.default_rng(1)
    for kind in KINDS:
        for photometric, channels in FORMS:
            for _ in range(3):
                planes, big, mirrored = rng.random(3) < (0.5, 0.3, 0.2)
                compression = int(rng.choice([1, 1, 5, 8, 32946, 32773, 34925, 50000]))
                predictor = 1
                if compression not in (1, 32773) and rng.random() < 0.6:
                    predictor = 3 if kind[0] == "f" and rng.random() < 0.7 else 2
                yield (
                    kind,
                    photometric,
                    channels,
                    dict(
                        planes=bool(planes) and channels > 1,
                        tile=[None, (16, 16), (16, 32)][rng.integers(3)],
                        rows=[None, 1, 10][rng.integers(3)],
                        order="<>"[rng.integers(2)],
                        big=bool(big),
                        compression=compression,
                        predictor=predictor,
                        mirrored=bool(mirrored),
                    ),
                )


@pytest.mark.parametrize("backend", BACKENDS)
def test_samples_come_back_as_they_were_written(backend):
    for i, (kind, photometric, channels, options) in enumerate(arrangements()):
        img = noise(kind, channels, i)
        got = image.imfrombytes(tiff(img, photometric, **options), "unchanged", backend=backend)
        assert got.dtype == np.dtype(kind) and got.dtype.isnative and got.flags.c_contiguous, (kind, options)
        np.testing.assert_array_equal(
            got, shown(img, photometric), err_msg=f"{kind} {photometric} {channels} {options}"
        )


def test_in_the_order_of_rgb():
    for channels in (3, 4, 5):
        img = noise("u2", channels)
        got = image.imfrombytes(tiff(img, 2, planes=True), "unchanged", "rgb")
        np.testing.assert_array_equal(got, img)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, dict(planes=True), dict(tile=(16, 16)), dict(order=">", compression=5)])
def test_pictures_of_8_bits(backend, options):
    """Of 8 and 16 bits, with and without alpha, which colors aren't multiplied with."""
    for kind in ("u1", "u2"):
        for photometric, channels in ((1, 1), (0, 1), (1, 2), (2, 3), (2, 4), (2, 6)):
            img = noise(kind, channels)
            light = shown(img, photometric)
            if kind == "u2":  # colors are rounded, grays lose their lower byte
                light = (light.astype(int) + 128) // 257 if photometric == 2 else light >> 8
            light = light.astype(np.uint8)
            light = light[..., :3] if channels > 2 else np.dstack([light if light.ndim == 2 else light[..., 0]] * 3)
            content = tiff(img, photometric, **options)
            np.testing.assert_array_equal(image.imfrombytes(content, backend=backend), light)
            np.testing.assert_array_equal(
                image.imfrombytes(content, channel_order="rgb", backend=backend), light[..., ::-1]
            )
            gray = image.imfrombytes(content, "grayscale", backend=backend)
            assert gray.shape == (H, W) and gray.dtype == np.uint8
            assert np.abs(gray - light.astype(float) @ (0.114, 0.587, 0.299)).max() <= 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15])
def test_depths_between(backend, bits):
    """Up to 8 bits fill the range of 8; above, numbers stay as they are."""
    rng = np.random.default_rng(bits)
    most = 2**bits - 1
    for photometric, channels, planes in ((1, 1, False), (0, 1, False), (2, 3, False), (2, 3, True), (1, 5, False)):
        img = rng.integers(0, most, (H, W, channels), endpoint=True).astype(np.uint8 if bits < 8 else np.uint16)
        for options in ({}, dict(compression=8), dict(tile=(16, 16), order=">"), dict(mirrored=True)):
            content = tiff(img, photometric, bits=bits, planes=planes, **options)
            got = image.imfrombytes(content, "unchanged", backend=backend)
            wanted = most - img if photometric == 0 else img
            wanted = wanted.astype(int) * 255 // most if bits < 8 else wanted
            np.testing.assert_array_equal(got, shown(wanted.astype(img.dtype), photometric if photometric else 1))
            if channels < 5:
                color = image.imfrombytes(content, channel_order="rgb", backend=backend)
                np.testing.assert_array_equal(color, np.broadcast_to(wanted >> max(bits - 8, 0), (H, W, 3)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation(backend, turn):
    """Turned where a picture is asked for, and nowhere else, by any way of reading."""
    jpeg = io.BytesIO()
    Image.fromarray(photo(40, 64)).save(jpeg, "TIFF", compression="jpeg", tiffinfo={274: turn})
    tag = (274, 3, (turn,))
    files = [jpeg.getvalue()]
    files += [tiff(photo(40, 64), 2, order=order, more=[tag]) for order in "<>"]
    files += [tiff(photo(40, 64).astype(np.uint16) * 257, 2, planes=True, more=[tag])]
    for content, close in zip(files, (9, 0, 0, 0), strict=True):
        lying = image.imfrombytes(content, "unchanged", backend=backend)
        assert lying.shape == (40, 64, 3)
        wanted = photo(40, 64)[..., ::-1].astype(int)
        if lying.dtype == np.uint8:
            assert np.abs(lying - wanted).mean() <= close
        ignoring = image.imfrombytes(content, "color_ignore_orientation", backend=backend)
        assert np.abs(ignoring - wanted).mean() <= close
        assert image.imfrombytes(content, "grayscale_ignore_orientation", backend=backend).shape == (40, 64)
        upright = image.imfrombytes(content, backend=backend)
        oracle = {
            1: lambda x: x,
            2: lambda x: x[:, ::-1],
            3: lambda x: np.rot90(x, 2),
            4: lambda x: x[::-1],
            5: lambda x: x.swapaxes(0, 1),
            6: lambda x: np.rot90(x, -1),
            7: lambda x: np.rot90(x.swapaxes(0, 1), 2),
            8: lambda x: np.rot90(x),
        }[turn]
        np.testing.assert_array_equal(upright, oracle(ignoring))
        assert image.imfrombytes(content, "grayscale", backend=backend).shape == upright.shape[:2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_palettes_and_inks(backend):
    rng = np.random.default_rng(0)
    for bits in (1, 2, 4, 8):
        colors = rng.integers(0, 65536, (3, 2**bits))
        img = rng.integers(0, 2**bits, (H, W, 1)).astype(np.uint8)
        for table in (colors, colors >> 8):  # some writers fill a byte of each two
            content = tiff(img, 3, bits=bits, more=[(320, 3, table.ravel().tolist())])
            got = image.imfrombytes(content, channel_order="rgb", backend=backend)
            np.testing.assert_array_equal(got, (colors >> 8).T[img[..., 0]])
    rgb = photo(H, W)
    inks = np.array(Image.fromarray(rgb).convert("CMYK"))
    for options in ({}, dict(planes=True), dict(tile=(16, 16))):
        for flag in ("color", "unchanged"):
            np.testing.assert_array_equal(
                image.imfrombytes(tiff(inks, 5, **options), flag, "rgb", backend=backend), rgb
            )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["group3", "group4", "tiff_ccitt", "jpeg", "tiff_lzw", "packbits", "zstd", "lzma"])
def test_what_libtiff_packs(backend, mode):
    img = Image.fromarray(photo())
    buffer = io.BytesIO()
    fax = mode in ("group3", "group4", "tiff_ccitt")
    (img.convert("1") if fax else img).save(buffer, "TIFF", compression=mode)
    got = image.imfrombytes(buffer.getvalue(), "unchanged", "rgb", backend=backend)
    if fax:
        np.testing.assert_array_equal(got > 0, np.array(img.convert("1")))
    else:
        assert np.abs(got.astype(int) - photo()).mean() <= (12 if mode == "jpeg" else 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ycbcr_and_lab(backend):
    for mode in ("YCbCr", "LAB"):
        buffer = io.BytesIO()
        smooth = cv2.GaussianBlur(photo(), (0, 0), 3)
        Image.fromarray(smooth).convert(mode).save(buffer, "TIFF")
        for flag in ("color", "unchanged"):
            got = image.imfrombytes(buffer.getvalue(), flag, "rgb", backend=backend)
            assert np.abs(got.astype(int) - smooth).mean() < 20  # whites differ


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_picture_of_8_bits(backend):
    for kind in ("u4", "i1", "i2", "i4", "f2", "f4", "f8"):
        for flag in ("color", "grayscale"):
            with pytest.raises(ValueError, match=r"values have no form of 8 bits: read it with flag 'unchanged'"):
                image.imfrombytes(tiff(noise(kind, 3), 2), flag, backend=backend)
    with pytest.raises(ValueError, match=r"its 5 channels are no color picture: read it with flag 'unchanged'"):
        image.imfrombytes(tiff(noise("u1", 5), 1), backend=backend)


def test_channels_that_imwrite_wrote(tmp_path):
    for channels in (1, 2, 3, 4, 5, 8):
        for kind in ("u1", "u2", "i4", "f4", "f8", "i8"):
            img = noise(kind, channels)
            img = img[..., 0] if channels == 1 else img
            image.imwrite(img, tmp_path / "a.tif")
            for backend in BACKENDS:
                np.testing.assert_array_equal(image.imread(tmp_path / "a.tif", "unchanged", backend=backend), img)


def test_channels_come_last_by_tifffile():
    for channels in (2, 3, 4, 5):
        for kind in ("u1", "f4"):
            for options in ({}, dict(tile=(16, 16)), dict(order=">")):
                img = noise(kind, channels)
                for planes in (False, True):
                    content = tiff(img, 2 if channels > 2 else 1, planes=planes, **options)
                    got = image.imfrombytes(content, backend="tifffile")
                    np.testing.assert_array_equal(got, img)
                    assert got.dtype.isnative and got.flags.c_contiguous
    stack = io.BytesIO()
    tifffile.imwrite(stack, noise("u1", 5), photometric="minisblack")  # by tifffile's own description, too
    np.testing.assert_array_equal(image.imfrombytes(stack.getvalue(), backend="tifffile"), noise("u1", 5))


def test_left_out_tiles_are_zeros():
    img = noise("u2", 1)
    content = tiff(img, tile=(16, 16), compression=8)
    picture = Image.open(io.BytesIO(content))
    counts = list(picture.tag_v2[325])
    at = content.index(np.array(counts, "<u4").tobytes())
    counts[1] = 0
    got = image.imfrombytes(
        content[:at] + np.array(counts, "<u4").tobytes() + content[at + 4 * len(counts) :], "unchanged"
    )
    wanted = img[..., 0].copy()
    wanted[:16, 16:32] = 0
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_damaged_samples(backend):
    img = noise("f4", 5)
    for compression in (8, 32946, 34925):  # the others have no checksum
        content = bytearray(tiff(img, compression=compression, rows=10))
        content[400:440] = bytes(40)
        with pytest.raises(ValueError, match=r"imfrombytes: <\d+ bytes> can't be decoded"):
            image.imfrombytes(bytes(content), "unchanged", backend=backend)
    tags = [(256, 4, (W,)), (257, 4, (H,)), (258, 3, (16,)), (259, 3, (1,)), (262, 3, (1,)), (273, 4, (8,))]
    tags += [(277, 3, (1,)), (278, 4, (H,)), (279, 4, (W * H,))]  # a byte for each two
    with pytest.raises(ValueError, match=r"strip or tile 0 has 1887 of 3774 bytes"):
        image.imfrombytes(written(bytes(W * H), tags) + bytes(W * H * 2), "unchanged", backend=backend)
    for extra, wrong in (((322, 4, (0,)), "tiles of 0 x 16"), ((322, 4, (1 << 30,)), "tiles of 1073741824 x 16")):
        tiles = [tag for tag in tags if tag[0] != 278] + [extra, (323, 4, (16,))]
        with pytest.raises(ValueError, match=wrong):
            image.imfrombytes(written(bytes(W * H * 2), sorted(tiles)), "unchanged", backend=backend)
    few = [tag if tag[0] != 257 else (257, 4, (2 * H,)) for tag in tags]
    with pytest.raises(ValueError, match=r"has 1 of 2 strips or tiles"):
        image.imfrombytes(written(bytes(W * H * 4), few), "unchanged", backend=backend)
    colors = tiff(np.zeros((H, W, 1), np.uint8), 3, more=[(320, 3, [0] * 300)])
    with pytest.raises(ValueError, match=r"palette has 100 of 256 colors"):
        image.imfrombytes(colors, backend=backend)


def test_a_compression_that_takes_imagecodecs(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    tags = [(256, 4, (8,)), (257, 4, (8,)), (258, 3, (8,)), (259, 3, (34887,)), (262, 3, (1,)), (273, 4, (8,))]
    content = written(bytes(64), [*tags, (277, 3, (1,)), (279, 4, (64,))])
    for backend in BACKENDS:
        with pytest.raises(ValueError, match=r"its compression 34887 takes imagecodecs: pip install"):
            image.imfrombytes(content, backend=backend)


def test_rows_of_bits():
    assert packed([[1, 0, 1]], 1) == b"\xa0" and packed([[0xABC, 0xDEF]], 12) == b"\xab\xcd\xef"


def test_flags_that_only_opencv_has():
    """By number: OpenCV's own result where it is right, an error where not."""
    depth, color = cv2.IMREAD_ANYDEPTH, cv2.IMREAD_COLOR
    for kind in ("u1", "u2", "f4"):
        gray, img = noise(kind, 1), noise(kind, 3)
        got = image.imfrombytes(tiff(gray, more=[(274, 3, (6,))]), depth)
        np.testing.assert_array_equal(got, np.rot90(gray[..., 0], -1))
        got = image.imfrombytes(tiff(gray, more=[(274, 3, (6,))]), depth | cv2.IMREAD_IGNORE_ORIENTATION)
        np.testing.assert_array_equal(got, gray[..., 0])
        np.testing.assert_array_equal(image.imfrombytes(tiff(img, 2), depth | color), img[..., ::-1])
        for wrong in (tiff(img, 2, planes=True), tiff(noise(kind, 5)), tiff(noise(kind, 4), 2)):
            with pytest.raises(ValueError, match=r"OpenCV reads it wrong with flag 3: give one by name"):
                image.imfrombytes(wrong, depth | color)
    assert image.imfrombytes(tiff(noise("u1", 3), 2), cv2.IMREAD_REDUCED_COLOR_2).shape == (H // 2, W // 2, 3)
