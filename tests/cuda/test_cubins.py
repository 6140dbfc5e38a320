"""What compiled kernels take of a GPU, read from the code: what can't be launched, or spills, shows without one."""

import json
import re
import shutil
import subprocess

import pytest

from arrayvision import warmup
from arrayvision.bench import cubins
from arrayvision.cuda import cubin, nvrtc, runtime

SPILLED = 32  # bytes a thread: a few registers, differently with each architecture and version of the compiler
SINES = 80  # the digits of pi by which sin and cos reduce a huge angle, and a few registers
FRAMES = {  # larger ones, at most, and why
    ("boxes_in_space", "all_pairs"): SINES,
    ("convex_iou", "all_pairs"): 800,  # corners of polygons, of which clipping takes the i-th
    ("convex_iou", "gious"): 1024,  # the same, of hulls of 13 points and their gradients
    ("diff_iou_rotated", "ious"): 256,  # corners
    ("diff_iou_rotated", "gradients"): 320,  # corners and their gradients
    ("min_area_polygons", "rectangles"): 288,  # corners of a hull
    ("points_in_boxes", "prepare"): SINES,
    ("rotated_boxes", "prepare"): SINES,
    ("riroi_align_rotated", "pool_turned"): SINES,
    ("riroi_align_rotated", "pool_turned_last"): SINES,
    ("riroi_align_rotated", "spread"): SINES,
    ("riroi_align_rotated", "spread_samples"): SINES,
    ("riroi_align_rotated", "gather_in_order"): SINES,
    ("riroi_align_rotated", "find_extents"): SINES,
    ("roiaware_pool3d", "count_members"): SINES,
    ("roiaware_pool3d", "find_cells"): SINES,
    ("roiaware_pool3d", "list_members"): SINES,
    ("roipoint_pool3d", "count_members"): SINES,
    ("roipoint_pool3d", "list_members"): SINES,
    ("roi_align_rotated", "pool"): SINES,
    ("roi_align_rotated", "pool_last"): SINES,
    ("roi_align_rotated", "pool_samples"): SINES,
    ("roi_align_rotated", "spread"): SINES,
    ("roi_align_rotated", "spread_samples"): SINES,
    ("roi_align_rotated", "gather_in_order"): SINES,
    ("roi_align_rotated", "find_extents"): SINES,
    ("rotated_boxes", "rank_few"): SINES,
    ("rotated_boxes", "suppress_few"): SINES,
    ("rotated_boxes", "aligned_pairs"): SINES,
    ("rotated_boxes", "all_pairs"): 128,  # the same, or corners where Pairs don't tell
    ("rotated_feature_align", "align"): SINES,
    ("rotated_feature_align", "spread_aligned"): SINES,
}


def read(code):
    return cubin.usage(code if isinstance(code, bytes) else code.read_bytes())


@pytest.mark.parametrize("arch", runtime.ARCHITECTURES)
@pytest.mark.parametrize("file", warmup.cuda_files())
def test_every_kernel_can_be_launched_on_every_architecture(file, arch):
    kernels = warmup.cuda_kernels(file)
    code, symbols = kernels.compile(arch)
    usage = read(code)
    assert set(usage) == set(symbols.values())
    for expression, symbol in symbols.items():
        used, name = usage[symbol], expression.split("<")[0]
        assert used.fits(), (expression, used)
        assert used.shared <= 48 << 10, (expression, used)
        assert used.threads == kernels.bound(expression), (expression, used)
        assert used.frame <= FRAMES.get((file, name), SPILLED), (expression, used)
        assert used.stack == used.frame, f"{expression} calls a function that has a frame: {used}"


@pytest.mark.parametrize("file", sorted(path.stem for path in cubins.RECORDS.glob("*.json")))
def test_no_kernel_takes_a_tenth_more_than_was_recorded(file):
    known = cubins.recorded(file)
    if known["compiler"] != f"NVRTC {cubins.compiler()}":
        pytest.skip(f"recorded with {known['compiler']}, here is NVRTC {cubins.compiler()}")
    assert tuple(known["fields"]) == cubins.FIELDS
    found = []
    for arch in runtime.ARCHITECTURES:
        for expression, now in cubins.read(file, arch).items():
            before = known["kernels"].get(expression)
            if before is None:
                found.append(f"{expression} isn't recorded")
                continue
            worse = cubins.worse(dict(zip(cubins.FIELDS, before[str(arch)], strict=True)), now)
            found += [f"{expression}, sm_{arch}: {', '.join(worse)}"] * bool(worse)
    gone = set(known["kernels"]) - set(warmup.cuda_kernels(file).expressions)
    found += [f"{expression} is no more" for expression in gone]
    told = "\n".join(sorted(set(found)))
    assert not found, f"{told}\nIf that is meant: python -m arrayvision.bench.cubins {file} --record"


