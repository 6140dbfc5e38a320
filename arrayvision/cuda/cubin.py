"""Reads what a compiled kernel takes of a GPU from NVRTC's output, an ELF file: nothing of CUDA's is needed."""

import struct
from typing import NamedTuple

REGISTERS = 65536  # of a multiprocessor, and the most that a block may have

# Attributes in sections .nv.info (of all functions, each value after its symbol's number) and .nv.info.NAME
_MAX_THREADS, _FRAME_SIZE, _MIN_STACK_SIZE, _REGISTER_COUNT = 0x05, 0x11, 0x12, 0x2F
_CUDA = 190  # the machine of CUDA's ELF files
_NEW_FLAGS = 65  # the version of their layout from which on flags have the architecture 8 bits higher
_NO_CONTENT = 8  # the type of sections that have a size, but no bytes in the file
_SIZED = 4  # the format of an attribute whose value has a length of its own; others' is two bytes

# An instruction has 16 bytes on every architecture from sm_75 on. The lowest 9 bits tell what it does, the same on all of
# them; bits 73 to 75 how much a load or a store moves.
_INSTRUCTION = 16
_NOTHING, _BRANCH = 0x118, 0x147
_LOAD, _STORE = 0x181, 0x186  # global memory
_KINDS = {
    0x183: "local", 0x187: "local", 0x11D: "barriers", 0x18E: "atomics", 0x1A6: "atomics", 0x1A8: "atomics", 0x1A9: "atomics",
    0x1A3: "atomics", 0x028: "doubles", 0x029: "doubles", 0x02B: "doubles", 0x02A: "doubles",
}  # fmt: skip
_WIDTHS = (1, 1, 2, 2, 4, 8, 16)  # bytes


