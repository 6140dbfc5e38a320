"""Types of public signatures.

`Array` and `ImageArray` are type variables: what goes into a function comes out of it, and the arrays of one call are of one
library. CuPy, which has no types, is `Any` to type checkers, and so are torch and JAX where they are not installed.
"""

from typing import TYPE_CHECKING, Any, Protocol, TypeVar


class ArrayLike(Protocol):
    """An array of any other library of the array API standard."""

    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def ndim(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Any: ...
    def __array_namespace__(self, /, *, api_version: Any = None) -> Any: ...


if TYPE_CHECKING:
    import jax
    import numpy as np
    import torch

    # Of those that fit checkers take the last, so what may be missing stands before what is there.
    Array = TypeVar("Array", ArrayLike, jax.Array, torch.Tensor, np.ndarray)  # of any library
    ImageArray = TypeVar("ImageArray", jax.Array, torch.Tensor, np.ndarray)  # in the CPU's memory
else:
    Array, ImageArray = TypeVar("Array"), TypeVar("ImageArray")
