import functools
import gc
import os
import shutil
import threading
from collections import OrderedDict

import cv2
import numpy as np
import pytest

from arrayvision import image, video
from tests.video.clips import CLIPS, ENCODED, H, W, encode, frame, make, number, numbers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def clip(folder):
    """The path of a clip, made when first asked for."""
    made = {}

    def path(name="b_frames.mp4"):
        if name not in made:
            made[name] = make(folder, name)
        return made[name]

    return path


def test_cache():
    for capacity in (0, -1):
        with pytest.raises(ValueError, match="capacity"):
            video.Cache(capacity)
    cache = video.Cache(3)
    for i in range(1, 4):
        cache.put(f"k{i}", i)
        assert cache.size == i
    cache.put("k4", 4)
    cache.put("k2", 99)
    assert cache._cache == OrderedDict(k2=2, k3=3, k4=4) and cache.capacity == cache.size == 3
    assert cache.get("k1") is None and cache.get("k1", 0) == 0 and cache.get("k3") == 3


@pytest.mark.parametrize("name", CLIPS)
def test_sequential(clip, name):
    reader = video.VideoReader(clip(name))
    wanted = numbers(name)
    assert [number(f) for f in reader] == wanted
    assert len(reader) == reader.frame_cnt == len(wanted)
    assert reader.read() is None
    assert [number(f) for f in reader] == wanted  # again, from the start


