"""Upsampling, filtering and downsampling of images, as StyleGAN has them."""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.ops import _fir, _roi
from arrayvision.typing import Array


def _upfirdn2d(x, filter, name, argument, up, down, padding, flip, gain, size=None):
    """`upfirdn2d` of checked factors and paddings; `size` is the result's (rows, columns), where it is known."""
    flip, gain = check.flag(name, "flip_filter", flip), check.number(name, "gain", gain)
    at = arrays(name, **{argument: x}, filter=filter)
    n = at.sizes(**{argument: "N C H W"})
    dtype = at.floats(**{argument: x})
    weights = _fir.weights(at, filter, at.accumulator(dtype))
    if size is None:
        size = _fir.result_size(name, (n.H, n.W), _fir.extent(name, filter), up, down, padding)
    out = at.empty((n.N, n.C, *size), dtype)
    planes = n.N * n.C
    at.kernels("upfirdn2d").upfirdn2d(
        at.read(x, dtype).reshape(planes, n.H, n.W), weights, flip, gain, up[::-1], down[::-1], (padding[2], padding[0]),
        out.view.reshape(planes, *size),
    )  # fmt: skip
    return out.result()


def upfirdn2d(
    input: Array,
    filter: Array | None,
    up: int | tuple[int, int] = 1,
    down: int | tuple[int, int] = 1,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
    use_custom_op: bool = True,
) -> Array:
    """Upsample images by putting zeros between pixels, pad them, filter them, and keep some of the pixels.

    Parameters
    ----------
    input : array (N, C, H, W)
        Images; any real dtype, integers count as float32.
    filter : array (rows, columns) or (n,), or None
        1 to 1,024 numbers, the same for all channels; of one axis, the filter is its product with itself. None is 1.
    up : int or (int, int)
        Along each axis, or (columns, rows): each pixel is followed by ``up - 1`` zeros. At least 1, at most 1,024.
    down : int or (int, int)
        One of so many pixels is kept, the first of all included.
    padding : int, (int, int) or (int, int, int, int)
        Zeros round the upsampled image: for all sides, for (columns, rows), or (left, right, top, bottom). Negative ones
        crop it.
    flip_filter : bool
        False: convolution. True: correlation, where the filter's first number is multiplied with the first pixel.
    gain : float
        The result is multiplied by it.
    use_custom_op : bool
        Accepted for older code, and of no influence.

    Returns
    -------
    array (N, C, height, width)
        With ``height = (H * up + top + bottom - rows) // down + 1``, and likewise its width; in the dtype of input.
        float16 and bfloat16 are summed in float32.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or a number is wrong, or the filter doesn't fit into the padded image.

    Notes
    -----
    T. Karras et al., "A Style-Based Generator Architecture for Generative Adversarial Networks", 2019. NaN and infinite
    pixels and weights spread as in sums of products.

    Examples
    --------
    >>> import numpy as np
    >>> upfirdn2d(np.array([[[[1.0, 2]]]]), np.array([[1.0, 1]]), up=(2, 1), padding=(1, 0, 0, 0))
    array([[[[1., 1., 2., 2.]]]])
    """
    name = "upfirdn2d"
    up, down, padding = _fir.factors(name, "up", up), _fir.factors(name, "down", down), _fir.paddings(name, padding)
    return replay(_upfirdn2d, (input, filter), name, "input", up, down, padding, flip_filter, gain)


def upfirdn2d_backward(
    grad: Array,
    filter: Array | None,
    input_shape: Sequence[int],
    up: int | tuple[int, int] = 1,
    down: int | tuple[int, int] = 1,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
) -> Array:
    """The gradient of `upfirdn2d` for its input.

    Parameters
    ----------
    grad : array (N, C, height, width)
        The gradient of the result.
    input_shape : (int, int, int, int)
        The input's shape (N, C, H, W).
    filter, up, down, padding, flip_filter, gain
        As given to `upfirdn2d`.

    Returns
    -------
    array (N, C, H, W)
        In the dtype of grad.

    Raises
    ------
    TypeError, ValueError
        As `upfirdn2d`.
    """
    name = "upfirdn2d_backward"
    shape = _roi.input_shape(name, input_shape)
    up, down, padding = _fir.factors(name, "up", up), _fir.factors(name, "down", down), _fir.paddings(name, padding)
    size = _fir.extent(name, filter)
    result = _fir.result_size(name, shape[2:], size, up, down, padding)
    if hasattr(grad, "shape"):
        check.shape(name, "grad", grad, *shape[:2], *result)
    around = _fir.swapped(size, shape[2:], result, up, down, padding)
    flip = not check.flag(name, "flip_filter", flip_filter)
    return replay(_upfirdn2d, (grad, filter), name, "grad", down, up, around, flip, gain, shape[2:])


