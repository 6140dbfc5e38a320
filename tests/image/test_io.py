import io
import os
import pathlib
import struct
import sys
import warnings

import cv2
import fsspec
import numpy as np
import pytest
import tifffile
from PIL import Image

from arrayvision import image
from arrayvision.image._damage import damage, orientation
from tests.image.pictures import noise, photo

BACKENDS = ("cv2", "turbojpeg", "pillow")


@pytest.fixture(autouse=True)
def restored():
    yield
    image.use_backend("cv2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """color.jpg, gray.jpg, exif.jpg (orientation 6), alpha.png, gray_alpha.png, deep.png, palette.gif, five.tif."""
    here = tmp_path_factory.mktemp("pictures")
    img = photo(300, 400)
    cv2.imwrite(str(here / "color.jpg"), img)
    cv2.imwrite(str(here / "gray.jpg"), img[..., 0])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(img).save(here / "exif.jpg", exif=exif)
    cv2.imwrite(str(here / "alpha.png"), np.dstack([img, noise(300, 400, 0)]))
    Image.fromarray(np.dstack([img[..., 0], noise(300, 400, 0) // 128 * 255]), "LA").save(here / "gray_alpha.png")
    cv2.imwrite(str(here / "deep.png"), img.astype(np.uint16) * 257)
    Image.fromarray(img[..., 0]).convert("P").save(here / "palette.gif")
    tifffile.imwrite(here / "five.tif", noise(200, 150, 5).astype(np.uint16) * 100)
    return here


# ---- reading ---------------------------------------------------------------------------------------------------------
def test_flags(folder):
    color, gray = str(folder / "color.jpg"), str(folder / "gray.jpg")
    assert image.imread(color).shape == (300, 400, 3)
    assert image.imread(color, "grayscale").shape == image.imread(gray, "unchanged").shape == (300, 400)
    assert image.imread(gray).shape == (300, 400, 3)
    assert image.imread(folder / "alpha.png", "unchanged").shape == (300, 400, 4)
    deep = image.imread(folder / "deep.png", "unchanged")
    np.testing.assert_array_equal(deep, photo(300, 400).astype(np.uint16) * 257)
    assert image.imread(folder / "deep.png").dtype == np.uint8
    np.testing.assert_array_equal(image.imread(color, cv2.IMREAD_GRAYSCALE), image.imread(color, "grayscale"))
    for flag in ("colour", 12345.6, None):
        with pytest.raises(ValueError, match=r"imread: flag must be one of color"):
            image.imread(color, flag)
    with pytest.raises(ValueError, match=r"channel_order must be 'bgr' or 'rgb', got 'gbr'"):
        image.imread(color, channel_order="gbr")
    with pytest.raises(ValueError, match=r"backend must be one of cv2"):
        image.imread(color, backend="gimp")


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_agree(folder, backend):
    for name in ("color.jpg", "gray.jpg"):
        for flag in ("color", "grayscale"):
            wanted = image.imread(folder / name, flag, backend="cv2").astype(int)
            got = image.imread(folder / name, flag, backend=backend)
            assert np.abs(got - wanted).max() <= (0 if backend == "turbojpeg" else 3) and got.dtype == np.uint8
        bgr, rgb = (image.imread(folder / name, channel_order=order, backend=backend) for order in ("bgr", "rgb"))
        np.testing.assert_array_equal(bgr, rgb[..., ::-1])
        assert bgr.flags.c_contiguous and rgb.flags.c_contiguous


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation(tmp_path, backend, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / "turned.jpg"
    Image.fromarray(photo(40, 64)).save(path, exif=exif)
    assert orientation(path.read_bytes()) == turn
    lying = (40, 64) if turn < 5 else (64, 40)
    upright = image.imread(path, backend="pillow").astype(int)
    for flag, tail in (("color", (3,)), ("grayscale", ())):
        assert image.imread(path, flag, backend=backend).shape == lying + tail
        ignoring = image.imread(path, f"{flag}_ignore_orientation", backend=backend)
        assert ignoring.shape == (40, 64, *tail)
    assert np.abs(image.imread(path, backend=backend) - upright).max() <= 3
    if backend != "turbojpeg":
        assert image.imread(path, "unchanged", backend=backend).shape == (40, 64, 3)


def test_orientation_in_motorola_order():
    jpeg = cv2.imencode(".jpg", photo())[1].tobytes()
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 8, 0, 0)
    exif = b"Exif\0\0" + tiff
    assert orientation(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]) == 8
    assert orientation(jpeg) == 1


def test_pillow_modes(folder):
    read = lambda name, flag="color": image.imread(folder / name, flag, backend="pillow")  # noqa: E731
    assert read("gray_alpha.png").shape == (300, 400, 3) and read("gray_alpha.png", "grayscale").shape == (300, 400)
    both = read("gray_alpha.png", "unchanged")
    assert both.shape == (300, 400, 2)
    clear = read("gray_alpha.png")[both[..., 1] == 0]
    assert (clear == clear[0]).all()  # what can't be seen has one color
    assert read("palette.gif").shape == (300, 400, 3) and read("palette.gif", "unchanged").shape == (300, 400)
    np.testing.assert_array_equal(read("alpha.png", "unchanged"), image.imread(folder / "alpha.png", "unchanged"))
    gray = folder / "deep_gray.png"
    cv2.imwrite(str(gray), photo()[..., 0].astype(np.uint16) * 257)
    np.testing.assert_array_equal(image.imread(gray, backend="pillow"), image.imread(gray))


def test_rgb_of_unchanged(folder):
    for backend in ("cv2", "pillow"):
        bgr = image.imread(folder / "alpha.png", "unchanged", backend=backend)
        rgb = image.imread(folder / "alpha.png", "unchanged", "rgb", backend=backend)
        np.testing.assert_array_equal(rgb, bgr[..., [2, 1, 0, 3]])


def test_tifffile(folder):
    np.testing.assert_array_equal(
        image.imread(folder / "five.tif", backend="tifffile"), noise(200, 150, 5).astype(np.uint16) * 100
    )
    image.use_backend("tifffile")
    assert image.imread(folder / "five.tif").dtype == np.uint16


def test_turbojpeg_reads_jpeg_only(folder):
    with pytest.raises(ValueError, match=r"alpha.png can't be decoded by turbojpeg: it is no JPEG"):
        image.imread(folder / "alpha.png", backend="turbojpeg")
    with pytest.raises(ValueError, match=r"flag must be a color or grayscale one"):
        image.imread(folder / "color.jpg", "unchanged", backend="turbojpeg")
    cmyk = folder / "cmyk.jpg"
    Image.fromarray(photo()).convert("CMYK").save(cmyk)
    np.testing.assert_array_equal(image.imread(cmyk, backend="turbojpeg"), image.imread(cmyk))


def test_sources(folder):
    path, wanted = folder / "color.jpg", image.imread(folder / "color.jpg")
    content = path.read_bytes()
    fsspec.filesystem("memory").pipe("/pictures/color.jpg", content)
    for source in (str(path), path, content, bytearray(content), memoryview(content), io.BytesIO(content)):
        np.testing.assert_array_equal(image.imread(source), wanted)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(image.imread(file), wanted)
    for url, args in (
        ("memory://pictures/color.jpg", None),
        ("pictures/color.jpg", {"backend": "memory"}),
        (f"file://{path}", None),
        (str(path), {"backend": "local"}),
    ):
        np.testing.assert_array_equal(image.imread(url, backend_args=args), wanted)
    with pytest.warns(DeprecationWarning, match=r"now called backend_args"):
        np.testing.assert_array_equal(image.imread(str(path), file_client_args={"backend": "local"}), wanted)
    with pytest.warns(DeprecationWarning), pytest.raises(ValueError, match=r"cannot be set at the same"):
        image.imread(str(path), file_client_args={}, backend_args={})
    assert image.imread(wanted) is wanted
    np.testing.assert_array_equal(image.imfrombytes(content, "grayscale"), image.imread(path, "grayscale"))


@pytest.mark.parametrize("plain", [False, True], ids=["fsspec", "without aiohttp"])
def test_over_http(folder, plain, monkeypatch):
    import http.server
    import threading

    monkeypatch.setenv("no_proxy", "*")
    handler = lambda *args: Quiet(*args, directory=str(folder))  # noqa: E731

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        if plain:

            def refuse(*args, **kwargs):
                raise ImportError("aiohttp")

            monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
        else:
            pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp, which isn't installed")
        url = f"http://127.0.0.1:{server.server_port}/color.jpg"
        for args in (None, {"backend": "http"}):
            np.testing.assert_array_equal(image.imread(url, backend_args=args), image.imread(folder / "color.jpg"))
        with pytest.raises(FileNotFoundError):
            image.imread(url + ".none")
        server.shutdown()


def test_a_cut_http_body(monkeypatch):
    import http.server
    import threading
    import urllib.request

    monkeypatch.setenv("no_proxy", "*")

    class Cut(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)

        def log_message(self, *args):
            pass

    def refuse(*args, **kwargs):
        raise ImportError("aiohttp")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cut) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/color.jpg"
        with pytest.raises(OSError, match=r"color.jpg can't be read: IncompleteRead"):
            image.imread(url)
        with urllib.request.urlopen(url) as answer, pytest.raises(OSError, match=r"can't be read: IncompleteRead"):
            image.imread(answer)
        server.shutdown()
    with pytest.raises(OSError, match=r"color.jpg can't be read"):  # refused, or reset
        image.imread(url)


def test_null_bytes_in_paths():
    for path in ("a\0b.png", pathlib.Path("a\0b.png")):
        with pytest.raises(ValueError, match=r"imread: a path must hold no null byte, got 'a\\x00b.png'"):
            image.imread(path)
    with pytest.raises(ValueError, match=r"imwrite: a path must hold no null byte, got 'a\\x00b.png'"):
        image.imwrite(photo(), "a\0b.png")


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        image.imread("/not/there.jpg")
    with pytest.raises(FileNotFoundError, match=r"not/there.jpg"):
        image.imread("memory://not/there.jpg")
    with pytest.raises(OSError):
        image.imread(tmp_path)
    with pytest.raises(OSError):
        image.imread("")
    with pytest.raises(ValueError, match=r"nonsense://x can't be opened"):
        image.imread("nonsense://x")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    for backend in ("cv2", "pillow", "turbojpeg", "tifffile"):
        with pytest.raises(ValueError, match=r"empty.png is empty"):
            image.imread(tmp_path / "empty.png", backend=backend)
        with pytest.raises(ValueError, match=r"text.png"):
            image.imread(tmp_path / "text.png", backend=backend)
    for bad in (1, None, [1]):
        with pytest.raises(TypeError, match=r"img_or_path"):
            image.imread(bad)
        with pytest.raises(TypeError, match=r"content must be bytes"):
            image.imfrombytes(bad)
    with pytest.raises(TypeError, match=r"binary mode"):
        image.imread(io.StringIO("x"))


def test_use_backend(folder):
    image.use_backend("pillow")
    got = image.imread(folder / "palette.gif", "unchanged")
    assert got.shape == (300, 400)
    np.testing.assert_array_equal(
        image.imresize(photo(), (20, 20)), image.imresize(photo(), (20, 20), backend="pillow")
    )
    image.use_backend("turbojpeg")
    assert image.imresize(photo(), (20, 20)).shape == (20, 20, 3)
    with pytest.raises(AssertionError, match=r"backend must be one of cv2, turbojpeg, pillow, tifffile"):
        image.use_backend("gimp")


@pytest.mark.parametrize(
    ("backend", "module"), [("turbojpeg", "simplejpeg"), ("tifffile", "tifffile"), ("pillow", "PIL.Image")]
)
def test_missing_package(monkeypatch, folder, backend, module):
    from arrayvision.image.io import pillow

    pillow.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"arrayvision\[image\]"):
        image.use_backend(backend)
    with pytest.raises(ImportError, match=r"arrayvision\[image\]"):
        image.imread(folder / "color.jpg", backend=backend)
    pillow.cache_clear()


@pytest.mark.parametrize(
    ("backend", "symbol"), [("turbojpeg", "TurboJPEG"), ("pillow", "Image"), ("tifffile", "tifffile")]
)
def test_back_end_turned_off(backend, symbol):
    from unittest.mock import patch

    with patch(f"arrayvision.image.io.{symbol}", None), pytest.raises(ImportError, match="turned off"):
        image.use_backend(backend)
    image.use_backend(backend)


# ---- writing ---------------------------------------------------------------------------------------------------------
def test_round_trips(tmp_path):
    for name, img in (
        ("a.png", photo()),
        ("b.png", noise(c=0)),
        ("c.png", noise(c=4)),
        ("d.png", noise().astype(np.uint16) * 200),
        ("e.tif", noise().astype(np.float32)),
        ("f.tiff", noise(c=6).astype(np.uint16) * 11),
        ("g.bmp", photo()),
        ("deep/er/h.png", photo()),
    ):
        path = tmp_path / name
        assert image.imwrite(img, str(path)) is True
        backend = "tifffile" if img.ndim == 3 and img.shape[2] > 4 else "cv2"
        np.testing.assert_array_equal(image.imread(path, "unchanged", backend=backend), img)
    path = tmp_path / "i.jpg"
    assert image.imwrite(photo(), path)
    assert np.abs(image.imread(path).astype(int) - photo()).mean() < 6
    small = tmp_path / "j.jpg"
    image.imwrite(photo(), small, [cv2.IMWRITE_JPEG_QUALITY, 10])
    assert small.stat().st_size < path.stat().st_size


def test_writing_elsewhere():
    img = photo()
    assert image.imwrite(img, "memory://made/here.png")
    np.testing.assert_array_equal(image.imread("memory://made/here.png"), img)
    assert image.imwrite(img, "made/there.png", backend_args={"backend": "memory"})
    np.testing.assert_array_equal(image.imread("memory://made/there.png"), img)


def test_writing_is_whole_or_not(tmp_path, monkeypatch):
    path = tmp_path / "kept.png"
    image.imwrite(photo(), path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"disk full"):
        image.imwrite(noise(), path)
    monkeypatch.undo()
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["kept.png"]
    with pytest.raises(ValueError):
        image.imwrite(noise(c=7), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["kept.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions and links are those of Unix")
def test_permissions_and_links(tmp_path):
    path, link = tmp_path / "a.png", tmp_path / "link.png"
    image.imwrite(photo(), path)
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    path.chmod(0o600)
    link.symlink_to(path)
    image.imwrite(noise(), link)
    assert link.is_symlink() and path.stat().st_mode & 0o777 == 0o600
    np.testing.assert_array_equal(image.imread(path), noise())


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(cv2.error, match=r"error_file.jppg"):
        image.imwrite(photo(), "error_file.jppg")
    with pytest.raises(ValueError, match=r"must end in an extension"):
        image.imwrite(photo(), str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"dtype uint16 can't be written as .jpg, which holds uint8"):
        image.imwrite(photo().astype(np.uint16), str(tmp_path / "a.jpg"))
    for bad in (np.zeros((0, 3, 3), np.uint8), np.zeros(3, np.uint8), np.zeros((2, 2, 9), np.uint8)):
        with pytest.raises(ValueError, match=r"imwrite: img"):
            image.imwrite(bad, str(tmp_path / "a.png"))
    with pytest.raises(TypeError, match=r"file_path must be a path"):
        image.imwrite(photo(), 3)
    image.imwrite(photo(), str(tmp_path / "a.png"))
    with pytest.raises(OSError):
        image.imwrite(photo(), str(tmp_path / "a.png" / "b.png"))
    with pytest.raises(OSError, match=r"folder"):
        (tmp_path / "c.png").mkdir()
        image.imwrite(photo(), str(tmp_path / "c.png"))
    with pytest.warns(DeprecationWarning, match=r"auto_mkdir"):
        image.imwrite(photo(), str(tmp_path / "d.png"), auto_mkdir=True)
    assert not pathlib.Path("error_file.jppg").exists()


LOSSY = (".jpg", ".webp", ".gif", ".avif", ".hdr", ".jp2")


@pytest.mark.parametrize(
    "extension", [".png", ".bmp", ".pgm", ".jpg", ".webp", ".tif", ".ras", ".jp2", ".pfm", ".hdr", ".exr"]
)
@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "f2", "f4", "f8"]
)
def test_what_is_written_comes_back_or_is_refused(tmp_path, monkeypatch, extension, dtype):
    """Whole, fractional, negative, large and special values: the same numbers, or an error that names all of it."""
    monkeypatch.setenv("OPENCV_IO_ENABLE_OPENEXR", "1")
    if not cv2.haveImageWriter(f"x{extension}"):
        pytest.skip(f"this OpenCV writes no {extension}")
    path = tmp_path / f"a{extension}"
    dtype = np.dtype(dtype)
    whole = np.tile(np.arange(48), (40, 1))
    candidates = [whole % 2, whole, whole * 9, whole * 2000, -whole, whole.astype(np.float64) / 47, whole + 0.5]
    candidates += [np.where(whole == 5, x, whole) for x in (np.nan, np.inf, 2.0**24 + 1, 1e30)]
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        candidates = [whole % 2, whole, np.where(whole == 5, limits.max, 0), np.where(whole == 5, limits.min, 1)]
    written = 0
    for values in candidates:
        with np.errstate(invalid="ignore", over="ignore"):
            img = values.astype(dtype)
        try:
            assert image.imwrite(img, path) is True
        except ValueError as error:
            assert f"dtype {'float32' if dtype == np.float16 else dtype}" in str(error) and extension in str(error)
            continue
        written += 1
        back = image.imread(path, "unchanged")
        if extension not in LOSSY:
            back = back[..., 0] if back.ndim == 3 else back
            np.testing.assert_array_equal(back, img)
    if dtype.kind == "b":
        assert not written
    elif extension in (".tif", ".png") and dtype != np.float16:
        assert written


def test_bilevel_files_hold_bool(tmp_path):
    img = noise(20, 24, 0) > 99
    image.imwrite(img, tmp_path / "a.pbm")
    np.testing.assert_array_equal(image.imread(tmp_path / "a.pbm", "unchanged") > 0, img)
    with pytest.raises(ValueError, match=r"black and white alone"):
        image.imwrite(noise(20, 24, 0), tmp_path / "a.pbm")


def test_formats_without_alpha(tmp_path):
    img = np.dstack([photo(), noise(*photo().shape[:2], 0)])
    with pytest.raises(ValueError, match=r"\.jpg, which holds no alpha: give its first three"):
        image.imwrite(img, tmp_path / "a.jpg")
    img[..., 3] = 255
    image.imwrite(img, tmp_path / "a.jpg")
    image.imwrite(photo(), tmp_path / "b.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


# ---- damage ----------------------------------------------------------------------------------------------------------
def test_sound_files_are_sound(folder):
    for path in folder.iterdir():
        assert damage(path.read_bytes()) is None, path
    for quality in (1, 50, 100):
        for progressive in (0, 1):
            params = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
            assert damage(cv2.imencode(".jpg", photo(), params)[1].tobytes()) is None
    large = np.zeros((3000, 3000), np.uint8)  # as dense as files get
    for name in (".jpg", ".png", ".tif", ".webp", ".bmp"):
        assert damage(cv2.imencode(name, large)[1].tobytes()) is None, name
    progressive = cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_OPTIMIZE, 1])[1]
    assert damage(progressive.tobytes()) is None
    for packing in (None, "tiff_lzw", "tiff_deflate", "packbits", "group4"):
        buffer = io.BytesIO()
        Image.fromarray(large).convert("1" if packing == "group4" else "L").save(buffer, "TIFF", compression=packing)
        assert damage(buffer.getvalue()) is None, packing
    for big in (False, True):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, noise(64, 64), bigtiff=big, tile=(32, 32), photometric="rgb")
        assert damage(buffer.getvalue()) is None


def test_bytes_between_segments_are_passed_over():
    content = cv2.imencode(".jpg", photo())[1].tobytes()
    at = content.index(b"\xff\xdb")
    for filler in (b"\0\0\0", b"\xff\xff", b"\0\xff\0\1"):
        np.testing.assert_array_equal(
            image.imfrombytes(content[:at] + filler + content[at:]), image.imfrombytes(content)
        )


def test_thumbnail_does_not_hide_a_cut():
    small, large = (cv2.imencode(".jpg", photo(*size))[1].tobytes() for size in ((30, 40), (300, 400)))
    exif = b"Exif\0\0" + small
    content = large[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + large[2:]
    assert image.imfrombytes(content).shape == (300, 400, 3)
    with pytest.raises(ValueError, match=r"it is cut off"):
        image.imfrombytes(content[:-20])


def test_promises_of_millions():
    """A small file whose header gives gigapixels is refused before they are allocated."""
    png = cv2.imencode(".png", photo())[1].tobytes()
    import zlib

    header = b"IHDR" + struct.pack(">II", 30000, 30000) + png[24:29]
    huge = png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
    jpeg = bytearray(cv2.imencode(".jpg", photo())[1].tobytes())
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
    tif = bytearray(cv2.imencode(".tif", photo())[1].tobytes())
    (first,) = struct.unpack_from("<I", tif, 4)
    for i in range(struct.unpack_from("<H", tif, first)[0]):
        if struct.unpack_from("<H", tif, first + 2 + 12 * i)[0] in (256, 257):
            struct.pack_into("<HII", tif, first + 4 + 12 * i, 4, 1, 90000)
    for content in (huge, bytes(jpeg), bytes(tif)):
        for backend in ("cv2", "pillow"):
            with pytest.raises(ValueError, match=r"too short for the"):
                image.imfrombytes(content, backend=backend)


def tiff(width, height, compression, data=b"\x00" * 40, samples=1, bits=8):
    """A small TIFF with what header one likes."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, compression), (262, 3, 1), (273, 4, 8)]
    tags += [(277, 3, samples), (278, 4, height), (279, 4, len(data)), (284, 3, 1)]
    entries = b"".join(struct.pack("<HHII", tag, form, 1, value) for tag, form, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def webp(chunk, content):
    body = b"WEBP" + chunk + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


SIDE = 16000
HUGE = {
    **{
        f"tiff {code}": tiff(4, SIDE**2 // 4, code)
        for code in (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 33003, 34712, 34887)
    },
    **{f"tiff {code}": tiff(SIDE, SIDE, code) for code in (34925, 34926, 50000, 50001, 50002, 52546, 65000)},
    "tiff of many channels": tiff(500, 500, 34925, samples=60000),
    "webp canvas": webp(b"VP8X", bytes(4) + 2 * (SIDE - 1).to_bytes(3, "little")),
    "webp lossless": webp(b"VP8L", b"\x2f" + (SIDE - 1 | SIDE - 1 << 14).to_bytes(4, "little") + bytes(20)),
    "webp lossy": webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", SIDE, SIDE) + bytes(20)),
    "gif screen": b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0, 0, 0) + b",;",
    "gif frame": b"GIF89a"
    + struct.pack("<HHBBB", 4, 4, 0, 0, 0)
    + b","
    + struct.pack("<HHHH", 0, 0, SIDE, SIDE)
    + b"\0\2\0;",
    "bmp run lengths": b"BM"
    + struct.pack("<IIIIiiHHIIiiII", 70, 0, 54, 40, SIDE, SIDE, 1, 8, 1, 0, 0, 0, 0, 0)
    + b"\0\1",
    "pgm": b"P5 %d %d 255\n" % (SIDE, SIDE) + bytes(9),
    "pgm with a comment": b"P5 # 4 4\n%d\n%d 255\n" % (SIDE, SIDE) + bytes(9),
    "pbm text": b"P1\n%d %d\n" % (SIDE, SIDE) + b"0 1",
    "pam": b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" % (SIDE, SIDE),
    "pfm": b"PF\n%d %d\n-1.0\n" % (SIDE, SIDE),
    "hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (SIDE, SIDE),
    "sun raster": struct.pack(">8I", 0x59A66A95, SIDE, SIDE, 24, SIDE * SIDE * 3 % 2**32, 1, 0, 0),
    "exr": b"\x76\x2f\x31\x01\2\0\0\0dataWindow\0box2i\0" + struct.pack("<I4i", 16, 0, 0, SIDE - 1, SIDE - 1),
    "jpeg 2000": b"\xff\x4f\xff\x51" + struct.pack(">HH8IH", 41, 0, SIDE, SIDE, 0, 0, SIDE, SIDE, 0, 0, 1) + b"\7\1\1",
    "avif": b"\0\0\0\x1cftypavif" + bytes(12) + b"\0\0\0\x14ispe\0\0\0\0" + struct.pack(">II", SIDE, SIDE),
}


@pytest.mark.parametrize("name", HUGE)
def test_small_files_that_promise_millions(name):
    """In each format, what takes memory by the header alone is refused before, quickly, by each back end."""
    for backend in ("cv2", "pillow", "tifffile"):
        with pytest.raises(ValueError, match=r"too short for the|cut off"):
            image.imfrombytes(HUGE[name], "unchanged", backend=backend)


@pytest.fixture
def limit():
    yield image.set_max_pixels
    image.io._max_pixels = None


@pytest.mark.parametrize(
    "extension", [".png", ".jpg", ".tif", ".webp", ".bmp", ".pgm", ".jp2", ".ras", ".hdr", ".gif", ".avif"]
)
def test_a_limit_of_pixels_that_users_raise(limit, monkeypatch, extension):
    if not cv2.haveImageWriter(f"x{extension}"):
        pytest.skip(f"this OpenCV writes no {extension}")
    img = photo(100, 120)[..., 0] if extension == ".pgm" else photo(100, 120)
    img = img.astype(np.float32) if extension == ".hdr" else img
    content = cv2.imencode(extension, img)[1].tobytes()
    limit(100 * 120 - 1)
    for backend in ("cv2", "pillow", "tifffile", "turbojpeg"):
        with pytest.raises(
            ValueError, match=r"120 x 100 pixels .*set_max_pixels\(12000\), or ARRAYVISION_MAX_PIXELS=12000"
        ):
            image.imfrombytes(content, backend=backend)
    limit(100 * 120)
    assert image.imfrombytes(content).shape == (100, 120, 3)
    image.io._max_pixels = None
    monkeypatch.setenv("ARRAYVISION_MAX_PIXELS", "11999")
    assert image.get_max_pixels() == 11999
    with pytest.raises(ValueError, match=r"more than the limit of 11999"):
        image.imfrombytes(content)


def test_formats_that_pillow_alone_knows(limit):
    buffer = io.BytesIO()
    Image.fromarray(photo(100, 120)).save(buffer, "TGA")
    assert image.imfrombytes(buffer.getvalue(), backend="pillow").shape == (100, 120, 3)
    limit(100)
    with pytest.raises(ValueError, match=r"120 x 100 pixels by its header, more than the limit of 100"):
        image.imfrombytes(buffer.getvalue(), backend="pillow")
    limit(1 << 20)
    stack = io.BytesIO()
    tifffile.imwrite(stack, np.zeros((50, 300, 400), np.uint8), photometric="minisblack")
    assert image.imfrombytes(stack.getvalue()).shape == (300, 400, 3)
    with pytest.raises(ValueError, match=r"more than the limit"):
        image.imfrombytes(stack.getvalue(), backend="tifffile")


def test_whole_numbers_of_32_bits_by_pillow():
    """Of a format whose depth isn't known here: as they are, and no picture of 8 bits."""
    numbers = np.array([[-5, 0, 70000], [2**31 - 1, -(2**31), 255]], np.int32)
    buffer = io.BytesIO()
    Image.fromarray(numbers).save(buffer, "IM")
    np.testing.assert_array_equal(image.imfrombytes(buffer.getvalue(), "unchanged", backend="pillow"), numbers)
    with pytest.raises(ValueError, match=r"int32 values have no form of 8 bits: read it with flag 'unchanged'"):
        image.imfrombytes(buffer.getvalue(), backend="pillow")


def test_pillow_reads_what_it_warns_of(monkeypatch):
    content = cv2.imencode(".png", photo())[1].tobytes()
    for limit in (60 * 80 - 1, 100):  # Pillow warns from its limit, and refuses from twice as much
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert image.imfrombytes(content, backend="pillow").shape == (60, 80, 3)
        assert limit == Image.MAX_IMAGE_PIXELS


def test_strips_longer_than_their_pixels():
    """A strip that unpacks to gigabytes, in a file whose header is modest."""
    import lzma
    import zlib

    for code, data in ((34925, lzma.compress(bytes(1 << 24))), (8, zlib.compress(bytes(1 << 24)))):
        with pytest.raises(ValueError, match=r"bytes of data are more than 4 x 4 pixels take"):
            image.imfrombytes(tiff(4, 4, code, data + bytes(1 << 16)), backend="tifffile")


def test_refuses_a_limit_that_is_none():
    for wrong, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError), ("9", TypeError)):
        with pytest.raises(error, match="set_max_pixels: count must be"):
            image.set_max_pixels(wrong)
