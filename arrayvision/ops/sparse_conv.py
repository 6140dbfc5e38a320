"""Convolution and pooling of features at a few sites of a grid, by lists of pairs of sites."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from arrayvision import check
from arrayvision.array import arrays, library_of
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.typing import Array

BITS = 62  # of a site's batch index and coordinates


def axes(function: str, argument: str, value, count: int, least: int) -> tuple[int, ...]:
    """An int for each axis, given so or as one for all."""
    if not isinstance(value, (tuple, list)) and not getattr(value, "shape", ()):
        value = (value,) * count
    return check.integers(function, argument, value, count, least, 2**31 - 1)


def output_shape(function, spatial_shape, kernel_size, stride, padding, dilation, output_padding, subm, transposed):
    """The size of the result's grid; ValueError if it has none."""
    if subm:
        return tuple(spatial_shape)
    every = list(zip(spatial_shape, kernel_size, stride, padding, dilation, output_padding, strict=True))
    if transposed:
        shape = tuple((n - 1) * s - 2 * p + d * (k - 1) + more + 1 for n, k, s, p, d, more in every)
    else:
        shape = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in every)
    if min(shape) < 1:
        raise InvalidValue(
            f"{function}: spatial_shape, kernel_size, stride, padding and dilation must leave a result, which would "
            f"have shape {shape}"
        )
    return shape


