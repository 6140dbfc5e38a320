"""Counting operations, loading checkpoints, searching dilations."""

import concurrent.futures
import hashlib
import io
import json
import logging
import pickle
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from arrayvision.torch_bridge.cnn import Conv2dRFSearchOp, ConvModule, RFSearchHook, get_model_complexity_info
from arrayvision.torch_bridge.cnn.checkpoint import load_checkpoint
from arrayvision.torch_bridge.cnn.rfsearch.utils import expand_rates
from arrayvision.torch_bridge.cnn.utils.flops_counter import (
    add_flops_counting_methods,
    flops_to_string,
    is_supported_instance,
    params_to_string,
    print_model_with_flops,
)


# ---- complexity ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("model", "shape", "flops", "params"),
    [
        # sites * (kernel * in * out / groups + bias)
        (nn.Conv1d(3, 8, 3), (3, 16), 14 * (3 * 3 * 8 + 8), 80),
        (nn.Conv2d(4, 8, 3, groups=2, bias=False), (4, 16, 10), 14 * 8 * (9 * 4 * 8 // 2), 144),
        (nn.Conv3d(3, 8, 3), (3, 3, 16, 16), 1 * 14 * 14 * (27 * 3 * 8 + 8), 656),
        (nn.ConvTranspose2d(3, 8, 3), (3, 16, 16), 16 * 16 * 9 * 3 * 8 + 18 * 18 * 8, 224),
        (nn.Linear(10, 4), (5, 10), 5 * 10 * 4, 44),
        (nn.BatchNorm2d(3), (3, 4, 5), 2 * 60, 6),
        (nn.LayerNorm(5, elementwise_affine=False), (3, 4, 5), 60, 0),
        (nn.MaxPool2d(2), (3, 4, 6), 72, 0),
        (nn.AdaptiveAvgPool2d(1), (3, 4, 6), 72, 0),
        (nn.LeakyReLU(), (3, 4), 12, 0),
        (nn.Upsample(scale_factor=2), (3, 4, 5), 240, 0),
        (ConvModule(3, 4, 1, conv_cfg={"type": "ConvWS"}, norm_cfg={"type": "BN"}), (3, 2, 2), 48 + 32 + 16, 12 + 8),
    ],
)
def test_complexity_agrees_with_hand_counts(model, shape, flops, params):
    counted = get_model_complexity_info(model, shape, print_per_layer_stat=False, as_strings=False)
    assert counted == (flops, params)


def test_complexity_agrees_with_torch_on_convolutions():
    from torch.utils.flop_counter import FlopCounterMode

    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 4, 1, bias=False), nn.Flatten(), nn.Linear(784, 10)
    )
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 16, 16))
    ours, _ = get_model_complexity_info(model, (3, 16, 16), print_per_layer_stat=False, as_strings=False)
    assert 2 * ours == counter.get_total_flops()  # torch counts a multiplication and its addition as two


def test_complexity_is_printed_and_leaves_the_model_alone():
    model, out = nn.Sequential(nn.Conv1d(3, 8, 3), nn.Sequential(nn.ReLU())), io.StringIO()
    before = repr(model)
    assert get_model_complexity_info(model, (3, 16), ost=out) == ("0.0 GFLOPs", "80")
    assert out.getvalue().splitlines()[2] == (
        "  (0): Conv1d(0.0 M, 100.000% Params, 0.0 GFLOPs, 90.909% FLOPs, 3, 8, kernel_size=(3,), stride=(1,))"
    )
    assert repr(model) == before
    assert not any(module._forward_hooks for module in model.modules())
    flops, _ = get_model_complexity_info(
        nn.Bilinear(2, 3, 4),
        (2,),
        print_per_layer_stat=False,
        as_strings=False,
        input_constructor=lambda shape: {"input1": torch.zeros(1, 2), "input2": torch.zeros(1, 3)},
    )
    assert flops == 0
    with pytest.raises(TypeError, match="input_shape must be a tuple, got list"):
        get_model_complexity_info(model, [3, 16])