def test_what_is_worse_is_told():
    before = dict.fromkeys(cubins.FIELDS, 100.0)
    assert cubins.worse(before, {**before, "registers": 114, "occupancy": 90, "atomics": 110, "doubles": 1}) == []
    now = {**before, "registers": 115, "occupancy": 89, "atomics": 111}
    assert cubins.worse(before, now) == ["registers 100 -> 115", "atomics 100 -> 111", "occupancy 100 -> 89"]


@pytest.mark.parametrize("arch", (75, 86, 90))
def test_occupancy_follows_from_registers_blocks_and_shared_memory(arch):
    card = cubin.MULTIPROCESSORS[arch]
    assert card.of(cubin.Usage(32, 0, 0, 0, 256), 256) == 1
    assert card.of(cubin.Usage(128, 0, 0, 0, 256), 256) == 16 / card.warps  # two blocks of 8 warps have all registers
    assert card.of(cubin.Usage(255, 0, 0, 0, 256), 512) == 0  # too many
    assert card.of(cubin.Usage(16, 0, 0, 0, 32), 32) == card.blocks / card.warps
    assert card.of(cubin.Usage(16, 40 << 10, 0, 0, 64), 64) == card.shared // ((40 << 10) + card.each) * 2 / card.warps


@pytest.mark.parametrize("arch", (75, 90, 120))
def test_instructions_are_those_of_the_source(tmp_path, arch):
    source = tmp_path / "own.cu"
    source.write_text(
        '#include "prelude.cuh"\n'
        "struct __align__(16) Four { float a, b, c, d; };\n"
        "__global__ void own(const Four* x, const half_t* y, double* z, Four* out, int* count) {\n"
        "  Four f = x[threadIdx.x];\n"
        "  f.a += float(y[threadIdx.x]);\n"
        "  __syncthreads();\n"
        "  out[threadIdx.x] = f;\n"
        "  z[threadIdx.x] = z[threadIdx.x] * 3.0 + 1.0;\n"
        "  atomicAdd(count + threadIdx.x, int(f.b));\n"
        "}\n"
    )
    kernels = runtime.Kernels(source, ["own"])
    code, symbols = kernels.compile(arch)
    found = cubin.instructions(code.read_bytes())[symbols["own"]]
    assert found.loads == 3 and found.loaded == 16 + 2 + 8
    assert found.stores == 2 and found.stored == 16 + 8
    assert found.barriers == 1 and found.atomics == 1 and found.doubles == 2 and found.local == 0
    assert 20 < found.all < 100


@pytest.mark.skipif(cubins.disassembler() is None, reason="no nvdisasm (Triton's package has one)")
@pytest.mark.parametrize("arch", (75, 90, 120))
def test_instructions_are_those_of_the_disassembler(arch):
    code, symbols = warmup.cuda_kernels("nms").compile(arch)
    text = subprocess.run([cubins.disassembler(), "-c", code], capture_output=True, text=True, check=True).stdout
    found = cubin.instructions(code.read_bytes())
    for section in re.split(r"^\s*\.section\s+", text, flags=re.MULTILINE)[1:]:
        name = section.split(",")[0].removeprefix(".text.")
        if name in symbols.values():
            names = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)", section)
            while names[-1] in ("NOP", "BRA"):
                names.pop()
            here = found[name]
            assert here.all == len(names)
            assert (here.loads, here.stores, here.barriers) == tuple(names.count(x) for x in ("LDG", "STG", "BAR"))
    loops = cubins.loops("nms", arch)
    assert loops.keys() == symbols.keys() and 0 < loops["compose"] < found[symbols["compose"]].all


PEER = (
    "template <class T> __global__ void __launch_bounds__(96) twice(T* x) { x[threadIdx.x] *= 2; }\n"
    "template __global__ void twice<double>(double*);\n"
    "__global__ void shared(float* x) {\n"
    "  __shared__ float all[64];\n"
    "  all[threadIdx.x] = x[threadIdx.x];\n"
    "  __syncthreads();\n"
    "  x[threadIdx.x] = all[63 - threadIdx.x];\n"
    "}\n"
)


def check_peer(found, file):
    name = f"{file}: twice<double>" if f"{file}: twice<double>" in found else f"{file}: _Z5twiceIdEvPT_"
    twice = found[name]
    assert twice["doubles"] == 1 and twice["loaded"] == twice["stored"] == 8 and twice["barriers"] == 0
    (other,) = (row for key, row in found.items() if key.startswith(f"{file}: ") and "shared" in key)
    assert other["shared"] == 256 and other["barriers"] == 1 and other["doubles"] == 0
    assert len(found) == 2


