"""Tar archives as streams of members, read several times faster than by the standard library.

An archive of the data set has six million small members. `tarfile` takes 54 microseconds for each,
three times as long as all other work on it; this takes six. It reads the formats ustar, pax and
GNU, files and folders only, and refuses everything else.

Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, NoReturn

from reben.errors import ArchiveError
from reben.support.bounds import (
    MAX_MEMBER_DESCRIPTION,
    MAX_MEMBER_NAME,
    MAX_NUMBER_DIGITS,
    MAX_PADDING,
)

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_FILES = frozenset({b"0", b"\0", b"7"})
_FOLDER, _LONG_NAME, _PAX = b"5", b"L", b"x"
_DESCRIPTIONS = frozenset({_LONG_NAME, b"K", _PAX, b"g"})
"""Members that describe the next one, or (``g``) all that follow."""
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
    b"M": "a part of a file",
}


class Member(NamedTuple):
    """A file in an archive: its path there, with slashes, and its content."""

    name: str
    content: bytes


class _Bytes:
    """A stream of chunks that is read in pieces of any size."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._position = 0

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes; fewer at the end."""
        end = self._position + size
        if end <= len(self._chunk):
            piece = self._chunk[self._position : end]
            self._position = end
            return piece
        pieces = [self._chunk[self._position :]]
        missing = end - len(self._chunk)
        while missing and (chunk := next(self._chunks, b"")):
            self._chunk, self._position = chunk, min(missing, len(chunk))
            pieces.append(chunk[: self._position])
            missing -= self._position
        if missing:
            self._chunk, self._position = b"", 0
        return b"".join(pieces)

    def skip(self, size: int) -> bool:
        """Skip the next ``size`` bytes; tell whether there were that many."""
        while size > len(self._chunk) - self._position:
            size -= len(self._chunk) - self._position
            self._chunk, self._position = next(self._chunks, b""), 0
            if not self._chunk:
                return False
        self._position += size
        return True


_Header = tuple[bytes, str, int]
"""Kind, name and size of a member."""


def read_members(
    chunks: Iterator[bytes], archive: str, wants: Callable[[str, int], bool]
) -> Iterator[Member]:
    """Yield the files of a tar archive for which ``wants(name, size)`` is true.

    Concatenated archives are read as one.
    """
    stream = _Bytes(chunks)
    for kind, name, size in _read_headers(stream, archive):
        if kind == _FOLDER:
            continue
        padding = -size % _BLOCK
        if not wants(name, size):
            if not stream.skip(size + padding):
                _refuse_end(archive, name)
            continue
        content = stream.take(size)
        if len(content) < size:
            _refuse_end(archive, name)
        stream.skip(padding)
        yield Member(name, content)


def _read_headers(stream: _Bytes, archive: str) -> Iterator[_Header]:
    """Yield the headers of files and folders; the stream is then at the content."""
    last, num_zeros = "", 0
    said_name: str | None = None
    said_size: int | None = None
    while block := stream.take(_BLOCK):
        if block == _ZEROS:
            num_zeros += 1
            if num_zeros * _BLOCK > MAX_PADDING:
                _refuse(archive, f"more than {MAX_PADDING} zeros follow {last or 'each other'}")
            continue
        header = _parse_header(block, archive, "its end" if num_zeros else last)
        num_zeros = 0
        kind, name, size = header
        if kind in _DESCRIPTIONS:
            name_there, size_there = _read_description(stream, archive, last, header)
            said_name = name_there or said_name
            said_size = said_size if size_there is None else size_there
            continue
        last = said_name or name
        _check_member(archive, last, kind)
        yield (
            _FOLDER if last.endswith("/") else kind,
            last,
            size if said_size is None else said_size,
        )
        said_name = said_size = None
    if not num_zeros:
        _refuse_end(archive, last)


def _read_description(
    stream: _Bytes, archive: str, last: str, header: _Header
) -> tuple[str | None, int | None]:
    """Return name and size of the next member, if a description gives them."""
    kind, _, size = header
    content = stream.take(min(size, MAX_MEMBER_DESCRIPTION))
    if len(content) < size or not stream.skip(-size % _BLOCK):
        _refuse_end(archive, last)
    if kind == _LONG_NAME:
        return _decode(content.split(b"\0", 1)[0]), None
    return _parse_pax(content, archive) if kind == _PAX else (None, None)


def _parse_header(block: bytes, archive: str, behind: str) -> _Header:
    if len(block) < _BLOCK:
        _refuse_end(archive, behind)
    field = block[148:156]
    try:
        stored = int(field.strip(b"\0 "), 8)
        size = _parse_number(block[124:136])
    except ValueError:
        stored = size = -1
    # Adler-32 from zero has the sum of the bytes, modulo 65521, in its lower half.
    total = (zlib.adler32(block, 0) & 0xFFFF) - (zlib.adler32(field, 0) & 0xFFFF) + 8 * 32
    if size < 0 or (total - stored) % 65521:
        what = f"what follows {behind} is not a member" if behind else "it does not start like one"
        _refuse(archive, what)
    name = block[:100].split(b"\0", 1)[0]
    if block[345] and block[257:263] == b"ustar\0":
        name = block[345:500].split(b"\0", 1)[0] + b"/" + name
    return block[156:157], _decode(name), size


def _parse_number(field: bytes) -> int:
    """Return a number written in octal digits or, if it is too large, in base 256."""
    if field[0] & 0x80:
        return int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
    return int(field.strip(b"\0 ") or b"0", 8)


def _parse_pax(content: bytes, archive: str) -> tuple[str | None, int | None]:
    name, size = None, None
    start, stop = 0, len(content.rstrip(b"\0"))
    while start < stop:
        space = content.find(b" ", start, start + MAX_NUMBER_DIGITS + 1)
        end = start + _parse_digits(content[start:space]) if space > start else 0
        key, equals, value = content[space + 1 : max(end - 1, 0)].partition(b"=")
        if not equals or content[end - 1 : end] != b"\n":
            _refuse(archive, "the description of a member cannot be read")
        if key == b"path":
            name = _decode(value)
        elif key == b"size" and _parse_digits(value) >= 0:
            size = _parse_digits(value)
        elif key.startswith((b"GNU.sparse", b"size")):
            _refuse(archive, f"a member has {_decode(key[:40])} {_decode(value[:40])}")
        start = end
    return name, size


def _parse_digits(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) <= MAX_NUMBER_DIGITS else -1


def _check_member(archive: str, name: str, kind: bytes) -> None:
    if len(name) > MAX_MEMBER_NAME:
        _refuse(archive, f"a member has a name of {len(name)} characters, {name[:40]!r}...")
    if kind not in _FILES and kind != _FOLDER:
        what = _REFUSED.get(kind, f"of the unknown kind {kind!r}")
        raise ArchiveError(
            f"{archive} holds {name!r}, which is {what}; an archive of the data set holds only "
            "files and folders. Do not trust it: download the archive from the data set's record."
        )
    leads_up = ".." in name and ".." in name.split("/")
    if leads_up or name.startswith("/") or "\\" in name or name[1:2] == ":":
        raise ArchiveError(
            f"{archive} holds {name!r}, a name that leads out of the archive's folder. Do not "
            "trust it: download the archive from the data set's record."
        )


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _refuse(archive: str, reason: str) -> NoReturn:
    raise ArchiveError(
        f"{archive} cannot be read as a tar archive: {reason}. Download it again; what was "
        "complete before is kept."
    )


def _refuse_end(archive: str, last: str) -> NoReturn:
    behind = f", after {last}" if last else ""
    raise ArchiveError(
        f"{archive} ends too early{behind}. Download it again; what was complete before is kept."
    )
