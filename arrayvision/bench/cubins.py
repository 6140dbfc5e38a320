"""What compiled CUDA kernels take of a GPU and do, read from their code: `python -m arrayvision.bench.cubins [FILES]`.

No GPU is needed. A row is a kernel on an architecture: registers a thread, bytes of shared memory a block, occupancy at its
launch bound, and instructions by kind. `--record` writes them to bench/results/cubins, a file for each .cu file, with which a
test compares the code of today: a kernel that takes a tenth more, or fills a tenth less of a multiprocessor, fails it. With
NVIDIA's disassembler (Triton's package has it) the longest innermost loop is counted too, which is what a kernel with loops
spends its time in.

`--peer PATH` reads the same of another library's kernels, from its .cubin files, or from objects and libraries that CUDA's
cuobjdump (Triton's package has it too) takes apart, and prints them beside ours; `--only float` prints those whose names have
that, `--out FILE` writes both as JSON.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

from arrayvision import warmup
from arrayvision.cuda import cubin, nvrtc, runtime

RECORDS = pathlib.Path(__file__).parents[2] / "bench/results/cubins"
FIELDS = (
    "registers", "shared", "frame", "occupancy", "instructions", "loads", "loaded", "stores", "stored", "local", "atomics",
    "barriers", "doubles",
)  # fmt: skip
# What may grow beside a tenth: the compiler rounds registers, and a few instructions are no news.
SLACK = {
    "registers": 4,
    "shared": 64,
    "frame": 16,
    "instructions": 24,
    "loads": 2,
    "loaded": 16,
    "stores": 2,
    "stored": 16,
}
SLACK |= {"local": 4, "atomics": 0, "barriers": 0, "doubles": 8}


def read(file: str, arch: int) -> dict[str, dict[str, float]]:
    """FIELDS of each kernel of a .cu file, by expression."""
    kernels = warmup.cuda_kernels(file)
    code, symbols = kernels.compile(arch)
    rows = rows_of(code if isinstance(code, bytes) else code.read_bytes(), arch)
    return {expression: rows[symbol] for expression, symbol in symbols.items()}


def rows_of(content: bytes, arch: int, threads: int = 1024) -> dict[str, dict[str, float]]:
    """FIELDS of each kernel of a cubin, by symbol; occupancy for blocks of `threads`, where the kernel states no bound."""
    usage, counts = cubin.usage(content), cubin.instructions(content)
    found = {}
    for symbol, used in usage.items():
        count = counts[symbol]
        occupancy = round(cubin.MULTIPROCESSORS[arch].of(used, used.threads or threads), 3)
        row = used.registers, used.shared, used.frame, occupancy, count.all, *count[1:]
        found[symbol] = dict(zip(FIELDS, row, strict=True))
    return found


def peers(path: pathlib.Path, arch: int, threads: int) -> dict[str, dict[str, float]]:
    """FIELDS of each kernel of another library for an architecture, and its longest loop, by the name in its source.

    `path` is a file or a folder of files: cubins, or what cuobjdump takes apart.
    """
    found = {}
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            for content in _cubins(file):
                if cubin.architecture(content) == arch:
                    longest = _loops(content)
                    for symbol, row in rows_of(content, arch, threads).items():
                        row |= {"loop": longest[symbol]} if longest else {}
                        found[f"{file.stem}: {_plain(symbol)}"] = row
    return found


def _cubins(file: pathlib.Path) -> list[bytes]:
    """The cubins in a file: itself, or what lies in an object, a library or a fat binary."""
    content = file.read_bytes()
    if cubin.is_cubin(content):
        return [content]
    program = tool("cuobjdump")
    if program is None or not (content.startswith(b"\x7fELF") or file.suffix == ".fatbin"):
        return []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "-xelf", "all", str(file.resolve())], cwd=folder, capture_output=True, check=False)
        return [path.read_bytes() for path in sorted(pathlib.Path(folder).glob("*.cubin"))]


def _plain(symbol: str) -> str:
    """A symbol as the source has it, without its arguments, where c++filt is at hand."""
    program = shutil.which("c++filt")
    if program is None:
        return symbol
    text = subprocess.run([program, symbol], capture_output=True, text=True, check=True).stdout.strip()
    return re.sub(r"^(?:static )?void ", "", text.replace("(anonymous namespace)::", "")).split("(")[0]


def worse(before: dict[str, float], now: dict[str, float]) -> list[str]:
    """What a kernel takes a tenth more of than it did, in words."""
    found = [
        f"{field} {before[field]:g} -> {now[field]:g}"
        for field, slack in SLACK.items()
        if now[field] > 1.1 * before[field] + slack
    ]
    if now["occupancy"] < 0.9 * before["occupancy"]:
        found.append(f"occupancy {before['occupancy']:g} -> {now['occupancy']:g}")
    return found


def compiler() -> str:
    """NVRTC's version, on which all figures depend."""
    return ".".join(map(str, nvrtc.version()))