def test_another_library_is_read_beside_ours(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for arch in (75, 90, 120):
        content, _ = nvrtc.compile(PEER, "peer.cu", ["twice<double>", "shared"], ("-std=c++17",), arch)
        assert cubin.is_cubin(content) and cubin.architecture(content) == arch
        (folder / f"peer-{arch}.cubin").write_bytes(content)
    (folder / "notes.txt").write_text("not code")
    check_peer(cubins.peers(folder, 90, 256), "peer-90")
    check_peer(cubins.peers(folder / "peer-75.cubin", 75, 256), "peer-75")
    assert cubins.peers(folder, 90, 256)["peer-90: shared"]["occupancy"] == 1
    out = tmp_path / "both.json"
    for arch in ("90", "75"):
        given = ["cubins", "tin_shift", "--arch", arch, "--peer", str(folder), "--out", str(out)]
        monkeypatch.setattr("sys.argv", given)
        cubins.main()
        printed = capsys.readouterr().out
        assert "tin_shift: copy_groups<float, 4," in printed and f"peer-{arch}: " in printed
    written = json.loads(out.read_text())
    assert set(written["architectures"]) == {"sm_75", "sm_90"}
    for arch, sides in written["architectures"].items():
        assert len(sides["ours"]) == len(warmup.cuda_kernels("tin_shift").expressions) and len(sides["peer"]) == 2
        assert {len(row) for rows in sides.values() for row in rows.values()} == {len(written["fields"])}, arch
    monkeypatch.setattr("sys.argv", ["cubins", "tin_shift", "--peer", str(folder), "--only", "float|shared"])
    cubins.main()
    printed = capsys.readouterr().out
    assert "copy_groups<float" in printed and "peer-90: shared" in printed
    assert "copy_groups<double" not in printed and "peer-90: twice" not in printed
    monkeypatch.setattr("sys.argv", ["cubins", "tin_shift", "--arch", "80", "--peer", str(folder)])
    with pytest.raises(SystemExit):
        cubins.main()
    assert "no code for sm_80 in" in capsys.readouterr().err


@pytest.mark.skipif(
    shutil.which("nvcc") is None or cubins.tool("cuobjdump") is None,
    reason="needs nvcc and cuobjdump, of CUDA's toolkit",
)
def test_objects_of_another_library_are_taken_apart(tmp_path):
    source = tmp_path / "peer.cu"
    source.write_text(PEER)
    codes = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in (80, 90)]
    subprocess.run(["nvcc", *codes, "-c", str(source), "-o", str(tmp_path / "peer.o")], check=True)
    for arch in (80, 90):
        check_peer(cubins.peers(tmp_path / "peer.o", arch, 256), "peer")
    assert cubins.peers(tmp_path / "peer.o", 75, 256) == {}


def test_a_kernel_that_takes_too_much_does_not_fit():
    assert cubin.Usage(64, 0, 0, 0, 1024).fits() and not cubin.Usage(65, 0, 0, 0, 1024).fits()
    assert cubin.Usage(255, 0, 0, 0, 256).fits() and not cubin.Usage(255, 0, 0, 0, 257).fits()
    assert not cubin.Usage(65, 0, 0, 0, None).fits()  # without a bound, blocks may have 1,024 threads


@pytest.mark.parametrize("arch", (75, 90, 120))
def test_what_is_read_is_what_the_source_says(tmp_path, arch):
    source = tmp_path / "own.cu"
    source.write_text(
        '#include "prelude.cuh"\n'
        "__global__ void __launch_bounds__(96) own(int* x, const int* at) {\n"
        "  __shared__ int shared[250];\n"
        "  int local[40];\n"
        "  for (int i = 0; i < 40; ++i) local[at[i]] = x[i];\n"
        "  shared[threadIdx.x] = x[threadIdx.x];\n"
        "  __syncthreads();\n"
        "  x[threadIdx.x] = shared[at[threadIdx.x]] + local[at[41]];\n"
        "}\n"
        "__global__ void plain(int* x) { *x = 1; }\n"
    )
    kernels = runtime.Kernels(source, ["own", "plain"])
    code, symbols = kernels.compile(arch)
    usage = read(code)
    own, plain = usage[symbols["own"]], usage[symbols["plain"]]
    assert own.shared == 1000 and own.frame == own.stack == 160 and own.threads == 96
    assert 8 <= own.registers <= 255
    assert plain[1:] == (0, 0, 0, None) and plain.registers < own.registers


def test_other_files_are_refused():
    for content in (b"", b"//\n.version 9.0\n", b"\x7fELF\x01" + bytes(100)):
        with pytest.raises(ValueError, match="not a 64-bit ELF file"):
            cubin.usage(content)