class Usage(NamedTuple):
    """What a kernel takes."""

    registers: int  # a thread
    shared: int  # bytes a block, without what a launch adds
    frame: int  # bytes a thread, in local memory: arrays that aren't in registers, and registers spilled
    stack: int  # the same with what the functions that it calls take
    threads: int | None  # the most of a block: its launch bound, or None

    def fits(self) -> bool:
        """Whether a multiprocessor has the registers for a block as large as the launch bound."""
        registers, threads = -(-self.registers // 8) * 8, -(-(self.threads or 1024) // 32) * 32
        return registers * threads <= REGISTERS


class Occupancy(NamedTuple):
    """What a multiprocessor holds at once: warps, blocks, bytes of shared memory, and those that it takes for each block."""

    warps: int
    blocks: int
    shared: int
    each: int

    def of(self, used: Usage, threads: int, dynamic: int = 0) -> float:
        """The share of a multiprocessor's warps that blocks of so many threads fill."""
        warps = -(-threads // 32)
        by_registers = REGISTERS // (-(-used.registers * 32 // 256) * 256 * -(-warps // 4) * 4)
        shared = used.shared + dynamic + self.each
        return min(self.warps // warps, self.blocks, by_registers, self.shared // max(shared, 1)) * warps / self.warps


# CUDA C++ Programming Guide, technical specifications for each compute capability
MULTIPROCESSORS = {
    75: Occupancy(32, 16, 64 << 10, 0),
    80: Occupancy(64, 32, 164 << 10, 1024),
    86: Occupancy(48, 16, 100 << 10, 1024),
    89: Occupancy(48, 24, 100 << 10, 1024),
    90: Occupancy(64, 32, 228 << 10, 1024),
    100: Occupancy(64, 32, 228 << 10, 1024),
    120: Occupancy(48, 24, 100 << 10, 1024),
}


class Instructions(NamedTuple):
    """How many a kernel's code has, each counted once however often it runs."""

    all: int  # but those that fill the code up
    loads: int  # of global memory
    loaded: int  # bytes that these move a thread
    stores: int
    stored: int
    local: int  # loads and stores of frames: arrays that aren't in registers, and registers spilled
    atomics: int
    barriers: int
    doubles: int  # sums and products in float64, slow on most cards


def instructions(content: bytes) -> dict[str, Instructions]:
    """Each kernel's, by symbol."""
    found = {}
    for name, _, at, size in _headers(content):
        if not name.startswith(".text."):
            continue
        code = [struct.unpack_from("<QQ", content, k) for k in range(at, at + size, _INSTRUCTION)]
        while code and code[-1][0] & 0x1FF in (_NOTHING, _BRANCH):  # a branch to itself, and what fills the last line
            code.pop()
        counts = dict.fromkeys(Instructions._fields, 0)
        counts["all"] = len(code)
        for low, high in code:
            kind = low & 0x1FF
            if kind in (_LOAD, _STORE):
                many, bytes_ = ("loads", "loaded") if kind == _LOAD else ("stores", "stored")
                counts[many] += 1
                counts[bytes_] += _WIDTHS[min(high >> 9 & 7, 6)]
            elif kind in _KINDS:
                counts[_KINDS[kind]] += 1
        found[name.removeprefix(".text.")] = Instructions(**counts)
    return found


def is_cubin(content: bytes) -> bool:
    """Whether it is an ELF file of CUDA's."""
    return content[:5] == b"\x7fELF\x02" and struct.unpack_from("<H", content, 18)[0] == _CUDA


def architecture(content: bytes) -> int:
    """Which one it is for, 90 for 9.0."""
    (flags,) = struct.unpack_from("<I", content, 48)
    return flags >> 8 & 0xFF if content[7] >= _NEW_FLAGS else flags & 0xFF


def usage(content: bytes) -> dict[str, Usage]:
    """Each kernel's, by symbol."""
    headers = _headers(content)
    sizes = {name: size for name, _, _, size in headers}
    sections = {name: content[at : at + size] for name, kind, at, size in headers if kind != _NO_CONTENT}
    reserved = 1024 if ".nv.shared.reserved.0" in sizes else 0  # what CUDA takes for itself, from sm_90 on
    symbols = [
        _text(sections[".strtab"], struct.unpack_from("<I", sections[".symtab"], at)[0])
        for at in range(0, len(sections[".symtab"]), 24)
    ]
    of_all: dict[tuple[str, int], int] = {}
    for attribute, value in _attributes(sections[".nv.info"]):
        if len(value) == 8:
            number, x = struct.unpack("<II", value)
            of_all[symbols[number], attribute] = x
    found = {}
    for section in sections:
        if section.startswith(".nv.info."):  # only kernels have one
            name = section.removeprefix(".nv.info.")
            own = dict(_attributes(sections[section]))
            bound = struct.unpack("<3I", own[_MAX_THREADS]) if _MAX_THREADS in own else None
            found[name] = Usage(
                of_all[name, _REGISTER_COUNT],
                max(0, sizes.get(f".nv.shared.{name}", 0) - reserved),
                of_all.get((name, _FRAME_SIZE), 0),
                of_all.get((name, _MIN_STACK_SIZE), 0),
                bound[0] * bound[1] * bound[2] if bound else None,
            )
    return found


def _headers(content):
    """(name, type, offset, size) of each section."""
    if content[:5] != b"\x7fELF\x02":
        raise ValueError("not a 64-bit ELF file")
    (start,) = struct.unpack_from("<Q", content, 40)
    count, names = struct.unpack_from("<HH", content, 60)
    headers = [struct.unpack_from("<IIQQQQ", content, start + 64 * i) for i in range(count)]
    return [(_text(content, headers[names][4] + h[0]), h[1], h[4], h[5]) for h in headers]


def _text(content, at):
    return content[at : content.index(b"\0", at)].decode()


def _attributes(section):
    """(attribute, its value's bytes) in turn."""
    at = 0
    while at + 4 <= len(section):
        form, attribute, size = struct.unpack_from("<BBH", section, at)
        at += 4
        if form == _SIZED:
            yield attribute, section[at : at + size]
            at += size
        else:
            yield attribute, struct.pack("<H", size)
