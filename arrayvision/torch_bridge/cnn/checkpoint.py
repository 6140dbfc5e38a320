"""`load_checkpoint`: from a file, a URL or a name in a model zoo, without running code that a file may hold."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pathlib
import pickle
import re
import shutil
import struct
import threading
from typing import Any

import torch
from torch import nn

from arrayvision import cache
from arrayvision.torch_bridge.cnn import _plain

_ZOOS = {  # a name's scheme: the files in mmcv's folder where such names are, too
    "zoo": (),
    "open-mmlab": ("open-mmlab.json", "open_mmlab.json"),
    "openmmlab": ("open-mmlab.json", "open_mmlab.json"),
    "mmcls": ("mmcls.json",),
}


def home() -> pathlib.Path:
    """Where `model_zoo.json` is looked for and downloads are kept: `ARRAYVISION_HOME`, else the cache folder."""
    chosen = os.environ.get("ARRAYVISION_HOME")
    return pathlib.Path(chosen).expanduser() if chosen else cache.root()


def _mmcv_home() -> pathlib.Path:
    """Where code written for mmcv expects its zoo: `MMCV_HOME`, else "mmcv" in the user's cache folder."""
    chosen = os.environ.get("MMCV_HOME")
    return pathlib.Path(chosen or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "mmcv")).expanduser()


def load_checkpoint(
    model: nn.Module,
    filename: str | os.PathLike,
    map_location: Any = None,
    strict: bool = False,
    logger: logging.Logger | None = None,
    revise_keys: list[tuple[str, str]] = [(r"^module\.", "")],  # noqa: B006  (never changed)
) -> dict:
    """Load weights into a model.

    Parameters
    ----------
    model : nn.Module
    filename : str or path
        A file; a URL that fsspec reads (``https://``, ``s3://`` ...), which is downloaded once; ``zoo://NAME``, a name in
        the JSON file ``model_zoo.json`` of `home()`, whose values are files (relative to it) or URLs;
        ``open-mmlab://NAME`` or ``mmcls://NAME``, a name in ``open-mmlab.json`` or ``mmcls.json`` of the folder `MMCV_HOME`,
        or else in ``model_zoo.json``; or
        ``torchvision://NAME``, the first weights that torchvision lists for its model of that name, or others:
        ``torchvision://resnet50.imagenet1k_v2``.
    map_location
        Where tensors go, as in torch.load; the CPU by default.
    strict : bool
        Whether missing and unexpected names are an error; else they are logged.
    logger : logging.Logger, optional
    revise_keys : list of (str, str)
        Regular expressions and what to put in their place in the names.

    Returns
    -------
    dict
        The checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    KeyError
        If the model zoo, or torchvision, has no such name.
    ValueError
        If the file's SHA-256 does not begin as its name says (``resnet50-0676ba61.pth``), if it holds other objects than
        tensors, plain values and NumPy arrays of numbers or text (nothing is run), if it is damaged, or has no weights.
    RuntimeError
        If shapes don't fit, or names don't and `strict` is set.
    """
    path = _file(os.fspath(filename))
    _check_hash(path)
    checkpoint = _read(path, "cpu" if map_location is None else map_location)
    state = checkpoint
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"load_checkpoint: {path} holds no weights, a dict from names to tensors")
    revised = {}
    for name, value in state.items():
        for pattern, replacement in revise_keys:
            name = re.sub(pattern, replacement, name)
        revised[name] = value
    result = model.load_state_dict(revised, strict=strict)
    logger = logger or logging.getLogger("arrayvision")
    for what, names in (("unexpected", result.unexpected_keys), ("missing", result.missing_keys)):
        if names:
            logger.warning("load_checkpoint: %s names in %s: %s", what, path, ", ".join(names))
    return checkpoint


def _file(name: str) -> pathlib.Path:
    scheme, found, rest = name.partition("://")
    if found and scheme in _ZOOS:
        name = _from_zoo(scheme, rest)
    elif found and scheme == "torchvision":
        name = _from_torchvision(rest)
    if "://" in name:
        return _download(name)
    path = pathlib.Path(name).expanduser()
    if not path.is_file():
        raise FileNotFoundError(2, "load_checkpoint: no such file", str(path))
    return path


