"""Transforms of samples, each a dict: load, resize, flip, pad, normalize; and what runs them one after another.

Sizes that constructors take are (w, h); shapes in results are (h, w). Boxes are (x1, y1, x2, y2), keypoints (x, y,
visible). Randomness comes from NumPy's and Python's global generators, which workers of a torch DataLoader have seeded.
"""

from arrayvision.registry import TRANSFORMS
from arrayvision.transforms.base import BaseTransform
from arrayvision.transforms.formatting import ImageToTensor, ToTensor, to_tensor
from arrayvision.transforms.loading import LoadAnnotations, LoadImageFromFile
from arrayvision.transforms.processing import (
    CenterCrop,
    MultiScaleFlipAug,
    Normalize,
    Pad,
    RandomChoiceResize,
    RandomFlip,
    RandomGrayscale,
    RandomResize,
    Resize,
    TestTimeAug,
)
from arrayvision.transforms.utils import avoid_cache_randomness, cache_random_params, cache_randomness
from arrayvision.transforms.wrappers import Compose, KeyMapper, RandomApply, RandomChoice, TransformBroadcaster

__all__ = [
    "TRANSFORMS",
    "BaseTransform",
    "CenterCrop",
    "Compose",
    "ImageToTensor",
    "KeyMapper",
    "LoadAnnotations",
    "LoadImageFromFile",
    "MultiScaleFlipAug",
    "Normalize",
    "Pad",
    "RandomApply",
    "RandomChoice",
    "RandomChoiceResize",
    "RandomFlip",
    "RandomGrayscale",
    "RandomResize",
    "Resize",
    "TestTimeAug",
    "ToTensor",
    "TransformBroadcaster",
    "avoid_cache_randomness",
    "cache_random_params",
    "cache_randomness",
    "to_tensor",
]
