"""Where compiled kernels are kept: `ARRAYVISION_CACHE`, else the user's cache folder; nowhere if neither can be used.

What lies there is executed. So a folder or a file that another user could have written is not used, with a warning; whoever
wants one that several users share names it in `ARRAYVISION_SHARED_CACHE`. A folder that can be read but not written (a
container's image) is used as it is.
"""

import os
import pathlib
import stat
import sys
import tempfile
import warnings


def shared() -> bool:
    """Whether the user named a cache that others may write."""
    return bool(os.environ.get("ARRAYVISION_SHARED_CACHE"))


def root() -> pathlib.Path:
    """The folder under which every cache of this package lies; it need not exist yet."""
    chosen = os.environ.get("ARRAYVISION_SHARED_CACHE") or os.environ.get("ARRAYVISION_CACHE")
    if chosen:
        return pathlib.Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(base) / "arrayvision"


def trusted(path: pathlib.Path) -> bool:
    """Whether nobody but this user (and root) could have written a file or folder; a warning says if not."""
    if shared() or not hasattr(os, "geteuid"):
        return True
    try:
        about = path.stat()
    except OSError:
        return False
    if about.st_uid in (os.geteuid(), 0) and not stat.S_IMODE(about.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        return True
    _warn(
        f"arrayvision: {path} could have been written by another user, so compiled kernels are not loaded from there: make "
        f"it yours alone (chmod go-w), or name a cache that you share with others in ARRAYVISION_SHARED_CACHE"
    )
    return False


def folder(*parts) -> pathlib.Path | None:
    """`root()/parts`, made if it can be; None if it can neither be read nor written, or isn't `trusted`. Kernels are then
    compiled in each process, which a warning says."""
    path = root().joinpath(*parts)
    try:
        missing = [p for p in (path, *path.parents) if not p.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for made in missing if not shared() else ():
            made.chmod(stat.S_IMODE(made.stat().st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))  # whatever the umask
        os.listdir(path)
    except OSError as error:
        _warn(
            f"arrayvision: there is no place to keep compiled kernels ({error}), so each process compiles them anew: name a "
            "folder that can be written in ARRAYVISION_CACHE"
        )
        return None
    return path if trusted(root()) and trusted(path) else None


def writable(path: pathlib.Path) -> bool:
    """Whether files can be made in a folder."""
    try:
        with tempfile.TemporaryFile(dir=path):
            return True
    except OSError:
        return False


_warned: set = set()


def _warn(text):
    if text not in _warned:
        _warned.add(text)
        warnings.warn(text, RuntimeWarning, stacklevel=3)


def write(path: pathlib.Path, content: bytes) -> None:
    """Write a file in one act: other processes see all of it or none. It can be read by whom the umask lets."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(part, 0o666 & ~_umask() & (0o777 if shared() else ~0o022))  # mkstemp's files are the user's alone
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def _umask():
    """The process's, which can only be read by setting it; from Linux's own files, where another thread may run."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))
    except (OSError, StopIteration):
        return 0o022
