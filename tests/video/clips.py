"""Videos for tests, of frames that carry their number: made with ffmpeg, and with PyAV."""

import subprocess
from fractions import Fraction

import av
import numpy as np

from arrayvision.video.processing import ffmpeg

W, H = 160, 96
CLIPS = {  # name: (frames, frames a second, ffmpeg's options)
    "b_frames.mp4": (120, 25, ["-c:v", "libx264", "-bf", "3", "-g", "40", "-pix_fmt", "yuv420p"]),
    "b_frames.avi": (120, 25, ["-c:v", "mpeg4", "-bf", "2", "-g", "50", "-q:v", "3"]),
    "intra.avi": (60, 30, ["-c:v", "mjpeg", "-q:v", "3"]),
    "late.mp4": (100, 25, ["-c:v", "libx264", "-vf", "setpts=PTS+2/TB", "-pix_fmt", "yuv420p"]),
    "uneven.mkv": (
        120,
        25,
        ["-c:v", "libx264", "-vf", "select='not(eq(mod(n,7),3))'", "-fps_mode", "vfr", "-pix_fmt", "yuv420p"],
    ),
    "vp8.webm": (60, 15, ["-c:v", "libvpx", "-b:v", "400k"]),
    "stream.ts": (60, 25, ["-c:v", "libx264", "-bf", "2", "-pix_fmt", "yuv420p"]),
}
COUNT = 48
_X264 = {"preset": "veryfast", "g": 12, "bf": 2}
_OPEN = {"preset": "veryfast", "x264-params": "open_gop=1:keyint=12:bframes=3:b-adapt=0:scenecut=0"}
_X265 = {"preset": "ultrafast", "x265-params": "log-level=none:keyint=12:min-keyint=12"}
_FIELDS = {"flags": "+ilme+ildct"}
ENCODED = {  # name: (codec, its options): a key frame at every 12th of COUNT
    "h264.mp4": ("libx264", _X264),
    "h264.mkv": ("libx264", _X264),
    "h264.ts": ("libx264", _X264),
    "h264.avi": ("libx264", _X264),
    "h264.flv": ("libx264", _X264),
    "h264.h264": ("libx264", _X264),
    "open_gop.mp4": ("libx264", _OPEN),
    "open_gop.mkv": ("libx264", _OPEN),
    "open_gop.ts": ("libx264", _OPEN),
    "refresh.mp4": ("libx264", {"preset": "veryfast", "x264-params": "intra_refresh=1:keyint=12:bframes=0"}),
    "interlaced.mp4": ("libx264", _X264 | _FIELDS),
    "interlaced.ts": ("libx264", _X264 | _FIELDS),
    "hevc.mp4": ("libx265", _X265),
    "hevc.mkv": ("libx265", _X265),
    "checked.mp4": ("libx265", _X265 | {"x265-params": _X265["x265-params"] + ":hash=1"}),
    "mpeg4.avi": ("mpeg4", {"g": 12, "bf": 2}),
    "mpeg4.mp4": ("mpeg4", {"g": 12, "bf": 2}),
    "mpeg4.nut": ("mpeg4", {"g": 12, "bf": 2}),
    "mpeg4_interlaced.avi": ("mpeg4", {"g": 12} | _FIELDS),
    "mpeg2.ts": ("mpeg2video", {"g": 12, "bf": 2}),
    "mpeg2.mxf": ("mpeg2video", {"g": 12, "bf": 2}),
    "mpeg2.m2v": ("mpeg2video", {"g": 12, "bf": 2}),
    "mpeg2_interlaced.mpg": ("mpeg2video", {"g": 12, "bf": 2} | _FIELDS),
    "mpeg1.mpg": ("mpeg1video", {"g": 12, "bf": 2}),
    "vp8.webm": ("libvpx", {"g": 12, "deadline": "realtime", "cpu-used": 8}),
    "vp9.webm": ("libvpx-vp9", {"g": 12, "deadline": "realtime", "cpu-used": 8}),
    "av1.mp4": ("libsvtav1", {"g": 12, "preset": 11}),
    "mjpeg.avi": ("mjpeg", {}),
    "mjpeg.mkv": ("mjpeg", {}),
    "prores_interlaced.mov": ("prores_ks", _FIELDS),
    "dv.mov": ("dvvideo", {}),
    "ffv1.mkv": ("ffv1", {"level": 3, "g": 1}),
    "ffv1.avi": ("ffv1", {"level": 1}),
    "huffyuv.avi": ("huffyuv", {}),
    "raw.avi": ("rawvideo", {}),
    "utvideo.avi": ("utvideo", {}),
    "jpeg2000.mov": ("jpeg2000", {}),
    "wmv2.wmv": ("wmv2", {"g": 12}),
    "msmpeg4.avi": ("msmpeg4", {"g": 12}),
    "h263.flv": ("flv", {"g": 12}),
    "qtrle.mov": ("qtrle", {}),
    "png.mov": ("png", {}),
    "pictures.apng": ("apng", {}),
    "pictures.gif": ("gif", {}),
}


