"""`python -m tools.new_operator`: what it writes runs, fails the operator's tests, and passes them when it is filled in."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tools import new_operator

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def copy(tmp_path):
    for folder in ("arrayvision", "tools", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copytree(ROOT / "arrayvision/data", tmp_path / "arrayvision/data")
    for file in ("README.md", "pyproject.toml", "docs/onnx.md"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def python(folder, *command):
    environment = {**os.environ, "PYTHONPATH": str(folder), "ARRAYVISION_CACHE": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )


def outcomes(folder):
    """How many of the operator's tests passed, and failed."""
    done = python(
        folder, "pytest", "-q", "-k", "twofold", "tests/ops/test_cases.py", "tests/torch_bridge/test_cases.py",
        "-o", "addopts=-p no:cacheprovider",
    )  # fmt: skip
    last = done.stdout.strip().splitlines()[-1]
    return {
        word: int(n)
        for n, word in zip(last.split()[::2], last.replace(",", "").split()[1::2], strict=False)
        if n.isdigit()
    }


def fill(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_a_skeleton_fails_until_it_is_filled(copy):
    done = python(copy, "tools.new_operator", "twofold")
    assert done.returncode == 0, done.stderr
    assert "| `twofold` | yes | yes | yes |" in (copy / "README.md").read_text()
    assert "| `twofold` | there is no translation |" in (copy / "docs/onnx.md").read_text()
    for package in ("ops", "torch_bridge.ops"):
        imported = f"from arrayvision.{package}.twofold import twofold as twofold\n"
        assert imported in (copy / "arrayvision" / package.replace(".", "/") / "__init__.py").read_text()
    found = outcomes(copy)
    assert found["failed"] >= 20 and "errors" not in found
    package = copy / "arrayvision"
    fill(package / "cpu/twofold.py", "= 0\n", "= scale * x[i, k]\n")
    fill(package / "cuda/twofold.cu", "T(acc_t<T>(0))", "T(scale * acc_t<T>(x[e]))")
    fill(
        package / "cases/twofold.py",
        'raise AssertionError("the oracle of twofold is to be written")',
        "return scale * input",
    )
    found = outcomes(copy)
    assert found["passed"] >= 35 and "failed" not in found


def test_what_is_there_is_not_written_over(copy):
    done = python(copy, "tools.new_operator", "nms")
    assert done.returncode and "exists already" in done.stderr
    with pytest.raises(SystemExit, match="small letters"):
        new_operator.add("Two-Fold", copy)
