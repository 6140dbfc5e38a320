"""`arrayvision bench [NAMES]`: times every file's cases, and tells on what machine."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import platform

HERE = pathlib.Path(__file__).parent


def modules():
    """The names of all files with a function `cases()`."""
    for path in sorted([*HERE.glob("*.py"), *HERE.glob("ops/*.py")]):
        if "\ndef cases(" in path.read_text():
            yield ".".join(("arrayvision.bench", *path.relative_to(HERE).with_suffix("").parts))


def machine():
    """What the figures depend on."""
    import numpy

    from arrayvision import __version__
    from arrayvision.bench.measure import peer

    found = {"arrayvision": __version__, "Python": platform.python_version(), "NumPy": numpy.__version__}
    found |= {"processor": _processor()}
    torch, numba = peer("torch"), peer("numba")
    if numba is not None:  # which a GPU's kernels do without
        from arrayvision import get_num_threads

        found |= {"Numba": numba.__version__, "threads": get_num_threads()}
        if torch is not None:
            torch.set_num_threads(get_num_threads())
    if torch is not None:
        found |= {"torch": torch.__version__, "torch threads": torch.get_num_threads()}
        if torch.cuda.is_available():
            found["GPU"] = torch.cuda.get_device_name()
    for name in ("torchvision", "cv2", "scipy", "mmcv", "cupy"):
        module = peer(name)
        if module is not None:
            found[name] = module.__version__
    return found


def _processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def report(names=(), out: str | None = None, seconds: float = 2.0) -> None:
    """Time cases whose names contain one of `names` (all, without any) for about `seconds` each; print a table, and write
    JSON to the file `out`."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    from arrayvision.bench.measure import run

    about = machine()
    print(", ".join(f"{k} {v}" for k, v in about.items()))
    print(f"{'case':58} {'ours, ms':>10} {'MB':>13}  peers: ms (ratio)")
    print(f"{'':69} {'result':>6} {'beside':>6}  (what is in memory beside the result at the peak)")
    results = []
    for module in modules():
        try:
            for case in importlib.import_module(module).cases():
                if names and not any(n in case.name for n in names):
                    continue
                if case.worth is None or case.worth():
                    row = run(case, seconds)
                    results.append(row)
                    print(_line(case, row), flush=True)
                    if out:  # after each, lest what comes later loses them
                        path = pathlib.Path(out)
                        path.parent.mkdir(parents=True, exist_ok=True)
                        path.write_text(json.dumps({"machine": about, "results": results}, indent=1) + "\n")
        except ImportError as error:  # of what is optional
            print(f"{module}: the rest of its cases is left out: {error}")


def _line(case, row):
    peers = "  ".join(
        f"{n} {row['milliseconds'][n]:.3f} ({r:.1f}x{'' if row['agree'].get(n, True) else ', RESULTS DIFFER'})"
        for n, r in row["ratios"].items()
    )
    goal = f"at least {case.at_least:g}x" if case.at_least else ""
    goal += f"within {case.within:g} ms" if case.within else ""
    mark = "" if row["reached"] else "  MISSED"
    held = row["megabytes"]
    held = f"{held['result']:6.1f} {held['beside']:6.1f}" if held else ""
    return f"{case.name:58} {row['milliseconds']['arrayvision']:10.4f} {held:13}  {peers}  {goal}{mark}"
