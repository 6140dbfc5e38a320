"""Drawing and showing images, boxes and optical flow: in a window, in a notebook, or into a file."""

from arrayvision.visualization.bev import imshow_bev
from arrayvision.visualization.color import Color, class_color, color_val
from arrayvision.visualization.image import imshow, imshow_bboxes, imshow_det_bboxes
from arrayvision.visualization.optflow import flow2rgb, flowshow, make_color_wheel

__all__ = [
    "Color",
    "class_color",
    "color_val",
    "flow2rgb",
    "flowshow",
    "imshow",
    "imshow_bboxes",
    "imshow_bev",
    "imshow_det_bboxes",
    "make_color_wheel",
]