def test_complexity_of_runs_of_ones_own():
    model, out = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), io.StringIO()
    with pytest.raises(ValueError, match="model must be one whose operations have been counted"):
        print_model_with_flops(model, 1, 1)
    assert add_flops_counting_methods(model) is model
    model.start_flops_count()
    model.start_flops_count()  # counts once
    model(torch.zeros(2, 3, 4, 4))
    model(torch.zeros(1, 3, 10, 10))
    model.stop_flops_count()
    model(torch.zeros(1, 3, 4, 4))
    # (3 * 9 + 1) operations and one more for the ReLU, at 8 * 2 * 2 places of two samples and 8 * 8 * 8 of one
    assert model.compute_average_flops_cost() == (29 * 8 * (4 + 4 + 64) / 3, 224)
    print_model_with_flops(model, 5568, 224, "KFLOPs", 1, ost=out)
    assert out.getvalue().splitlines()[3] == "  (1): ReLU(0.0 M, 0.000% Params, 0.2 KFLOPs, 3.448% FLOPs, )"
    model.reset_flops_count()
    model.start_flops_count()
    model(torch.zeros(1, 3, 4, 4))
    assert model.compute_average_flops_cost() == (29 * 8 * 4, 224)
    assert is_supported_instance(model[0]) and not is_supported_instance(model)
    get_model_complexity_info(model[0], (3, 4, 4), print_per_layer_stat=False)
    print_model_with_flops(model[0], 896, 224, ost=out)  # of the count before
    assert "100.000% FLOPs, 3, 8, kernel_size" in out.getvalue()


def test_units():
    assert [flops_to_string(x, None) for x in (6.54321e9, 3.21e7, 5.4e3, 987)] == [
        "6.54 GFLOPs",
        "32.1 MFLOPs",
        "5.4 KFLOPs",
        "987 FLOPs",
    ]
    assert flops_to_string(6.54321e9, "KFLOPs") == "6543210.0 KFLOPs"
    assert [params_to_string(x) for x in (3.21e7, 4.56e5, 789.0)] == ["32.1 M", "456.0 k", "789.0"]
    assert params_to_string(6.54321e7, "K", 4) == "65432.1 K"


# ---- checkpoints -----------------------------------------------------------------------------------------------------
def model():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def save(path, content):
    torch.save(content, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    named = path.with_name(f"{path.stem}-{digest[:8]}.pth")
    named.write_bytes(path.read_bytes())
    return named


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "meta": {"epoch": 3, "lr": np.float64(0.1)}}]
)
def test_loads_a_file_with_its_hash_checked(tmp_path, wrap):
    source, target = model(), model()
    path = save(tmp_path / "net.pth", wrap({f"module.{k}": v for k, v in source.state_dict().items()}))
    load_checkpoint(target, path, strict=True)
    assert same(source, target)
    wrong = path.with_name("net-00000000.pth")
    path.rename(wrong)
    with pytest.raises(ValueError, match="must have a SHA-256 that begins with 00000000, got"):
        load_checkpoint(target, wrong)
    dated = wrong.with_name("net-20240131.pth")
    wrong.rename(dated)
    load_checkpoint(target, str(dated), strict=True)


def test_loads_from_a_url_once_and_from_a_model_zoo(tmp_path, monkeypatch):
    import fsspec

    monkeypatch.setenv("ARRAYVISION_HOME", str(tmp_path))
    source, target = model(), model()
    path = save(tmp_path / "net.pth", source.state_dict())
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/zoo/{path.name}", path.read_bytes())
    url = f"memory://zoo/{path.name}"
    load_checkpoint(target, url)
    assert same(source, target)
    memory.rm(f"/zoo/{path.name}")
    load_checkpoint(model(), url, strict=True)  # kept
    (tmp_path / "model_zoo.json").write_text(json.dumps({"far": url, "near": path.name}))
    for name in ("zoo://far", "zoo://near", "open-mmlab://near"):
        target = model()
        load_checkpoint(target, name)
        assert same(source, target)
    with pytest.raises(KeyError, match="has no 'other'; it has far, near"):
        load_checkpoint(target, "zoo://other")
    monkeypatch.setenv("ARRAYVISION_HOME", str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match="no model zoo; ARRAYVISION_HOME sets its folder"):
        load_checkpoint(target, "zoo://near")