def _from_zoo(scheme: str, name: str) -> str:
    zoos = [_mmcv_home() / file for file in _ZOOS[scheme]] + [home() / "model_zoo.json"]
    told = []
    for zoo in zoos:
        if not zoo.is_file():
            continue
        try:
            places = json.loads(zoo.read_text())
        except ValueError as error:
            raise ValueError(f"load_checkpoint: {zoo} is no JSON: {error}") from None
        if not isinstance(places, dict) or not all(isinstance(place, str) for place in places.values()):
            raise ValueError(f"load_checkpoint: {zoo} must map names to files and URLs")
        if name in places:
            place = places[name]
            return place if "://" in place else str(zoo.parent / place)
        told.append(f"{zoo} has no {name!r}; it has {', '.join(sorted(places)) or 'nothing'}")
    if told:
        raise KeyError(f"load_checkpoint: {scheme}://{name}: {'; '.join(told)}")
    folders = (
        "ARRAYVISION_HOME sets its folder" if scheme == "zoo" else "ARRAYVISION_HOME and MMCV_HOME set its folders"
    )
    raise FileNotFoundError(
        2, f"load_checkpoint: {scheme}://{name}: no model zoo; {folders}", " or ".join(map(str, zoos))
    )


def _from_torchvision(name: str) -> str:
    try:
        from torchvision.models import get_model_weights
    except ImportError as error:
        raise ImportError(f"load_checkpoint: torchvision://{name} needs torchvision, which tells its URL") from error
    model, _, which = name.partition(".")
    try:
        weights = list(get_model_weights(model))
        return next(w for w in weights if which.lower() in ("", w.name.lower())).url
    except (ValueError, StopIteration):
        raise KeyError(f"load_checkpoint: torchvision://{name}: torchvision has no weights {name!r}") from None


def _download(url: str) -> pathlib.Path:
    import fsspec

    digest = hashlib.sha256(url.encode()).hexdigest()[:16]  # two URLs may end in one name
    path = home() / "checkpoints" / digest / url.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with fsspec.open(url, "rb") as source, part.open("wb") as target:
                shutil.copyfileobj(source, target)
            _check_hash(part, path.name)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    return path


def _check_hash(path: pathlib.Path, name: str | None = None) -> None:
    """Compare a file's SHA-256 with the hexadecimal digits (8 or more) that end its name, if it ends in any."""
    match = re.search(r"-([0-9a-f]{8,64})\.[^.]+$", name or path.name)
    if match is None or re.fullmatch(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])", match[1]):  # a date is no hash
        return
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if not digest.hexdigest().startswith(match[1]):
        raise ValueError(
            f"load_checkpoint: {name or path.name} must have a SHA-256 that begins with {match[1]}, got {digest.hexdigest()[:16]}"
        )


_loading = threading.Lock()  # what torch allows is the process's, and each load takes back what it allowed
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_loading._at_fork_reinit)  # type: ignore[attr-defined]


def _read(path: pathlib.Path, map_location):
    try:
        with _loading, torch.serialization.safe_globals(_plain.ALLOWED):
            content = torch.load(path, map_location=map_location, weights_only=True)
        return _plain.plain(content)
    except (pickle.UnpicklingError, RecursionError) as error:
        text = str(error)
        name = re.search(r"GLOBAL (\S+) was not|unsupported GLOBAL (\S+)|unrecognized function (.+)", text)
        what = next(filter(None, name.groups())) if name else _cause(error)
        raise ValueError(
            f"load_checkpoint: {path} holds other objects than tensors, plain values and arrays of numbers: {what}. "
            "Nothing of it was loaded. If you trust the file, save its weights alone: "
            'torch.save(torch.load(path, weights_only=False)["state_dict"], path)'
        ) from error
    except (
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        RuntimeError,
        AssertionError,
        AttributeError,
        struct.error,
    ) as error:
        if isinstance(error, torch.OutOfMemoryError) or "deserialize object on" in str(error):  # of map_location
            raise
        raise ValueError(f"load_checkpoint: {path} is damaged or no checkpoint: {_cause(error)}") from error


def _cause(error):
    """The first line of the innermost message; torch puts its advice around it."""
    while isinstance(error.__cause__ or error.__context__, pickle.UnpicklingError):
        error = error.__cause__ or error.__context__
    text = str(error)
    return (text.partition("WeightsUnpickler error: ")[2] or text).strip().split("\n")[0] or type(error).__name__
