"""Files without what follows their pixels are read, with a warning; what lacks a pixel is refused."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from arrayvision import image
from tests.image.pictures import photo


def read(content, **options):
    with pytest.warns(UserWarning, match=r"imfrombytes: <\d+ bytes> lacks its .*; its pixels are all there"):
        return image.imfrombytes(content, **options)


JPEGS = {
    "baseline": [],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 3],
    "coarse": [cv2.IMWRITE_JPEG_QUALITY, 10],
}


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("size", [(37, 53), (120, 161), (8, 8)])
def test_jpeg(name, size, capfd):
    """Without its end marker it is the same picture; one byte less is an error, at flat ends and restarts, too."""
    flat = np.full((*size, 3), 90, np.uint8)
    for img in (photo(*size), photo(*size)[..., 0], flat):
        content = cv2.imencode(".jpg", img, JPEGS[name])[1].tobytes()
        for backend in ("cv2", "turbojpeg", "pillow"):
            wanted = image.imfrombytes(content, backend=backend)
            for cut in (2, 1):
                np.testing.assert_array_equal(read(content[:-cut], backend=backend), wanted)
        for cut in range(3, min(60, len(content) - content.rfind(b"\xff\xda") - 16)):
            with pytest.raises(ValueError, match=r"is damaged: it is cut off"):
                image.imfrombytes(content[:-cut])


def test_jpeg_without_its_last_scans():
    """A progressive file that ends with a whole scan, but not the last, is coarse."""
    content = cv2.imencode(".jpg", photo(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    starts = [i for i in range(len(content)) if content[i : i + 2] in (b"\xff\xda", b"\xff\xc4")]
    for start in starts:
        with pytest.raises(ValueError, match=r"is damaged"):
            image.imfrombytes(content[:start])


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "I;16"])
def test_png(mode):
    buffer = io.BytesIO()
    img = (
        Image.fromarray(photo(50, 60)[..., 0].astype(np.uint16) * 255)
        if mode == "I;16"
        else Image.fromarray(photo(50, 60))
    )
    (img if mode == "I;16" else img.convert(mode)).save(buffer, "PNG")
    content = buffer.getvalue()
    end = content.rindex(b"IEND") - 4
    for backend in ("cv2", "pillow"):
        for cut in (end, end + 3, len(content) - 1):
            np.testing.assert_array_equal(
                read(content[:cut], backend=backend), image.imfrombytes(content, backend=backend)
            )
    for cut in (end - 1, end - 5, end - 20):
        with pytest.raises(ValueError, match=r"is damaged: it is cut off"):
            image.imfrombytes(content[:cut])


def test_png_whose_stream_goes_on_in_a_chunk_that_is_missing():
    content = cv2.imencode(".png", photo())[1].tobytes()
    at = content.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", content, at)
    data = content[at + 8 : at + 8 + length]
    half = b"IDAT" + data[: length // 2]
    cut = content[:at] + struct.pack(">I", length // 2) + half + struct.pack(">I", zlib.crc32(half))
    with pytest.raises(ValueError, match=r"is damaged: it is cut off"):
        image.imfrombytes(cut)


def test_gif():
    frames = [Image.fromarray(photo(50, 60, seed)).convert("P") for seed in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    content = buffer.getvalue()
    assert content[-2:] == b"\0;"
    np.testing.assert_array_equal(read(content[:-1], backend="pillow"), image.imfrombytes(content, backend="pillow"))
    for cut in (2, 3, 100):
        with pytest.raises(ValueError, match=r"is damaged: it is cut off"):
            image.imfrombytes(content[:-cut], backend="pillow")


def test_webp_and_bmp_without_their_padding():
    for seed in range(20):
        webp = cv2.imencode(".webp", photo(seed=seed))[1].tobytes()
        if webp[-1] == 0 and struct.unpack_from("<I", webp, 16)[0] % 2:
            break
    np.testing.assert_array_equal(read(webp[:-1]), image.imfrombytes(webp))
    bmp = cv2.imencode(".bmp", photo(20, 21))[1].tobytes()  # lines of 63 bytes and one of padding
    np.testing.assert_array_equal(read(bmp[:-1]), image.imfrombytes(bmp))
    for cut in (webp[:-2], bmp[:-2]):
        with pytest.raises(ValueError, match=r"is damaged: it is cut off"):
            image.imfrombytes(cut)


def test_the_warning_names_the_file_and_the_caller(tmp_path):
    path = tmp_path / "shorter.jpg"
    path.write_bytes(cv2.imencode(".jpg", photo())[1].tobytes()[:-2])
    with pytest.warns(UserWarning, match=r"imread: .*shorter.jpg lacks its end marker") as warned:
        image.imread(path)
    assert warned[0].filename == __file__


def test_headers_that_end_early():
    """What looks for the end comes upon damage elsewhere."""
    for content in (
        cv2.imencode(".jpg", photo(20, 20), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
        cv2.imencode(".png", photo(20, 20))[1].tobytes(),
    ):
        for start in range(4, len(content) // 2, 3):
            for byte in (0, 0xFF):
                with pytest.raises(ValueError, match="imfrombytes: <"):
                    image.imfrombytes(content[: start - 2] + bytes([byte, 0xDA]) + content[start : len(content) // 2])
