"""Archives as streams of bytes: parts are joined and decompressed, nothing is unpacked to disk.

The compression is recognised by the first bytes, not by the name, so archives may also come through
a pipe.
"""

import queue
import re
import threading
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import IO, cast

from reben.errors import ArchiveError
from reben.support.bounds import FREE_BYTES, MAX_RATIO, MAX_ZSTD_WINDOW

CHUNK_BYTES = 1 << 20
"""How much is read at a time."""
_QUEUED_CHUNKS = 8

_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
_ZSTD_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
_OTHERS = {b"\xfd7zXZ": "xz", b"BZh": "bzip2", b"PK\x03\x04": "zip", b"\x04\x22\x4d\x18": "lz4"}
_WHOLE = (".tar", ".tgz", ".gz", ".zst")
_PART = re.compile(r"(?P<stem>.+\.(?:tar|tgz|gz|zst))(?P<dot>\.?)(?P<number>[a-z]{2,4}|\d{2,5})")


def archive_names(files: Iterable[str]) -> list[str]:
    """Return the archives among files by their names, each once however many parts it has.

    Example:
        >>> archive_names(["S2.tar.gzab", "S2.tar.gzaa", "S1.tar.zst", "notes.txt"])
        ['S1.tar.zst', 'S2.tar.gz']
    """
    found = set()
    for file in files:
        match = None if file.endswith(_WHOLE) else _PART.fullmatch(file)
        if match is not None or file.endswith(_WHOLE):
            found.add(match["stem"] if match else file)
    return sorted(found)


def find_parts(path: Path) -> tuple[Path, ...]:
    """Return the files of an archive in order: itself, or all its parts.

    Args:
        path: The archive; its first part, for example ``S2.tar.gzaa``; or the start of the names
            of all parts, for example ``S2.tar.gz``.
    """
    match = _PART.fullmatch(path.name)
    is_part = match is not None and not path.name.endswith(_WHOLE)
    if path.is_file() and not is_part:
        return (path,)
    stem = match["stem"] if match is not None and is_part else path.name
    parts = [
        (found["number"], entry)
        for entry in (path.parent.iterdir() if path.parent.is_dir() else ())
        if (found := _PART.fullmatch(entry.name)) and found["stem"] == stem and entry.is_file()
    ]
    if not parts:
        raise ArchiveError(
            f"There is no folder and no archive {path}. Name a folder, a .tar, .tar.gz or "
            ".tar.zst file, the first part of a split archive, or - for stdin."
        )
    parts.sort()
    first, entry = parts[0]
    if is_part and path.is_file() and path != entry:
        raise ArchiveError(
            f"{path.name} is not the first part of its archive; {entry.name} is. Name that."
        )
    expected = first if first.isdigit() and int(first) <= 1 else re.sub(r"\w", _first_of, first)
    for number, entry in parts:
        if number != expected:
            missing = entry.name.removesuffix(number) + expected
            raise ArchiveError(
                f"The part {missing} is missing, but {entry.name} is there. Download it as well."
            )
        expected = _next_number(number)
    return tuple(entry for _, entry in parts)


def _first_of(character: re.Match[str]) -> str:
    return "0" if character[0].isdigit() else "a"


def _next_number(number: str) -> str:
    """Return the next number as the program ``split`` counts: aa, ab ... az, ba."""
    if number.isdigit():
        return f"{int(number) + 1:0{len(number)}d}"
    rest, last = number[:-1], number[-1]
    if last != "z":
        return rest + chr(ord(last) + 1)
    return _next_number(rest) + "a" if rest else "za"