def test_zoos_of_code_written_for_mmcv(tmp_path, monkeypatch):
    """MMCV_HOME's file comes first, and both are looked in; an error says where."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    monkeypatch.setenv("ARRAYVISION_HOME", str(ours))
    monkeypatch.setenv("MMCV_HOME", str(theirs))
    first, second, third = model(), model(), model()
    places = {"a": save(ours / "a.pth", first.state_dict()).name, "b": save(ours / "b.pth", second.state_dict()).name}
    with pytest.raises(
        FileNotFoundError, match=r"open-mmlab://a: no model zoo; ARRAYVISION_HOME and MMCV_HOME"
    ) as caught:
        load_checkpoint(model(), "open-mmlab://a")
    assert "open-mmlab.json" in str(caught.value) and "model_zoo.json" in str(caught.value)
    (ours / "model_zoo.json").write_text(json.dumps(places))
    for file in ("open-mmlab.json", "open_mmlab.json"):
        (theirs / file).write_text(json.dumps({"b": save(theirs / "c.pth", third.state_dict()).name}))
        for name, wanted in (
            ("open-mmlab://a", first),
            ("openmmlab://b", third),
            ("open-mmlab://b", third),
            ("zoo://b", second),
            ("mmcls://b", second),
        ):
            target = model()
            load_checkpoint(target, name, strict=True)
            assert same(wanted, target), name
        with pytest.raises(
            KeyError, match=rf"open-mmlab://x: .*{file} has no 'x'; it has b; .*model_zoo.json has no 'x'"
        ):
            load_checkpoint(model(), "open-mmlab://x")
        (theirs / file).unlink()
    (theirs / "mmcls.json").write_text(json.dumps({"b": "gone.pth"}))
    with pytest.raises(FileNotFoundError, match=r"no such file.*theirs/gone.pth"):
        load_checkpoint(model(), "mmcls://b")
    for text, wrong in (("{", "is no JSON"), ("[1]", "must map names"), ('{"b": 1}', "must map names")):
        (theirs / "mmcls.json").write_text(text)
        with pytest.raises(ValueError, match=rf"mmcls.json {wrong}"):
            load_checkpoint(model(), "mmcls://b")
    monkeypatch.delenv("MMCV_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache/mmcv").mkdir(parents=True)
    (tmp_path / "cache/mmcv/open-mmlab.json").write_text(json.dumps({"c": str(ours / places["a"])}))
    target = model()
    load_checkpoint(target, "open-mmlab://c", strict=True)
    assert same(first, target)


def test_loads_what_torchvision_lists(tmp_path, monkeypatch):
    import enum
    import sys
    import types

    source, places = model(), {}
    for version in ("V1", "V2"):
        places[version] = types.SimpleNamespace(url=f"file://{save(tmp_path / f'{version}.pth', source.state_dict())}")
    weights = {"net": enum.Enum("Weights", places)}

    def get_model_weights(name):
        if name not in weights:
            raise ValueError(name)
        return [types.SimpleNamespace(name=w.name, url=w.value.url) for w in weights[name]]

    stand_in = types.ModuleType("torchvision.models")
    stand_in.get_model_weights = get_model_weights
    monkeypatch.setenv("ARRAYVISION_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", stand_in)
    for name, version in (("net", "V1"), ("net.v2", "V2")):
        target = model()
        load_checkpoint(target, f"torchvision://{name}", strict=True)
        assert same(source, target) and list((tmp_path / "checkpoints").glob(f"*/{version}-*.pth"))
    for name in ("other", "net.v3"):
        with pytest.raises(KeyError, match=f"torchvision has no weights '{name}'"):
            load_checkpoint(target, f"torchvision://{name}")
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ImportError, match="torchvision://net needs torchvision"):
        load_checkpoint(target, "torchvision://net")


def test_a_damaged_download_is_not_kept(tmp_path, monkeypatch):
    import fsspec

    monkeypatch.setenv("ARRAYVISION_HOME", str(tmp_path))
    memory = fsspec.filesystem("memory")
    memory.pipe("/zoo/net-12345678.pth", b"nonsense")
    with pytest.raises(ValueError, match=r"net-12345678\.pth must have a SHA-256 that begins with 12345678"):
        load_checkpoint(model(), "memory://zoo/net-12345678.pth")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class Harmful:
    def __reduce__(self):
        return (print, ("run",))


def test_runs_no_code_of_a_file(tmp_path, capsys):
    torch.save({"state_dict": Harmful()}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match="holds other objects than tensors, plain values and arrays of numbers: print"):
        load_checkpoint(model(), tmp_path / "bad.pth")
    assert "run" not in capsys.readouterr().out


class Name(str):
    """Pickled, what has this name."""


class Call:
    """Pickled, a call of a name with these arguments, whatever the name; then, with a state, a `__setstate__`."""

    def __init__(self, name, *args, state=None):
        self.name, self.args, self.state = name, args, state


def pickled(value):
    """Protocol 2, written by hand: Python's pickler refuses names that are not what they say."""
    if isinstance(value, Name):
        module, _, name = value.rpartition(".")
        return f"c{module}\n{name}\n".encode()
    if isinstance(value, Call):
        call = pickled(Name(value.name)) + pickled(value.args) + b"R"
        return call + (pickled(value.state) + b"b" if value.state is not None else b"")
    if isinstance(value, tuple):
        return b"(" + b"".join(map(pickled, value)) + b"t"
    if isinstance(value, dict):
        return b"}" + b"".join(pickled(k) + pickled(v) + b"s" for k, v in value.items())
    if isinstance(value, bytes):
        return pickled(Call("_codecs.encode", value.decode("latin-1"), "latin1"))
    return pickle.dumps(value, 2)[2:-1]


