"""Export to ONNX.

``torch.onnx.export(model, args, dynamo=True)`` finds the operators' forms without a further argument: while it decomposes a
graph, each operator of this package says what it does in torch's operations and ONNX's own. `export` does the same, and for
``domain="mmcv"`` writes the operators that runtimes of the older convention know.
"""

from __future__ import annotations

from typing import Any

import torch

from arrayvision import check
from arrayvision.torch_bridge.onnx import _boxes, _filters, _mmcv, _points, _pooling  # noqa: F401  they fill the table
from arrayvision.torch_bridge.onnx._mmcv import NAMES
from arrayvision.torch_bridge.onnx._table import DOMAIN, FORMS, REASONS, translate

__all__ = ["FORMS", "NAMES", "REASONS", "export", "translate"]  # further: `reference`, which needs onnx; `detectors`


def export(model: torch.nn.Module, args: tuple = (), f: Any = None, *, domain: str = "", **options: Any):
    """`torch.onnx.export` with ``dynamo=True``, of a model that uses operators of this package.

    Parameters
    ----------
    model, args, f
        As of `torch.onnx.export`.
    domain : {"", "mmcv"}
        "": standard operators alone. "mmcv": where there is one, the operator of that domain which runtimes of the older
        convention implement.
    **options
        The further ones of `torch.onnx.export`.

    Returns
    -------
    torch.onnx.ONNXProgram

    Raises
    ------
    ValueError
        If `domain` is another.
    torch.onnx.errors.OnnxExporterError
        If the model can't be exported; an operator that has no form in ONNX is named.
    """
    check.choice("export", "domain", domain, ("", "mmcv"))
    if domain == "mmcv":
        options["custom_translation_table"] = {
            **_mmcv.torch_translations(), **(options.get("custom_translation_table") or {})
        }  # fmt: skip
    before = DOMAIN.set(domain)
    try:
        return torch.onnx.export(model, args, f, dynamo=True, **options)
    finally:
        DOMAIN.reset(before)
