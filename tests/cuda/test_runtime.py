"""Compiling without a GPU, the cache of compiled code, and what launches are given."""

import pathlib
import shutil

import numpy as np
import pytest

from arrayvision import cache, warmup
from arrayvision.cuda import emulator, nvrtc, runtime

FILES = warmup.cuda_files()


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARRAYVISION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("arch", runtime.ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_every_file_compiles_for_every_architecture(file, arch):
    kernels = warmup.cuda_kernels(file)
    code, symbols = kernels.compile(arch)
    assert set(symbols) == set(kernels.expressions)
    content = code if isinstance(code, bytes) else code.read_bytes()
    assert content[:4] == b"\x7fELF"
    for symbol in symbols.values():
        assert symbol.encode() in content


def test_an_architecture_of_the_future_becomes_ptx(own_cache):
    code, symbols = warmup.cuda_kernels("bbox_overlaps").compile(199)
    text = code.read_bytes().decode().rstrip("\0")
    assert ".version" in text and f".target sm_{nvrtc.architectures()[-1]}" in text
    assert all(symbol in text for symbol in symbols.values())


def test_a_changed_source_or_header_is_compiled_anew(tmp_path, own_cache, monkeypatch):
    include = tmp_path / "include"
    shutil.copytree(runtime.INCLUDE, include)
    monkeypatch.setattr(runtime, "INCLUDE", include)
    (include / "number.cuh").write_text("constexpr int NUMBER = 1;\n")
    source = tmp_path / "own.cu"
    source.write_text('#include "prelude.cuh"\n#include "number.cuh"\n__global__ void own(int* x) { *x = NUMBER; }\n')
    monkeypatch.setattr(runtime, "OPTIONS", (*runtime.OPTIONS[:-1], f"-I{include}"))

    def files(count):
        code, _ = runtime.Kernels(source, ["own"]).compile(90)
        assert len(list(own_cache.rglob("*.bin"))) == count
        return code.read_bytes()

    def emulated():
        x = np.zeros(1, np.int32)
        runtime.Kernels(source, ["own"]).launch("own", (1,), x, block=1)
        return x[0]

    first = files(1)
    assert files(1) == first and emulated() == 1
    (include / "number.cuh").write_text("constexpr int NUMBER = 2;\n")
    second = files(2)
    assert second != first and emulated() == 2
    source.write_text(source.read_text().replace("*x = NUMBER", "*x = 3 * NUMBER"))
    assert files(3) not in (first, second) and emulated() == 6


DAMAGE = {"empty": lambda b: b"", "cut": lambda b: b[: len(b) // 2], "garbage": lambda b: b"\xff\x00" * (len(b) // 2)}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("suffix", ["json", "bin"])
def test_damaged_compiled_code_is_compiled_anew(own_cache, suffix, damage):
    kernels = warmup.cuda_kernels("points_in_polygons")
    code, symbols = kernels.compile(90)
    whole, damaged = code.read_bytes(), code.with_suffix("." + suffix)
    before = damaged.read_bytes()
    damaged.write_bytes(DAMAGE[damage](before))
    assert kernels.compile(90) == (code, symbols)
    assert damaged.read_bytes() == before and code.read_bytes() == whole


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("suffix", ["so", "sha256"])
def test_a_damaged_emulated_library_is_compiled_anew(tmp_path, own_cache, suffix, damage):
    source = tmp_path / "own.cu"
    source.write_text('#include "prelude.cuh"\n__global__ void own(int* x) { *x = 7; }\n')

    def emulated():
        x = np.zeros(1, np.int32)
        runtime.Kernels(source, ["own"]).launch("own", (1,), x, block=1)
        assert x[0] == 7
        (library,) = own_cache.rglob("*.so")
        return library

    library = emulated()
    damaged = library.with_suffix("." + suffix)
    content = DAMAGE[damage](damaged.read_bytes())
    damaged.unlink()  # the library is mapped into this process: the damaged one must be another file
    damaged.write_bytes(content)
    assert emulated() == library and emulator._whole(library)


def test_without_a_folder_to_write_kernels_compile_all_the_same(monkeypatch):
    monkeypatch.setattr(cache, "folder", lambda *parts: None)
    code, symbols = warmup.cuda_kernels("bbox_overlaps").compile(90)
    assert isinstance(code, bytes) and len(symbols) == 8


def test_a_source_that_does_not_compile_says_where(tmp_path):
    source = tmp_path / "broken.cu"
    source.write_text('#include "prelude.cuh"\n__global__ void broken(int* x) { *x = nothing; }\n')
    with pytest.raises(nvrtc.CompileError, match=r'broken.cu\(2\).*"nothing" is undefined'):
        runtime.Kernels(source, ["broken"]).compile(90)


def test_scalars_are_packed_as_declared():
    kernels = warmup.cuda_kernels("nms")
    assert kernels.parameters("score_keys<half_t, int>") == [np.int64, None, np.float32, np.bool_, None]
    assert kernels.parameters("score_keys<double, int64_t>")[2] is np.float64
    assert kernels.parameters("take_rows<float>")[:2] == [np.int64, np.int32]
    kinds = kernels.parameters("find_overlaps<AxisAligned<double>, double>")
    assert kinds[:3] == [np.int32] * 3 and kinds[6:9] == [np.float64, np.float64, np.int64]


def kernels_of(folder, text, *expressions):
    source = folder / "own.cu"
    source.write_text('#include "prelude.cuh"\n' + text)
    return runtime.Kernels(source, expressions)


def test_integers_of_every_width_are_packed(tmp_path):
    bits = (8, 16, 32, 64)
    types = [f"{sign}int{n}_t" for sign in ("", "u") for n in bits] + ["unsigned int"]
    parameters = ", ".join(f"{t} x{i}" for i, t in enumerate(types))
    kernels = kernels_of(tmp_path, f"__global__ void own({parameters}, int* out) {{ *out = x0; }}", "own")
    packed = [np.dtype(p).str[1:] for p in kernels.parameters("own")[:-1]]
    assert packed == ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "u4"]
    assert packed == list(kernels.emulated().kernels["own"][1])[:-1]
    out = np.zeros(1, np.int32)
    kernels.launch("own", 1, -3, *range(8), out)
    assert out[0] == -3


@pytest.mark.parametrize(
    "head",
    [
        "__global__ void __launch_bounds__(64)",
        "__global__ void __launch_bounds__(64, 2)",
        "__global__ __launch_bounds__(64) void",
        "__launch_bounds__(64) __global__ void",
        "__global__ void\n__launch_bounds__((2 * int(sizeof(T))) * 8)",
        "static __global__ void // of (few) threads {\n __launch_bounds__(64) /* __global__ void no() { */",
    ],
)
def test_launch_bounds_may_stand_where_compilers_take_them(tmp_path, head):
    kernels = kernels_of(tmp_path, f"template <class T>\n{head} own(T value, T* out) {{ *out = value; }}", "own<float>")
    assert kernels.parameters("own<float>") == [np.float32, None]
    out = np.zeros(1, np.float32)
    kernels.launch("own<float>", 1, 2.5, out, block=32)
    assert out[0] == 2.5
    assert kernels.bound("own<float>") == (None if "sizeof" in head else 64)
    kernels.compile(90)


def test_a_block_beyond_the_launch_bound_is_refused(tmp_path):
    """On a GPU it would fail; in the emulator it would pass."""
    text = "constexpr int MOST = 96;\n__global__ void __launch_bounds__(MOST) own(int* out) { *out = blockDim.x; }"
    kernels, out = kernels_of(tmp_path, text, "own"), np.zeros(1, np.int32)
    kernels.launch("own", (1,), out, block=96)
    assert out[0] == 96
    with pytest.raises(ValueError, match="own has a launch bound of 96 threads a block, not 128"):
        kernels.launch("own", (1,), out, block=128)


@pytest.mark.parametrize(
    "path", sorted([*runtime.HERE.glob("*.cu"), *runtime.INCLUDE.glob("*.cuh")]), ids=lambda path: path.name
)
def test_every_kernel_states_its_launch_bound(path):
    """Without one, the compiler takes registers as if blocks were small, and large ones can't be launched."""
    text = path.read_text()
    assert text.count("__global__ void __launch_bounds__(") == text.count("__global__")


def test_kernels_are_read_from_the_file_and_then_from_what_it_includes(tmp_path, monkeypatch):
    include = tmp_path / "include"
    shutil.copytree(runtime.INCLUDE, include)
    monkeypatch.setattr(runtime, "INCLUDE", include)
    (include / "outer.cuh").write_text('#pragma once\n#include "inner.cuh"\n__global__ void outer(float x) {}\n')
    (include / "inner.cuh").write_text('#pragma once\n#include "outer.cuh"\n__global__ void inner(double x) {}\n')
    (include / "another.cuh").write_text("__global__ void own(bool x) {}\n__global__ void alone(bool x) {}\n")
    text = '#include "outer.cuh"\n// #include "another.cuh"\n#if 0\n__global__ void inner(int x) {}\n#endif\n'
    kernels = kernels_of(tmp_path, text + "__global__ void own(int64_t x) {}\n")
    assert kernels.parameters("own") == [np.int64] and kernels.parameters("outer") == [np.float32]
    assert kernels.parameters("inner") == [np.int32]  # the file's own
    with pytest.raises(KeyError):
        kernels.parameters("alone")


@pytest.mark.parametrize("file", FILES)
def test_declared_types_are_those_that_the_compiler_sees(file):
    """The emulator's signatures come from the C++ compiler, the runtime's from the source's text."""
    kernels = warmup.cuda_kernels(file)
    for expression, (_, signature) in kernels.emulated().kernels.items():
        declared = [p and np.dtype(p).str[1:] for p in kernels.parameters(expression)]
        assert declared == [None if s[0] == "*" else s for s in signature], expression


def test_nothing_is_launched_for_nothing():
    warmup.cuda_kernels("nms").launch(
        "compose", 0, 0, np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
    )


def test_every_kernel_of_every_file_is_listed():
    """A kernel that is not instantiated is not compiled, and so not tested."""
    for file in FILES:
        kernels = warmup.cuda_kernels(file)
        used = {e.split("<")[0] for e in kernels.expressions}
        source = pathlib.Path(kernels.source).read_text()
        assert source.count("__global__") == len(runtime.declared(source)), file
        for name in runtime.declared(source):
            assert name in used, f"{file}: {name}"