def _geometry(function, count, spatial_shape, kernel_size, stride, padding, dilation, output_padding, subm, transposed):
    """All checked, a number for each axis: (spatial_shape, the result's shape, kernel_size, stride, padding, dilation)."""
    subm, transposed = check.flag(function, "subm", subm), check.flag(function, "transposed", transposed)
    if subm and transposed:
        raise InvalidValue(f"{function}: subm and transposed must not both be True")
    shape = check.integers(function, "spatial_shape", spatial_shape, count, 1)
    kernel = axes(function, "kernel_size", kernel_size, count, 1)
    how = [
        axes(function, name, value, count, least)
        for name, value, least in (
            ("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1), ("output_padding", output_padding, 0),
        )
    ]  # fmt: skip
    if math.prod(kernel) >= 2**16:
        raise InvalidValue(f"{function}: kernel_size must have fewer than {2**16} taps, got {math.prod(kernel)}")
    if subm:
        how[0], how[1] = (1,) * count, tuple(k // 2 * d for k, d in zip(kernel, how[2], strict=True))
    result = output_shape(function, shape, kernel, *how, subm, transposed)
    return shape, result, kernel, *how[:3]


def sparse_conv_pairs(
    indices: Array,
    spatial_shape: Sequence[int],
    batch_size: int,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    output_padding: int | Sequence[int] = 0,
    subm: bool = False,
    transposed: bool = False,
) -> tuple[Array, Array, Array]:
    """Which sites a convolution's result has, and which inputs each of them takes through which tap of the filter.

    Parameters
    ----------
    indices : array (N, 1 + D), integers
        The sites that have features: the index in the batch, and D coordinates. No site may come twice.
    spatial_shape : D ints
        The grid's size.
    batch_size : int
        How many grids there are.
    kernel_size, stride, padding, dilation : int or D ints
        As of a dense convolution.
    output_padding : int or D ints
        Of a transposed one, how much larger its grid is.
    subm : bool
        Whether the result's sites are the inputs' (a submanifold convolution): stride is 1 then, and padding puts the filter's
        middle, tap ``kernel_size // 2``, on the site.
    transposed : bool
        Whether it is a transposed convolution.

    Returns
    -------
    out_indices : array (M, 1 + D)
        The result's sites, all that any input reaches, rising by the first column, then the second and so on; for `subm` those
        of `indices` in their order. int32 if `indices` is, else int64.
    pairs : array (2, P), int32
        Rows of inputs and, below, of outputs: those of the first tap, then of the second and so on, each tap's by rising outputs.
        Taps are in C order of the filter.
    counts : array (K,), int64
        How many pairs each tap has.

    Raises
    ------
    TypeError
        If something is no array, or of a wrong dtype.
    ValueError
        If a site lies outside the grid or comes twice, a shape or a number is wrong, or sites would have more than 62 bits:
        those of ``batch_size - 1`` and of each axis' last coordinate (for `subm` with the filter's reach added).

    Notes
    -----
    B. Graham et al., "3D Semantic Segmentation with Submanifold Sparse Convolutional Networks", 2018. The result's grid has
    ``(n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1`` cells along an axis, a transposed one
    ``(n - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1``.

    Examples
    --------
    >>> import numpy as np
    >>> sites = np.array([[0, 1, 1], [0, 1, 2]])
    >>> sparse_conv_pairs(sites, (4, 4), 1, (1, 3), subm=True)
    (array([[0, 1, 1],
           [0, 1, 2]]), array([[0, 0, 1, 1],
           [1, 0, 1, 0]], dtype=int32), array([1, 2, 1]))
    """
    name = "sparse_conv_pairs"
    at = arrays(name, indices=indices)
    n = at.sizes(indices="N A")
    at.require(n.A > 1, f"indices must have at least 2 columns, got {n.A}")
    at.require(n.N < 2**31, f"indices must have fewer than 2**31 rows, got {n.N}")
    if not at.dtype(indices).startswith(("int", "uint")):
        raise InvalidKind(f"{name}: indices must hold integers, got dtype {at.dtype(indices)}")
    batch = check.integer(name, "batch_size", batch_size, 1, 2**31 - 1)
    given = spatial_shape, kernel_size, stride, padding, dilation, output_padding, subm, transposed
    shape, result, kernel, *how = _geometry(name, n.A - 1, *given)
    subm, transposed = bool(subm), bool(transposed)
    rooms = [(k - 1) * d * subm for k, d in zip(kernel, how[2], strict=True)]
    most = [batch, *(max(a + room, b) for a, b, room in zip(shape, result, rooms, strict=True))]
    widths = [(size - 1).bit_length() for size in most]
    at.require(
        sum(widths) <= BITS,
        f"spatial_shape and batch_size must need {BITS} bits at most, got {sum(widths)} of {shape} and {batch}",
    )
    shifts = [sum(widths[a + 1 :]) for a in range(n.A)]
    rows = at.integers(None, indices=indices)
    kernels = at.kernels("sparse_conv")
    found, outside, twice = kernels.sites(rows, [batch, *shape], shifts, sum(widths))
    at.require(
        not outside,
        f"indices must hold a batch index below {batch} and coordinates within {shape}, which {outside} rows don't",
    )
    at.require(not twice, f"indices must hold each site once, {twice} rows repeat another")
    filter = list(zip(kernel, *how, result, strict=True))
    outs = found[0] if subm else kernels.reached(found, shifts, widths, filter, transposed)
    count = outs.shape[0]
    at.require(count < 2**31, f"indices must reach fewer than 2**31 sites, got {count}")
    table, own, counts = kernels.match(found, outs, shifts, widths, filter, subm, transposed)
    total = int(counts.sum())
    out = at.empty((count, n.A), "int32" if at.dtype(indices) == "int32" else "int64")
    pairs, numbers = at.empty((2, total), "int32"), at.empty((len(counts),), "int64")
    if subm:
        out.view[:] = rows
    else:
        kernels.coordinates(outs, [batch, *result], shifts, out.view)
    if total:
        kernels.pairs(table, own, counts, subm, pairs.view)
    kernels.put(counts, numbers.view)
    return out.result(), pairs.result(), numbers.result()


def _pairs(at, pairs, counts, inputs, outputs):
    """What kernels see of the pairs, and their counts in the CPU's memory."""
    given = at.integers("int32", pairs=pairs)
    numbers = at.integers("int64", counts=counts)
    if at.gpu:
        numbers = library_of(numbers).fetched(numbers)
    numbers = np.asarray(numbers)
    total = pairs.shape[1]
    at.require(
        not len(numbers) or (numbers.min() >= 0 and numbers.max() <= total), "counts must be of pairs: at least 0"
    )
    at.require(int(numbers.sum()) == total, f"counts must add up to the pairs, got {int(numbers.sum())} and {total}")
    if at.backend == "cpu" and total:
        for row, size, what in ((given[0], inputs, "inputs"), (given[1], outputs, "outputs")):
            least, most = int(row.min()), int(row.max())
            at.require(
                least >= 0 and most < size, f"pairs must hold rows of {size} {what}, got {least if least < 0 else most}"
            )
    return given, numbers


def _weight(at, weight, taps, channels, made=None):
    """Check a weight (..., C, O)."""
    shape = tuple(weight.shape)
    wanted = f"(..., {channels}, {'O' if made is None else made}), whose first sizes make {taps} taps"
    fits = len(shape) >= 3 and shape[-2] == channels and math.prod(shape[:-2]) == taps
    at.require(fits and made in (None, shape[-1]), f"weight must have shape {wanted}, got {shape}")
    return shape[-1]


def _size(name, size):
    return check.integer(name, "size", size, 0, 2**31 - 1)


def sparse_conv(features: Array, weight: Array, bias: Array | None, pairs: Array, counts: Array, size: int) -> Array:
    """Convolve features of sites, by the pairs that `sparse_conv_pairs` found.

    Parameters
    ----------
    features : array (N, C)
        Of the inputs; any real dtype, integers count as float32.
    weight : array (..., C, O)
        The filter, its taps in the pairs' order: (kD, kH, kW, C, O) for one.
    bias : array (O,), optional
        Is added to the result.
    pairs : array (2, P), integers
        Rows of inputs and of outputs, tap by tap. No output may come twice within a tap. The pairs of an inverse convolution, which
        brings a result back to the sites that it came from, are those of the convolution with the rows exchanged.
    counts : array (K,), integers
        How many pairs each tap has.
    size : int
        How many outputs there are.

    Returns
    -------
    array (size, O)
        In the dtype that features, weight and bias promote to. An output without pairs is the bias.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong, counts don't add up to P, or pairs aren't rows (which a GPU doesn't look at: it leaves such pairs out).

    Notes
    -----
    16-bit features are summed in float32. On the CPU results have the same bits for any number of threads.

    Examples
    --------
    >>> import numpy as np
    >>> sites = np.array([[0, 1, 1], [0, 1, 2]])
    >>> _, pairs, counts = sparse_conv_pairs(sites, (4, 4), 1, (1, 3), subm=True)
    >>> sparse_conv(np.array([[1.0], [10.0]]), np.array([1.0, 2, 3]).reshape(1, 3, 1, 1), None, pairs, counts, 2)
    array([[32.],
           [21.]])
    """
    name = "sparse_conv"
    at = arrays(name, features=features, weight=weight, bias=bias, pairs=pairs, counts=counts)
    n = at.sizes(features="N C", weight="...", pairs="2 P", counts="K")
    made = _weight(at, weight, n.K, n.C)
    some = {}
    if bias is not None:
        some["bias"] = bias
        at.require(tuple(bias.shape) == (made,), f"bias must have shape ({made},), got {tuple(bias.shape)}")
    size = _size(name, size)
    dtype = at.floats(features=features, weight=weight, **some)
    given, numbers = _pairs(at, pairs, counts, n.N, size)
    out = at.empty((size, made), dtype)
    at.kernels("sparse_conv").forward(
        at.read(features, dtype),
        at.read(weight, dtype).reshape(n.K, n.C, made),
        None if bias is None else at.read(bias, dtype),
        given,
        numbers,
        out.view,
    )
    return out.result()


def sparse_conv_backward(
    grad: Array, features: Array, weight: Array, bias: Array | None, pairs: Array, counts: Array
) -> tuple[Array, Array, Array | None]:
    """The gradients of `sparse_conv`.

    Parameters
    ----------
    grad : array (size, O)
        The gradient of its result.
    features, weight, bias, pairs, counts
        As given to it.

    Returns
    -------
    array (N, C), array (..., C, O), array (O,) or None
        The gradients for features, weight and bias, in the dtype that grad and these promote to.

    Raises
    ------
    TypeError, ValueError
        As `sparse_conv`.
    """
    at = arrays("sparse_conv_backward", grad=grad, features=features, weight=weight, bias=bias)
    n = at.sizes(grad="M O", features="N C", weight="...", bias="O?")
    by_features = sparse_conv_by_features(grad, weight, pairs, counts, n.N)
    by_weight = sparse_conv_by_weight(grad, features, pairs, counts, weight.shape)
    if bias is None:
        return by_features, by_weight, None
    dtype = at.floats(grad=grad, bias=bias)
    out = at.empty((n.O,), dtype)
    at.kernels("sparse_conv").backward_bias(at.read(grad, dtype), out.view)
    return by_features, by_weight, out.result()


def sparse_conv_by_features(grad: Array, weight: Array, pairs: Array, counts: Array, rows: int) -> Array:
    """The gradient of `sparse_conv` for its features.

    Parameters
    ----------
    grad : array (size, O)
        The gradient of its result.
    weight, pairs, counts
        As given to it.
    rows : int
        How many inputs there were.

    Returns
    -------
    array (rows, C)
        In the dtype that grad and weight promote to.

    Raises
    ------
    TypeError, ValueError
        As `sparse_conv`.
    """
    name = "sparse_conv_by_features"
    at = arrays(name, grad=grad, weight=weight, pairs=pairs, counts=counts)
    n = at.sizes(grad="M O", weight="...", pairs="2 P", counts="K")
    at.require(len(weight.shape) >= 3, f"weight must have at least 3 axes, got {len(weight.shape)}")
    channels = weight.shape[-2]
    _weight(at, weight, n.K, channels, n.O)
    rows = check.integer(name, "rows", rows, 0, 2**31 - 1)
    dtype = at.floats(grad=grad, weight=weight)
    given, numbers = _pairs(at, pairs, counts, rows, n.M)
    out = at.empty((rows, channels), dtype)
    read = at.read(weight, dtype).reshape(n.K, channels, n.O)
    at.kernels("sparse_conv").backward_features(at.read(grad, dtype), read, given, numbers, out.view)
    return out.result()


def sparse_conv_by_weight(
    grad: Array, features: Array, pairs: Array, counts: Array, weight_shape: Sequence[int]
) -> Array:
    """The gradient of `sparse_conv` for its weight.

    Parameters
    ----------
    grad : array (size, O)
        The gradient of its result.
    features, pairs, counts
        As given to it.
    weight_shape : ints
        The weight's shape.

    Returns
    -------
    array (..., C, O)
        Of that shape, in the dtype that grad and features promote to.

    Raises
    ------
    TypeError, ValueError
        As `sparse_conv`.
    """
    name = "sparse_conv_by_weight"
    at = arrays(name, grad=grad, features=features, pairs=pairs, counts=counts)
    n = at.sizes(grad="M O", features="N C", pairs="2 P", counts="K")
    shape = tuple(weight_shape)
    fits = len(shape) >= 3 and shape[-2:] == (n.C, n.O) and math.prod(shape[:-2]) == n.K
    at.require(fits, f"weight_shape must be (..., {n.C}, {n.O}), whose first sizes make {n.K} taps, got {shape}")
    dtype = at.floats(grad=grad, features=features)
    given, numbers = _pairs(at, pairs, counts, n.N, n.M)
    out = at.empty(shape, dtype)
    at.kernels("sparse_conv").backward_weight(
        at.read(grad, dtype), at.read(features, dtype), given, numbers, out.view.reshape(n.K, n.C, n.O)
    )
    return out.result()


def sparse_max_pool(features: Array, pairs: Array, counts: Array, size: int) -> Array:
    """The maximum over the inputs of each output, by the pairs that `sparse_conv_pairs` found.

    Parameters
    ----------
    features : array (N, C)
        Of the inputs; any real dtype, integers count as float32.
    pairs, counts, size
        As of `sparse_conv`.

    Returns
    -------
    array (size, C)
        In the dtype of features. Empty cells don't count: the maximum of negative features is negative. An output without pairs
        is 0.

    Raises
    ------
    TypeError, ValueError
        As `sparse_conv`.

    Notes
    -----
    A NaN makes the maximum NaN. The gradient goes to the first of equal inputs, in the order of the filter's taps.

    Examples
    --------
    >>> import numpy as np
    >>> sites = np.array([[0, 0, 0], [0, 0, 1], [0, 3, 3]])
    >>> _, pairs, counts = sparse_conv_pairs(sites, (4, 4), 1, 2, 2)
    >>> sparse_max_pool(np.array([[-2.0], [-1.0], [5.0]]), pairs, counts, 2)
    array([[-1.],
           [ 5.]])
    """
    return _max_pool(features, pairs, counts, size, False)[0].result()


def sparse_max_pool_with_argmax(features: Array, pairs: Array, counts: Array, size: int) -> tuple[Array, Array]:
    """`sparse_max_pool`, and which inputs were the maxima.

    Parameters
    ----------
    features, pairs, counts, size
        As of `sparse_max_pool`.

    Returns
    -------
    out : array (size, C)
        As there.
    argmax : array (size, C), int32
        The input that each maximum is of, -1 for none.

    Raises
    ------
    TypeError, ValueError
        As `sparse_conv`.
    """
    out, argmax = _max_pool(features, pairs, counts, size, True)
    return out.result(), argmax.result()


def _max_pool(features, pairs, counts, size, told):
    """Maxima, and where they are if that is to be told; a GPU's kernels find it in any case."""
    name = "sparse_max_pool"
    at = arrays(name, features=features, pairs=pairs, counts=counts)
    n = at.sizes(features="N C", pairs="2 P", counts="K")
    size = _size(name, size)
    dtype = at.floats(features=features)
    given, numbers = _pairs(at, pairs, counts, n.N, size)
    out, argmax = at.empty((size, n.C), dtype), at.empty((size if told or at.backend == "cuda" else 0, n.C), "int32")
    at.kernels("sparse_conv").pool(at.read(features, dtype), given, numbers, out.view, argmax.view)
    return out, argmax


def sparse_max_pool_backward(grad: Array, argmax: Array, pairs: Array, counts: Array, rows: int) -> Array:
    """The gradient of `sparse_max_pool`.

    Parameters
    ----------
    grad : array (size, C)
        The gradient of its result.
    argmax : array (size, C), int32
        What `sparse_max_pool_with_argmax` gave.
    pairs, counts
        As given to it.
    rows : int
        How many inputs there were.

    Returns
    -------
    array (rows, C)
        In the dtype of grad.

    Raises
    ------
    TypeError, ValueError
        As `sparse_conv`.
    """
    name = "sparse_max_pool_backward"
    at = arrays(name, grad=grad, argmax=argmax, pairs=pairs, counts=counts)
    n = at.sizes(grad="M C", argmax="M C", pairs="2 P", counts="K")
    rows = check.integer(name, "rows", rows, 0, 2**31 - 1)
    dtype = at.floats(grad=grad)
    given, numbers = _pairs(at, pairs, counts, rows, n.M)
    out = at.empty((rows, n.C), dtype)
    which = at.integers("int32", argmax=argmax)
    at.kernels("sparse_conv").pool_backward(at.read(grad, dtype), which, given, numbers, out.view)
    return out.result()
