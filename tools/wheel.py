"""`make wheel`: a wheel for this Python, platform and Numba, with every kernel compiled.

A plain wheel is built first. Then `arrayvision warmup` fills a cache of its own for each processor level
(`arrayvision/shipped.py`), NVRTC compiles the CUDA kernels for each architecture, and both go into the wheel, whose tags then
say for which Python and platform it is. Numba's version stands in the name of the kernels' folder: with another one nothing
is found there, and kernels are compiled where they are used.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
LARGEST = 60 << 20  # bytes of a wheel


def build(out: pathlib.Path, names=(), cuda=True) -> pathlib.Path:
    """Build the wheel (of these files' kernels alone, if some are named) and tell what takes how much of it."""
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        _call(sys.executable, "-m", "build", "--outdir", work / "plain", ROOT)  # from the sdist, which so is whole
        (plain,) = (work / "plain").glob("*.whl")
        _call(sys.executable, "-m", "wheel", "unpack", "--dest", work, plain)
        (tree,) = work.glob("arrayvision-*/")
        _compile(tree, work / "cache", names, cuda)
        for part in sorted((tree / "arrayvision/_compiled").iterdir()):
            print(f"{part.relative_to(tree)}: {_size(part) / 2**20:.1f} MiB before compression")
        (work / "packed").mkdir()
        _call(sys.executable, "-m", "wheel", "pack", "--dest-dir", work / "packed", tree)
        (packed,) = (work / "packed").iterdir()
        python = f"cp{sys.version_info.major}{sys.version_info.minor}"
        tags = "--python-tag", python, "--abi-tag", python, "--platform-tag", _platform()
        _call(sys.executable, "-m", "wheel", "tags", "--remove", *tags, packed)
        (tagged,) = (work / "packed").iterdir()
        out.mkdir(parents=True, exist_ok=True)
        made = pathlib.Path(shutil.move(tagged, out / tagged.name))
    size = made.stat().st_size
    print(f"{made}: {size / 2**20:.1f} MiB")
    if size > LARGEST:
        raise SystemExit(f"wheel: {made.name} is larger than {LARGEST >> 20} MiB")
    return made


def _compile(tree, cache, names, cuda):
    """Compile the unpacked wheel's own kernels into it."""
    compiled = tree / "arrayvision/_compiled"
    sys.path.insert(0, str(tree))
    from arrayvision import shipped

    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "ARRAYVISION_"))}
    first = next(level for level in shipped.levels() if shipped.runs(level))
    done: list[pathlib.Path] = []
    for level in sorted(shipped.levels(), key=lambda level: level != first):
        environment = dict(PYTHONPATH=str(tree), ARRAYVISION_CACHE=str(cache / level), ARRAYVISION_QUIET="1")
        environment |= clean | dict(NUMBA_CPU_NAME=level, NUMBA_CPU_FEATURES="")
        command = ["-c", _SAME, done[0]] if done else ["-m", "arrayvision", "warmup", *names]
        _call(sys.executable, *command, env=environment, cwd=cache.anchor)
        (digest,) = (cache / level / "cpu").iterdir()
        done.append(pathlib.Path(shutil.copytree(digest, compiled / "cpu" / digest.name / level, ignore=_LOCK)))
    if cuda:
        _call(sys.executable, "-c", _CUDA, *names, env={**clean, "PYTHONPATH": str(tree)}, cwd=cache.anchor)
    for path in tree.rglob("__pycache__"):
        shutil.rmtree(path)


# For another level: the signatures that a folder of kernels has, compiled but not run, which this processor might be unable to.
_SAME = """
import importlib, pkgutil, sys
from numba.core.dispatcher import Dispatcher
from arrayvision import cpu
for module in [importlib.import_module(m.name) for m in pkgutil.iter_modules(cpu.__path__, "arrayvision.cpu.")]:
    for kernel in vars(module).values():
        if isinstance(kernel, Dispatcher) and kernel.py_func.__module__ == module.__name__:
            for signature in cpu.signatures(kernel, sys.argv[1]):
                kernel.compile(signature)
"""

_LOCK = shutil.ignore_patterns(".lock")
_CUDA = """
import sys
from arrayvision import shipped, warmup
from arrayvision.cuda import runtime
for name in sys.argv[1:] or warmup.cuda_files():
    for arch in set(runtime.ARCHITECTURES) - set(shipped.SERVED):
        warmup.cuda_kernels(name).bring(arch)
"""


def _platform():
    """Compiled kernels call no library, so any of the platform's systems will do that wheels of NumPy and Numba exist for."""
    name = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return name.replace("linux_", "manylinux2014_") if name.startswith("linux_") else name


def _size(path):
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _call(*command, **kwargs):
    subprocess.run([str(part) for part in command], check=True, **kwargs)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python -m tools.wheel", description=__doc__.split("\n")[0])
    arguments.add_argument("names", nargs="*", help="files of kernels (default: all)")
    arguments.add_argument("--out", type=pathlib.Path, default=ROOT / "dist")
    arguments.add_argument("--no-cuda", action="store_true", help="leave the CUDA kernels out")
    given = arguments.parse_args()
    build(given.out, given.names, not given.no_cuda)
