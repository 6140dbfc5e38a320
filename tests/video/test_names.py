"""Only the named file is read or written, whatever its name or content says."""

import os
import shutil

import pytest

from arrayvision import image, video
from tests.video.clips import COUNT, ENCODED, encode, frame, number

NAMES = [
    "12:30:00.mp4",
    "-y.mp4",
    "-i",
    "a%02d.mp4",
    "100%.mp4",
    "new\nline.mp4",
    "a\nfile 'other.avi'\n.mp4",
    "it's.mp4",
    "file:x.mp4",
    "http:x.mp4",
    "pipe:0",
    "concat:a.mp4|b.mp4",
    "a{b,c}*?[d].mp4",
    " space .mp4",
    "back\\slash.mp4",
    "ünï.mp4",
    "\udcff\udcfe.mp4",
]
LISTS = {  # each names other.avi
    "ffconcat.avi": "ffconcat version 1.0\nfile other.avi\n",
    "hls.avi": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:3.6,\nother.avi\n#EXT-X-ENDLIST\n",
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:3.6,\nother.avi\n#EXT-X-ENDLIST\n",
    "sdp.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT3S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1" bandwidth="1000"><BaseURL>other.avi</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return encode(tmp_path_factory.mktemp("clips") / "clip.mp4", *ENCODED["h264.mp4"])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def copied(source, name):
    try:
        shutil.copy(source, name)
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    return name


def read(path):
    with video.VideoReader(path) as reader:
        return [number(img) for img in reader]


@pytest.mark.parametrize("name", NAMES)
def test_name_of_a_video(source, folder, name):
    """A relative one, as it is."""
    copied(source, name)
    reader = video.VideoReader(name)
    assert [number(img) for img in reader] == list(range(COUNT))
    assert reader.vcap.isOpened() and bytes(int(reader.fourcc) >> 8 * i & 255 for i in range(4)).lower() == b"h264"
    out = name + ".mkv"
    video.convert_video(name, out, c="copy", log_level="error")
    assert read(out) == list(range(COUNT)) and sorted(os.listdir()) == sorted([name, out])
    video.concat_video([name, source], out, log_level="error")
    assert len(read(out)) == 2 * COUNT and len(os.listdir()) == 2
    video.cut_video(name, out, end=1.0, vcodec="mpeg4", log_level="error")
    assert len(read(out)) == 25 and len(os.listdir()) == 2


@pytest.mark.parametrize("name", ["-fr:%s.avi", "new\nline.avi", "50%.avi", "%03d.avi"])
def test_name_of_what_is_made(folder, name):
    image.imwrite(frame(3), "000000.jpg")
    video.frames2video(".", name, show_progress=False)
    assert read(name) == [3] and sorted(os.listdir()) == sorted([name, "000000.jpg"])


def test_images_in_a_folder_with_a_pattern(source, folder):
    os.mkdir("a%02d")
    video.convert_video(source, "a%02d/-%d.png", frames=3)
    assert sorted(os.listdir("a%02d")) == ["-1.png", "-2.png", "-3.png"] and os.listdir() == ["a%02d"]


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_other_files(source, folder, name):
    shutil.copy(source, "other.avi")
    with open(name, "w") as file:
        file.write(LISTS[name])
    before = sorted(os.listdir())
    for call in (
        lambda: video.VideoReader(name),
        lambda: video.convert_video(name, "out.mp4", c="copy"),
        lambda: video.cut_video(name, "out.mp4", end=1),
        lambda: video.resize_video(name, "out.mp4", (80, 48)),
        lambda: video.concat_video([source, name], "out.mp4"),
    ):
        with pytest.raises(OSError, match=name):
            call()
        assert sorted(os.listdir()) == before


@pytest.mark.parametrize("name", ["out.m3u8", "out.mpd", "out.ffconcat"])
def test_lists_are_not_written(source, folder, name):
    with pytest.raises(ValueError, match="list of other files"):
        video.convert_video(source, name, c="copy")
    image.imwrite(frame(3), "000000.jpg")
    with pytest.raises(ValueError, match="list of other files"):
        video.frames2video(".", name, show_progress=False)
    assert os.listdir() == ["000000.jpg"]


def test_a_list_that_is_asked_for(source, folder):
    shutil.copy(source, "other.avi")
    with open("list.txt", "w") as file:
        file.write("file other.avi\nfile other.avi\n")
    video.convert_video("list.txt", "out.mp4", pre_options="-f concat -safe 0", c="copy")
    assert len(read("out.mp4")) == 2 * COUNT
