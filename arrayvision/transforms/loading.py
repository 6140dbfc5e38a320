"""Images and annotations from files."""

from __future__ import annotations

import warnings

import numpy as np

from arrayvision.errors import InvalidValue
from arrayvision.registry import TRANSFORMS
from arrayvision.transforms.base import BaseTransform, expect, need


def _decoded(transform, path, flag):
    """The image in a file, by the transform's back ends."""
    from arrayvision import image

    return image.imread(path, flag=flag, backend=transform.imdecode_backend, backend_args=transform._options())


class _FromFile(BaseTransform):
    def _take_options(self, imdecode_backend, file_client_args, backend_args):
        self.imdecode_backend = imdecode_backend
        if file_client_args is not None:
            warnings.warn(
                '"file_client_args" is deprecated, use "backend_args" instead', DeprecationWarning, stacklevel=3
            )
            if backend_args is not None:
                raise ValueError(
                    f'{type(self).__name__}: "file_client_args" and "backend_args" cannot be set at the same time'
                )
        self.file_client_args = None if file_client_args is None else dict(file_client_args)
        self.backend_args = None if backend_args is None else dict(backend_args)

    def _options(self):
        return self.backend_args if self.file_client_args is None else self.file_client_args

    def _repr_options(self):
        if self.file_client_args is not None:
            return f"file_client_args={self.file_client_args}"
        return f"backend_args={self.backend_args}"


@TRANSFORMS.register_module()
class LoadImageFromFile(_FromFile):
    """Load the image at `img_path`; sets `img`, `img_shape` and `ori_shape`.

    Parameters
    ----------
    to_float32 : bool
        Give float32 values.
    color_type : str
        "color", "grayscale", "unchanged" ..., as `arrayvision.image.imread` takes it.
    imdecode_backend : str
        "cv2", "turbojpeg", "pillow" or "tifffile".
    file_client_args : dict, optional
        Old name of `backend_args`.
    ignore_empty : bool
        Give None for an image that can't be read.
    backend_args : dict, optional
        Where and how files are read, as `arrayvision.image.imread` takes it.
    """

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = "color",
        imdecode_backend: str = "cv2",
        file_client_args: dict | None = None,
        ignore_empty: bool = False,
        *,
        backend_args: dict | None = None,
    ) -> None:
        self.to_float32 = to_float32
        self.color_type = color_type
        self.ignore_empty = ignore_empty
        self._take_options(imdecode_backend, file_client_args, backend_args)

    def transform(self, results: dict) -> dict | None:
        """Load the image."""
        path = need(self, results, "img_path")
        try:
            img = _decoded(self, path, self.color_type)
        except ImportError:  # of a back end: no image can be read
            raise
        except Exception:
            if self.ignore_empty:
                return None
            raise
        if self.to_float32:
            img = img.astype(np.float32)
        results["img"] = img
        results["img_shape"] = img.shape[:2]
        results["ori_shape"] = img.shape[:2]
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(ignore_empty={self.ignore_empty}, to_float32={self.to_float32}, "
            f"color_type='{self.color_type}', imdecode_backend='{self.imdecode_backend}', {self._repr_options()})"
        )


@TRANSFORMS.register_module()
class LoadAnnotations(_FromFile):
    """Collect annotations from `instances` (a list of dicts), and load the segmentation map at `seg_map_path`.

    Sets `gt_bboxes` (N, 4) float32, `gt_bboxes_labels` (N,) int64, `gt_keypoints` (N, K, 3) float32 and `gt_seg_map`
    (H, W).

    Parameters
    ----------
    with_bbox, with_label, with_seg, with_keypoints : bool
        Which: from the instances' "bbox" (x1, y1, x2, y2), "bbox_label" and "keypoints" (K * 3 numbers).
    imdecode_backend, file_client_args, backend_args
        As for `LoadImageFromFile`.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_seg: bool = False,
        with_keypoints: bool = False,
        imdecode_backend: str = "cv2",
        file_client_args: dict | None = None,
        *,
        backend_args: dict | None = None,
    ) -> None:
        self.with_bbox = with_bbox
        self.with_label = with_label
        self.with_seg = with_seg
        self.with_keypoints = with_keypoints
        self._take_options(imdecode_backend, file_client_args, backend_args)

    def _values(self, results, key):
        return [need(self, instance, key) for instance in need(self, results, "instances")]

    def _load_bboxes(self, results: dict) -> None:
        boxes = self._values(results, "bbox")
        expect(
            self,
            all(len(box) == 4 for box in boxes),
            f"bbox must have 4 numbers, got {next((box for box in boxes if len(box) != 4), None)}",
            InvalidValue,
        )
        results["gt_bboxes"] = np.array(boxes, dtype=np.float32).reshape(-1, 4)

    def _load_labels(self, results: dict) -> None:
        results["gt_bboxes_labels"] = np.array(self._values(results, "bbox_label"), dtype=np.int64)

    def _load_seg_map(self, results: dict) -> None:
        results["gt_seg_map"] = _decoded(self, need(self, results, "seg_map_path"), "unchanged").squeeze()

    def _load_kps(self, results: dict) -> None:
        keypoints = self._values(results, "keypoints")
        sizes = sorted({np.size(points) for points in keypoints})
        expect(
            self,
            len(sizes) <= 1 and all(size % 3 == 0 for size in sizes),
            f"keypoints must have K * 3 numbers, as many for each instance, got {sizes}",
            InvalidValue,
        )
        count = sizes[0] // 3 if sizes else 0
        results["gt_keypoints"] = np.array(keypoints, np.float32).reshape(len(keypoints), count, 3)

    def transform(self, results: dict) -> dict:
        """Collect what is wanted."""
        if self.with_bbox:
            self._load_bboxes(results)
        if self.with_label:
            self._load_labels(results)
        if self.with_seg:
            self._load_seg_map(results)
        if self.with_keypoints:
            self._load_kps(results)
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(with_bbox={self.with_bbox}, with_label={self.with_label}, "
            f"with_seg={self.with_seg}, with_keypoints={self.with_keypoints}, "
            f"imdecode_backend='{self.imdecode_backend}', {self._repr_options()})"
        )