@pytest.mark.parametrize("name", CLIPS)
def test_jumps_are_exact(clip, name):
    """Frames reached by jumps are those of sequential decoding, to the bit."""
    frames = list(video.VideoReader(clip(name)))
    rng = np.random.default_rng(0)
    reader = video.VideoReader(clip(name), cache_capacity=1)
    for i in [len(frames) - 1, 0, *rng.integers(0, len(frames), 25 if name != "stream.ts" else 6).tolist()]:
        np.testing.assert_array_equal(reader[i], frames[i], err_msg=f"frame {i}")
        assert reader.position == i + 1
    fresh = video.VideoReader(clip(name))
    np.testing.assert_array_equal(fresh[len(frames) // 2], frames[len(frames) // 2])  # the first thing asked for
    np.testing.assert_array_equal(fresh.read(), frames[len(frames) // 2 + 1])


def test_properties(clip):
    reader = video.VideoReader(clip())
    assert (reader.width, reader.height) == reader.resolution == (W, H)
    assert reader.fps == 25 and reader.opened and isinstance(reader.vcap, cv2.VideoCapture)
    code = int(reader.fourcc)
    assert bytes(code >> 8 * i & 255 for i in range(4)).lower() in (b"h264", b"avc1")
    assert reader.position == 0 and reader.current_frame() is None
    for i in range(5):
        assert number(reader.read()) == i and number(reader.current_frame()) == i and reader.position == i + 1
    with video.VideoReader(clip()) as opened:
        assert opened.opened
    assert not opened.opened
    with pytest.raises(ValueError, match="is closed"):
        opened.read()


def test_indices_and_slices(clip):
    reader, n = video.VideoReader(clip()), 120
    assert number(reader[64]) == 64 and number(reader[-1]) == n - 1 and number(reader[np.int64(3)]) == 3
    for s in (
        slice(10, 14),
        slice(-4, -1),
        slice(64, 60, -1),
        slice(None, 3),
        slice(117, None),
        slice(5, 60, 20),
        slice(9, 9),
    ):
        assert [number(f) for f in reader[s]] == list(range(n))[s]
    for i in (n, -n - 1):
        with pytest.raises(IndexError):
            reader[i]
    for i in (n, -1):
        with pytest.raises(IndexError, match="frame_id must be from 0 to 119"):
            reader.get_frame(i)
    with pytest.raises(TypeError):
        reader["1"]


def test_memory_is_bounded(clip):
    reader = video.VideoReader(clip(), cache_capacity=3)
    for _ in reader:
        assert reader._cache.size <= 3
    assert reader._cache.size == 3


# ---- decoding ahead --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "args", [(), (10,), (10, 30), (5, None, 7), (0, 100, 40), (-20,), (-20, -5, 3), (30, 30), (40, 20), (0, 9999)]
)
@pytest.mark.parametrize("name", ["b_frames.mp4", "uneven.mkv"])
def test_frames(clip, name, args):
    reader = video.VideoReader(clip(name))
    reader.read()
    wanted = numbers(name)[slice(*args) if len(args) > 1 else slice(*args, None)] if args else numbers(name)
    assert [number(f) for f in reader.frames(*args, prefetch=2)] == wanted
    assert reader.position == 1


def test_frames_stop_early(clip):
    before = threading.active_count()
    reader = video.VideoReader(clip())
    for f in reader.frames():
        if number(f) == 3:
            break
    del f
    gc.collect()
    iterator = reader.frames(step=2)
    assert number(next(iterator)) == 0
    iterator.close()
    assert threading.active_count() == before
    for kwargs in ({"step": 0}, {"step": -1}, {"prefetch": 0}):
        with pytest.raises(ValueError, match=r"VideoReader.frames"):
            reader.frames(**kwargs)


# ---- images ----------------------------------------------------------------------------------------------------------
def test_cvt2frames(clip, tmp_path):
    reader = video.VideoReader(clip())
    reader.cvt2frames(tmp_path / "all", filename_tmpl="{:06d}.png", show_progress=False)
    assert sorted(os.listdir(tmp_path / "all")) == [f"{i:06d}.png" for i in range(120)]
    np.testing.assert_array_equal(image.imread(tmp_path / "all/000077.png"), reader[77])
    reader.cvt2frames(str(tmp_path / "some"), 100, "{:03d}.JPEG", start=100, max_num=7)
    assert sorted(os.listdir(tmp_path / "some")) == [f"{i:03d}.JPEG" for i in range(100, 107)]
    assert number(image.imread(tmp_path / "some/103.JPEG")) == 103
    with pytest.raises(ValueError, match="start must be less than the 120 frames"):
        reader.cvt2frames(tmp_path, start=120)


def test_frames2video(tmp_path):
    for i in range(40):
        image.imwrite(frame(i), tmp_path / f"{i:06d}.jpg")
    out = tmp_path / "made/here.avi"
    video.frames2video(tmp_path, out, show_progress=False)
    reader = video.VideoReader(out)
    assert reader.fps == 30 and [number(f) for f in reader] == list(range(40))
    video.frames2video(str(tmp_path), str(out), fps=25, start=10, end=30)
    reader = video.VideoReader(out)
    assert reader.fps == 25 and [number(f) for f in reader] == list(range(10, 30))
    video.frames2video(tmp_path, tmp_path / "x.mp4", fourcc="mp4v", end=5, show_progress=False)
    assert len(video.VideoReader(tmp_path / "x.mp4")) == 5


def test_frames2video_refuses(tmp_path):
    for i in range(3):
        image.imwrite(frame(i), tmp_path / f"{i:06d}.jpg")
    out = tmp_path / "out.avi"
    for kwargs, kind, what in (
        ({"fps": 0}, ValueError, "fps must be greater than 0"),
        ({"fps": np.nan}, ValueError, "fps"),
        ({"fourcc": "XYZ"}, ValueError, "fourcc"),
        ({"fourcc": "zzzz"}, OSError, "can't be written with fourcc 'zzzz'"),
        ({"start": 5}, FileNotFoundError, "000005.jpg"),
        ({"end": 9}, FileNotFoundError, "000003.jpg"),
        ({"start": 2, "end": 1}, ValueError, "end must be greater"),
    ):
        with pytest.raises(kind, match=what):
            video.frames2video(tmp_path, out, show_progress=False, **kwargs)
        assert not out.exists()
    with pytest.raises(FileNotFoundError, match="no folder"):
        video.frames2video(tmp_path / "none", out)
    image.imwrite(frame(1)[:50], tmp_path / "000001.jpg")
    with pytest.raises(ValueError, match="must be 160 x 96 pixels, got 160 x 50"):
        video.frames2video(tmp_path, out, show_progress=False)
    assert not out.exists() and len(os.listdir(tmp_path)) == 3


# ---- bad files -------------------------------------------------------------------------------------------------------
def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.mp4"):
        video.VideoReader(tmp_path / "none.mp4")
    with pytest.raises(OSError, match="is a folder"):
        video.VideoReader(tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(OSError, match=r"empty.mp4 is empty"):
        video.VideoReader(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("no video" * 100)
    with pytest.raises(OSError, match=r"text.mp4 can't be opened"):
        video.VideoReader(tmp_path / "text.mp4")
    with pytest.raises(TypeError, match="filename must be a path"):
        video.VideoReader(3)


def test_cache_capacity(clip):
    with pytest.raises(ValueError, match="cache_capacity must be at least 1"):
        video.VideoReader(clip(), 0)


def test_cut_and_flipped(clip, tmp_path):
    """Each damaged copy is an error that names it, or frames; reading ends."""
    fast = tmp_path / "fast.mp4"
    video.convert_video(clip(), fast, c="copy", movflags="faststart")
    rng = np.random.default_rng(0)
    cuts = errors = 0
    for source in (fast, clip("b_frames.avi"), clip("uneven.mkv")):
        with open(source, "rb") as file:
            content = file.read()
        for i in range(30):
            bad = np.frombuffer(content, np.uint8).copy()
            if i < 15:
                bad = bad[: len(bad) * i // 15]
            else:
                where = rng.integers(0, len(bad), 20)
                bad[where] = rng.integers(0, 256, 20)
            path = tmp_path / f"bad{os.path.splitext(source)[1]}"
            path.write_bytes(bad.tobytes())
            try:
                with video.VideoReader(path) as reader:
                    count = sum(f.shape[2] == 3 for f in reader)
                assert count <= 200
                cuts += i < 15
            except (OSError, ValueError) as error:
                assert path.name in str(error)
                errors += 1
    assert cuts == 0  # one that is cut off never passes for whole
    assert errors >= 45


def test_fetched_address(clip):
    import fsspec

    with open(clip(), "rb") as file:
        fsspec.filesystem("memory").pipe("/clips/one.mp4", file.read())
    reader = video.VideoReader("memory://clips/one.mp4")
    assert number(reader[30]) == 30
    shutil.rmtree(os.path.dirname(reader._source), ignore_errors=True)


@pytest.mark.parametrize("name", ["pictures.gif", "h264.mp4"])
def test_address(tmp_path, name):
    """FFmpeg streams it; jumps are asked for from the server."""
    import http.server

    encode(tmp_path / name, *ENCODED[name])
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with video.VideoReader(f"http://127.0.0.1:{server.server_port}/{name}") as reader:
                assert [number(reader[i]) for i in (0, 40, 5)] == [0, 40, 5]
        finally:
            server.shutdown()
            thread.join()
