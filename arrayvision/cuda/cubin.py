"""Reads what a compiled kernel takes of a GPU from NVRTC's output, an ELF file: nothing of CUDA's is needed."""

import struct
from typing import NamedTuple

REGISTERS = 65536  # of a multiprocessor, and the most that a block may have

# Attributes in sections .nv.info (of all functions, each value after its symbol's number) and .nv.info.NAME
_MAX_THREADS, _FRAME_SIZE, _MIN_STACK_SIZE, _REGISTER_COUNT = 0x05, 0x11, 0x12, 0x2F
_NO_CONTENT = 8  # the type of sections that have a size, but no bytes in the file
_SIZED = 4  # the format of an attribute whose value has a length of its own; others' is two bytes


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
