"""Types of public signatures."""

from typing import Any

Array = Any  # an array of NumPy, CuPy, torch, JAX or of any library with DLPack; results are of the inputs' library
