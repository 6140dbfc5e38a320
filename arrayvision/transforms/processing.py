"""Transforms of images and of the boxes, segmentation maps and keypoints that go with them."""

from __future__ import annotations

import copy
import math
import random
import warnings
from collections.abc import Iterable, Sequence
from itertools import product
from numbers import Integral, Real
from typing import Any

import numpy as np

from arrayvision.errors import InvalidKind, InvalidValue, MissingKey, require
from arrayvision.registry import TRANSFORMS
from arrayvision.transforms._deferred import Deferred
from arrayvision.transforms.base import BaseTransform, expect, named, need
from arrayvision.transforms.utils import cache_randomness
from arrayvision.transforms.wrappers import Compose, _chance


def _image():
    from arrayvision import image  # OpenCV, which takes long to import

    return image


def _img(transform, results) -> np.ndarray:
    img = need(transform, results, "img")
    expect(
        transform,
        getattr(img, "ndim", 0) in (2, 3),
        f"img must have shape (H, W) or (H, W, C), got {getattr(img, 'shape', type(img).__name__)}",
    )
    return img


def _boxes(transform, results) -> np.ndarray | None:
    boxes = results.get("gt_bboxes")
    if boxes is not None:
        expect(
            transform,
            getattr(boxes, "ndim", 0) == 2 and boxes.shape[-1] == 4,
            f"gt_bboxes must have shape (N, 4), got {getattr(boxes, 'shape', type(boxes).__name__)}",
        )
    return boxes


def _keypoints(transform, results) -> np.ndarray | None:
    points = results.get("gt_keypoints")
    if points is not None:
        expect(
            transform,
            getattr(points, "ndim", 0) == 3 and points.shape[-1] >= 2,
            f"gt_keypoints must have shape (N, K, 3), got {getattr(points, 'shape', type(points).__name__)}",
        )
    return points


