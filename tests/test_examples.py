"""The notebooks in examples/ run, as a notebook would run them, and show what they were saved with."""

import base64
import contextlib
import io
import json
import pathlib
import sys
import types

import numpy as np
import pytest

from arrayvision import image

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


@contextlib.contextmanager
def notebook(shown):
    """Stand in for the IPython of a notebook: what is displayed goes to `shown`."""
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    display.Image, display.display = lambda data: data, shown.append
    modules = {"IPython": ipython, "IPython.display": display}
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def run_cells(sources):
    """Run cells one after another; returns each one's text and pictures."""
    names, results = {"__name__": "__main__"}, []
    for source in sources:
        shown, text = [], io.StringIO()
        with notebook(shown), contextlib.redirect_stdout(text):
            exec(compile(source, "cell", "exec"), names)
        results.append((text.getvalue(), shown))
    return results


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook(path):
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    results = run_cells(["".join(c["source"]) for c in cells])
    pictures = 0
    for cell, (_, shown) in zip(cells, results, strict=True):
        saved = [o["data"]["image/png"] for o in cell["outputs"] if o["output_type"] == "display_data"]
        assert len(saved) == len(shown)
        for now, then in zip(shown, saved, strict=True):
            a, b = image.imfrombytes(now), image.imfrombytes(base64.b64decode(then))
            assert a.shape == b.shape and np.abs(a.astype(int) - b).mean() < 8  # codecs and fonts differ by version
            pictures += 1
    assert pictures >= 4


def test_there_are_four():
    found = [p.stem for p in sorted(EXAMPLES.glob("*.ipynb"))]
    assert found == ["detections_in_numpy", "flow_and_video", "scan_from_above", "sparse_unet"]
