"""The command line, and the demo's picture."""

import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import types

import cv2
import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

import arrayvision.cpu
from arrayvision import cli, demo, warmup
from arrayvision.bench import measure, report


def run(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "arrayvision", *arguments], capture_output=True, text=True, timeout=300, **kwargs
    )


def test_demo_draws_what_is_kept(tmp_path, capsys):
    assert cli.main(["demo", "--out", str(tmp_path / "out.png")]) == 0
    table = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    boxes, kept = (int(table[k].split()[0].replace(",", "")) for k in ("boxes in", "boxes kept"))
    assert boxes > 5000 and 300 < kept < boxes / 5
    assert table["back end"].strip() == "cpu" and "ms" in table["first call"]
    picture, photo = cv2.imread(str(tmp_path / "out.png")), cv2.imread(str(demo.PHOTO))
    assert picture.shape == photo.shape
    changed = (picture.astype(int) != photo).any(2)
    assert 0.02 < changed.mean() < 0.3
    colors = np.unique(picture[changed].reshape(-1, 3), axis=0).tolist()
    assert all(list(color) in colors for color in demo.COLORS)  # three classes


def test_demo_of_another_photo(tmp_path):
    """A piece of the deep field with one large galaxy, which a good box must hold."""
    piece = cv2.imread(str(demo.PHOTO))[400:540, 660:800]
    cv2.imwrite(str(tmp_path / "one.png"), piece)
    rows = dict(demo.run(tmp_path / "one.png", tmp_path / "out.png"))
    assert rows["photo"] == "one.png, 140 x 140" and (tmp_path / "out.png").exists()
    boxes, scores, classes = demo.propose(piece)
    good = boxes[scores > 0.4]
    y, x = np.unravel_index(cv2.GaussianBlur(piece.sum(2).astype(np.float32), (0, 0), 5).argmax(), piece.shape[:2])
    assert ((good[:, 0] < x) & (good[:, 2] > x) & (good[:, 1] < y) & (good[:, 3] > y)).any()
    assert 1 <= len(set(classes)) <= 3 and classes.max() == 2


def test_demo_of_what_is_no_photo(tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    for path, message in ((tmp_path / "none.png", "no such photo"), (tmp_path / "text.png", "no picture")):
        assert cli.main(["demo", str(path), "--out", str(tmp_path / "out.png")]) == 2
        assert message in capsys.readouterr().err
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((60, 60, 3), np.uint8))
    assert cli.main(["demo", str(tmp_path / "black.png"), "--out", str(tmp_path / "out.png")]) == 0


def test_demo_looks_at_where_it_writes_first(tmp_path, capsys):
    for out, message in ((tmp_path / "a" / "b.png", "there is no folder"), (tmp_path / "b.xyz", "--out must end in")):
        assert cli.main(["demo", "--out", str(out)]) == 2
        assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"arrayvision {arrayvision.__version__}\n"


def test_env(capsys):
    assert cli.main(["env"]) == 0
    out = capsys.readouterr().out
    for word in ("Python", "NumPy", "Numba", "OpenCV", "PyTorch", "CUDA", "CPU threads", "Cache"):
        assert word in out


def test_warmup(tmp_path, monkeypatch):
    done = run(
        "warmup",
        "bbox_overlaps",
        "--arch",
        "75,90",
        env={**os.environ, "ARRAYVISION_CACHE": str(tmp_path)},
    )
    assert done.returncode == 0 and str(tmp_path) in done.stdout, done.stderr
    assert len(list(tmp_path.rglob("cuda/*.bin"))) == 2 and list(tmp_path.rglob("cpu/*/*.nbi"))
    done = run("warmup", "--common", "nms")
    assert done.returncode == 2 and "--common says which kernels" in done.stderr
    done = run("warmup", "nothing")
    assert (
        done.returncode == 2 and "unknown kernels nothing; there are " in done.stderr and "bbox_overlaps" in done.stderr
    )
    done = run("warmup", "--arch", "ninety")
    assert done.returncode == 2 and "--arch must be numbers" in done.stderr


