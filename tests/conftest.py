"""Fixtures: `backend`, where kernels run, and `library`, whose arrays an operator is given.

An operator's test that takes both runs in every combination. `ARRAYVISION_TEST_BACKENDS=emulated` runs that one alone;
`ARRAYVISION_TEST_LIBRARIES` likewise.
"""

import os
import sys

import numpy as np
import pytest

from arrayvision import array
from arrayvision.cuda import emulator


def has_gpu():
    try:
        import cupy

        return cupy.cuda.runtime.getDeviceCount() > 0
    except Exception:
        return False


BACKENDS = os.environ.get("ARRAYVISION_TEST_BACKENDS", "cpu,emulated,cuda").split(",")
LIBRARIES = os.environ.get("ARRAYVISION_TEST_LIBRARIES", "numpy,torch,jax,array_api_strict").split(",")


def pytest_collection_modifyitems(items):
    gpu = has_gpu()
    for item in items:
        if item.get_closest_marker("cuda") and not gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _same_numbers():
    """Random numbers that are the same in each run, whatever ran before."""
    np.random.seed(0)  # noqa: NPY002  transforms draw from it
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def on_backends(values, backend_of=None):
    """Parameters of a test, each with a back end of those to be tested: with all, or with the one that it names, on a GPU
    with that one too."""
    return [
        pytest.param(*value, backend, marks=[pytest.mark.cuda] * (backend == "cuda"))
        for value in values
        for backend in BACKENDS
        if backend_of is None or backend in (backend_of(value), "cuda")
    ]


def use(backend, monkeypatch):
    """Let kernels run there until the test ends; in the emulator in three orders of threads, with races looked for."""
    monkeypatch.setattr(array, "EMULATED", backend == "emulated")
    monkeypatch.setattr(emulator, "orders", tuple(emulator.ORDERS))
    monkeypatch.setattr(emulator, "races", True)


@pytest.fixture(params=[b if b != "cuda" else pytest.param(b, marks=pytest.mark.cuda) for b in BACKENDS])
def backend(request, monkeypatch):
    """Where kernels run: "cpu", "emulated" (CUDA kernels on the CPU, threads in three orders, races looked for) or "cuda"."""
    use(request.param, monkeypatch)
    return request.param


class Library:
    """How tests make arrays of a library, on the device of a back end, and read them."""

    def __init__(self, name, backend):
        self.name, self.gpu = name, backend == "cuda"

    def asarray(self, x, dtype=None):
        x = np.asarray(x)
        if dtype is not None:
            x = x.astype(array.numpy_dtype(dtype))
        if self.name == "numpy":
            if self.gpu:
                import cupy

                return cupy.asarray(x)
            return x
        if self.name == "torch":
            import torch

            tensor = torch.from_numpy(np.array(x, np.float32) if x.dtype.name == "bfloat16" else np.array(x))
            tensor = tensor.to(torch.bfloat16) if x.dtype.name == "bfloat16" else tensor
            return tensor.cuda() if self.gpu else tensor
        if self.name == "jax":
            import jax

            return jax.device_put(x, jax.devices("gpu" if self.gpu else "cpu")[0])
        import array_api_strict

        return array_api_strict.asarray(x)

    def numpy(self, x):
        if self.name == "torch":
            import torch

            x = x.cpu()
            return x.float().numpy() if x.dtype is torch.bfloat16 else x.numpy()
        if self.name == "numpy" and self.gpu:
            return x.get()
        return np.from_dlpack(x) if self.name == "array_api_strict" else np.asarray(x)

    def has(self, dtype):
        """Whether it has this dtype (as it stands: JAX without x64, array_api_strict without 16-bit floats)."""
        lacking = {"jax": ("float64", "int64"), "array_api_strict": ("float16", "bfloat16")}
        return dtype not in lacking.get(self.name, ())

    def owns(self, x):
        return type(x) is type(self.asarray(np.zeros(1, np.float32)))


@pytest.fixture(params=LIBRARIES)
def library(request, backend):
    """A library's arrays, on the device of the back end ("numpy" stands for CuPy on a GPU)."""
    if backend == "cuda" and request.param == "array_api_strict":
        pytest.skip("array_api_strict has no GPU arrays")
    if backend == "cuda" and request.param == "jax":
        import jax

        if not any(d.platform == "gpu" for d in jax.devices()):
            pytest.skip("this JAX has no GPU")
    return Library(request.param, backend)


def on(backend, function):
    """The function as one of NumPy arrays; on a GPU through CuPy."""
    if backend != "cuda":
        return function
    import cupy

    def there(x):
        return cupy.asarray(x) if type(x) is np.ndarray else x

    def back(x):
        if isinstance(x, (tuple, list)):
            return [back(part) for part in x]
        return x.get() if isinstance(x, cupy.ndarray) else x

    def call(*args, **kwargs):
        if any(isinstance(x, np.ndarray) and x.dtype.kind in "OSU" for x in args):  # CuPy has no arrays of these
            return function(*args, **kwargs)
        return back(function(*map(there, args), **{name: there(x) for name, x in kwargs.items()}))

    return call


def pytest_configure(config):
    if not has_gpu():
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
