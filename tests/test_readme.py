"""The README's examples run, and its table is what the code has."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from arrayvision import operators, ops
from arrayvision.operators import OPERATORS
from arrayvision.torch_bridge import ops as torch_ops
from tests.conftest import has_gpu
from tools import readme

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
    """`python -m tools.readme` writes it."""
    assert readme.rewritten(README) == README and readme.table() in README
    for row in OPERATORS:
        for module, names in ((ops, (row.name, *row.parts)), (torch_ops, (row.name, *row.modules, *row.older))):
            assert all(callable(getattr(module, name)) for name in names), row
        assert getattr(ops, row.name).__module__ == f"arrayvision.ops.{row.file}"
        assert (ROOT / "arrayvision" / "cpu" / f"{row.file}.py").exists()


def test_what_is_public_is_in_the_table():
    """Functions that an operator's file has are in a row."""
    for module, names in ((ops, operators.array_names()), (torch_ops, operators.torch_names())):
        imported = {n for n, x in vars(module).items() if callable(x) and (n in names or not n.startswith("_"))}
        imported |= set(getattr(module, "_LAYERS", ()))  # imported when they are used
        assert imported == set(names) == set(module.__all__)


def test_links():
    """They work on a package index too, so they are whole; what they name is in the repository."""
    targets = re.findall(r"\]\(([^)]+)\)", README)
    for target in targets:
        path = re.fullmatch(r"https://github.com/arrayvision/arrayvision/(?:blob|tree)/main/([^#]+)", target)
        assert path and (ROOT / path[1]).exists(), target
    assert len(targets) >= 3


def test_what_contributing_quotes_is_so():
    """Its blocks of Python are lines of the file that the heading above them names."""
    parts = re.split(r"^### ", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.M)[1:]
    quoted = 0
    for part in parts:
        names = re.findall(r"`([\w/]+)(\.cu)?(?:\.py)?`", part.splitlines()[0])
        for block in re.findall(r"```python\n(.*?)```", part, re.S):
            source = (ROOT / f"{names[0][0]}.py").read_text()
            for line in block.splitlines():
                if line.strip() and "..." not in line.replace("C ...", ""):
                    assert line in source, line
                    quoted += 1
    assert quoted > 40
