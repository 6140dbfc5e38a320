"""How much axis-aligned boxes overlap."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.typing import Array


def bbox_overlaps(bboxes1: Array, bboxes2: Array, mode: str = "iou", aligned: bool = False, offset: int = 0) -> Array:
    """Intersection over union (or over the first box's area) of axis-aligned boxes.

    Parameters
    ----------
    bboxes1 : array (M, 4)
        Boxes (x1, y1, x2, y2) in any unit; any real dtype, integers count as floats. Without boxes, shape (0,) will do.
    bboxes2 : array (N, 4)
        The others, likewise; N = M if `aligned`.
    mode : {"iou", "iof"}
        Over the union, or over the area of the box of `bboxes1` ("intersection over foreground").
    aligned : bool
        Compare row by row instead of each with each.
    offset : {0, 1}
        Added to widths and heights: 1 where x2 and y2 are the last pixel inside.

    Returns
    -------
    array (M, N), or (M,) if `aligned`
        Values within [0, 1], in the boxes' promoted float dtype. A box with a NaN or infinite corner, or of no or
        negative width or height (offset included), overlaps nothing: 0.

    Raises
    ------
    TypeError
        If the boxes are no arrays, of two libraries or devices, or hold no real numbers.
    ValueError
        If a shape, `mode` or `offset` is wrong, or aligned boxes differ in number.

    Notes
    -----
    The Jaccard index (P. Jaccard, 1901). Computed in float32 for float16 and bfloat16.

    Examples
    --------
    >>> import numpy as np
    >>> bbox_overlaps(np.array([[0, 0, 10, 10]]), np.array([[5, 0, 15, 10], [20, 20, 30, 30]]))
    array([[0.33333334, 0.        ]], dtype=float32)
    """
    return replay(_bbox_overlaps, (bboxes1, bboxes2), mode, aligned, offset)


def _bbox_overlaps(bboxes1, bboxes2, mode, aligned, offset):
    name = "bbox_overlaps"
    at = arrays(name, bboxes1=bboxes1, bboxes2=bboxes2)
    check.choice(name, "mode", mode, ("iou", "iof"))
    check.choice(name, "offset", offset, (0, 1))
    aligned = check.flag(name, "aligned", aligned)
    none1, none2 = tuple(bboxes1.shape) == (0,), tuple(bboxes2.shape) == (0,)  # as torch.tensor([])
    second = "M" if aligned else "N"
    at.sizes(bboxes1="M" if none1 else "M 4", bboxes2=second if none2 else f"{second} 4")
    dtype = at.floats(bboxes1=bboxes1, bboxes2=bboxes2)
    m, n = bboxes1.shape[0], bboxes2.shape[0]
    out = at.empty((m,) if aligned else (m, n), dtype)
    if m and n:
        at.kernels("bbox_overlaps").overlaps(
            at.read(bboxes1, dtype), at.read(bboxes2, dtype), mode == "iof", aligned, offset, out.view
        )
    return out.result()