class RawStream:
    """The bytes of files, one after the other, or of an open descriptor, which is left open."""

    def __init__(self, parts: Sequence[Path] | int) -> None:
        self.num_read = 0
        self._parts: list[Path | int] = [parts] if isinstance(parts, int) else list(parts)
        self._file: FileIO | None = None

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        """Return up to ``size`` bytes; none at the end. Raise `ArchiveError` if reading fails."""
        try:
            while self._file is not None or self._parts:
                if self._file is None:
                    part = self._parts.pop(0)
                    self._file = FileIO(part, closefd=not isinstance(part, int))
                if content := self._file.read(size):
                    self.num_read += len(content)
                    return content
                self.close()
        except OSError as error:
            raise ArchiveError(f"Cannot read the archive: {error}. Try again.") from error
        return b""

    def close(self) -> None:
        """Close the part that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None


def decompress(raw: RawStream, name: str, free_bytes: int = FREE_BYTES) -> Generator[bytes]:
    """Yield the bytes of an archive, decompressed, and close it; ``name`` is for error messages."""
    num_bytes = 0
    try:
        for chunk in _decompress(raw, name):
            num_bytes += len(chunk)
            if num_bytes > free_bytes and num_bytes > MAX_RATIO * raw.num_read:
                raise ArchiveError(
                    f"{name} grows from {raw.num_read} bytes to more than {num_bytes}, as no "
                    "archive of patches does. Download it again; what was complete before is kept."
                )
            yield chunk
    finally:
        raw.close()


def _decompress(raw: RawStream, name: str) -> Iterator[bytes]:
    start = raw.read()
    while 0 < len(start) < 512 and (more := raw.read()):
        start += more
    if not start:
        raise ArchiveError(f"{name} is empty. Download it again.")
    for magic, other in _OTHERS.items():
        if start.startswith(magic):
            raise ArchiveError(
                f"{name} is a {other} file. Repack it as .tar, .tar.gz or .tar.zst, or unpack it "
                "and name the folder."
            )
    if start.startswith(_ZSTD) or _ZSTD_SKIPPABLE.match(start):
        yield from _unzstd(start, raw, name)
    elif start.startswith(_GZIP):
        yield from _gunzip(start, raw, name)
    else:
        while start:
            yield start
            start = raw.read()


class _Pushed:
    """A stream whose first bytes were read already."""

    def __init__(self, start: bytes, raw: RawStream) -> None:
        self._start, self._raw = start, raw

    def read(self, size: int) -> bytes:
        if self._start:
            content, self._start = self._start[:size], self._start[size:]
            return content
        return self._raw.read(size)


def _unzstd(start: bytes, raw: RawStream, name: str) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
    reader = decompressor.stream_reader(
        cast("IO[bytes]", _Pushed(start, raw)), read_size=CHUNK_BYTES, read_across_frames=True
    )
    try:
        # A stream that ends within a frame looks complete; the tar in it tells.
        while content := reader.read(CHUNK_BYTES):
            yield content
    except zstandard.ZstdError as error:
        raise ArchiveError(
            f"{name} is damaged or ends too early ({error}). Download it again; what was "
            "complete before is kept."
        ) from None


def _gunzip(start: bytes, raw: RawStream, name: str) -> Iterator[bytes]:
    pending = start
    try:
        while pending:
            inflater = zlib.decompressobj(wbits=31)
            while not inflater.eof:
                content = inflater.decompress(pending, CHUNK_BYTES)
                if content:
                    yield content
                pending = inflater.unconsumed_tail
                if not pending and not content and not inflater.eof:
                    pending = raw.read()
                    if not pending:
                        raise ArchiveError(
                            f"{name} ends too early. Download it again; what was complete before "
                            "is kept."
                        )
            # Zeros between or behind members are padding.
            pending = inflater.unused_data.lstrip(b"\0") or raw.read().lstrip(b"\0")
    except zlib.error as error:
        raise ArchiveError(
            f"{name} is damaged ({error}). Download it again; what was complete before is kept."
        ) from None


def read_ahead(chunks: Generator[bytes]) -> Generator[bytes]:
    """Yield ``chunks``, fetched by a thread: decompression releases the interpreter lock."""
    waiting: queue.Queue[bytes | None] = queue.Queue(_QUEUED_CHUNKS)
    stopped = threading.Event()
    errors: list[BaseException] = []

    def fetch() -> None:
        try:
            for chunk in chunks:
                waiting.put(chunk)
                if stopped.is_set():
                    break
            chunks.close()
        except BaseException as error:  # noqa: BLE001 - raised again where the chunks are read
            errors.append(error)
        waiting.put(None)

    threading.Thread(target=fetch, daemon=True).start()
    try:
        while (chunk := waiting.get()) is not None:
            yield chunk
        if errors:
            raise errors[0]
    finally:
        stopped.set()
        # Room for what the thread may be waiting to put, so that it comes to its end.
        with suppress(queue.Empty):
            while True:
                waiting.get_nowait()