def filter2d(
    input: Array,
    filter: Array | None,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
    use_custom_op: bool = True,
) -> Array:
    """Filter images; without further padding the result has their size.

    Parameters
    ----------
    input : array (N, C, H, W)
        Images; any real dtype, integers count as float32.
    filter : array (rows, columns) or (n,), or None
        As of `upfirdn2d`. Of an even size, its middle is the later of the two numbers there.
    padding : int, (int, int) or (int, int, int, int)
        Zeros beyond those that keep the size; negative ones crop.
    flip_filter, gain, use_custom_op
        As of `upfirdn2d`.

    Returns
    -------
    array (N, C, H + top + bottom, W + left + right)
        In the dtype of input.

    Raises
    ------
    TypeError, ValueError
        As `upfirdn2d`.

    Examples
    --------
    >>> import numpy as np
    >>> filter2d(np.array([[[[1.0, 2, 3]]]]), np.array([[1.0, 1, 1]]))
    array([[[[3., 6., 5.]]]])
    """
    around = _fir.around(_fir.paddings("filter2d", padding), _fir.extent("filter2d", filter))
    return replay(_upfirdn2d, (input, filter), "filter2d", "input", (1, 1), (1, 1), around, flip_filter, gain)


def upsample2d(
    input: Array,
    filter: Array | None,
    up: int | tuple[int, int] = 2,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
    use_custom_op: bool = True,
) -> Array:
    """Enlarge images: put zeros between pixels, and filter them.

    Parameters
    ----------
    input : array (N, C, H, W)
        Images; any real dtype, integers count as float32.
    filter : array (rows, columns) or (n,), or None
        As of `upfirdn2d`; of sum 1 it keeps the images' brightness.
    up : int or (int, int)
        How many times as many pixels: for both axes, or (columns, rows).
    padding : int, (int, int) or (int, int, int, int)
        Zeros beyond those that make the result's size a multiple of the images'; negative ones crop.
    flip_filter, use_custom_op
        As of `upfirdn2d`.
    gain : float
        The result is multiplied by it, and by the product of `up`.

    Returns
    -------
    array (N, C, H * up + top + bottom, W * up + left + right)
        In the dtype of input.

    Raises
    ------
    TypeError, ValueError
        As `upfirdn2d`.

    Examples
    --------
    >>> import numpy as np
    >>> upsample2d(np.array([[[[1.0, 2]]]]), np.array([[1.0, 1]]) / 2, up=(2, 1))
    array([[[[1., 1., 2., 2.]]]])
    """
    name = "upsample2d"
    up = _fir.factors(name, "up", up)
    around = _fir.around(_fir.paddings(name, padding), _fir.extent(name, filter), up)
    gain = check.number(name, "gain", gain) * up[0] * up[1]
    return replay(_upfirdn2d, (input, filter), name, "input", up, (1, 1), around, flip_filter, gain)


def downsample2d(
    input: Array,
    filter: Array | None,
    down: int | tuple[int, int] = 2,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
    use_custom_op: bool = True,
) -> Array:
    """Reduce images: filter them, and keep one of `down` pixels.

    Parameters
    ----------
    input : array (N, C, H, W)
        Images; any real dtype, integers count as float32.
    filter : array (rows, columns) or (n,), or None
        As of `upfirdn2d`.
    down : int or (int, int)
        Of how many pixels one is kept: for both axes, or (columns, rows).
    padding : int, (int, int) or (int, int, int, int)
        Zeros beyond those that make the result's size a part of the images'; negative ones crop.
    flip_filter, gain, use_custom_op
        As of `upfirdn2d`.

    Returns
    -------
    array (N, C, (H + top + bottom) // down, (W + left + right) // down)
        In the dtype of input.

    Raises
    ------
    TypeError, ValueError
        As `upfirdn2d`.

    Examples
    --------
    >>> import numpy as np
    >>> downsample2d(np.array([[[[1.0, 3, 5, 7]]]]), np.array([[1.0, 1]]) / 2, down=(2, 1))
    array([[[[2., 6.]]]])
    """
    name = "downsample2d"
    down = _fir.factors(name, "down", down)
    around = _fir.around(_fir.paddings(name, padding), _fir.extent(name, filter), down=down)
    return replay(_upfirdn2d, (input, filter), name, "input", (1, 1), down, around, flip_filter, gain)
