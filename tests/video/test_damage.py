"""Damaged files: a number gives that frame or an OSError, and what can be decoded is given."""

from array import array

import av
import av.error
import numpy as np
import pytest

from arrayvision import video
from arrayvision.video import _table
from arrayvision.video._table import KEY, SHOWN
from tests.video.clips import COUNT, ENCODED, encode, number, packets

INDEXED = (".mp4", ".mov", ".avi")
CHECKED = {"ffv1.mkv", "checked.mp4", "png.mov", "pictures.apng", "dv.mov"}  # with checksums: one wrong byte is seen
# Codecs whose packets may be damaged without any decoder's noticing, as VideoReader says. Elsewhere frames must be right.
SILENT = {"hevc", "vp8", "vp9", "av1", "wmv2", "qtrle", "huffyuv", "raw", "utvideo", "jpeg2000", "gif"}
NAMES = [name for name in ENCODED if not name.endswith((".mpg", ".m2v", ".h264", ".wmv", ".gif", ".nut"))]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("encoded"), {}

    def path(name):
        if name not in made:
            source = encode(folder / name, *ENCODED[name])
            made[name] = source, list(video.VideoReader(source)), packets(source)
        return made[name]

    return path


def damaged(content, placed, kind, rng):
    """A damaged copy of a file's bytes, and where."""
    start, size, _ = placed[int(rng.integers(2, len(placed) - 2))]
    if kind == "byte":
        start, size = start + int(rng.integers(0, size)), 1
    elif kind == "200 bytes":
        start, size = int(rng.integers(placed[1][0], placed[-1][0])), 200
    content = content.copy()
    content[start : start + size] ^= rng.integers(1, 256, len(content[start : start + size])).astype(np.uint8)
    return content, start, start + size


def read(path, count, rng):
    """What a caller gets who goes on after errors: frames by their number, jumping and in order."""
    try:
        jumping, ordered = video.VideoReader(path, 1), video.VideoReader(path, 1)
        len(jumping)
    except OSError:
        return {}, {}
    given, came = {}, {}
    for i in rng.permutation(count).tolist():
        try:
            given[i] = jumping[i]
        except (OSError, IndexError):
            continue
    for _ in range(3 * count):
        at = ordered.position
        try:
            img = ordered.read()
        except OSError:
            if ordered.position == at:
                break
            continue
        if img is None:
            break
        came[at] = img
    return given, came


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["byte", "packet", "200 bytes"])
def test_damage(clip, tmp_path, name, kind):
    source, frames, placed = clip(name)
    content = np.fromfile(source, np.uint8)
    silent = bool(SILENT & set(name.replace("_", ".").split("."))) or name == "ffv1.avi"
    silent |= kind == "byte" and name not in CHECKED
    keys = [i for i, packet in enumerate(placed) if packet[2]]
    if name == "refresh.mp4":
        keys = keys[:1]  # the others are key frames in part only
    for seed in range(3):
        rng = np.random.default_rng(seed)
        bad, start, stop = damaged(content, [p for p in placed if p[0] is not None], kind, rng)
        path = tmp_path / name
        bad.tofile(path)
        given, came = read(path, COUNT, rng)
        hit = [i for i, p in enumerate(placed) if p[0] is not None and p[0] < stop and p[0] + p[1] > start]
        # Frames from the key frame before the damage to the one behind it may be wrong or missing, and their neighbours.
        first = max((key for key in keys if not hit or key <= hit[0]), default=0) - 3
        last = min((key for key in keys if hit and key > hit[-1]), default=COUNT) + 3
        for frames_of in (given, came):
            for i, img in frames_of.items():
                what = f"frame {i}, seed {seed}, damage in packets {hit}"
                if not first <= i < last:
                    np.testing.assert_array_equal(img, frames[i], err_msg=what)
                elif not silent:
                    assert number(img) == number(frames[i]), what
        if name.endswith(INDEXED):
            sure = {i for i in range(COUNT) if not first <= i < last}
            assert sure <= given.keys() and sure <= came.keys()
        if kind == "packet" and not silent:
            assert len(given) < COUNT


SEEN = {  # name: (codec, its options); of large packets, so that their decoding takes a while
    "b_frames.mp4": ("libx264", {"preset": "veryfast", "g": 6, "bf": 2}),
    "deep.ts": ("libx264", {"preset": "veryfast", "x264-params": "open_gop=1:keyint=9:bframes=3:b-adapt=0:scenecut=0"}),
    "slices.mkv": ("libx264", {"preset": "veryfast", "g": 6, "bf": 2, "x264-params": "slices=4"}),
    "plain.flv": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "g": 6}),
    "key.mp4": ("libx264", {"preset": "veryfast", "g": 1}),
    "mpeg4.mp4": ("mpeg4", {"g": 6, "bf": 2, "qscale": 3}),
    "pieces.avi": ("mpeg4", {"g": 6, "bf": 2, "ps": 400, "qscale": 3}),
}


def marked(path):
    """Whether a decoder of one thread, without any of ours, tells of damage."""
    marks = 0
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        context.thread_count = 1
        for packet in container.demux(video=0):
            try:
                marks += sum(frame.is_corrupt for frame in context.decode(packet))
            except av.error.EOFError:
                pass
            except av.error.FFmpegError:
                marks += 1
    return marks > 0


