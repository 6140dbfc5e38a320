"""Video: reading, writing and cutting; optical flow."""

from arrayvision.video.io import Cache, VideoReader, frames2video
from arrayvision.video.optflow import (
    dequantize_flow,
    flow_from_bytes,
    flow_warp,
    flowread,
    flowwrite,
    quantize_flow,
    sparse_flow_from_bytes,
)
from arrayvision.video.processing import concat_video, convert_video, cut_video, resize_video

__all__ = [
    "Cache",
    "VideoReader",
    "concat_video",
    "convert_video",
    "cut_video",
    "dequantize_flow",
    "flow_from_bytes",
    "flow_warp",
    "flowread",
    "flowwrite",
    "frames2video",
    "quantize_flow",
    "resize_video",
    "sparse_flow_from_bytes",
]
