"""What projects import from modules of `mmcv.video` beside its functions."""

from arrayvision.arraymisc import dequantize as dequantize, quantize as quantize
from arrayvision.image import imread as imread, imwrite as imwrite
