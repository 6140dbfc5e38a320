"""Compiled CPU kernels: cached, never stale, and no error where nothing can be written."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import arrayvision
from arrayvision import cache
from arrayvision.bench import cold
from arrayvision.cpu import _Files

PACKAGE = pathlib.Path(arrayvision.__file__).parent
ONCE = """
import numpy as np
from arrayvision import ops
print(ops.bbox_overlaps(np.array([[0, 0, 2, 2.]]), np.array([[0, 0, 2, 1.]]))[0, 0])
from arrayvision.cpu import bbox_overlaps
stats = bbox_overlaps.all_pairs.stats
print("hits", sum(stats.cache_hits.values()), "misses", sum(stats.cache_misses.values()))
"""


def run(text, where=PACKAGE.parent, **environment):
    environment = {**os.environ, "PYTHONPATH": str(where), **environment}
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, env=environment, cwd="/", timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def copy(tmp_path):
    """A package of our own to change."""
    shutil.copytree(PACKAGE, tmp_path / "own" / "arrayvision", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "own"


def test_a_kernel_is_compiled_once(tmp_path):
    environment = {"ARRAYVISION_CACHE": str(tmp_path / "cache")}
    assert "0.5\nhits 0 misses 1" in run(ONCE, **environment)
    assert "0.5\nhits 1 misses 0" in run(ONCE, **environment)


def test_a_changed_helper_in_another_file_is_noticed(copy, tmp_path):
    """With the same size and time, which is what Numba's own cache looks at."""
    environment = {"ARRAYVISION_CACHE": str(tmp_path / "cache")}
    helper = copy / "arrayvision/cpu/helper.py"
    helper.write_text("from arrayvision.cpu import kernel\n@kernel\ndef number():\n    return 3\n")
    user = copy / "arrayvision/cpu/user.py"
    user.write_text(
        "from arrayvision.cpu import kernel\nfrom arrayvision.cpu.helper import number\n@kernel\ndef f():\n    return number()\n"
    )
    ask = "from arrayvision.cpu.user import f; print(f(), f.stats.cache_hits)"
    assert run(ask, copy, **environment).startswith("3 ")
    assert "3 Counter({(): 1})" in run(ask, copy, **environment)
    before = helper.stat()
    helper.write_text(helper.read_text().replace("return 3", "return 4"))
    os.utime(helper, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(
        ask, copy, **environment, PYTHONDONTWRITEBYTECODE="1", PYTHONPYCACHEPREFIX=str(tmp_path / "pyc")
    ).startswith("4 ")


def test_bounds_checks_are_another_kernel(tmp_path):
    """A warm cache must not serve kernels compiled without them."""
    environment = {"ARRAYVISION_CACHE": str(tmp_path / "cache")}
    run(ONCE, **environment)
    assert "hits 0 misses 1" in run(ONCE, **environment, NUMBA_BOUNDSCHECK="1")


def test_a_damaged_cache_is_compiled_anew(tmp_path):
    environment = {"ARRAYVISION_CACHE": str(tmp_path / "cache")}
    run(ONCE, **environment)
    for path in (tmp_path / "cache").rglob("*.nb*"):
        path.write_bytes(path.read_bytes()[:20])
    assert "0.5\n" in run(ONCE, **environment)


@pytest.mark.parametrize("what", ["a file", "a folder that can't be made"])
def test_an_unwritable_home(tmp_path, what):
    """No folder can be made below a file, not even by root."""
    (tmp_path / "file").write_text("")
    home = tmp_path / "file" if what == "a file" else tmp_path / "file" / "deeper"
    clean = dict.fromkeys(("XDG_CACHE_HOME", "ARRAYVISION_CACHE"), "")
    assert "0.5\n" in run(ONCE, HOME=str(home), **clean)


def test_a_read_only_installation(copy, tmp_path):
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    files = sorted(copy.rglob("*"))
    environment = {"ARRAYVISION_CACHE": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    assert "0.5\nhits 0 misses 1" in run(ONCE, copy, **environment)
    assert "0.5\nhits 1 misses 0" in run(ONCE, copy, **environment)
    assert sorted(copy.rglob("*")) == files  # root may write there all the same: nothing was
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755)


def test_a_disk_that_fills_up(tmp_path):
    """The folder goes away after it was tried."""
    text = "import shutil, arrayvision.cpu as c; p = c.folder(); shutil.rmtree(p); open(p, 'w').close()\n" + ONCE
    assert "0.5\n" in run(text, ARRAYVISION_CACHE=str(tmp_path / "cache"))


def read_only(path):
    """As in a container's image, for root too: the folder lies on a file system that can't be written."""
    for p in [path, *path.rglob("*")]:
        p.chmod(0o555 if p.is_dir() else 0o444)


def test_a_cache_that_can_only_be_read_is_used(tmp_path):
    """Nothing can be made below it: a file stands where a folder would be made for another user's temporary file."""
    environment = {"ARRAYVISION_CACHE": str(tmp_path / "cache")}
    run(ONCE, **environment)
    read_only(tmp_path / "cache")
    nothing_written = "import tempfile\ndef no(*a, **k): raise PermissionError('read-only')\n"
    nothing_written += "tempfile.TemporaryFile = tempfile.mkstemp = no\n"
    out = run(nothing_written + ONCE, **environment)
    assert "hits 1 misses 0" in out


def test_what_another_user_could_have_written_is_not_loaded(tmp_path):
    environment = {"ARRAYVISION_CACHE": str(tmp_path / "cache")}
    warns = "import warnings; warnings.simplefilter('error', RuntimeWarning)\n"
    run(warns + ONCE, **environment)
    (folder,) = (tmp_path / "cache" / "cpu").iterdir()
    for path in (folder, tmp_path / "cache", next(folder.glob("*.nbi"))):
        mode = path.stat().st_mode
        path.chmod(mode | 0o002)
        out = run(
            "import sys, warnings\nwarnings.showwarning = lambda m, *a: print('WARNED', m)\n" + ONCE, **environment
        )
        assert "WARNED" in out and "could have been written by another user" in out and "hits 1" not in out
        path.chmod(mode)
        assert "hits 1 misses 0" in run(warns + ONCE, **environment)
    (tmp_path / "cache").chmod(0o777)
    named = {"ARRAYVISION_SHARED_CACHE": str(tmp_path / "cache")}
    assert "hits 1 misses 0" in run(warns + ONCE, **named)


def test_folders_and_files_are_made_so_that_they_are_trusted_and_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("ARRAYVISION_CACHE", str(tmp_path / "a" / "b"))
    before = os.umask(0o000)
    try:
        folder = cache.folder("cpu", "c")
        cache.write(folder / "file", b"x")
    finally:
        os.umask(before)
    assert {p.stat().st_mode & 0o777 for p in (folder, folder.parent, tmp_path / "a")} == {0o755}
    assert (folder / "file").stat().st_mode & 0o777 == 0o644


def test_no_place_at_all_is_one_warning(tmp_path):
    (tmp_path / "file").write_text("")
    text = "import warnings\nwarnings.showwarning = lambda m, *a: print('WARNED', m)\n" + ONCE
    out = run(text, ARRAYVISION_CACHE=str(tmp_path / "file" / "deeper"))
    assert out.count("WARNED") == 1 and "ARRAYVISION_CACHE" in out


def test_numbas_options_change_nothing(tmp_path):
    assert "0.5\n" in run(ONCE, ARRAYVISION_CACHE=str(tmp_path), NUMBA_OPT="0")


SLOW = """
import logging, numpy as np, arrayvision.cpu as cpu, time
import numba.core.event as event
class Dispatcher: pass
d = Dispatcher(); d.py_func = type("f", (), {"__module__": "arrayvision.cpu.nms"})
for _ in range(2):
    with event.trigger_event("numba:compile", data={"dispatcher": d}):
        with event.trigger_event("numba:compile", data={"dispatcher": d}):
            time.sleep(1.4)
"""


def said(text, **environment):
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment}
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment).stderr