def record(file: str) -> None:
    """Write a file's figures for every architecture."""
    by_kernel: dict[str, dict[int, list[float]]] = {}
    for arch in runtime.ARCHITECTURES:
        for expression, row in read(file, arch).items():
            by_kernel.setdefault(expression, {})[arch] = list(row.values())
    rows = [
        f" {json.dumps(expression)}: {{\n" + ",\n".join(f'  "{a}": {json.dumps(v)}' for a, v in by_arch.items()) + "}"
        for expression, by_arch in by_kernel.items()
    ]
    head = f'{{"compiler": "NVRTC {compiler()}",\n"fields": {json.dumps(FIELDS)},\n"kernels": {{\n'
    RECORDS.mkdir(parents=True, exist_ok=True)
    (RECORDS / f"{file}.json").write_text(head + ",\n".join(rows) + "}}\n")


@functools.cache
def recorded(file: str) -> dict | None:
    """What `record` wrote; None for a file that nobody recorded."""
    path = RECORDS / f"{file}.json"
    return json.loads(path.read_text()) if path.exists() else None


@functools.cache
def tool(name: str) -> str | None:
    """One of NVIDIA's programs, from the path or out of Triton's package."""
    found = shutil.which(name)
    if found is None and (spec := importlib.util.find_spec("triton")) is not None and spec.origin is not None:
        path = pathlib.Path(spec.origin).parent / "backends/nvidia/bin" / name
        found = str(path) if path.exists() else None
    return found


def disassembler() -> str | None:
    """NVIDIA's nvdisasm."""
    return tool("nvdisasm")


_PLACE = re.compile(r"^(\.L_x_\w+):|/\*([0-9a-f]{4,})\*/\s+([^;]*);", re.MULTILINE)


def loops(file: str, arch: int) -> dict[str, int]:
    """The instructions of each kernel's longest innermost loop, 0 without one, by expression."""
    code, symbols = warmup.cuda_kernels(file).compile(arch)
    found = _loops(code if isinstance(code, bytes) else code.read_bytes())
    return {expression: found[symbol] for expression, symbol in symbols.items()} if found else {}


def _loops(content: bytes) -> dict[str, int]:
    """The same of a cubin, by symbol; nothing without a disassembler."""
    program = disassembler()
    if program is None:
        return {}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(content)
        file.flush()
        text = subprocess.run([program, "-c", file.name], capture_output=True, text=True, check=True).stdout
    found = {}
    for section in re.split(r"^\s*\.section\s+", text, flags=re.MULTILINE)[1:]:
        name = section.split(",")[0]
        if not name.startswith(".text."):
            continue
        labels: dict[str, int] = {}
        back: list[tuple[int, int]] = []
        k = 0
        for label, _, instruction in _PLACE.findall(section):
            if label:
                labels[label] = k
                continue
            k += 1
            if "BRA" in instruction and (to := re.search(r"`\((\.L_x_\w+)\)", instruction)) is not None:
                start = labels.get(to[1], k)
                if start < k - 1:  # not the branch to itself that ends each kernel
                    back.append((start, k))
        inner = [
            end - start
            for start, end in back
            if not any(start <= a and b <= end and (a, b) != (start, end) for a, b in back)
        ]
        found[name.removeprefix(".text.")] = max(inner, default=0)
    return found


