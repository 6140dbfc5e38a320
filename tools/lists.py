"""`python -m tools.lists`: writes anew what follows from the table `arrayvision/operators.py` and the operators' files.

These are the imports of `arrayvision.ops` and of `arrayvision.torch_bridge.ops`, which stay explicit for readers and type
checkers, the README's table and the tables of docs/onnx.md.
"""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import re
import subprocess
import sys
from collections.abc import Set

from arrayvision import operators

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = {"arrayvision.ops": operators.array_names, "arrayvision.torch_bridge.ops": operators.torch_names}


def defined(folder: pathlib.Path) -> dict[str, set[str]]:
    """The functions and classes of each file."""
    return {
        path.stem: {
            node.name for node in ast.parse(path.read_text()).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        }
        for path in sorted(folder.glob("*.py"))
        if path.stem != "__init__"
    }


def rewritten(text: str, package: str, files: dict[str, set[str]], names: Set[str]) -> str:
    """A package's `__init__` that imports these names from the files that define them.

    What it imports beside (with a leading underscore) stays, as does what it imports when it is used (`_LAYERS`).
    """
    block = rf"^from {re.escape(package)}\.(\w+) import (\([^)]*\)|.*)\n"
    before = {file: set(re.findall(r"\w+", imported)) for file, imported in re.findall(block, text, re.M)}
    late = re.search(r"^_LAYERS = \{.*?\}", text, re.M | re.S)
    wanted = names - set(re.findall(r'"(\w+)":', late[0] if late else ""))
    lines = []
    for file, own in files.items():
        taken = [n if n.startswith("_") else f"{n} as {n}" for n in sorted(own & (wanted | before.get(file, set())))]
        if taken:
            lines.append(f"from {package}.{file} import {', '.join(taken)}\n")
    return re.sub(rf"(?:{block})+", lambda _: "".join(lines), text, count=1, flags=re.M)


def main() -> None:
    """Write them all."""
    files = []
    for package, names in PACKAGES.items():
        files.append(ROOT / package.replace(".", "/") / "__init__.py")
        text = rewritten(files[-1].read_text(), package, defined(files[-1].parent), set(names()))
        files[-1].write_text(text)
    # Without Ruff the imports are right, but neither sorted nor broken into lines.
    if importlib.util.find_spec("ruff") is not None:
        for command in (["check", "--select", "I", "--fix", "-q"], ["format", "-q"]):
            subprocess.run([sys.executable, "-m", "ruff", *command, *map(str, files)], check=True, cwd=ROOT)
    for module in ("tools.readme", "tools.onnx"):  # in processes of their own, which import what was written
        subprocess.run([sys.executable, "-m", module], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
