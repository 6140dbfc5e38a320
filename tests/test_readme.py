"""The README's examples run, and its table is what the code has."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from arrayvision import ops
from arrayvision.torch_bridge import ops as torch_ops
from tests.conftest import has_gpu

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)


def name_of(example):
    return "-".join(re.findall(r"import (\w+)", example))


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_examples(example, tmp_path):
    """Each in a process of its own, as a reader pastes it."""
    if "cupy" in example and not has_gpu():
        compile(example, "README.md", "exec")
        pytest.skip("CuPy needs a CUDA device")
    (tmp_path / "example.py").write_text(example)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "example.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    promised = re.findall(r"^print\(.*\)  # (.*)", example, re.M)
    assert done.stdout.splitlines()[: len(promised)] == promised


def test_the_table_of_operators():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \| (\w+) \|", README, re.M)
    parts = ("_backward", "_with_argmax")  # an operator's own
    points = "arrayvision.ops.point_sample"  # no kernels: the arrays' own library computes
    names = [n for n in ops.__all__ if not n.endswith(parts) and getattr(ops, n).__module__ != points]
    assert sorted(name for name, *_ in rows) == sorted(names)
    assert "`point_sample`" in README
    for name, cpu, cuda, gradients in rows:
        file = getattr(ops, name).__module__.rsplit(".", 1)[-1]
        for backend, said in (("cpu", cpu), ("cuda", cuda)):
            assert (ROOT / "arrayvision" / backend / f"{file}.py").exists() == (said == "yes"), name
        own = f"{name}_backward" in ops.__all__
        selects = ("nms" in name and name != "nms_match") or name == "convex_giou"
        assert (own or selects) == (gradients == "yes"), name
        assert callable(getattr(torch_ops, name))


def test_links():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
