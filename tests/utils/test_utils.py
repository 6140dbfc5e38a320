import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

import arrayvision
from arrayvision import utils


def test_collect_env():
    env = utils.collect_env()
    assert list(env)[:2] == ["sys.platform", "Python"]
    assert env["sys.platform"] == sys.platform and env["Python"] == sys.version.replace("\n", "")
    assert env["arrayvision"] == arrayvision.__version__ and env["NumPy"] == np.__version__
    assert env["OpenCV"].startswith(cv2.__version__)
    for key in (
        "Numba",
        "CuPy",
        "PyTorch",
        "CUDA available",
        "CUDA driver",
        "CUDA devices",
        "CPU",
        "CPU threads",
        "Cache",
    ):
        assert env[key] is not None
    json.dumps(env)  # plain values


def test_collect_env_imports_little():
    code = "import sys, arrayvision.utils as u; u.collect_env(); print([m for m in ('torch', 'cupy', 'jax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_collect_env_survives_what_is_broken(monkeypatch):
    from arrayvision.utils import env

    def fail(*args):
        raise RuntimeError("broken")

    for name in ("_version", "_threads", "_cpu_cache", "_ffmpeg", "_torch_build", "_cpu", "cuda_driver"):
        monkeypatch.setattr(env, name, fail)
    report = env.collect_env()
    assert report["NumPy"] == "unknown (RuntimeError: broken)" and report["CUDA available"] is False


def test_cuda_driver_is_asked(monkeypatch):
    """With a stand-in for NVIDIA's library: two devices, CUDA 12.4."""
    import ctypes

    from arrayvision.utils import device

    class Driver:
        def nvmlInit_v2(self):
            return 0

        nvmlShutdown = nvmlInit_v2

        def nvmlSystemGetCudaDriverVersion_v2(self, version):
            version._obj.value = 12040

        def nvmlDeviceGetCount_v2(self, count):
            count._obj.value = 2

        def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
            handle._obj.value = index + 1
            return 0

        def nvmlDeviceGetName(self, handle, text, size):
            text.value = f"GPU {handle.value - 1}".encode()

    class Old:
        def cuDriverGetVersion(self, version):
            version._obj.value = 11080
            return 0

    device.cuda_driver.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    assert device.cuda_driver() == (12040, ["GPU 0", "GPU 1"])
    report = utils.collect_env()
    assert report["CUDA driver"] == "12.4" and report["CUDA devices"] == "GPU 0, GPU 1" and report["CUDA available"]
    monkeypatch.setattr(device, "_torch", lambda attribute: None)
    assert utils.IS_CUDA_AVAILABLE
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not utils.IS_CUDA_AVAILABLE
    device.cuda_driver.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Old())
    assert device.cuda_driver() == (11080, [])
    monkeypatch.undo()
    device.cuda_driver.cache_clear()


def test_flags():
    for name in ("CUDA", "MPS", "MLU", "NPU", "MUSA"):
        assert type(getattr(utils, f"IS_{name}_AVAILABLE")) is bool


def test_jit_changes_nothing():
    def double(x):
        return 2 * x

    assert utils.jit(double) is double and utils.skip_no_elena(double) is double
    assert utils.jit(check_input=None, full_shape=False, derivate=True, coderize=True, optimize=True)(double) is double

    class Thing:
        @utils.jit
        def method(self, x):
            return x + 1

    assert Thing().method(1) == 2
    with pytest.raises(TypeError):
        utils.jit(nonsense=True)
