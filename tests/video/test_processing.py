import logging
import os
import sys

import pytest

from arrayvision import video
from arrayvision.video import processing
from tests.video.clips import H, W, make, number


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """120 frames at 25 a second, in a folder whose name a shell would trip over."""
    folder = tmp_path_factory.mktemp("clips") / "it's; a $HOME"
    folder.mkdir()
    return make(folder, "b_frames.mp4")


def read(path):
    with video.VideoReader(path) as reader:
        return [number(f) for f in reader]


def test_convert(clip, tmp_path, capfd):
    out = tmp_path / "made/there.avi"
    video.convert_video(
        clip, str(out), print_cmd=True, pre_options="-t 2", vcodec="mpeg4", an=True, shortest=False, log_level="error"
    )
    said = capfd.readouterr().out
    assert " -t 2 -i " in said and "-an" in said and "shortest" not in said and "-loglevel error" in said
    assert read(out) == list(range(50))
    assert os.listdir(out.parent) == ["there.avi"]


def test_convert_to_images(clip, tmp_path):
    video.convert_video(clip, tmp_path / "%03d.png", frames="3", log_level="quiet")
    assert sorted(os.listdir(tmp_path)) == ["001.png", "002.png", "003.png"]


def test_cut_and_concat(clip, tmp_path):
    first, second, whole = (tmp_path / f"{n}.mp4" for n in ("first", "second", "whole"))
    video.cut_video(clip, first, end=3, vcodec="h264")
    video.cut_video(clip, second, start=3, vcodec="h264")
    assert read(first) == list(range(75)) and read(second) == list(range(75, 120))
    video.concat_video([str(first), second], whole, log_level="warning")
    assert read(whole) == list(range(120))
    copied = tmp_path / "copied.mp4"
    video.cut_video(clip, copied, start=0, end=2)
    assert read(copied)[:40] == list(range(40))


@pytest.mark.parametrize(
    ("kwargs", "size"),
    [
        ({"size": (200, 100)}, (200, 100)),
        ({"ratio": 2}, (2 * W, 2 * H)),
        ({"ratio": (2, 1.5)}, (2 * W, H * 3 // 2)),
        ({"size": (1000, 2 * H), "keep_ar": True}, (2 * W, 2 * H)),
        ({"size": (80, -2)}, (80, 48)),
    ],
)
def test_resize(clip, tmp_path, kwargs, size):
    out = tmp_path / "out.mp4"
    video.resize_video(clip, out, log_level="panic", **kwargs)
    assert video.VideoReader(out).resolution == size


def test_failures_say_what_ffmpeg_says(clip, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    out = tmp_path / "out.mp4"
    for level in ("quiet", "info"):
        with pytest.raises(OSError, match=r"(?s)ffmpeg failed on .*text\.mp4.*Invalid data"):
            video.convert_video(tmp_path / "text.mp4", out, log_level=level)
    with pytest.raises(OSError, match=r"(?s)no_such_codec"):
        video.convert_video(clip, out, vcodec="no_such_codec")
    assert sorted(os.listdir(tmp_path)) == ["text.mp4"]


def test_bad_arguments(clip, tmp_path):
    out = tmp_path / "out.mp4"
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        video.convert_video(tmp_path / "none.mp4", out)
    with pytest.raises(OSError, match="is a folder"):
        video.convert_video(tmp_path, out)
    with pytest.raises(ValueError, match="log_level must be"):
        video.convert_video(clip, out, log_level="loud")
    with pytest.raises(ValueError, match="another than in_file"):
        video.convert_video(clip, clip)
    for kwargs in (
        {},
        {"size": (2, 2), "ratio": 2},
        {"size": (0, 5)},
        {"size": (-1, -1)},
        {"size": (-7, 4)},
        {"ratio": 0},
        {"ratio": -1.0},
        {"ratio": float("nan")},
        {"size": (1,)},
    ):
        with pytest.raises(ValueError, match="resize_video: "):
            video.resize_video(clip, out, **kwargs)
    for kwargs in ({"start": -1}, {"start": 3, "end": 2}, {"end": -1}):
        with pytest.raises(ValueError, match="cut_video: "):
            video.cut_video(clip, out, **kwargs)
    with pytest.raises(ValueError, match="must have a video"):
        video.concat_video([], out)
    with pytest.raises(TypeError, match="sequence of paths"):
        video.concat_video(clip, out)
    with pytest.raises(FileNotFoundError):
        video.concat_video([clip, "none.mp4"], out)
    assert not out.exists()


def test_a_name_that_looks_like_an_option(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.link(clip, "-y.mp4") if hasattr(os, "link") else pytest.skip("no links here")
    video.convert_video("-y.mp4", "-out.mp4", c="copy")
    assert len(read(tmp_path / "-out.mp4")) == 120


def test_log(clip, tmp_path, caplog):
    with caplog.at_level(logging.DEBUG, logger="arrayvision.video"):
        video.convert_video(clip, tmp_path / "a.mp4", c="copy")
    assert "Input #0" in caplog.text


def test_without_ffmpeg(monkeypatch):
    processing.ffmpeg.cache_clear()
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ImportError, match=r"arrayvision\[video\]"):
        processing.ffmpeg()
    processing.ffmpeg.cache_clear()
