"""Reference inputs and outputs, from the established C++ implementations; one .npz an operator in `data/golden`.

Keys are CASE/in/NAME, CASE/out/NAME, CASE/cot/NAME and CASE/grad/NAME ('grad' is the gradient of sum(out * cot)), and
CASE/args, the other arguments as JSON.
"""

import json
import pathlib
from typing import NamedTuple

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "data" / "golden"


class Case(NamedTuple):
    name: str
    inputs: dict
    outputs: dict
    args: dict
    grads: dict
    cots: dict


def cases(operator: str) -> list[Case]:
    """All cases of an operator."""
    with np.load(FOLDER / f"{operator}.npz") as data:
        found: dict[str, Case] = {}
        for key in data.files:
            name, _, rest = key.partition("/")
            case = found.setdefault(name, Case(name, {}, {}, {}, {}, {}))
            kind, _, argument = rest.partition("/")
            if kind == "args":
                case.args.update(json.loads(str(data[key])))
            else:
                {"in": case.inputs, "out": case.outputs, "grad": case.grads, "cot": case.cots}[kind][argument] = data[
                    key
                ]
    return list(found.values())