@pytest.mark.parametrize("name", SEEN)
def test_what_a_decoder_sees_is_no_frame(tmp_path, name):
    """Where one thread sees that a packet is damaged, no frame is given that differs by a single pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (2 * COUNT, 192, 320, 3), np.uint8)
    pictures = [np.roll(noise[0, ::8, ::8].repeat(8, 0).repeat(8, 1), (2 * i, 3 * i), (0, 1)) for i in range(COUNT)]
    for i, img in enumerate(pictures):
        img[40:90, 60 + 2 * i : 140 + 2 * i] = noise[i, 40:90, 60:140] // 2
    source = encode(tmp_path / name, *SEEN[name], pictures=pictures)
    frames, placed = list(video.VideoReader(source)), [p for p in packets(source) if p[0] is not None]
    content, seen = np.fromfile(source, np.uint8), 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        start, size, _ = placed[int(rng.integers(1, len(placed) - 1))]
        length = min((1, 8, 40, size)[seed % 4], size - 16)
        start += int(rng.integers(16, size - length + 1))
        bad = content.copy()
        bad[start : start + length] ^= rng.integers(1, 256, length).astype(np.uint8)
        path = tmp_path / f"{seed}{name}"
        bad.tofile(path)
        if not marked(path):
            continue
        seen += 1
        for frames_of in read(path, COUNT, rng):
            assert len(frames_of) < COUNT
            for i, img in frames_of.items():
                np.testing.assert_array_equal(img, frames[i], err_msg=f"frame {i}, seed {seed}")
    assert seen >= 4


def test_a_hole_behind_a_large_packet():
    """Small packets that lack there are missed, since headers take no more of a file for a packet that is large."""
    rows = [(507 * i, 500, i) for i in range(9)] + [(4563, 20000, 9), (24570 + 900, 500, 10), (25977, 500, 11)]
    assert _table.holes(array("q", sum(rows, ())), 26477, 0.01) == [9]


def test_damage_in_streams_without_times(tmp_path):
    """Where nothing tells how many frames lack, all behind what is seen to be damaged are errors."""
    source = encode(tmp_path / "clip.h264", *ENCODED["h264.h264"])
    frames, content = list(video.VideoReader(source)), np.fromfile(source, np.uint8)
    start, size, _ = packets(source)[14]
    content[start + 8 : start + size] = 0
    content.tofile(source)
    given, came = read(source, COUNT, np.random.default_rng(0))
    assert given.keys() == came.keys() and len(given) < 24
    for frames_of in (given, came):
        for i, img in frames_of.items():
            np.testing.assert_array_equal(img, frames[i])


@pytest.mark.parametrize("name", ["pictures.gif", "pictures.apng"])
def test_damage_of_blocks(clip, tmp_path, name):
    """Pictures that stand on one another are errors from the first on whose blocks are damaged."""
    source, frames, placed = clip(name)
    content = np.fromfile(source, np.uint8)
    start = placed[20][0]
    content[start + (8 if name.endswith("gif") else 50)] ^= (
        0xA5  # what begins a picture of GIF; what a sum of PNG is of
    )
    content.tofile(tmp_path / name)
    given, came = read(tmp_path / name, COUNT, np.random.default_rng(0))
    assert given.keys() == came.keys() == set(range(20))
    for i, img in given.items():
        np.testing.assert_array_equal(img, frames[i])


@pytest.mark.parametrize("whole", [True, False])
def test_an_encoder_that_makes_errors(clip, tmp_path, whole):
    """Errors that a decoder passes over are damage, but not if all key frames have them."""
    source, _, placed = clip("mjpeg.mkv")
    content = np.fromfile(source, np.uint8)
    for start, size, _ in placed[: None if whole else 1]:
        content[start + size // 2 + 40 : start + size // 2 + 80] = 0xFE
    path = tmp_path / "clip.mkv"
    content.tofile(path)
    given, _ = read(path, COUNT, np.random.default_rng(0))
    assert len(given) == COUNT if whole else given.keys() == set(range(1, COUNT))


def test_a_time_that_cannot_be():
    """It is taken for no gap of as many frames."""
    rows = array("q")
    for i in range(40):
        time = i if i < 39 else 1 << 50
        rows.extend((time, time, 100 * i, i + 1, KEY | SHOWN))
    assert _table.gaps(_table.of_rows(rows)) == []


def test_nothing_is_left(clip, tmp_path):
    """A file that can be opened, but of which no frame can be read."""
    content = np.fromfile(clip("h264.mkv")[0], np.uint8)
    start = clip("h264.mkv")[2][0][0]
    content[start - 4 :] = 0x55
    path = tmp_path / "clip.mkv"
    content.tofile(path)
    with pytest.raises(OSError, match=r"clip\.mkv"):
        list(video.VideoReader(path))


@pytest.mark.parametrize(
    "name",
    [
        "h264.mp4",
        "h264.avi",
        "h264.mkv",
        "h264.flv",
        "open_gop.mp4",
        "interlaced.mp4",
        "hevc.mp4",
        "mpeg4.avi",
    ],
)
def test_damage_of_the_first_packet(clip, tmp_path, name):
    """It is no cut, behind which numbers would begin."""
    source, frames, placed = clip(name)
    for seed in range(3):
        rng, content = np.random.default_rng(seed), np.fromfile(source, np.uint8)
        start = placed[0][0] + 20  # behind what containers put before a packet
        content[start : start + 150] ^= rng.integers(1, 256, 150).astype(np.uint8)
        content.tofile(tmp_path / name)
        given, came = read(tmp_path / name, COUNT, rng)
        for frames_of in (given, came):
            assert len(frames_of) >= 20
            for i, img in frames_of.items():
                assert number(img) == number(frames[i]) or "hevc" in name
