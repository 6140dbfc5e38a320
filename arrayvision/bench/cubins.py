"""What compiled CUDA kernels take of a GPU and do, read from their code: `python -m arrayvision.bench.cubins [FILES]`.

No GPU is needed. A row is a kernel on an architecture: registers a thread, bytes of shared memory a block, occupancy at its
launch bound, and instructions by kind. `--record` writes them to bench/results/cubins, a file for each .cu file, with which a
test compares the code of today: a kernel that takes a tenth more, or fills a tenth less of a multiprocessor, fails it. With
NVIDIA's disassembler (Triton's package has it) the longest innermost loop is counted too, which is what a kernel with loops
spends its time in.
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
    content = code if isinstance(code, bytes) else code.read_bytes()
    usage, counts = cubin.usage(content), cubin.instructions(content)
    found = {}
    for expression, symbol in symbols.items():
        used, count = usage[symbol], counts[symbol]
        occupancy = round(cubin.MULTIPROCESSORS[arch].of(used, used.threads or 1024), 3)
        row = used.registers, used.shared, used.frame, occupancy, count.all, *count[1:]
        found[expression] = dict(zip(FIELDS, row, strict=True))
    return found


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
def disassembler() -> str | None:
    """NVIDIA's nvdisasm, from the path or out of Triton's package."""
    found = shutil.which("nvdisasm")
    if found is None and (spec := importlib.util.find_spec("triton")) is not None and spec.origin is not None:
        path = pathlib.Path(spec.origin).parent / "backends/nvidia/bin/nvdisasm"
        found = str(path) if path.exists() else None
    return found


_PLACE = re.compile(r"^(\.L_x_\w+):|/\*([0-9a-f]{4,})\*/\s+([^;]*);", re.MULTILINE)


def loops(file: str, arch: int) -> dict[str, int]:
    """The instructions of each kernel's longest innermost loop, 0 without one, by expression."""
    code, symbols = warmup.cuda_kernels(file).compile(arch)
    program = disassembler()
    if program is None or isinstance(code, bytes):
        return {}
    text = subprocess.run([program, "-c", str(code)], capture_output=True, text=True, check=True).stdout
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
    return {expression: found[symbol] for expression, symbol in symbols.items()}


def main() -> None:
    """Print the figures for an architecture, and record those of all if asked."""
    parser = argparse.ArgumentParser(
        prog="python -m arrayvision.bench.cubins", description="Figures of compiled kernels"
    )
    parser.add_argument("files", nargs="*", default=warmup.cuda_files(), help="files of kernels, nms for one (all)")
    parser.add_argument("--arch", type=int, default=90, choices=runtime.ARCHITECTURES, help="the one to print (90)")
    parser.add_argument("--record", action="store_true", help=f"write the figures for all of them to {RECORDS.name}/")
    args = parser.parse_args()
    unknown = set(args.files) - set(warmup.cuda_files())
    if unknown:
        parser.error(f"unknown files of kernels: {', '.join(sorted(unknown))}")
    names = [*FIELDS, *(["loop"] if disassembler() else [])]
    print(f"sm_{args.arch}, NVRTC {compiler()}")
    print(f"{'kernel':72}", *(f"{name[:9]:>9}" for name in names))
    for file in args.files:
        if args.record:
            record(file)
        longest = loops(file, args.arch)
        for expression, row in read(file, args.arch).items():
            figures = [*row.values(), *([longest[expression]] if longest else [])]
            print(f"{file + ': ' + expression:72}", *(f"{x:9g}" for x in figures), flush=True)


if __name__ == "__main__":
    main()