def frame(number):
    """A picture with its number in 8 bars, and things that move."""
    img = np.full((H, W, 3), 90, np.uint8)
    for bit in range(8):
        img[8:40, 8 + 18 * bit : 24 + 18 * bit] = 255 if number >> bit & 1 else 0
    x = number * 3 % (W - 20)
    img[50:70, x : x + 20] = (30, 200, 240)
    return img


def number(img):
    """The number that a frame carries."""
    img = img[:: img.shape[0] // H, :: img.shape[1] // W]  # of a large frame
    return sum(int(img[14:34, 12 + 18 * bit : 20 + 18 * bit].mean() > 127) << bit for bit in range(8))


def make(folder, name):
    """Write the clip of that name with ffmpeg; returns its path."""
    count, rate, options = CLIPS[name]
    path = str(folder / name)
    raw = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{W}x{H}", "-r", str(rate), "-i", "-"]
    subprocess.run(
        [ffmpeg(), "-y", "-loglevel", "error", *raw, *options, path],
        input=b"".join(frame(i).tobytes() for i in range(count)),
        check=True,
    )
    return path


def numbers(name):
    """The frames' numbers of the clip of that name, in order."""
    count = CLIPS[name][0]
    return [i for i in range(count) if name != "uneven.mkv" or i % 7 != 3]


def encode(path, codec, options, count=COUNT, times=None, muxer=None, pictures=None):
    """Write a clip with PyAV.

    Parameters
    ----------
    path : path
        Its extension chooses the container.
    codec : str
        An encoder of PyAV's wheel.
    options : dict
        The encoder's.
    count : int
        How many frames.
    times : list of int, optional
        When each is shown, in 25ths of a second; one after another by default.
    muxer : dict, optional
        Options of the container.
    pictures : list of array, optional
        (H, W, 3) BGR, in place of frames that carry their number.
    """
    with av.open(str(path), "w", options=(muxer or {}) | {"fflags": "+bitexact"}) as out:
        stream = out.add_stream(codec, 25, options={name: str(value) for name, value in options.items()})
        formats = stream.codec_context.codec.video_formats
        stream.width, stream.height = (720, 576) if codec == "dvvideo" else (W, H)
        if pictures is not None:
            stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = formats[0].name if formats and codec != "dvvideo" else "yuv420p"
        for i in range(count):
            img = frame(i) if pictures is None else pictures[i]
            if codec == "dvvideo":
                img = np.pad(np.kron(img, np.ones((6, 4, 1), np.uint8)), ((0, 0), (0, 80), (0, 0)))
            picture = av.VideoFrame.from_ndarray(img, "bgr24")
            picture.pts, picture.time_base = i if times is None else times[i], Fraction(1, 25)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return str(path)


def packets(path):
    """Of a video's packets that have a frame: position, size and whether they are key frames."""
    with av.open(path) as container:
        return [(p.pos, p.size, p.is_keyframe) for p in container.demux(video=0) if p.size]


def trim(source, path, hidden=0, count=None):
    """Copy a video from its second key frame on, so that its first frames are decoded but not shown.

    Parameters
    ----------
    source, path : path
        From and to.
    hidden : int
        How many frames not to show, in the order of showing.
    count : int, optional
        How many packets to copy.

    Returns
    -------
    path : str
    list of int
        The numbers of the frames that are to be shown.
    """
    with av.open(source) as given, av.open(str(path), "w") as out:
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [p for p in given.demux(stream) if p.size]
        times = sorted(p.pts for p in packets)
        first = [i for i, p in enumerate(packets) if p.is_keyframe][1]
        packets = packets[first : None if count is None else first + count]
        shown = sorted(p.pts for p in packets)[hidden:]
        for p in packets:
            p.pts, p.dts, p.stream = p.pts - shown[0], p.dts - shown[0], copy
            out.mux(p)
    return str(path), [times.index(time) for time in shown]
