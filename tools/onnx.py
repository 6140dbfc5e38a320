"""`python -m tools.onnx`: writes the tables of docs/onnx.md anew, from `arrayvision.torch_bridge.onnx`."""

from __future__ import annotations

import pathlib
import re

import torch

from arrayvision.torch_bridge import onnx, ops  # noqa: F401  operators are registered

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "onnx.md"
HEADS = (
    '| operator | in standard operators | in domain "mmcv" |\n| --- | --- | --- |\n',
    "| operator | why it can't be exported |\n| --- | --- |\n",
)


def operators() -> set[str]:
    """The names in torch, without gradients', which aren't exported, and those that tests registered."""
    names = {
        name.partition("::")[2].partition(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if "arrayvision::" in name
    }
    return {
        n for n in names if not n.endswith(("_backward", "_tangent")) and "_by_" not in n and not n.startswith("test_")
    }


def untranslated() -> set[str]:
    """Operators for which nobody wrote a translation, or why there can't be one."""
    return operators() - {*onnx.FORMS, *onnx.REASONS}


def tables() -> tuple[str, str]:
    """What can be exported, and what can't."""
    can = "".join(f"| `{name}` | {form} | {onnx.NAMES.get(name, '')} |\n" for name, form in sorted(onnx.FORMS.items()))
    reasons = dict.fromkeys(untranslated(), "there is no translation") | onnx.REASONS
    cannot = "".join(f"| `{name}` | {reason} |\n" for name, reason in sorted(reasons.items()))
    return HEADS[0] + can, HEADS[1] + cannot


def rewritten(text: str) -> str:
    """The page with these tables in place of its own."""
    for head, table in zip(HEADS, tables(), strict=True):
        text = re.sub(re.escape(head) + r"(\|.*\n)*", lambda _, table=table: table, text)
    return text


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text()))
