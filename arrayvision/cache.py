"""Where compiled kernels are kept: `ARRAYVISION_CACHE`, else the user's cache folder; nowhere if neither can be written."""

import os
import pathlib
import sys
import tempfile


def root() -> pathlib.Path:
    """The folder under which every cache of this package lies; it need not exist yet."""
    chosen = os.environ.get("ARRAYVISION_CACHE")
    if chosen:
        return pathlib.Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(base) / "arrayvision"


def folder(*parts) -> pathlib.Path | None:
    """`root()/parts`, made and tried with a file; None if it can't be written: kernels are then compiled in each process."""
    path = root().joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError:
        return None


def write(path: pathlib.Path, content: bytes) -> None:
    """Write a file in one act: other processes see all of it or none."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