def crafted(path, value):
    """A checkpoint file whose pickle is this."""
    torch.save({}, path)
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, part in parts.items():
            file.writestr(name, b"\x80\x02" + pickled(value) + b"." if name.endswith("data.pkl") else part)


def dtype(code, *state):
    return Call("numpy.dtype", code, False, True, state=state or (3, "<", None, None, None, -1, -1, 0))


def array(shape, kind, data, fortran=False, package="numpy._core"):
    empty = Call(f"{package}.multiarray._reconstruct", Name("numpy.ndarray"), (0,), b"b")
    empty.state = (1, shape, kind, fortran, data)
    return empty


EIGHT = b"A" * 8
CRAFTED = {
    "a pointer of the file's": Call("numpy.ndarray", Call("numpy.ndarray", (1,), "O", EIGHT)),
    "a pointer in a buffer": Call("numpy.ndarray", (1,), "O", EIGHT),
    "objects in a state": array((1,), dtype("O8", 3, "|", None, None, None, -1, -1, 63), EIGHT),
    "objects by their flags": array((1,), dtype("f8", 3, "<", None, None, None, -1, -1, 63), EIGHT),
    "objects in fields": array((1,), dtype("V8", 3, "|", None, ("a",), {"a": (dtype("O8"), 0)}, 8, 1, 27), EIGHT),
    "a part of objects": array((1,), dtype("V8", 3, "|", (dtype("O8"), (1,)), None, None, 8, 1, 0), EIGHT),
    "a list as a dtype": array((1,), Call("numpy.dtype", [("a", "O")], False, True), EIGHT),
    "text that names objects": array((1,), Call("numpy.dtype", "i4,O", False, True), b"A" * 12),
    "a size that is not the dtype's": array((1,), dtype("U2", 3, "<", None, None, None, 1 << 20, 4, 8), EIGHT),
    "more values than bytes": array((1 << 20,), dtype("f4"), EIGHT),
    "fewer values than bytes": array((1,), dtype("f4"), EIGHT),
    "a negative length": array((-1,), dtype("f8"), EIGHT),
    "lengths whose product wraps": array((1 << 61, 8), dtype("f8"), b""),
    "text as bytes": array((2,), dtype("f4"), "A" * 8),
    "no dtype": array((1,), "O", EIGHT),
    "a number cut short": Call("numpy._core.multiarray.scalar", dtype("f8"), EIGHT[:4]),
    "a number that is an object": Call("numpy.core.multiarray.scalar", dtype("O8"), EIGHT),
    "an array without values": Call("numpy._core.multiarray._reconstruct", Name("numpy.ndarray"), (0,), b"b"),
    "a tensor on an array without values": Call(
        "torch._utils._rebuild_device_tensor_from_numpy", Call("numpy.ndarray", (4,), "f8"), torch.float32, "cpu", False
    ),
    "a buffer": Call("numpy._core.numeric._frombuffer", EIGHT, dtype("f8"), (1,), "C"),
    "bytes by the number": Call("__builtin__.bytes", 1 << 40),
    "another function of NumPy": Call("numpy.load", "x.npy"),
    "another class": Call("builtins.memoryview", EIGHT),
    "a class by its constructor": Call("numpy.memmap", "x"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_refuses_what_a_crafted_file_would_read(tmp_path, name):
    crafted(tmp_path / "bad.pth", {"state_dict": {}, "meta": CRAFTED[name]})
    with pytest.raises(ValueError, match=r"bad\.pth") as caught:
        load_checkpoint(nn.Sequential(), tmp_path / "bad.pth")
    assert "documentation" not in str(caught.value) and "http" not in str(caught.value)


def test_an_array_is_set_once(tmp_path):
    twice = array((1,), dtype("f8"), EIGHT)
    written = pickled(twice) + pickled((1, (2,), dtype("f8"), False, EIGHT * 2)) + b"b"
    path = tmp_path / "bad.pth"
    crafted(path, {})
    with zipfile.ZipFile(path) as file:
        parts = {n: file.read(n) for n in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for n, part in parts.items():
            file.writestr(n, b"\x80\x02" + written + b"." if n.endswith("data.pkl") else part)
    with pytest.raises(ValueError, match="set twice"):
        load_checkpoint(nn.Sequential(), path)


def test_a_refusal_says_what_to_do(tmp_path):
    torch.save({"state_dict": {}, "meta": Harmful()}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=r"print.* Nothing of it was loaded\. If you trust the file, save its weights"):
        load_checkpoint(model(), tmp_path / "bad.pth")


@pytest.mark.parametrize("package", ["numpy.core", "numpy._core"])
def test_arrays_of_numpy_1_and_2(tmp_path, package):
    shared = array((2, 3), dtype("i4"), np.arange(6, dtype="<i4").tobytes(), True, package)
    number = Call(f"{package}.multiarray.scalar", dtype("f8"), np.float64(0.5).tobytes())
    meta = {"array": shared, "number": number, "dtype": dtype("f4", 3, ">", None, None, None, -1, -1, 0)}
    crafted(tmp_path / "net.pth", {"state_dict": {}, "meta": meta, "in": ((shared,),)})
    found = load_checkpoint(nn.Sequential(), tmp_path / "net.pth")
    for x in (found["meta"]["array"], found["in"][0][0]):
        assert type(x) is np.ndarray
        np.testing.assert_array_equal(x, np.arange(6).reshape(3, 2).T)
    assert found["meta"]["number"] == 0.5 and type(found["meta"]["number"]) is np.float64
    assert found["meta"]["dtype"] == np.dtype(">f4")


def test_arrays_of_every_allowed_dtype_come_back(tmp_path):
    arrays = [np.arange(6).reshape(2, 3).astype(code) for code in "?bhilqBHILQefdFD"]
    arrays += [np.array(["ab", "c"]), np.array([b"ab"]), np.zeros((0, 3)), np.array(3.0), np.asfortranarray(arrays[0])]
    arrays += [np.arange(3, dtype=">i2")]
    itself: list = [1]
    itself.append(itself)
    torch.save({"state_dict": model().state_dict(), "arrays": arrays, "itself": itself}, tmp_path / "net.pth")
    found = load_checkpoint(model(), tmp_path / "net.pth")
    for given, x in zip(arrays, found["arrays"], strict=True):
        assert type(x) is np.ndarray and x.dtype == given.dtype.newbyteorder("=") and x.flags.writeable
        np.testing.assert_array_equal(x, given)
    assert found["itself"][1] is found["itself"]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_checkpoint_is_named(tmp_path, zipped):
    """Cut, or with bytes changed: an error that names the file, or weights; never anything else."""
    content = {"state_dict": model().state_dict(), "meta": {"a": np.arange(6.0), "b": np.float32(2), "c": ["x"]}}
    torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "net.pth").read_bytes()
    rng = np.random.default_rng(0)
    damaged = [content[:length] for length in (0, 1, 20, *range(50, len(content), 97))]
    for _ in range(150):
        copy = bytearray(content)
        for where in rng.integers(0, len(copy) if rng.random() < 0.5 else 400, rng.integers(1, 5)):
            copy[where] = rng.integers(256)
        damaged.append(bytes(copy))
    for bad in damaged:
        (tmp_path / "bad.pth").write_bytes(bad)
        try:
            load_checkpoint(model(), tmp_path / "bad.pth")
        except (ValueError, RuntimeError) as error:
            assert "bad.pth" in str(error) or "state_dict" in str(error)
        else:
            assert len(bad) == len(content)


def test_several_threads_load_arrays_at_once(tmp_path):
    torch.save({"state_dict": model().state_dict(), "meta": np.arange(3)}, tmp_path / "net.pth")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: load_checkpoint(model(), tmp_path / "net.pth"), range(40)):
            np.testing.assert_array_equal(found["meta"], np.arange(3))


def test_names_that_do_not_fit(tmp_path, caplog):
    state = model().state_dict()
    state["extra"] = state.pop("0.bias")
    torch.save(state, tmp_path / "net.pth")
    with caplog.at_level(logging.WARNING):
        load_checkpoint(model(), tmp_path / "net.pth")
    assert "unexpected names" in caplog.text and "extra" in caplog.text
    assert "missing names" in caplog.text and "0.bias" in caplog.text
    with pytest.raises(RuntimeError, match="extra"):
        load_checkpoint(model(), tmp_path / "net.pth", strict=True)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds no weights"):
        load_checkpoint(model(), tmp_path / "list.pth")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_checkpoint(model(), tmp_path / "none.pth")


# ---- search for dilations --------------------------------------------------------------------------------------------
SEARCH = {
    "step": 0,
    "max_step": 12,
    "search_interval": 1,
    "exp_rate": 0.5,
    "init_alphas": 0.01,
    "mmin": 1,
    "mmax": 24,
    "num_branches": 2,
    "skip_layer": ["stem"],
}


def test_rates_around_a_dilation():
    assert expand_rates((1, 2), SEARCH) == [(1, 1), (2, 3)]
    assert expand_rates((2, 2), {**SEARCH, "num_branches": 3}) == [(1, 1), (2, 2), (3, 3)]
    assert expand_rates((1, 1), {**SEARCH, "num_branches": 3}) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("kernel", [3, 5, (1, 5)])
def test_search_operator_sums_its_branches(kernel):
    sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    conv = nn.Conv2d(3, 4, kernel, padding=tuple(k // 2 for k in sizes))
    op, x = Conv2dRFSearchOp(conv, SEARCH, verbose=False), torch.randn(1, 3, 16, 16)
    assert op.dilation_rates == ([(1, 1), (1, 2)] if sizes[0] == 1 else [(1, 1), (2, 2)])
    with torch.no_grad():
        op.branch_weights.copy_(torch.tensor([-0.1, 0.4]))
        wanted = 0
        for rate, share in zip(op.dilation_rates, (0.2, 0.8), strict=True):
            padding = tuple(d * (k - 1) // 2 for d, k in zip(rate, sizes, strict=True))
            wanted = wanted + share * nn.functional.conv2d(x, conv.weight, conv.bias, 1, padding, rate)
        torch.testing.assert_close(op(x), wanted, rtol=1e-5, atol=1e-5)
        op.estimate_rates()
        assert op.dilation_rates == [conv.dilation] == [(1 if sizes[0] == 1 else 2, 2)]
        assert op(x).shape == (1, 4, 16, 16)
        op.expand_rates()
        assert op.dilation_rates == ([(1, 1), (1, 3)] if sizes[0] == 1 else [(1, 1), (3, 3)])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3, padding=1)
        self.rows = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1))

    def forward(self, x):
        return self.rows(self.stem(x))


def test_hook_wraps_searches_and_fixes(tmp_path):
    net = Net()
    hook = RFSearchHook("search", {"search": dict(SEARCH)}, verbose=False)
    hook.init_model(net)
    assert isinstance(net.rows[0], Conv2dRFSearchOp)
    assert type(net.stem) is nn.Conv2d and type(net.rows[1]) is nn.Conv2d
    runner = type("Runner", (), {"model": nn.ModuleDict({"module": net}), "work_dir": str(tmp_path)})
    hook.after_train_iter(runner, 0)
    assert hook.config["search"]["step"] == 0
    hook.after_train_epoch(runner)
    found = json.loads((tmp_path / "local_search_config_step1.json").read_text())
    assert found["structure"] == {"module.rows.0": [2, 2]}
    assert net.rows[0].dilation_rates == [(1, 1), (3, 3)]

    path = str(tmp_path / "local_search_config_step1.json")
    fixed = Net()
    RFSearchHook("fixed_single_branch", {"search": dict(SEARCH)}, path, verbose=False).init_model(fixed)
    assert fixed.rows[0].dilation == (2, 2) and fixed.rows[0].padding == (2, 2)
    branches = Net()
    RFSearchHook("fixed_multi_branch", {"search": dict(SEARCH)}, path, verbose=False).init_model(branches)
    assert branches.rows[0].dilation_rates == [(1, 1), (3, 3)]
    with pytest.raises(ValueError, match="mode must be one of"):
        RFSearchHook("guess", {"search": dict(SEARCH)})
