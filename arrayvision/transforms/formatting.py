"""Arrays to torch's tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from arrayvision.errors import InvalidValue, MissingKey
from arrayvision.registry import TRANSFORMS
from arrayvision.transforms._deferred import Deferred
from arrayvision.transforms.base import BaseTransform, expect, named, need

if TYPE_CHECKING:
    import torch


def _torch():
    try:
        import torch
    except ImportError as error:
        raise ImportError('tensors need torch: pip install "arrayvision[torch]"') from error
    return torch


def to_tensor(data: torch.Tensor | np.ndarray | Sequence | int | float) -> torch.Tensor:
    """A tensor of an array (its memory is shared), a sequence or a number.

    Parameters
    ----------
    data : Tensor, array, sequence, int or float
        Numbers become tensors of one element, int64 or float32.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If it is something else.

    Examples
    --------
    >>> to_tensor([1, 2])
    tensor([1, 2])
    """
    torch = _torch()
    if isinstance(data, torch.Tensor):
        return data
    if isinstance(data, np.ndarray):
        if any(stride < 0 for stride in data.strides) or not data.dtype.isnative:  # torch has neither
            data = data.astype(data.dtype.newbyteorder("="), "C")
        return torch.from_numpy(data if data.flags.writeable else data.copy())
    if isinstance(data, Sequence) and not isinstance(data, str):
        return torch.tensor(data)
    if isinstance(data, (int, np.integer)):
        return torch.tensor([int(data)])
    if isinstance(data, (float, np.floating)):
        return torch.tensor([float(data)], dtype=torch.float32)
    raise TypeError(
        f"to_tensor: data must be a tensor, an array, a sequence, an int or a float, got {type(data).__name__}"
    )


@TRANSFORMS.register_module()
class ToTensor(BaseTransform):
    """Turn some of a sample's values into tensors.

    Parameters
    ----------
    keys : sequence of str
        Which; "instances.bbox" is ``results["instances"]["bbox"]``.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys

    def transform(self, results: dict) -> dict:
        """Replace the values of the keys."""
        for key in self.keys:
            place: Any = results
            *path, last = key.split(".")
            try:
                for name in path:
                    place = place[name]
                found = last in place
            except (LookupError, TypeError):
                found = False
            if not found:
                raise MissingKey(f"{named(self)}: results must have {key!r}, got {', '.join(map(repr, results))}")
            place[last] = to_tensor(place[last])
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(keys={self.keys})"


@TRANSFORMS.register_module()
class ImageToTensor(BaseTransform):
    """Turn images, (H, W, C) or (H, W), into contiguous tensors (C, H, W).

    Parameters
    ----------
    keys : sequence of str
        Which.
    """

    _part = "tensor"

    def __init__(self, keys: dict) -> None:
        self.keys = keys

    def transform(self, results: dict) -> dict:
        """Replace the values of the keys."""
        for key in self.keys:
            img = need(self, results, key)
            expect(
                self,
                getattr(img, "ndim", 0) in (2, 3),
                f"{key} must have shape (H, W) or (H, W, C), got {getattr(img, 'shape', type(img).__name__)}",
                InvalidValue,
            )
            if isinstance(img, Deferred):
                results[key] = to_tensor(img.planes())
            elif isinstance(img, np.ndarray):
                img = img[:, :, None] if img.ndim == 2 else img
                results[key] = to_tensor(np.ascontiguousarray(img.transpose(2, 0, 1)))
            else:  # a tensor
                img = img.unsqueeze(-1) if img.ndim == 2 else img
                results[key] = to_tensor(img.permute(2, 0, 1).contiguous())
        return results

    def _deferrable(self):
        return list(self.keys) == ["img"]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(keys={self.keys})"
