"""Bytes from and to anywhere: paths, URLs of any scheme that fsspec knows, file objects."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

from arrayvision.registry import TRANSFORMS

_PROTOCOLS = {"local": "file", "disk": "file", "petrel": "s3", "ceph": "s3"}  # a back end's older name: fsspec's
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def options(
    function: str, backend_args: dict | None, file_client_args: dict | None = None, depth: int = 3
) -> dict | None:
    """The one of the two that is given; the second is the older name, warned of `depth` calls up."""
    if file_client_args is not None:
        warnings.warn(f"{function}: file_client_args is now called backend_args", DeprecationWarning, stacklevel=depth)
        if backend_args is not None:
            raise ValueError(f'{function}: "file_client_args" and "backend_args" cannot be set at the same time')
        backend_args = file_client_args
    if backend_args is not None and not isinstance(backend_args, dict):
        raise TypeError(f"{function}: backend_args must be a dict, got {type(backend_args).__name__}")
    return backend_args


def is_url(path: str) -> bool:
    return _URL.match(path) is not None


def file_name(x: Any) -> str:
    """What to call a source in an error."""
    if isinstance(x, (str, os.PathLike)):
        return os.fspath(x)
    name = getattr(x, "name", None)
    return (
        name if isinstance(name, str) else f"<{len(x)} bytes>" if isinstance(x, (bytes, bytearray)) else "<file object>"
    )


def _theirs(path, backend_args):
    """mmengine's back end for a path, with those that users register there; None if it is not linked or has none."""
    if TRANSFORMS._linked is None:  # arrayvision.openmmlab.install() links it
        return None
    given = backend_args or {}
    name = given.get("backend")
    prefix = path.split("://")[0].split(":")[-1] if "://" in path else None  # "cluster:s3://..." is of s3
    if prefix is None and _PROTOCOLS.get(name, name) in (None, "file"):
        return None
    from mmengine.fileio import FileClient, get_file_backend
    from mmengine.fileio.backends import backends, prefix_to_backends

    try:
        if name in backends if name is not None else prefix in prefix_to_backends:
            return get_file_backend(path, backend_args=given, enable_singleton=True)
        return FileClient(**given) if name in FileClient._backends else None
    except ImportError:  # of a store's client: fsspec may have another
        import fsspec

        protocol = prefix if name is None else name
        if _PROTOCOLS.get(protocol, protocol) in fsspec.available_protocols():
            return None
        raise


def _remote(function, url, backend_args):
    """fsspec's file system for a path or URL, and the path in it; None for a local path."""
    given = dict(backend_args or {})
    backend = given.pop("backend", None)
    protocol = _PROTOCOLS.get(backend, backend)
    if not is_url(url):
        if protocol in (None, "file") and not given:
            return None
        url = f"{protocol or 'file'}://{url}"
    import fsspec

    scheme = url.split("://", 1)[0]
    if protocol and protocol != scheme and not (protocol == "http" and scheme == "https"):
        url = f"{protocol}://{url.split('://', 1)[1]}"
    elif scheme == "petrel":
        url = "s3" + url[len("petrel") :]
    try:
        return fsspec.core.url_to_fs(url, **given)
    except ValueError as error:
        raise ValueError(f"{function}: {url} can't be opened: {error}") from None


def _path(function, path):
    """A path as text; a null byte in it is an error that shows it, as Python's own doesn't."""
    path = os.fspath(path)
    if ("\0" if isinstance(path, str) else b"\0") in path:
        raise ValueError(f"{function}: a path must hold no null byte, got {path!r}")
    return path


def read(function: str, source: Any, backend_args: dict | None = None) -> Any:
    """All bytes of a path, a URL or a file object (of mmengine's back ends, whatever they give).

    Raises
    ------
    OSError
        If it can't be read: FileNotFoundError where there is none.
    """
    if hasattr(source, "read"):
        try:
            content = source.read()
        except http.client.HTTPException as error:
            raise OSError(f"{function}: {file_name(source)} can't be read: {error!r}") from error
        if not isinstance(content, bytes):
            raise TypeError(f"{function}: {file_name(source)} must be opened in binary mode")
        return content
    path = _path(function, source)
    theirs = _theirs(path, backend_args)
    if theirs is not None:
        return theirs.get(path)
    try:
        remote = _remote(function, path, backend_args)
    except ImportError:
        if not path.startswith(("http://", "https://")):
            raise
        return _download(function, path)  # fsspec wants aiohttp for what the standard library can do
    if remote is None:
        if not path:
            raise FileNotFoundError(f"{function}: the path is empty")
        with open(path, "rb") as file:
            return file.read()
    system, inside = remote
    try:
        return system.cat_file(inside)
    except FileNotFoundError:
        raise FileNotFoundError(f"{function}: there is no {path}") from None
    except (OSError, ImportError):
        raise
    except Exception as error:  # of the many that clients of remote stores raise
        raise OSError(f"{function}: {path} can't be read: {error}") from error


def _download(function, url):
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        kind = FileNotFoundError if error.code == 404 else OSError
        raise kind(f"{function}: {url} can't be read: {error}") from None
    except (http.client.HTTPException, OSError) as error:  # cut, refused, unknown
        raise OSError(f"{function}: {url} can't be read: {getattr(error, 'reason', None) or repr(error)}") from error


def write(function: str, path: str, content: bytes, backend_args: dict | None = None) -> None:
    """Write a file in one act, and its parent folders; a failed write leaves what was there.

    Raises
    ------
    OSError
        If it can't be written.
    """
    path = _path(function, path)
    theirs = _theirs(path, backend_args)
    if theirs is not None:
        theirs.put(content, path)
        return
    remote = _remote(function, path, backend_args)
    if remote is None:
        with replacing(path) as part, open(part, "wb") as file:
            file.write(content)
        return
    system, inside = remote
    try:
        parent = system._parent(inside)
        if parent:
            with contextlib.suppress(NotImplementedError, PermissionError):
                system.makedirs(parent, exist_ok=True)
        system.pipe_file(inside, content)
    except (OSError, ImportError):
        raise
    except Exception as error:
        raise OSError(f"{function}: {path} can't be written: {error}") from error


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """A path beside this one, with its extension, to write to; it takes this one's place if all went well."""
    path = os.path.realpath(path)
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder")
    if os.path.exists(path) and not os.path.isfile(path):  # a device or a pipe: nothing to replace
        yield path
        return
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=folder, prefix=".", suffix=os.path.splitext(name)[1])
    os.close(handle)
    try:
        yield part
        mode = os.stat(path).st_mode & 0o7777 if os.path.exists(path) else 0o666 & ~_umask()
        os.chmod(part, mode)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise


def _umask():
    """The process's umask; Linux tells it without changing it."""
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
