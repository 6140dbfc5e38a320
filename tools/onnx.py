"""`python -m tools.onnx`: writes the tables of docs/onnx.md anew, from `arrayvision.torch_bridge.onnx`."""

from __future__ import annotations

import pathlib
import re

from arrayvision.torch_bridge import onnx, ops  # noqa: F401  operators are registered

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "onnx.md"
HEADS = (
    '| operator | in standard operators | in domain "mmcv" |\n| --- | --- | --- |\n',
    "| operator | why it can't be exported |\n| --- | --- |\n",
)


def tables() -> tuple[str, str]:
    """What can be exported, and what can't."""
    can = "".join(f"| `{name}` | {form} | {onnx.NAMES.get(name, '')} |\n" for name, form in sorted(onnx.FORMS.items()))
    cannot = "".join(f"| `{name}` | {reason} |\n" for name, reason in sorted(onnx.REASONS.items()))
    return HEADS[0] + can, HEADS[1] + cannot


def rewritten(text: str) -> str:
    """The page with these tables in place of its own."""
    for head, table in zip(HEADS, tables(), strict=True):
        text = re.sub(re.escape(head) + r"(\|.*\n)*", lambda _, table=table: table, text)
    return text


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text()))
