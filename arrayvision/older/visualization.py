"""What projects import from modules of `mmcv.visualization` beside its functions."""

from typing import Union

import numpy as np

from arrayvision.image import imread as imread, imwrite as imwrite, rgb2bgr as rgb2bgr
from arrayvision.visualization.color import Color

ColorType = Union[Color, str, tuple, int, np.ndarray]  # noqa: UP007  (projects look at its arguments)
