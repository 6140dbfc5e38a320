"""Text regions that grow from their kernels over a map: contour_expand and pixel_group."""

from __future__ import annotations

import functools
import operator

import numpy as np

from arrayvision import check
from arrayvision.array import Arrays, arrays, library_of
from arrayvision.typing import Array

KEPT = 2**14  # coordinates for which floats are kept from call to call
_MOST = 2**31 - 2  # labels, and pixels, that 32 bits count


def _mask(at: Arrays, **argument):
    """What kernels see of an array of flags; numbers other than 0 are True."""
    ((name, x),) = argument.items()
    if at.dtype(x) != "bool":
        at.real(**{name: x})
    return at.read(x, "bool")


def _labels(at: Arrays, count: int, **argument):
    """Labels of a map that 32 bits count, from 0 to `count` - 1."""
    ((name, x),) = argument.items()
    at.require(
        (x.shape[0] + 2) * (x.shape[1] + 2) <= _MOST,  # kernels lay a border round them
        f"{name} must have at most {_MOST} pixels, with a border of one on each side, got shape {tuple(x.shape)}",
    )
    return at.integers("int32", least=0, below=count, **argument)


def contour_expand_labels(
    kernel_mask: Array, internal_kernel_label: Array, min_kernel_area: int, kernel_num: int
) -> Array:
    """Grow labelled kernels over the greatest of several masks, ring by ring.

    Parameters
    ----------
    kernel_mask : array (S, H, W)
        Masks of text at S scales, the greatest first; what isn't 0 belongs to them. Kernels grow over the first one.
    internal_kernel_label : array (H, W)
        Whole numbers from 0 to `kernel_num`: which kernel a pixel belongs to, 0 for none.
    min_kernel_area : int
        Kernels of fewer pixels are left out: their pixels count as unlabelled.
    kernel_num : int
        The greatest label there may be.

    Returns
    -------
    array (H, W), int32
        Labels. A pixel of the first mask has the label of the kernel that reaches it in the fewest steps to the sides,
        above and below; of several, that with the pixel it came from first in the map's order. With one scale nothing grows.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype, or a number is no int.
    ValueError
        If a shape is wrong, there is no scale, or `kernel_num` is negative; on the CPU, if a label is out of range. On a
        GPU such labels count as 0.

    Notes
    -----
    W. Wang et al., "Shape Robust Text Detection with Progressive Scale Expansion Network", 2019. There kernels grow over the
    masks one after another, from the smallest to the greatest. Here they grow over the greatest at once, as in the compiled
    operator with which published models were measured: text instances that touch may be divided elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([[1, 0, 0, 0, 2]])
    >>> contour_expand_labels(np.ones((2, 1, 5)), labels, 1, 2)
    array([[1, 1, 1, 2, 2]], dtype=int32)
    """
    out = _contour_expand("contour_expand_labels", kernel_mask, internal_kernel_label, min_kernel_area, kernel_num)
    return out.result()


def _contour_expand(name, kernel_mask, internal_kernel_label, min_kernel_area, kernel_num):
    at = arrays(name, kernel_mask=kernel_mask, internal_kernel_label=internal_kernel_label)
    n = at.sizes(kernel_mask="S H W", internal_kernel_label="H W")
    at.require(n.S > 0, f"kernel_mask must have at least one scale, got shape {tuple(kernel_mask.shape)}")
    least = check.integer(name, "min_kernel_area", min_kernel_area)
    count = check.integer(name, "kernel_num", kernel_num, 0, _MOST) + 1
    labels = _labels(at, count, internal_kernel_label=internal_kernel_label)
    out = at.empty((n.H, n.W), "int32")
    mask = _mask(at, kernel_mask=kernel_mask[0, ...])
    at.kernels("text_growth").expand(mask, labels, count, least, n.S > 1, out.view)
    return out


def contour_expand(
    kernel_mask: Array, internal_kernel_label: Array, min_kernel_area: int, kernel_num: int
) -> list[list[int]]:
    """`contour_expand_labels` as lists of Python's ints.

    Parameters
    ----------
    kernel_mask, internal_kernel_label, min_kernel_area, kernel_num
        As there.

    Returns
    -------
    list of H lists of W ints
        Labels; those of a GPU's arrays are waited for and copied.

    Raises
    ------
    TypeError, ValueError
        As there.

    Examples
    --------
    >>> import numpy as np
    >>> contour_expand(np.array([[[1, 1, 1, 0, 1]]] * 2), np.array([[1, 0, 0, 0, 0]]), 1, 1)
    [[1, 1, 1, 0, 0]]
    """
    out = _contour_expand("contour_expand", kernel_mask, internal_kernel_label, min_kernel_area, kernel_num)
    labels, most = _fetched(out.view), operator.index(kernel_num)
    if most >= labels.size:  # more names than there would be to write
        return labels.tolist()
    from arrayvision.cpu.text_growth import name  # lists are made on the CPU

    known = np.array(list(range(most + 1)), object)
    return _named(name(labels, _names(known))).tolist()


def _names(objects):
    """The addresses of objects, which an array of them holds."""
    return np.ndarray(objects.shape, np.int64, objects)


def _named(names):
    """The objects at addresses, which must live as long as this: NumPy makes lists of them in a fifth of the time that numbers
    take, or objects that an index chooses."""
    return np.ndarray(names.shape, object, names)


@functools.lru_cache(8)
def _floats(count):
    """0.0, 1.0 ...: coordinates share them, for a float of its own for each takes four times the memory, and more time."""
    return np.array([float(i) for i in range(count)], object)