def _like(values: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Coordinates computed in float64, in their source's float dtype; those of integers as they are."""
    return values.astype(source.dtype, copy=False) if source.dtype.kind == "f" else values


@TRANSFORMS.register_module()
class Normalize(BaseTransform):
    """Subtract a mean from `img` and divide by a standard deviation, channel by channel; the result is float32.

    Sets `img_norm_cfg`.

    Parameters
    ----------
    mean, std : sequence of float
        Of each channel, in the order of the result.
    to_rgb : bool
        Turn BGR into RGB first.
    """

    _part = "normalize"

    def __init__(self, mean: Sequence[int | float], std: Sequence[int | float], to_rgb: bool = True) -> None:
        self.mean = np.array(mean, dtype=np.float32)
        self.std = np.array(std, dtype=np.float32)
        self.to_rgb = to_rgb
        require(np.all(self.std != 0), f"Normalize: std must not be 0, got {std!r}")

    def transform(self, results: dict) -> dict:
        """Normalize the image."""
        img = _img(self, results)
        if isinstance(img, Deferred):
            img.normalize(self.mean, self.std, self.to_rgb)
        else:
            results["img"] = _image().imnormalize(img, self.mean, self.std, self.to_rgb)
        results["img_norm_cfg"] = {"mean": self.mean, "std": self.std, "to_rgb": self.to_rgb}
        return results

    def _deferrable(self):
        return np.shape(self.mean) == np.shape(self.std) == (3,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mean={self.mean}, std={self.std}, to_rgb={self.to_rgb})"


@TRANSFORMS.register_module()
class Resize(BaseTransform):
    """Resize `img`, and with it `gt_bboxes`, `gt_seg_map` (by nearest pixels) and `gt_keypoints`, where they are.

    Sets `scale`, `scale_factor` (w, h), `keep_ratio` and `img_shape`.

    Parameters
    ----------
    scale : int or (int, int), optional
        The size (w, h); one number is both.
    scale_factor : float or (float, float), optional
        Factors of (w, h), if there is no `scale`.
    keep_ratio : bool
        Make the image as large as fits, with its long side within the longer and its short side within the shorter number
        of `scale`.
    clip_object_border : bool
        Limit boxes and keypoints to the image.
    backend : str
        "cv2" or "pillow".
    interpolation : str
        "nearest", "bilinear", "bicubic", "area" or "lanczos".
    """

    _part = "resize"

    def __init__(
        self,
        scale: int | tuple[int, int] | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        backend: str = "cv2",
        interpolation="bilinear",
    ) -> None:
        require(
            scale is not None or scale_factor is not None, "Resize: scale or scale_factor must be given, got neither"
        )
        self.scale: Any = (scale, scale) if isinstance(scale, Integral) else scale
        factors: Any = scale_factor
        if isinstance(scale_factor, Real) and not isinstance(scale_factor, bool):
            factors = (float(scale_factor), float(scale_factor))
        elif isinstance(scale_factor, tuple):
            require(len(scale_factor) == 2, f"Resize: scale_factor must have 2 numbers, got {scale_factor!r}")
        elif scale_factor is not None:
            raise TypeError(f"Resize: scale_factor must be a float or two, got {scale_factor!r}")
        self.scale_factor = factors
        self.keep_ratio = keep_ratio
        self.clip_object_border = clip_object_border
        self.backend = backend
        self.interpolation = interpolation

    def _deferrable(self):
        return self.backend == "cv2" and self.interpolation == "bilinear"

    def _resized(self, results, img, interpolation):
        if isinstance(img, Deferred):
            return img.resize(results["scale"], self.keep_ratio)
        function = _image().imrescale if self.keep_ratio else _image().imresize
        return function(img, results["scale"], interpolation=interpolation, backend=self.backend)

    def _resize_img(self, results: dict) -> None:
        if results.get("img") is not None:
            img = _img(self, results)
            h, w = img.shape[:2]
            img = self._resized(results, img, self.interpolation)
            results["img"] = img
            results["img_shape"] = img.shape[:2]
            results["scale_factor"] = (img.shape[1] / w, img.shape[0] / h)
            results["keep_ratio"] = self.keep_ratio

    def _resize_bboxes(self, results: dict) -> None:
        boxes = _boxes(self, results)
        if boxes is not None:
            scaled = boxes * np.tile(np.array(need(self, results, "scale_factor")), 2)
            if self.clip_object_border:
                h, w = need(self, results, "img_shape")[:2]
                scaled = np.clip(scaled, 0, (w, h, w, h))
            results["gt_bboxes"] = _like(scaled, boxes)

    def _resize_seg(self, results: dict) -> None:
        if results.get("gt_seg_map") is not None:
            results["gt_seg_map"] = self._resized(results, results["gt_seg_map"], "nearest")

    def _resize_keypoints(self, results: dict) -> None:
        points = _keypoints(self, results)
        if points is not None:
            places = points[:, :, :2] * np.array(need(self, results, "scale_factor"))
            if self.clip_object_border:
                h, w = need(self, results, "img_shape")[:2]
                places = np.clip(places, 0, (w, h))
            results["gt_keypoints"] = np.concatenate([places.astype(points.dtype), points[:, :, 2:]], axis=2)

    def transform(self, results: dict) -> dict:
        """Resize what is there."""
        if self.scale is not None:
            scale = (self.scale, self.scale) if isinstance(self.scale, Integral) else self.scale
            good = (
                isinstance(scale, Sequence)
                and len(scale) == 2
                and all(isinstance(n, Real) and float(n) > 0 for n in scale)
            )
            expect(self, good, f"scale must be (w, h) greater than 0, got {scale!r}")
        else:
            h, w = _img(self, results).shape[:2]
            good = all(isinstance(f, Real) and math.isfinite(f) and float(f) > 0 for f in self.scale_factor)
            expect(self, good, f"scale_factor must be greater than 0, got {self.scale_factor!r}")
            scale = (int(w * float(self.scale_factor[0]) + 0.5), int(h * float(self.scale_factor[1]) + 0.5))
            expect(self, min(scale) > 0, f"scale_factor must leave pixels, got {scale} of {(w, h)}")
        results["scale"] = scale
        self._resize_img(results)
        self._resize_bboxes(results)
        self._resize_seg(results)
        self._resize_keypoints(results)
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(scale={self.scale}, scale_factor={self.scale_factor}, keep_ratio={self.keep_ratio}, "
            f"clip_object_border={self.clip_object_border}, backend={self.backend}, "
            f"interpolation={self.interpolation})"
        )


@TRANSFORMS.register_module()
class Pad(BaseTransform):
    """Pad `img` and `gt_seg_map` on the right and at the bottom.

    Sets `pad_shape`, `pad_fixed_size`, `pad_size_divisor` and `img_shape`.

    Parameters
    ----------
    size : (int, int), optional
        To this size (w, h); sides that are longer stay so.
    size_divisor : int, optional
        To multiples of this.
    pad_to_square : bool
        To a square, and then to multiples of `size_divisor`, if that is given.
    pad_val : number or dict
        What with: ``dict(img=0, seg=255)``; a number is the image's.
    padding_mode : {"constant", "edge", "reflect", "symmetric"}
    """

    _part = "pad"

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        pad_to_square: bool = False,
        pad_val: int | float | dict = {"img": 0, "seg": 255},  # noqa: B006  (copied)
        padding_mode: str = "constant",
    ) -> None:
        if isinstance(pad_val, Real) and not isinstance(pad_val, bool):
            pad_val = {"img": pad_val, "seg": 255}
        require(isinstance(pad_val, dict), f"Pad: pad_val must be a number or a dict, got {pad_val!r}", InvalidKind)
        if pad_to_square:
            require(size is None, f"Pad: size must be None with pad_to_square, got {size}")
        else:
            require(
                (size is None) != (size_divisor is None),
                f"Pad: one of size and size_divisor must be given, got {size} and {size_divisor}",
            )
        modes = ("constant", "edge", "reflect", "symmetric")
        require(padding_mode in modes, f"Pad: padding_mode must be one of {', '.join(modes)}, got {padding_mode!r}")
        good = size_divisor is None or (isinstance(size_divisor, Integral) and size_divisor > 0)
        require(good, f"Pad: size_divisor must be an int greater than 0, got {size_divisor!r}")
        self.size = size
        self.size_divisor = size_divisor
        self.pad_to_square = pad_to_square
        self.pad_val: dict = dict(pad_val)  # type: ignore[arg-type]
        self.padding_mode = padding_mode

    def _deferrable(self):
        return self.padding_mode == "constant" and type(self.pad_val.get("img", 0)) in (int, float)

    def _padded_size(self, h, w):
        if self.pad_to_square:
            h = w = max(h, w)
        if self.size_divisor is not None:
            return tuple(-(-n // self.size_divisor) * self.size_divisor for n in (h, w))
        return (h, w) if self.size is None else (max(h, self.size[1]), max(w, self.size[0]))

    def _note(self, results, shape):
        results["pad_shape"] = shape
        results["pad_fixed_size"] = self.size
        results["pad_size_divisor"] = self.size_divisor
        results["img_shape"] = shape[:2]

    def _padded(self, img, shape, value):
        if isinstance(img, Deferred):
            return img.pad(shape, value)
        if isinstance(value, Real) and img.ndim == 3:
            value = (value,) * img.shape[2]
        return _image().impad(img, shape=shape, pad_val=value, padding_mode=self.padding_mode)

    def _pad_img(self, results: dict) -> None:
        img = _img(self, results)
        size = self.size  # looked at now: code written for mmcv gives 0 and sets it later
        good = size is None or (
            isinstance(size, Sequence) and len(size) == 2 and all(isinstance(n, Integral) and n > 0 for n in size)
        )
        expect(self, good, f"size must be (w, h) greater than 0, got {size!r}")
        padded = self._padded(img, self._padded_size(*img.shape[:2]), self.pad_val.get("img", 0))
        results["img"] = padded
        self._note(results, padded.shape)

    def _pad_seg(self, results: dict) -> None:
        seg = results.get("gt_seg_map")
        if seg is not None:
            results["gt_seg_map"] = self._padded(seg, results["pad_shape"][:2], self.pad_val.get("seg", 255))

    def transform(self, results: dict) -> dict:
        """Pad what is there."""
        self._pad_img(results)
        self._pad_seg(results)
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, size_divisor={self.size_divisor}, "
            f"pad_to_square={self.pad_to_square}, pad_val={self.pad_val}, padding_mode={self.padding_mode})"
        )


@TRANSFORMS.register_module()
class CenterCrop(BaseTransform):
    """Cut out the middle of `img`, and with it `gt_seg_map`, `gt_bboxes` and `gt_keypoints`, where they are.

    Sets `img_shape` and `pad_shape`. Keypoints outside become invisible.

    Parameters
    ----------
    crop_size : int or (int, int)
        The size (w, h); one number is both.
    auto_pad : bool
        Pad smaller images to this size first; else they stay smaller.
    pad_cfg : dict
        How.
    clip_object_border : bool
        Limit boxes to the image.
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        auto_pad: bool = False,
        pad_cfg: dict = {"type": "Pad"},  # noqa: B006  (copied)
        clip_object_border: bool = True,
    ) -> None:
        if isinstance(crop_size, Integral):
            crop_size = (crop_size, crop_size)  # type: ignore[assignment]
        good = isinstance(crop_size, tuple) and len(crop_size) == 2
        require(good, f"CenterCrop: crop_size must be an int or (w, h), got {crop_size!r}", InvalidKind)
        require(min(crop_size) > 0, f"CenterCrop: crop_size must be greater than 0, got {crop_size}")  # type: ignore[type-var,arg-type]
        self.crop_size: tuple[int, int] = crop_size  # type: ignore[assignment]
        self.auto_pad = auto_pad
        self.pad_cfg = pad_cfg.copy()
        if "size" in self.pad_cfg and auto_pad:
            warnings.warn("CenterCrop: size in pad_cfg has no effect, crop_size takes its place", stacklevel=2)
        self.clip_object_border = clip_object_border

    def _crop_img(self, results: dict, bboxes: np.ndarray) -> None:
        if results.get("img") is not None:
            img = _image().imcrop(results["img"], bboxes=bboxes)
            results["img"] = img
            results["img_shape"] = results["pad_shape"] = img.shape[:2]

    def _crop_seg_map(self, results: dict, bboxes: np.ndarray) -> None:
        if results.get("gt_seg_map") is not None:
            results["gt_seg_map"] = _image().imcrop(results["gt_seg_map"], bboxes=bboxes)

    def _crop_bboxes(self, results: dict, bboxes: np.ndarray) -> None:
        boxes = _boxes(self, results)
        if boxes is not None:
            moved = boxes - np.tile(bboxes[:2], 2)
            if self.clip_object_border:
                h, w = results["img"].shape[:2]
                moved = np.clip(moved, 0, (w, h, w, h))
            results["gt_bboxes"] = _like(moved, boxes)

    def _crop_keypoints(self, results: dict, bboxes: np.ndarray) -> None:
        points = _keypoints(self, results)
        if points is not None:
            h, w = results["img"].shape[:2]
            places = points[:, :, :2] - bboxes[:2]
            inside = ((places >= 0) & (places < (w, h))).all(axis=2)
            moved = np.concatenate([np.clip(places, 0, (w, h)), points[:, :, 2:]], axis=2)
            moved[:, :, 2:3][~inside] = 0
            results["gt_keypoints"] = _like(moved, points)

    def transform(self, results: dict) -> dict:
        """Crop what is there."""
        width, height = self.crop_size
        h, w = _img(self, results).shape[:2]
        if height > h or width > w:
            if self.auto_pad:
                h, w = max(h, height), max(w, width)
                results = TRANSFORMS.build({**self.pad_cfg, "size": (w, h)})(results)
            else:
                height, width = min(height, h), min(width, w)
        y, x = max(0, round((h - height) / 2)), max(0, round((w - width) / 2))
        box = np.array([x, y, min(w, x + width) - 1, min(h, y + height) - 1])
        self._crop_img(results, box)
        self._crop_seg_map(results, box)
        self._crop_bboxes(results, box)
        self._crop_keypoints(results, box)
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(crop_size = {self.crop_size}, auto_pad={self.auto_pad}, pad_cfg={self.pad_cfg}"
            f",clip_object_border = {self.clip_object_border})"
        )


@TRANSFORMS.register_module()
class RandomGrayscale(BaseTransform):
    """Turn `img` gray with a probability; the result is uint8.

    Parameters
    ----------
    prob : float
        The probability.
    keep_channels : bool
        Give as many (equal) channels as the image had; else the gray image has shape (H, W).
    channel_weights : sequence of float
        What each channel contributes; their sum is taken as 1.
    color_format : {"bgr", "rgb", "hsv"}
        Of the image; HSV is turned into BGR first.
    """

    def __init__(
        self,
        prob: float = 0.1,
        keep_channels: bool = False,
        channel_weights: Sequence[float] = (1.0, 1.0, 1.0),
        color_format: str = "bgr",
    ) -> None:
        self.prob = _chance("RandomGrayscale", "prob", prob)
        self.keep_channels = keep_channels
        self.channel_weights = channel_weights
        formats = ("bgr", "rgb", "hsv")
        require(
            color_format in formats,
            f"RandomGrayscale: color_format must be one of {', '.join(formats)}, got {color_format!r}",
        )
        self.color_format = color_format

    @cache_randomness
    def _random_prob(self):
        return random.random()

    def transform(self, results: dict) -> dict:
        """Turn it gray, or not."""
        img = _img(self, results)
        if self.color_format == "hsv":
            img = _image().hsv2bgr(img)
        img = img[..., None] if img.ndim == 2 else img
        channels = img.shape[2]
        if self._random_prob() < self.prob and channels > 1:
            weights = np.array(self.channel_weights, np.float64)
            expect(
                self,
                len(weights) == channels,
                f"channel_weights must have one for each of {channels} channels, got {len(weights)}",
            )
            gray = (weights / weights.sum() * img).sum(axis=2).astype(np.uint8)
            results["img"] = np.dstack([gray] * channels) if self.keep_channels else gray
        else:
            results["img"] = img.astype(np.uint8, copy=False)
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(prob = {self.prob}, keep_channels = {self.keep_channels}, "
            f"channel_weights = {self.channel_weights}, color_format = {self.color_format})"
        )


@TRANSFORMS.register_module()
class MultiScaleFlipAug(BaseTransform):
    """Several versions of a sample, for testing: each scale, unflipped and flipped.

    Parameters
    ----------
    transforms : list of dict
        Applied to each version; the last gives `inputs` and `data_sample`.
    scales : (int, int) or list of them, optional
        Sizes (w, h).
    scale_factor : float or list of float, optional
        Factors, if there are no scales.
    allow_flip : bool
        Give flipped versions too.
    flip_direction : str or list of str
        "horizontal", "vertical", "diagonal".
    resize_cfg, flip_cfg : dict
        Which transforms resize and flip.

    Returns
    -------
    dict
        `inputs` and `data_sample`, lists with one item for each version.
    """

    def __init__(
        self,
        transforms: list[dict],
        scales: tuple | list[tuple] | None = None,
        scale_factor: float | list[float] | None = None,
        allow_flip: bool = False,
        flip_direction: str | list[str] = "horizontal",
        resize_cfg: dict = {"type": "Resize", "keep_ratio": True},  # noqa: B006  (copied)
        flip_cfg: dict = {"type": "RandomFlip"},  # noqa: B006  (copied)
    ) -> None:
        self.transforms = Compose(transforms)
        if scales is not None:
            self.scales: list = scales if isinstance(scales, list) else [scales]
            self.scale_key = "scale"
            good = all(isinstance(scale, tuple) for scale in self.scales)
            require(good, f"MultiScaleFlipAug: scales must be a tuple or a list of tuples, got {scales!r}", InvalidKind)
        else:
            factors = 1.0 if scale_factor is None else scale_factor
            self.scales = factors if isinstance(factors, list) else [factors]
            self.scale_key = "scale_factor"
        self.allow_flip = allow_flip
        self.flip_direction = flip_direction if isinstance(flip_direction, list) else [flip_direction]
        good = all(isinstance(direction, str) for direction in self.flip_direction)
        require(
            good,
            f"MultiScaleFlipAug: flip_direction must be a str or a list of them, got {flip_direction!r}",
            InvalidKind,
        )
        if not allow_flip and self.flip_direction != ["horizontal"]:
            warnings.warn("flip_direction has no effect when flip is set to False", stacklevel=2)
        self.resize_cfg = resize_cfg.copy()
        self.flip_cfg = flip_cfg.copy()

    def transform(self, results: dict) -> dict:
        """Give all versions."""
        inputs, samples = [], []
        directions = [None, *self.flip_direction] if self.allow_flip else [None]
        for scale, direction in product(self.scales, directions):
            steps = [{**self.resize_cfg, self.scale_key: scale}]
            version = results.copy()
            if direction is None:
                version["flip"], version["flip_direction"] = False, None
            else:
                steps.append({**self.flip_cfg, "prob": 1.0, "direction": direction})
            packed = self.transforms(Compose(steps)(version))
            inputs.append(need(self, packed, "inputs"))
            samples.append(need(self, packed, "data_sample"))
        return {"inputs": inputs, "data_sample": samples}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(transforms={self.transforms}, scales={self.scales}, allow_flip={self.allow_flip}, "
            f"flip_direction={self.flip_direction})"
        )


@TRANSFORMS.register_module()
class TestTimeAug(BaseTransform):
    """All combinations of alternatives, for testing.

    Parameters
    ----------
    transforms : list of list of (dict or callable)
        For each step, its alternatives.

    Returns
    -------
    dict
        For each key, a list with one item for each combination.

    Examples
    --------
    >>> aug = TestTimeAug([[dict(type="Resize", scale=s) for s in (2, 4)], [dict(type="RandomFlip", prob=p) for p in (0., 1.)]])
    >>> [img.shape[:2] for img in aug(dict(img=np.zeros((8, 8, 3), np.uint8)))["img"]]
    [(2, 2), (2, 2), (4, 4), (4, 4)]
    """

    __test__ = False  # its name looks like a test's

    def __init__(self, transforms: list):
        for i, alternatives in enumerate(transforms):
            for j, transform in enumerate(alternatives):
                if isinstance(transform, dict):
                    alternatives[j] = TRANSFORMS.build(transform)
                elif not callable(transform):
                    raise TypeError(
                        f"TestTimeAug: transforms[{i}][{j}] must be a dict or callable, got {type(transform).__name__}"
                    )
        self.subroutines = [Compose(steps) for steps in product(*transforms)]

    def transform(self, results: dict) -> dict:
        """Give all combinations."""
        versions = []
        for subroutine in self.subroutines:
            version = subroutine(copy.deepcopy(results))
            require(
                isinstance(version, dict),
                f"TestTimeAug: {named(subroutine)} must return a dict, got {type(version).__name__}",
                InvalidKind,
            )
            versions.append(version)
        return {key: [version.get(key) for version in versions] for key in versions[0]}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(transforms=\n"
            + "".join(f"{subroutine!r}\n" for subroutine in self.subroutines)
            + ")"
        )


@TRANSFORMS.register_module()
class RandomChoiceResize(BaseTransform):
    """Resize to one of several sizes, chosen by chance. Sets `scale_idx` and what the resize transform sets.

    Parameters
    ----------
    scales : list of (int or (int, int))
        Sizes (w, h), one of which is chosen.
    resize_type : str
        The transform that resizes.
    **resize_kwargs
        Arguments for it.
    """

    def __init__(self, scales: Sequence[int | tuple], resize_type: str = "Resize", **resize_kwargs) -> None:
        self.scales: list = scales if isinstance(scales, list) else [scales]
        good = len(self.scales) > 0 and all(isinstance(scale, (tuple, int)) for scale in self.scales)
        require(good, f"RandomChoiceResize: scales must be ints or tuples (w, h), got {scales!r}", InvalidKind)
        self.resize_cfg = {"type": resize_type, **resize_kwargs}
        self.resize = TRANSFORMS.build({"scale": 0, **self.resize_cfg})

    @cache_randomness
    def _random_select(self) -> tuple[Any, int]:
        index = np.random.randint(len(self.scales))  # noqa: NPY002  (users seed this one)
        return self.scales[index], index

    def transform(self, results: dict) -> dict:
        """Choose, and resize."""
        self.resize.scale, index = self._random_select()
        results = self.resize(results)
        results["scale_idx"] = index
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(scales={self.scales}, resize_cfg={self.resize_cfg})"


@TRANSFORMS.register_module()
class RandomFlip(BaseTransform):
    """Flip `img` with a probability, and with it `gt_bboxes`, `gt_seg_map` and `gt_keypoints`, where they are.

    Sets `flip` and `flip_direction` (None if it is not flipped), and `swap_seg_labels` with a flipped map.

    Parameters
    ----------
    prob : float or list of float
        The probability; with several directions it is shared alike, or each has its own.
    direction : str or list of str
        "horizontal", "vertical" or "diagonal" (both).
    swap_seg_labels : sequence of (int, int), optional
        Labels of the map that change places, such as left and right arm.
    """

    _part = "flip"

    def __init__(
        self,
        prob: float | Iterable[float] | None = None,
        direction: str | Sequence[str | None] = "horizontal",
        swap_seg_labels: Sequence | None = None,
    ) -> None:
        if isinstance(prob, (list, tuple)):
            prob = list(prob)
            for p in prob:
                _chance("RandomFlip", "prob", p)
            require(sum(prob) <= 1 + 1e-8, f"RandomFlip: prob must sum to at most 1, got {prob} with sum {sum(prob):g}")
        elif isinstance(prob, Real) and not isinstance(prob, bool):
            prob = float(_chance("RandomFlip", "prob", prob))
        else:
            raise ValueError(f"RandomFlip: prob must be a float or a list of floats, got {prob!r}")
        self.prob = prob
        self.swap_seg_labels = swap_seg_labels
        directions = [direction] if isinstance(direction, str) else direction
        if not isinstance(directions, (list, tuple)):
            raise ValueError(f"RandomFlip: direction must be a str or a list of them, got {direction!r}")
        known = ("horizontal", "vertical", "diagonal")
        require(
            len(directions) > 0 and all(isinstance(d, str) and d in known for d in directions),
            f"RandomFlip: direction must be of {', '.join(known)}, got {direction!r}",
        )
        self.direction = direction
        if isinstance(prob, list):
            require(
                len(prob) == len(directions),
                f"RandomFlip: prob must have one for each direction, got {len(prob)} and {len(directions)}",
            )

    @staticmethod
    def _axes(direction):
        if direction not in ("horizontal", "vertical", "diagonal"):
            raise ValueError(f"RandomFlip: direction must be 'horizontal', 'vertical' or 'diagonal', got {direction!r}")
        return [
            axis for axis, name in ((0, "vertical"), (1, "horizontal")) if direction == "diagonal" or direction == name
        ]

    def _flip_bbox(self, bboxes: np.ndarray, img_shape: tuple[int, int], direction: str) -> np.ndarray:
        expect(
            self,
            bboxes.shape[-1] % 4 == 0,
            f"gt_bboxes must have shape (N, 4), got {tuple(bboxes.shape)}",
        )
        flipped = bboxes.copy()
        for axis in self._axes(direction):  # of the image: x is its axis 1
            low = 1 - axis
            flipped[..., low::4] = img_shape[axis] - bboxes[..., low + 2 :: 4]
            flipped[..., low + 2 :: 4] = img_shape[axis] - bboxes[..., low::4]
        return flipped

    def _flip_keypoints(self, keypoints: np.ndarray, img_shape: tuple[int, int], direction: str) -> np.ndarray:
        flipped = keypoints.copy()
        for axis in self._axes(direction):
            flipped[..., 1 - axis] = img_shape[axis] - keypoints[..., 1 - axis]
        return flipped

    def _flip_seg_map(self, seg_map: np.ndarray, direction: str) -> np.ndarray:
        flipped = _image().imflip(seg_map, direction=direction)
        if self.swap_seg_labels is not None:
            flipped = before = np.ascontiguousarray(flipped)
            flipped = flipped.copy()
            labels = self.swap_seg_labels
            expect(
                self, isinstance(labels, (tuple, list)), f"swap_seg_labels must be pairs, got {labels!r}", InvalidKind
            )
            for pair in labels:
                good = isinstance(pair, (tuple, list)) and len(pair) == 2
                expect(self, good, f"swap_seg_labels must be pairs, got {self.swap_seg_labels!r}", InvalidKind)
                flipped[before == pair[0]] = pair[1]
                flipped[before == pair[1]] = pair[0]
        return flipped

    @cache_randomness
    def _choose_direction(self) -> str | None:
        directions: list = [self.direction] if isinstance(self.direction, str) else list(self.direction)
        chances = self.prob if isinstance(self.prob, list) else [self.prob / len(directions)] * len(directions)
        none = max(0.0, 1 - sum(self.prob)) if isinstance(self.prob, list) else 1.0 - self.prob
        return np.random.choice([*directions, None], p=[*chances, none])  # noqa: NPY002  (users seed this one)

    def _deferrable(self):
        return True

    def _flip(self, results: dict) -> None:
        direction = results["flip_direction"]
        img = _img(self, results)
        results["img"] = img.flip(direction) if isinstance(img, Deferred) else _image().imflip(img, direction=direction)
        shape = results["img"].shape[:2]
        if results.get("gt_bboxes") is not None:
            results["gt_bboxes"] = self._flip_bbox(results["gt_bboxes"], shape, direction)
        if results.get("gt_keypoints") is not None:
            results["gt_keypoints"] = self._flip_keypoints(results["gt_keypoints"], shape, direction)
        if results.get("gt_seg_map") is not None:
            results["gt_seg_map"] = self._flip_seg_map(results["gt_seg_map"], direction=direction)
            results["swap_seg_labels"] = self.swap_seg_labels

    def _flip_on_direction(self, results: dict) -> None:
        direction = self._choose_direction()
        results["flip"] = direction is not None
        results["flip_direction"] = direction
        if direction is not None:
            self._flip(results)

    def transform(self, results: dict) -> dict:
        """Flip what is there, or not."""
        self._flip_on_direction(results)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prob={self.prob}, direction={self.direction})"


@TRANSFORMS.register_module()
class RandomResize(BaseTransform):
    """Resize to a random size. Sets what the resize transform sets.

    Parameters
    ----------
    scale : (int, int) or list of two of them
        A size (w, h), which is multiplied by a random ratio; or two, between which each side is drawn.
    ratio_range : (float, float), optional
        Least and greatest ratio, for one size.
    resize_type : str
        The transform that resizes.
    **resize_kwargs
        Arguments for it.
    """

    def __init__(
        self,
        scale: tuple[int, int] | Sequence[tuple[int, int]],
        ratio_range: tuple[float, float] | None = None,
        resize_type: str = "Resize",
        **resize_kwargs,
    ) -> None:
        self.scale = scale
        self.ratio_range = ratio_range
        self.resize_cfg = {"type": resize_type, **resize_kwargs}
        self.resize = TRANSFORMS.build({"scale": 0, **self.resize_cfg})

    @staticmethod
    def _random_sample(scales: Sequence[tuple[int, int]]) -> tuple:
        good = isinstance(scales, list) and len(scales) == 2 and all(isinstance(s, tuple) for s in scales)
        require(good, f"RandomResize: scale must be a list of two tuples, got {scales!r}", InvalidKind)
        ends = [sorted(side) for side in zip(*scales, strict=True)]
        return tuple(np.random.randint(low, high + 1) for low, high in ends)  # noqa: NPY002  (users seed this one)

    @staticmethod
    def _random_sample_ratio(scale: tuple, ratio_range: tuple[float, float]) -> tuple:
        good = isinstance(scale, tuple) and len(scale) == 2
        require(good, f"RandomResize: scale must be (w, h), got {scale!r}", InvalidKind)
        low, high = ratio_range
        require(low <= high, f"RandomResize: ratio_range must be (least, greatest), got {ratio_range!r}")
        ratio = np.random.random_sample() * (high - low) + low  # noqa: NPY002  (users seed this one)
        return int(scale[0] * ratio), int(scale[1] * ratio)

    @cache_randomness
    def _random_scale(self) -> tuple:
        if isinstance(self.scale, tuple) and all(isinstance(n, int) for n in self.scale):
            good = self.ratio_range is not None and len(self.ratio_range) == 2
            expect(self, good, f"ratio_range must be (least, greatest), got {self.ratio_range!r}")
            return self._random_sample_ratio(self.scale, self.ratio_range)  # type: ignore[arg-type]
        if isinstance(self.scale, Sequence) and all(isinstance(s, tuple) for s in self.scale):
            return self._random_sample(self.scale)  # type: ignore[arg-type]
        raise _NoSuchScale(f"{named(self)}: scale must be (w, h) or a list of two, got {self.scale!r}")

    def transform(self, results: dict) -> dict:
        """Draw a size, and resize."""
        results["scale"] = self._random_scale()
        self.resize.scale = results["scale"]
        return self.resize(results)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(scale={self.scale}, ratio_range={self.ratio_range}, resize_cfg={self.resize_cfg})"
        )


class _NoSuchScale(TypeError, NotImplementedError):
    """What code written for other versions catches as NotImplementedError."""


__all__ = [
    "CenterCrop",
    "InvalidValue",
    "MissingKey",
    "MultiScaleFlipAug",
    "Normalize",
    "Pad",
    "RandomChoiceResize",
    "RandomFlip",
    "RandomGrayscale",
    "RandomResize",
    "Resize",
    "TestTimeAug",
]