def main() -> None:
    """Print the figures for an architecture, and record those of all if asked."""
    parser = argparse.ArgumentParser(
        prog="python -m arrayvision.bench.cubins", description="Figures of compiled kernels"
    )
    parser.add_argument("files", nargs="*", default=warmup.cuda_files(), help="files of kernels, nms for one (all)")
    parser.add_argument("--arch", type=int, default=90, choices=runtime.ARCHITECTURES, help="the one to print (90)")
    parser.add_argument("--record", action="store_true", help=f"write the figures for all of them to {RECORDS.name}/")
    parser.add_argument(
        "--peer", type=pathlib.Path, help="another library's code: a cubin, an object, or a folder of these"
    )
    parser.add_argument(
        "--threads", type=int, default=512, help="of the peer's blocks, where its kernels state no bound (512)"
    )
    parser.add_argument("--only", default="", help="a pattern that the kernels' names have somewhere")
    parser.add_argument("--out", type=pathlib.Path, help="a file for what was printed, as JSON")
    args = parser.parse_args()
    unknown = set(args.files) - set(warmup.cuda_files())
    if unknown:
        parser.error(f"unknown files of kernels: {', '.join(sorted(unknown))}")
    only = re.compile(args.only)
    theirs = {} if args.peer is None else peers(args.peer, args.arch, args.threads)
    if args.peer is not None and not theirs:
        parser.error(f"no code for sm_{args.arch} in {args.peer}")
    names = [*FIELDS, *(["loop"] if disassembler() else [])]
    print(f"sm_{args.arch}, NVRTC {compiler()}")
    print(f"{'kernel':72}", *(f"{name[:9]:>9}" for name in names))
    ours = {}
    for file in args.files:
        if args.record:
            record(file)
        longest = loops(file, args.arch)
        for expression, row in read(file, args.arch).items():
            if not only.search(f"{file}: {expression}"):
                continue
            row |= {"loop": longest[expression]} if longest else {}
            ours[f"{file}: {expression}"] = row
            _show(f"{file}: {expression}", row)
    if theirs:
        print(f"\n{args.peer.name}, occupancy for blocks of {args.threads} threads where a kernel states no bound")
    theirs = {kernel: row for kernel, row in theirs.items() if only.search(kernel)}
    for kernel, row in theirs.items():
        _show(kernel, row)
    if args.out is not None:
        _write(args.out, names, args.arch, ours, theirs)


def _show(name: str, row: dict[str, float]) -> None:
    print(f"{name:72}", *(f"{x:9g}" for x in row.values()), flush=True)


def _write(path: pathlib.Path, fields: list[str], arch: int, ours: dict, theirs: dict) -> None:
    """The figures as JSON, a kernel a line; those for other architectures that the file has stay."""
    known = json.loads(path.read_text()) if path.exists() else {}
    by_arch = known.get("architectures", {}) if known.get("fields") == fields else {}
    by_arch[f"sm_{arch}"] = {
        side: {k: list(v.values()) for k, v in rows.items()} for side, rows in (("ours", ours), ("peer", theirs))
    }
    told = [
        f' "{name}": {{\n'
        + ",\n".join(
            f'  "{side}": {{\n' + ",\n".join(f"   {json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items()) + "}"
            for side, rows in sides.items()
        )
        + "}"
        for name, sides in by_arch.items()
    ]
    head = f'{{"compiler": "NVRTC {compiler()}",\n"fields": {json.dumps(fields)},\n"architectures": {{\n'
    path.write_text(head + ",\n".join(told) + "}}\n")


if __name__ == "__main__":
    main()
