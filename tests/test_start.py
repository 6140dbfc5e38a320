"""What importing costs and brings in."""

import doctest
import importlib
import subprocess
import sys

import pytest

from arrayvision import ops


def python(text, *flags):
    done = subprocess.run([sys.executable, *flags, "-c", text], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def test_importing_brings_in_the_standard_library_alone():
    text = """
import sys
before = set(sys.modules)
import arrayvision
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names) - {"arrayvision"}))
"""
    assert python(text).stdout.strip() == "[]"


@pytest.mark.alone
def test_importing_takes_less_than_30_ms():
    text = "import time; t = time.perf_counter(); import arrayvision; print(time.perf_counter() - t)"
    assert min(float(python(text).stdout) for _ in range(5)) < 0.03


@pytest.mark.alone
def test_a_fresh_process_suppresses_within_1200_ms():
    """From the interpreter's start to a result, with a warm cache; of its own, whatever else the machine does."""
    text = """
import time
import numpy as np
from arrayvision import ops
ops.nms(np.zeros((1, 4), np.float32), np.ones(1, np.float32), 0.5)
print(time.process_time())
"""
    times = [float(python(text).stdout) for _ in range(6)]
    assert min(times) < 1.2, times


def test_an_operator_imports_no_other_library():
    text = """
import sys, numpy as np
from arrayvision import ops
ops.nms(np.zeros((1, 4), np.float32), np.ones(1, np.float32), 0.5)
print([m for m in ("torch", "jax", "cupy", "cv2", "scipy.linalg", "tqdm", "fsspec") if m in sys.modules])
"""
    assert python(text).stdout.strip() == "[]"


def test_every_public_name_is_there():
    import arrayvision

    for name in arrayvision.__all__:
        assert getattr(arrayvision, name) is not None
    for name in arrayvision.ops.__all__:
        assert callable(getattr(arrayvision.ops, name)) and getattr(arrayvision.ops, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = arrayvision.nothing


@pytest.mark.parametrize("name", sorted({getattr(ops, n).__module__ for n in ops.__all__}))
def test_docstrings_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted and not result.failed
