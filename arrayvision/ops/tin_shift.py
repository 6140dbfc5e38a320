"""Shifts of groups of channels along time."""

from __future__ import annotations

from arrayvision.array import arrays, replay
from arrayvision.typing import Array


def tin_shift(input: Array, shift: Array) -> Array:
    """Move each group of channels along time by its own number of frames.

    Parameters
    ----------
    input : array (N, T, C, ...)
        Features of N clips of T frames; any real dtype, integers count as float32.
    shift : array (N, G)
        Whole numbers of frames, positive towards later ones. C is a multiple of G: group g is the g-th C / G channels.

    Returns
    -------
    array (N, T, C, ...)
        ``out[n, t + shift[n, g]] = input[n, t]`` in the channels of group g; 0 where no frame arrives. In the dtype of
        input.

    Raises
    ------
    TypeError, ValueError
        If something is no array, of another library or device, or of a wrong dtype or shape; if the groups don't divide the
        channels, or a shift is not whole.

    Notes
    -----
    H. Shao et al., "Temporal Interlacing Network", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> tin_shift(np.array([[[1.0, 10], [2, 20], [3, 30]]]), np.array([[1, -1]]))
    array([[[ 0., 20.],
            [ 1., 30.],
            [ 2.,  0.]]])
    """
    return replay(_tin_shift, (input, shift))


def _tin_shift(input, shift):
    at = arrays("tin_shift", input=input, shift=shift)
    n = at.sizes(input="N T C ...", shift="N G")
    at.require(n.G > 0 and n.C % n.G == 0, f"shift's {n.G} groups must divide input's {n.C} channels")
    dtype = at.floats(input=input)
    out = at.empty(tuple(input.shape), dtype)
    shape = n.N, n.T, n.G, -1 if 0 not in input.shape else 0  # the channels of a group lie together
    x, shifts = at.read(input, dtype).reshape(shape), at.integers(shift=shift)
    at.kernels("tin_shift").shift(x, shifts, out.view.reshape(shape))
    return out.result()
