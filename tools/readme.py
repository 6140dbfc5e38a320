"""`python -m tools.readme`: writes the README's table of operators anew, from `arrayvision/operators.py`."""

from __future__ import annotations

import pathlib
import re

from arrayvision.operators import OPERATORS

ROOT = pathlib.Path(__file__).parents[1]
HEAD = "| operator | CPU | CUDA | gradients | what it does |\n| --- | --- | --- | --- | --- |\n"


def table() -> str:
    """The table, as the README has it."""
    rows = []
    for row in sorted(OPERATORS):
        there = ("yes" if (ROOT / "arrayvision" / b / f"{row.file}.py").exists() else "no" for b in ("cpu", "cuda"))
        rows.append(f"| `{row.name}` | {' | '.join(there)} | {'yes' if row.gradients else 'no'} | {row.does} |\n")
    return HEAD + "".join(rows)


def rewritten(text: str) -> str:
    """The README with this table in place of its own."""
    return re.sub(re.escape(HEAD) + r"(\|.*\n)*", lambda _: table(), text)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(rewritten(readme.read_text()))
