"""As much of FlatBuffers as a tensor's header needs: https://flatbuffers.dev/internals

A table starts with the distance back to its vtable: u16 size of the vtable, u16 size of the table, then for each field
its offset in the table, 0 where the field is left out. References are u32 distances forward. All is little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scalar:
    """A field that is left out of the table where its value is 0. `code` is a character of `struct`."""

    code: str
    value: int


@dataclass(frozen=True)
class Reference:
    """A field that points to an object written before: its position, as the builder's methods return it."""

    position: int


class Builder:
    """Writes from the end to the start in the order of Google's C++ builder, so that equal content is equal bytes.

    Positions count from the end of the buffer.
    """

    def __init__(self) -> None:
        self._data = b""
        self._vtables: dict[bytes, int] = {}

    def numbers(self, values: Sequence[int]) -> int:
        """A vector of u32."""
        self._align(4, 4 * len(values))
        return self._push(struct.pack(f"<{1 + len(values)}I", len(values), *values))

    def references(self, positions: Sequence[int]) -> int:
        """A vector of references."""
        self._align(4, 4 * len(positions))
        for position in reversed(positions):
            self._push_reference(position)
        return self._push(struct.pack("<I", len(positions)))

    def record(self, *values: int) -> int:
        """A struct of u64."""
        self._align(8)
        return self._push(struct.pack(f"<{len(values)}Q", *values))

    def table(self, *fields: Scalar | Reference) -> int:
        """A table. The widest fields come last in memory, among equals those with the highest number first."""
        end = len(self._data)
        widths = [4 if isinstance(field, Reference) else struct.calcsize(field.code) for field in fields]
        positions = [0] * len(fields)
        for number in sorted(range(len(fields)), key=lambda n: (widths[n], n), reverse=True):
            field = fields[number]
            if isinstance(field, Reference):
                self._align(4)
                positions[number] = self._push_reference(field.position)
            elif field.value:
                self._align(widths[number])
                positions[number] = self._push(struct.pack(f"<{field.code}", field.value))
        self._align(4)
        start = self._push(bytes(4))
        while positions and not positions[-1]:
            positions.pop()
        offsets = [start - position if position else 0 for position in positions]
        vtable = struct.pack(f"<{2 + len(offsets)}H", 4 + 2 * len(offsets), start - end, *offsets)
        if vtable not in self._vtables:
            self._vtables[vtable] = self._push(vtable)
        distance = struct.pack("<i", self._vtables[vtable] - start)
        at = len(self._data) - start
        self._data = self._data[:at] + distance + self._data[at + 4 :]
        return start

    def finish(self, root: int) -> bytes:
        """The whole buffer, its start aligned to 8 bytes."""
        self._align(8, 4)
        self._push_reference(root)
        return self._data

    def _push(self, data: bytes) -> int:
        self._data = data + self._data
        return len(self._data)

    def _push_reference(self, position: int) -> int:
        return self._push(struct.pack("<I", len(self._data) + 4 - position))

    def _align(self, alignment: int, after: int = 0) -> None:
        """Pads so that the start is aligned once `after` more bytes are written."""
        self._push(bytes(-(len(self._data) + after) % alignment))


class Table:
    """A table in a buffer that may be damaged. Every access outside the buffer raises struct.error."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    @classmethod
    def root(cls, data: bytes) -> Table:
        return cls(data, _read("I", data, 0))

    def scalar(self, number: int, code: str) -> int:
        """The value of a field, 0 where it was left out."""
        at = self._field(number)
        return _read(code, self._data, at) if at else 0

    def table(self, number: int) -> Table:
        return Table(self._data, self._target(number))

    def tables(self, number: int) -> list[Table]:
        """A vector of references to tables."""
        start = self._target(number) + 4
        return [Table(self._data, start + 4 * n + distance) for n, distance in enumerate(self.numbers(number))]

    def numbers(self, number: int) -> list[int]:
        """A vector of u32."""
        start = self._target(number)
        count = _read("I", self._data, start)
        if count > len(self._data) // 4:
            raise struct.error("a vector is longer than the buffer")
        return [_read("I", self._data, start + 4 + 4 * n) for n in range(count)]

    def _target(self, number: int) -> int:
        at = self._field(number)
        if not at:
            raise struct.error("a field is missing")
        return at + _read("I", self._data, at)

    def _field(self, number: int) -> int:
        vtable = self._position - _read("i", self._data, self._position)
        if 4 + 2 * number >= _read("H", self._data, vtable):
            return 0
        offset = _read("H", self._data, vtable + 4 + 2 * number)
        return self._position + offset if offset else 0


def _read(code: str, data: bytes, at: int) -> int:
    if at < 0:  # struct would count from the end
        raise struct.error("a reference leaves the buffer")
    value: int = struct.unpack_from(f"<{code}", data, at)[0]
    return value
