"""Every frame by its number, of whatever codec and container."""

import numpy as np
import pytest

from arrayvision import video
from tests.video.clips import COUNT, ENCODED, H, W, encode, frame, number, trim

LOSS = {"pictures.gif": 14, "msmpeg4.avi": 9, "wmv2.wmv": 7}  # grey levels on average, else 5


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("encoded"), {}

    def path(name):
        if name not in made:
            made[name] = encode(folder / name, *ENCODED[name])
        return made[name]

    return path


def check(path, wanted):
    """That all ways to frames give those with these numbers; returns the frames."""
    frames = list(video.VideoReader(path))
    assert [number(img) for img in frames] == wanted
    assert len(video.VideoReader(path)) == len(wanted)
    assert number(video.VideoReader(path)[-1]) == wanted[-1]
    reader = video.VideoReader(path, cache_capacity=1)
    assert [number(img) for img in reader[:]] == wanted
    for i in np.random.default_rng(0).permutation(len(wanted)).tolist():
        np.testing.assert_array_equal(reader[i], frames[i], err_msg=f"frame {i}")
    assert [number(img) for img in reader.frames(2, len(wanted) - 1, 5)] == wanted[2:-1:5]
    with pytest.raises(IndexError):
        reader[len(wanted)]
    return frames


@pytest.mark.parametrize("name", ENCODED)
def test_codec(clip, name):
    frames = check(clip(name), list(range(COUNT)))
    if frames[0].shape == (H, W, 3):
        for i, img in enumerate(frames):
            assert np.abs(img.astype(int) - frame(i)).mean() < LOSS.get(name, 5), f"frame {i}"


@pytest.mark.parametrize("name", ["uneven.mp4", "uneven.mkv", "uneven.ts", "uneven.webm"])
def test_uneven_times(tmp_path, name):
    times = np.cumsum(np.random.default_rng(0).integers(1, 6, COUNT)).tolist()
    codec = ENCODED["vp9.webm" if name.endswith("webm") else "h264.mp4"]
    check(encode(tmp_path / name, *codec, times=times), list(range(COUNT)))


@pytest.mark.parametrize("muxer", [{"movflags": "frag_keyframe+empty_moov"}, {"movflags": "faststart"}])
def test_boxes_in_another_order(tmp_path, muxer):
    check(encode(tmp_path / "clip.mp4", *ENCODED["h264.mp4"], muxer=muxer), list(range(COUNT)))


@pytest.mark.parametrize("name", ["h264.mp4", "open_gop.mp4", "mpeg4.mp4", "hevc.mp4", "interlaced.mp4", "dv.mov"])
def test_edit_list(clip, tmp_path, name):
    """Frames that an edit list hides have no number."""
    for count in (None, 19):
        check(*trim(clip(name), tmp_path / f"{count}{name}", 5, count))


@pytest.mark.parametrize("extension", ["mp4", "mkv", "ts"])
def test_cut_in_an_open_group(clip, tmp_path, extension):
    """Frames shown before the first key frame are decoded from what was cut away: they don't count."""
    path, numbers = trim(clip(f"open_gop.{extension}"), tmp_path / f"cut.{extension}")
    wanted = [number(img) for img in video.VideoReader(path)]
    assert wanted == list(range(wanted[0], COUNT))
    assert numbers[0] < wanted[0] <= numbers[0] + 3
    check(path, wanted)


@pytest.mark.parametrize("extension", ["mp4", "mkv"])
@pytest.mark.parametrize("turn", [90, 180])
def test_turned(clip, tmp_path, extension, turn):
    """Pictures are upright, as the file says."""
    source, path = clip("h264.mp4"), tmp_path / f"turned.{extension}"
    video.convert_video(source, path, pre_options=f"-display_rotation {turn}", c="copy", log_level="error")
    reader, frames = video.VideoReader(path), list(video.VideoReader(source))
    assert reader.resolution == ((H, W) if turn == 90 else (W, H))
    for i in (0, 30, 7):
        np.testing.assert_array_equal(reader[i], np.rot90(frames[i], turn // 90))