def test_warmup_in_several_processes(tmp_path):
    """Each step is carried out once, and told; what a step raises is raised."""
    names = ["bbox_overlaps", "tin_shift"]
    script = f"""
import functools
from arrayvision import warmup
if __name__ == "__main__":
    told = []
    warmup.run(warmup.steps({names}), 2, told.append)
    print(sorted(told))
    try:
        warmup.run([("a, CPU", int), ("b, CPU", functools.partial(divmod, 1, 0))], 2)
    except ZeroDivisionError:
        print("raised")
"""
    path = tmp_path / "script.py"
    path.write_text(script)
    environment = {**os.environ, "ARRAYVISION_CACHE": str(tmp_path), "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=300, env=environment)
    told = sorted(f"{name}, CPU, {dtype}" for name in names for dtype in warmup.DTYPES)
    assert str(told) in done.stdout and "raised" in done.stdout, done.stderr[-2000:]
    assert list(tmp_path.rglob("all_pairs*.nbi")) and list(tmp_path.rglob("copy_groups*.nbi"))


def test_bench(capsys):
    assert cli.main(["bench", "bbox_overlaps, 1 x 1, NumPy"]) == 0
    assert "bbox_overlaps, 1 x 1, NumPy" in capsys.readouterr().out


def test_bench_without_optional_packages(capsys, monkeypatch, tmp_path):
    """Cases that need a package are left out, the others are timed and kept."""

    def cases():
        yield measure.Case("first", lambda: 1)
        raise ImportError("No module named 'cv2'")

    names = [*report.modules()]
    assert "arrayvision.bench.video" in names and "arrayvision.bench.ops.focal_loss" in names
    monkeypatch.setattr(report, "modules", lambda: ["some", "lacking", "more"])
    files = {"some": cases, "more": lambda: [measure.Case("last", lambda: 1)]}
    for name, made in files.items():
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(cases=made))
    monkeypatch.setitem(sys.modules, "lacking", None)  # importing it is an error
    report.report(out=str(tmp_path / "new" / "found.json"), seconds=0.01)
    said = capsys.readouterr().out
    assert "lacking: the rest of its cases is left out: import of lacking halted" in said
    assert "some: the rest of its cases is left out: No module named 'cv2'" in said
    kept = json.loads((tmp_path / "new" / "found.json").read_text())
    assert [row["case"] for row in kept["results"]] == ["first", "last"]


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the system doesn't tell the peak of memory"
)
def test_bench_tells_the_peak_of_memory():
    """A result of 16 MB, and 32 MB that are there beside it. In a process of its own: what other tests' threads let go of
    meanwhile would be taken off."""
    text = """
import numpy as np
from arrayvision.bench import measure

def call():
    beside = np.ones(2**22)
    return beside[: 2**21].copy(), "no array"

found = measure.memory(call)
print(found["result"], found["beside"])
"""
    told = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
    result, beside = map(float, told.split())
    assert result == 16 and 31 < beside < 34


def test_wrong_commands():
    assert run("paint").returncode == 2
    assert "usage" in run().stderr


def test_warmup_leaves_no_kernel_out():
    """Every kernel that is called through parallel_for has been compiled, or read from the cache."""
    for name, act in warmup.steps():
        assert ", CPU" in name
        act()
    kernels, blocks = {}, ["turn", "grain", "n"]
    for module in pkgutil.iter_modules(arrayvision.cpu.__path__, "arrayvision.cpu."):
        for kernel in vars(importlib.import_module(module.name)).values():
            if isinstance(kernel, Dispatcher) and [*inspect.signature(kernel.py_func).parameters][-3:] == blocks:
                kernels[f"{kernel.py_func.__module__}.{kernel.py_func.__name__}"] = len(kernel.signatures)
    assert len(kernels) > 30 and [name for name, count in kernels.items() if not count] == []
