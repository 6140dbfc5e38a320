"""Content-aware reassembly of features: upsampling by weights that are given for each pixel of the result."""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.errors import InvalidValue
from arrayvision.typing import Array

MOST = 1024  # that kernel_size times scale_factor may be: kernels keep windows of the result
LONGEST = 2**29  # a result's side: with these, positions are numbers of 32 bits


def carafe(features: Array, masks: Array, kernel_size: int, group_size: int, scale_factor: int) -> Array:
    """Upsample maps: each pixel of the result is a weighted sum of a window round its place, with weights of its own.

    Parameters
    ----------
    features : array (N, C, H, W)
        Maps; any real dtype, integers count as float32.
    masks : array (N, group_size * kernel_size**2, H * scale_factor, W * scale_factor)
        The weights of each pixel of the result, those of a group together, a window's by rows.
    kernel_size : int
        The window's height and width, odd.
    group_size : int
        How many groups of channels have weights of their own. Group g is the g-th C / group_size channels.
    scale_factor : int
        How many times as high and wide the result is; times kernel_size at most 1,024.

    Returns
    -------
    array (N, C, H * scale_factor, W * scale_factor)
        ``out[n, c, y, x]`` is the sum over i and j of ``masks[n, (g * kernel_size + i) * kernel_size + j, y, x] *
        features[n, c, y // scale_factor + i - kernel_size // 2, x // scale_factor + j - kernel_size // 2]``, where g is c's
        group. Pixels outside the map don't count, whatever their weights are. In the dtype that both promote to; float16
        and bfloat16 are summed in float32.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or number is wrong, kernel_size is even, or the groups don't divide the channels.

    Notes
    -----
    J. Wang et al., "CARAFE: Content-Aware ReAssembly of FEatures", 2019. A sum with a NaN or an infinite pixel or weight is
    what arithmetic makes of it.

    Examples
    --------
    >>> import numpy as np
    >>> features, masks = np.array([[1.0, 2]]).reshape(1, 1, 1, 2), np.zeros((1, 9, 2, 4))
    >>> masks[0, 4], masks[0, 5, 0] = 1, 10  # the pixel itself, and in the upper row its right neighbour
    >>> carafe(features, masks, 3, 1, 2)
    array([[[[21., 21.,  2.,  2.],
             [ 1.,  1.,  2.,  2.]]]])
    """
    return replay(_carafe, (features, masks), "carafe", kernel_size, group_size, scale_factor)


def carafe_naive(features: Array, masks: Array, kernel_size: int, group_size: int, scale_factor: int) -> Array:
    """`carafe`, by an older name.

    Parameters
    ----------
    features, masks, kernel_size, group_size, scale_factor
        As of `carafe`.

    Returns
    -------
    array (N, C, H * scale_factor, W * scale_factor)
        As there.

    Raises
    ------
    TypeError, ValueError
        As `carafe`.

    Examples
    --------
    >>> import numpy as np
    >>> carafe_naive(np.array([[[[2.0]]]]), np.array([[[[0.5]]]]), 1, 1, 1)
    array([[[[1.]]]])
    """
    return replay(_carafe, (features, masks), "carafe_naive", kernel_size, group_size, scale_factor)


def _carafe(features, masks, name, kernel_size, group_size, scale_factor):
    at = arrays(name, features=features, masks=masks)
    n = at.sizes(features="N C H W", masks="N M h w")
    k, groups, scale = arguments(name, n.C, kernel_size, group_size, scale_factor)
    size = _size(name, n.H, n.W, scale)
    check.shape(name, "masks", masks, n.N, groups * k * k, *size)
    dtype = at.floats(features=features, masks=masks)
    out = at.empty((n.N, n.C, *size), dtype)
    read = _apart(groups, at.read(features, dtype), at.read(masks, dtype))
    at.kernels("carafe").forward(*read, k, scale, *_apart(groups, out.view))
    return out.result()


