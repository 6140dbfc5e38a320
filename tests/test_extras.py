"""What can be imported where only the core is installed, or one extra: other packages are hidden from the import system."""

import importlib.metadata
import pkgutil
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

import arrayvision

EXTRAS = ("", "torch", "image", "video", "onnx", "openmmlab")
# What an area needs beside the core; all else must be importable with the core alone.
NEEDS = {"arrayvision.torch_bridge": "torch", "arrayvision.older.": "torch"}


def _closure(extra):
    """The distributions that come with an installation with this extra ('' for none)."""
    found, waiting = set(), [("arrayvision", (extra,))]
    while waiting:
        name, extras = waiting.pop()
        key = (re.sub(r"[-_.]+", "-", name).lower(), extras)
        if key in found:
            continue
        found.add(key)
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for text in requires:
            requirement = Requirement(text)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in extras or ("",)):
                waiting.append((requirement.name, tuple(requirement.extras) or ("",)))
    return {name for name, _ in found}


def _hidden(extra):
    """Top-level modules of distributions that wouldn't be there."""
    there = _closure(extra)
    names = importlib.metadata.packages_distributions()
    return sorted(m for m, ds in names.items() if not {re.sub(r"[-_.]+", "-", d).lower() for d in ds} & there)


def _modules():
    """Every public module of the package."""
    for module in pkgutil.walk_packages(arrayvision.__path__, "arrayvision.", onerror=lambda name: None):
        if not re.search(r"\._|__main__|\.emulator", module.name):
            yield module.name


SCRIPT = """
import importlib, sys
hidden = set({hidden})
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Without, sys.meta_path)
for name in {names}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, "|", error)
{more}
"""


def run(extra, names, more=""):
    text = SCRIPT.format(hidden=_hidden(extra), names=list(names), more=more)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_public_module_can_be_imported(extra):
    """Or says which extra it needs."""
    if extra and extra not in importlib.metadata.metadata("arrayvision").get_all("Provides-Extra"):
        pytest.skip(f"what is installed is older than pyproject.toml: it has no extra {extra!r}")
    assert (
        "numpy" not in _hidden(extra)
        and "pytest" in _hidden(extra)
        and ("torch" in _hidden(extra)) == (extra in ("", "image", "video"))
    )
    names = list(_modules())
    assert len(names) > 60
    lacking = {}
    for line in run(extra, names):
        name, _, message = line.partition(" | ")
        lacking[name] = message
    for name, message in lacking.items():
        needed = next((need for area, need in NEEDS.items() if name.startswith(area)), None)
        assert needed is not None and f'pip install "arrayvision[{needed}]"' in message, (name, message)
    assert bool(lacking) == ("torch" in _hidden(extra))


def test_the_drop_in_with_the_core_alone():
    """What code written for mmcv imports first."""
    more = "import arrayvision.openmmlab; arrayvision.openmmlab.install(); import mmcv; print(mmcv.imresize, mmcv.__version__)"
    (line,) = run("", [], more)
    assert "imresize" in line and line.endswith("2.1.0")
