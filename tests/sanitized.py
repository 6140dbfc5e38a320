"""Runs the tests of CUDA kernels in the emulator, built with address and undefined-behaviour sanitizers.

``python -m tests.sanitized [PYTEST ARGUMENTS]``
"""

import os
import subprocess
import sys


def environment():
    """What a process needs to load sanitized kernels."""
    compiler = os.environ.get("CXX", "g++")
    found = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(found),
        "ASAN_OPTIONS": "detect_leaks=0",
        "ARRAYVISION_TEST_BACKENDS": "emulated",
        "ARRAYVISION_TEST_LIBRARIES": "numpy,torch",
    }


if __name__ == "__main__":
    arguments = sys.argv[1:] or ["tests/ops", "-m", "not alone and not cuda", "-k", "emulated"]
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", *arguments]
    sys.exit(subprocess.run(command, env=environment()).returncode)