def test_a_long_compilation_says_why_once():
    text = said(SLOW)
    assert text.count("compiling the CPU kernels of nms") == 1 and "arrayvision warmup" in text
    assert not said(SLOW, ARRAYVISION_QUIET="1")
    assert not said(SLOW.replace("class Dis", "logging.getLogger('arrayvision').setLevel('ERROR')\nclass Dis"))
    assert not said(SLOW.replace("1.4", "0.1"))


def test_processes_that_keep_kernels_at_once_lose_none(tmp_path):
    """Each keeps others, of one function: all are there afterwards, each under its own name."""
    text = """
import sys
from arrayvision.cpu import _Files
files = _Files({path!r}, "kernel.py311", "stamp")
for k in range(25):
    files.save((sys.argv[1], k), (sys.argv[1], k))
"""
    script = tmp_path / "keep.py"
    script.write_text(text.format(path=str(tmp_path)))
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    parts = [subprocess.Popen([sys.executable, script, name], env=environment) for name in "abcd"]
    assert [part.wait(timeout=300) for part in parts] == [0] * 4
    files = _Files(str(tmp_path), "kernel.py311", "stamp")
    assert all(files.load((name, k)) == (name, k) for name in "abcd" for k in range(25))


@pytest.mark.alone
@pytest.mark.parametrize("name", list(cold.CALLS))
def test_first_calls_compile_little(name):
    """From an empty cache, with few boxes and then many. In CPU seconds, with room for slower machines."""
    call, seconds = cold.CALLS[name]
    functions, taken = cold.measure(call)
    assert functions <= 24 and taken <= 3 * seconds, (functions, taken)
