"""A wheel with compiled kernels, installed where no other arrayvision is, by a user without a cache or a compiler's patience."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import llvmlite.binding
import pytest

from arrayvision import shipped

ROOT = pathlib.Path(__file__).parents[1]
pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(
        not (ROOT / "tools").is_dir() or not any(map(shipped.runs, shipped.levels())),
        reason="no wheel is made for a processor like this one",
    ),
]

FIRST = """
import time
import numpy as np
from arrayvision import ops
rng = np.random.default_rng(0)
xy = rng.uniform(0, 100, (500, 2))
boxes = np.concatenate([xy, xy + rng.uniform(5, 50, (500, 2))], 1).astype(np.float32)
scores = rng.random(500).astype(np.float32)
dets, inds = ops.nms(boxes, scores, 0.5)
seconds = time.process_time()
from arrayvision import shipped, cpu
from arrayvision.cpu import nms
stats = nms.kept_by_score.stats
brought = shipped.cpu(cpu.digest())
print(dets.tobytes().hex()[:4000], inds.tobytes().hex())
print("seconds", seconds)
print("hits", sum(stats.cache_hits.values()), "misses", sum(stats.cache_misses.values()), "level", brought and brought[1])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel with two files' kernels, for the CPU and for CUDA."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "tools.wheel", "--out", str(out), "bbox_overlaps", "nms"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    (made,) = out.iterdir()
    return made


@pytest.fixture
def installed(wheel, tmp_path):
    """The folder into which the wheel was installed; dependencies are those of this environment."""
    where = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", where, wheel]
    subprocess.run([str(part) for part in command], check=True, timeout=300)
    return where


def run(where, tmp_path, text=FIRST, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "ARRAYVISION_", "XDG_"))}
    path = os.pathsep.join([str(where), sysconfig.get_path("purelib")])
    environment = {**clean, "HOME": str(tmp_path / "home"), "PYTHONPATH": path, **environment}
    done = subprocess.run(
        [sys.executable, "-S", "-c", text], capture_output=True, text=True, env=environment, cwd="/", timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_the_first_call_compiles_nothing(installed, tmp_path):
    """And is done 0.8 CPU seconds after the process began; results are, to the bit, those of kernels compiled here."""
    result, seconds, last = run(installed, tmp_path)
    best = next(level for level in shipped.levels() if shipped.runs(level))
    assert last == f"hits 1 misses 0 level {best}"
    assert not list(tmp_path.glob("home/**/*.nbc"))
    assert float(seconds.split()[1]) < 0.8
    fresh, _, last = run(installed, tmp_path, NUMBA_CPU_NAME=best, NUMBA_CPU_FEATURES="", ARRAYVISION_QUIET="1")
    assert last == "hits 0 misses 1 level None" and fresh == result


def test_a_lesser_processor_takes_the_lesser_level(installed, tmp_path):
    """And one that has neither compiles; both with the same results, since suppression decides the same everywhere."""
    if "x86-64-v3" not in shipped.levels():
        pytest.skip("one set of kernels serves all processors of this machine's kind")
    result, *_ = run(installed, tmp_path)
    lacking = (
        "import llvmlite.binding as b; had = b.get_host_cpu_features(); {}; b.get_host_cpu_features = lambda: had\n"
    )
    text = lacking.format("had['avx512f'] = False") + FIRST
    some, _, last = run(installed, tmp_path, text)
    assert some == result and last.endswith("hits 1 misses 0 level x86-64-v3")
    text = lacking.format("had['avx2'] = False") + FIRST
    none, _, last = run(installed, tmp_path, text, ARRAYVISION_QUIET="1")
    assert none == result and last.endswith("hits 0 misses 1 level None")


@pytest.mark.parametrize("what", ["cut", "changed", "swapped", "another Numba", "another source"])
def test_what_does_not_match_is_compiled(installed, tmp_path, what):
    """In silence, and never loaded."""
    result, *_ = run(installed, tmp_path)
    kernels = list(installed.glob("arrayvision/_compiled/cpu/*/*/kept_by_score*.nbc"))
    others = list(installed.glob("arrayvision/_compiled/cpu/*/*/take_rows*.nbc"))
    text = FIRST
    if what == "another Numba":
        text = "import numba; numba.__version__ += '.1'\n" + text
    elif what == "another source":
        with open(installed / "arrayvision/cpu/nms.py", "a") as file:
            file.write("# changed\n")
    for path, other in zip(kernels, others, strict=True):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        if what == "cut":
            path.write_bytes(content[:-100])
        elif what == "changed":
            path.write_bytes(content)
        elif what == "swapped":
            shutil.copy(other, path)
    fresh, _, last = run(installed, tmp_path, text, ARRAYVISION_QUIET="1")
    assert fresh == result and last.startswith("hits 0 misses 1")
    assert run(installed, tmp_path, text)[2].startswith("hits 1 misses 0")  # it was kept in the user's cache


def test_cuda_kernels_are_brought(installed, tmp_path):
    text = """
from arrayvision import warmup
from arrayvision.cuda import runtime
kernels = warmup.cuda_kernels("bbox_overlaps")
for arch in runtime.ARCHITECTURES:
    code, symbols = kernels.brought(arch)
    assert code.read_bytes()[:4] == b"\\x7fELF" and set(symbols) == set(kernels.expressions)
print(kernels.brought(87), kernels.brought(1))
code.write_bytes(code.read_bytes()[:-1])
print(kernels.brought(arch))
"""
    assert run(installed, tmp_path, text) == ["None None", "None"]


def test_tags(wheel):
    """pip takes it for this Python and platform alone."""
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert f"-{version}-{version}-" in wheel.name and "none-any" not in wheel.name
    assert wheel.stat().st_size < 60 << 20


def test_levels_are_what_llvm_calls_them():
    """Every feature is one that LLVM knows of this processor, had or not."""
    known = llvmlite.binding.get_host_cpu_features()
    assert all(feature in known for level in shipped.levels() for feature in shipped.LEVELS.get(level, ()))