def _fetched(view):
    return library_of(view).fetched(view)


def pixel_group_labels(
    mask: Array,
    embedding: Array,
    kernel_label: Array,
    kernel_contour: Array,
    kernel_region_num: int,
    distance_threshold: float,
) -> Array:
    """Grow labelled kernels over a mask to pixels whose embeddings are like theirs, ring by ring.

    Parameters
    ----------
    mask : array (H, W)
        Where text is: what isn't 0.
    embedding : array (H, W, D)
        A vector for each pixel, of any real dtype.
    kernel_label : array (H, W)
        Whole numbers from 0 to `kernel_region_num` - 1: which kernel a pixel belongs to, 0 for none.
    kernel_contour : array (H, W)
        Kernels grow from their pixels in which this isn't 0.
    kernel_region_num : int
        The number of labels, 0 included.
    distance_threshold : float
        The distance between a pixel's embedding and the mean of a kernel's below which the kernel takes it.

    Returns
    -------
    array (H, W), int32
        Labels. Kernels keep their pixels. A pixel of the mask has the label of the kernel that reaches it in the fewest
        steps to the sides, above and below, over pixels that it takes; of several, that with the pixel it came from first
        in the map's order.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong, the threshold is negative; on the CPU, if a label is out of range. On a GPU such labels count
        as 0.

    Notes
    -----
    W. Wang et al., "Efficient and Accurate Arbitrary-Shaped Text Detection with Pixel Aggregation Network", 2019. Means and
    distances are computed in float64. An embedding with NaN is near to nothing, and a kernel with one takes no pixels.

    Examples
    --------
    >>> import numpy as np
    >>> embedding = np.array([0.0, 0.1, 0.2, 0.9, 1.0]).reshape(1, 5, 1)
    >>> labels = np.array([[1, 0, 0, 0, 2]])
    >>> pixel_group_labels(np.ones((1, 5)), embedding, labels, labels, 3, 0.5)
    array([[1, 1, 1, 2, 2]], dtype=int32)
    """
    given = dict(mask=mask, embedding=embedding, kernel_label=kernel_label, kernel_contour=kernel_contour)
    at = arrays("pixel_group_labels", **given)
    return _pixel_group(at, **given, number=kernel_region_num, threshold=distance_threshold)[0].result()


def _pixel_group(at, mask, embedding, kernel_label, kernel_contour, number, threshold, **more):
    """The labels, and how many there are."""
    n = at.sizes(mask="H W", embedding="H W D", kernel_label="H W", kernel_contour="H W", **more)
    count = max(check.integer(at.function, "kernel_region_num", number, 0, _MOST), 1)
    threshold = check.number(at.function, "distance_threshold", threshold, 0)
    labels = _labels(at, count, kernel_label=kernel_label)
    vectors = at.read(embedding, at.floats(embedding=embedding))
    inside, contour = _mask(at, mask=mask), _mask(at, kernel_contour=kernel_contour)
    out = at.empty((n.H, n.W), "int32")
    at.kernels("text_growth").group(vectors, inside, labels, contour, count, threshold * threshold, out.view)
    return out, count


def pixel_group(
    score: Array,
    mask: Array,
    embedding: Array,
    kernel_label: Array,
    kernel_contour: Array,
    kernel_region_num: int,
    distance_threshold: float,
) -> list[list[float]]:
    """`pixel_group_labels`, and each region's mean score, number of pixels and their coordinates, as lists.

    Parameters
    ----------
    score : array (H, W)
        The score of text at each pixel.
    mask, embedding, kernel_label, kernel_contour, kernel_region_num, distance_threshold
        As there.

    Returns
    -------
    list of `kernel_region_num` lists of floats
        ``[mean score, number of pixels, x, y, x, y, ...]`` for each label, its pixels in the map's order; ``[0.0, 0.0]``
        for label 0, and for one without pixels. Those of a GPU's arrays are waited for and copied.

    Raises
    ------
    TypeError, ValueError
        As there.

    Examples
    --------
    >>> import numpy as np
    >>> embedding, labels = np.zeros((1, 3, 2)), np.array([[1, 0, 0]])
    >>> pixel_group(np.array([[0.5, 1.0, 0.75]]), np.ones((1, 3)), embedding, labels, labels, 2, 0.8)
    [[0.0, 0.0], [0.75, 3.0, 0.0, 0.0, 1.0, 0.0, 2.0, 0.0]]
    """
    given = dict(mask=mask, embedding=embedding, kernel_label=kernel_label, kernel_contour=kernel_contour)
    at = arrays("pixel_group", score=score, **given)
    out, count = _pixel_group(at, **given, number=kernel_region_num, threshold=distance_threshold, score="H W")
    if kernel_region_num == 0:
        at.real(score=score)
        return []
    from arrayvision.cpu.text_growth import gather  # lists are made on the CPU

    scores = _fetched(at.read(score, at.accumulator(at.floats(score=score))))
    side = max(*out.view.shape, 1)
    whole = (_floats if side <= KEPT else _floats.__wrapped__)(side)
    total, counts, rows, ends = gather(_fetched(out.view), scores, count, _names(whole))
    means = np.divide(total, counts, out=np.zeros(count), where=counts > 0).tolist()
    named, regions = _named(rows.reshape(-1)), []
    for mean, number, end in zip(means, counts.tolist(), ends.tolist(), strict=True):
        region = named[2 * (end - number - 1) : 2 * end].tolist()
        region[0], region[1] = mean, float(number)
        regions.append(region)
    return regions
