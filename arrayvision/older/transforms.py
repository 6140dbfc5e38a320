"""What projects import from `mmcv.transforms.processing` beside its classes."""

from typing import Union

Number = Union[int, float]  # noqa: UP007  (projects look at its arguments)


def _scale_size(size: tuple[int, int], scale: float | int | tuple) -> tuple[int, int]:
    """(w, h) times a factor, or one for each side."""
    factors = (scale, scale) if isinstance(scale, (float, int)) else scale
    return int(size[0] * float(factors[0]) + 0.5), int(size[1] * float(factors[1]) + 0.5)
