"""The program that the stand-in compiler gives for every kernel."""

import struct

ENTRY, TEXT_OFFSET = 0x5000, 128
RISCV, EXECUTABLE, LITTLE_ENDIAN_32_BIT = 243, 2, bytes([1, 1, 1, 0])
HEADER_SIZE, SEGMENT_SIZE, SECTION_SIZE = 52, 32, 40
_NAMES = b"\0.text\0.rela.text\0.symtab\0.strtab\0.shstrtab\0"


def empty_kernel() -> bytes:
    """An ELF file as ttnn's loader demands: a text segment first, sections, symbols, one section of relocations."""
    text = struct.pack("<IIII", 0x13, 0x13, 0x13, 0x8067)  # nop nop nop ret
    relocations = struct.pack("<IIi", ENTRY, (1 << 8) | 51, 0)  # R_RISCV_RELAX, which the loader ignores
    symbols = bytes(16) + struct.pack("<IIIBBH", 1, ENTRY, 4, 0x12, 0, 1)
    strings = b"\0_start\0"
    parts = (text, relocations, symbols, strings, _NAMES)
    places = [TEXT_OFFSET + sum(map(len, parts[:i])) for i in range(len(parts))]
    at_sections = (places[-1] + len(_NAMES) + 3) // 4 * 4

    sections = (
        bytes(SECTION_SIZE),
        _section(b".text", 1, 6, ENTRY, places[0], len(text), align=16),
        _section(b".rela.text", 4, 0x40, 0, places[1], len(relocations), link=3, info=1, align=4, entry=12),
        _section(b".symtab", 2, 0, 0, places[2], len(symbols), link=4, info=1, align=4, entry=16),
        _section(b".strtab", 3, 0, 0, places[3], len(strings)),
        _section(b".shstrtab", 3, 0, 0, places[4], len(_NAMES)),
    )
    header = b"\x7fELF" + LITTLE_ENDIAN_32_BIT + bytes(8)
    header += struct.pack("<HHIIIII", EXECUTABLE, RISCV, 1, ENTRY, HEADER_SIZE, at_sections, 0)
    header += struct.pack("<HHHHHH", HEADER_SIZE, SEGMENT_SIZE, 1, SECTION_SIZE, len(sections), len(sections) - 1)
    segment = struct.pack("<8I", 1, TEXT_OFFSET, ENTRY, ENTRY, len(text), len(text), 5, 16)
    body = (header + segment).ljust(TEXT_OFFSET, b"\0") + b"".join(parts)
    return body.ljust(at_sections, b"\0") + b"".join(sections)


def _section(
    name: bytes, kind: int, flags: int, address: int, offset: int, size: int,
    link: int = 0, info: int = 0, align: int = 1, entry: int = 0,
) -> bytes:  # fmt: skip
    at_name = _NAMES.index(b"\0" + name + b"\0") + 1
    return struct.pack("<10I", at_name, kind, flags, address, offset, size, link, info, align, entry)