def carafe_features_backward(
    grad: Array, masks: Array, features_shape: Sequence[int], kernel_size: int, group_size: int, scale_factor: int
) -> Array:
    """The gradient of `carafe` for its maps.

    Parameters
    ----------
    grad : array (N, C, H * scale_factor, W * scale_factor)
        The gradient of the result.
    masks : array (N, group_size * kernel_size**2, H * scale_factor, W * scale_factor)
        As given to `carafe`.
    features_shape : (int, int, int, int)
        The maps' shape (N, C, H, W).
    kernel_size, group_size, scale_factor
        As given to `carafe`.

    Returns
    -------
    array (N, C, H, W)
        In the dtype that grad and masks promote to.

    Raises
    ------
    TypeError, ValueError
        As `carafe`.
    """
    name = "carafe_features_backward"
    at = arrays(name, grad=grad, masks=masks)
    shape = check.integers(name, "features_shape", features_shape, 4, 0)
    k, groups, scale = arguments(name, shape[1], kernel_size, group_size, scale_factor)
    size = _size(name, shape[2], shape[3], scale)
    check.shape(name, "grad", grad, *shape[:2], *size)
    check.shape(name, "masks", masks, shape[0], groups * k * k, *size)
    dtype = at.floats(grad=grad, masks=masks)
    out = at.empty(shape, dtype)
    read = _apart(groups, at.read(grad, dtype), at.read(masks, dtype))
    at.kernels("carafe").features_backward(*read, k, scale, *_apart(groups, out.view))
    return out.result()


def carafe_masks_backward(
    grad: Array, features: Array, masks_shape: Sequence[int], kernel_size: int, group_size: int, scale_factor: int
) -> Array:
    """The gradient of `carafe` for its weights.

    Parameters
    ----------
    grad : array (N, C, H * scale_factor, W * scale_factor)
        The gradient of the result.
    features : array (N, C, H, W)
        As given to `carafe`.
    masks_shape : (int, int, int, int)
        The masks' shape (N, group_size * kernel_size**2, H * scale_factor, W * scale_factor).
    kernel_size, group_size, scale_factor
        As given to `carafe`.

    Returns
    -------
    array (N, group_size * kernel_size**2, H * scale_factor, W * scale_factor)
        0 for pixels outside the map. In the dtype that grad and features promote to.

    Raises
    ------
    TypeError, ValueError
        As `carafe`.
    """
    name = "carafe_masks_backward"
    at = arrays(name, grad=grad, features=features)
    shape = check.integers(name, "masks_shape", masks_shape, 4, 0)
    n = at.sizes(grad="N C h w", features="N C H W")
    k, groups, scale = arguments(name, n.C, kernel_size, group_size, scale_factor)
    size = _size(name, n.H, n.W, scale)
    check.shape(name, "grad", grad, n.N, n.C, *size)
    wanted = n.N, groups * k * k, *size
    at.require(shape == wanted, f"masks_shape must be {wanted}, got {shape}")
    dtype = at.floats(grad=grad, features=features)
    out = at.empty(shape, dtype)
    read = _apart(groups, at.read(grad, dtype), at.read(features, dtype))
    at.kernels("carafe").masks_backward(*read, k, scale, *_apart(groups, out.view))
    return out.result()


def arguments(
    name: str, channels: int, kernel_size, group_size, scale_factor, window="kernel_size", group="group_size"
):
    """The three numbers, checked; `window` and `group` are what the first two are called."""
    k, scale = odd(name, window, kernel_size), check.integer(name, "scale_factor", scale_factor, 1, MOST)
    if k * scale > MOST:
        raise InvalidValue(f"{name}: {window} times scale_factor must be at most {MOST}, got {k} times {scale}")
    groups = check.integer(name, group, group_size, 1, 2**31 - 1)
    if channels % groups:
        raise InvalidValue(f"{name}: {group} must divide the {channels} channels, got {groups}")
    return k, groups, scale


def odd(name: str, argument: str, value) -> int:
    """A window's size, which must be odd."""
    value = check.integer(name, argument, value, 1, MOST)
    if value % 2 == 0:
        raise InvalidValue(f"{name}: {argument} must be odd, got {value}")
    return value


def _size(name, height, width, scale):
    if scale * max(height, width) > LONGEST:
        raise InvalidValue(
            f"{name}: results must have at most {LONGEST} rows and columns, got {height * scale} and {width * scale}"
        )
    return height * scale, width * scale


def _apart(groups, *maps):
    """Maps with groups of channels as images of their own: a kernel knows no groups."""
    return [x.reshape(x.shape[0] * groups, x.shape[1] // groups, *x.shape[2:]) for x in maps]
