"""How much is taken from files of others: every limit of memory and count stands here.

What a file says about itself is compared with these before anything of that size is allocated.
`read_file` opens ordinary files only: a pipe or a device would be waited for without end.
"""

import errno
import os
import stat
import sys
from pathlib import Path

MEBIBYTE = 1 << 20

MAX_JSON_BYTES = 8 * MEBIBYTE
"""A JSON file: config, record, report, STAC item."""
MAX_JSON_VALUES = 100_000
"""Values in a JSON file: a wrong one takes a kilobyte until the first of them is named."""
MAX_ITEMS = 2000
"""STAC items of one search or file."""
MAX_ITEMS_BYTES = 64 * MEBIBYTE
MAX_ITEMS_VALUES = 2_500_000
"""A file or answer with that many; real items have 20 kB and 900 values."""
MAX_SEARCH_REQUESTS = 200
"""Requests of one search: pages of a server that finds no end."""
MAX_WEIGHTS_HEADER = 16 * MEBIBYTE
"""Of ``model.safetensors``; that of a network with 1,000 tensors has 0.1 MiB."""
MAX_PICKLE_BYTES = 16 * MEBIBYTE
MAX_PICKLE_STEPS = 1_000_000
"""What describes the content of a checkpoint of torch; 1,000 tensors take 0.3 MiB, 80,000 steps."""
MAX_TEXT_BYTES = 16 * MEBIBYTE
"""A text that people write: a list."""
MAX_TOML_BYTES = MEBIBYTE
"""Settings, affiliations or a description in TOML."""
MAX_CARD_BYTES = MEBIBYTE // 2
"""A model card or a template of one; those of reben have 30 kB."""
MAX_CARD_PICTURES = 1000
"""Pictures that a card shows."""
MAX_CAPTIONED = 128 * 1024
"""Characters in the paragraphs of a card that show pictures."""
MAX_XML_BYTES = 16 * MEBIBYTE
"""Metadata of a product; those of real ones have less than 1 MiB."""
MAX_XML_TAGS = 400_000
"""Tags in them, and as many attributes."""
MAX_ZIP_ENTRIES = 200_000
"""Files in the zip of a product; real ones have some hundred."""
MAX_SCENE_SIDE = 200_000
"""Pixels along a side of a scene; a tile has 10,980."""
MAX_SCENE_PIXELS = 20_000_000_000
"""Of a band of a scene: 166 tiles."""
MAX_SCENE_BLOCK_BYTES = 512 * MEBIBYTE
"""A row of tiles of a band of a scene, which is read as a whole; one tile in one piece has 230."""
MAX_TABLE_FILE_BYTES = 256 * MEBIBYTE
"""A table of metadata, labels or scores: parquet or CSV; that of the data set has 3.6 MB."""
MAX_TABLE_BYTES = 1024 * MEBIBYTE
"""The same in memory; that of the data set takes 0.2 GB."""
MAX_ROWS = 10_000_000
MAX_COLUMNS = 25_000
"""Rows and columns of a table; predictions have two columns for each label."""
MAX_NAME_BYTES = 255
"""The name of a patch, which is that of a folder."""
MAX_BAND_BYTES = 16 * MEBIBYTE
"""The TIFF of one band of a patch, and its pixels; those of the data set have 58 kB."""
MAX_BLOCK_BYTES = 64 * MEBIBYTE
"""A strip or tile of a TIFF, which is decompressed as a whole."""
MAX_TAGS = 512
"""Tags of a TIFF; GeoTIFFs have some twenty."""
MAX_TAG_VALUES = 4096
"""Numbers of one tag that are read at once."""
MAX_QUICK_STRIPS = 1024
"""Strips of a TIFF that the quick reader takes; a band of the data set has at most eight."""
MAX_MEMBER_DESCRIPTION = MEBIBYTE
"""What describes one member of a tar archive."""
MAX_MEMBER_NAME = 4096
"""Bytes of a member's path, as of any path on Linux."""
MAX_NUMBER_DIGITS = 20
"""Digits of a number written as text in an archive."""
MAX_PADDING = 64 * MEBIBYTE
"""Zeros in one piece between the members of a tar archive, or at its end."""
MAX_ZSTD_WINDOW = 1 << 29
"""Memory that a zstd stream may ask for."""
MAX_RATIO = 200
"""Growth of an archive that is decompressed, beyond `FREE_BYTES`; that of the data set is 2."""
FREE_BYTES = 1 << 30
"""What an archive may give, whatever its own size."""
MAX_YAML_BYTES = 256 * 1024
"""A block of YAML, such as the front matter of a card."""
MAX_YAML_NODES = 100_000
"""Values in a block of YAML, its aliases followed."""
MAX_DEPTH = 64
"""Lists and mappings within each other."""

_KINDS = {
    stat.S_IFDIR: "it is a folder, not a file",
    stat.S_IFIFO: "it is a pipe, not a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
    stat.S_IFSOCK: "it is a socket, not a file",
}
# Opening a pipe would wait for who writes into it.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_file(path: str | Path, most_bytes: int) -> bytes:
    """Return the content of an ordinary file of at most ``most_bytes``.

    An OSError says in ``strerror`` that it cannot be read, is larger, or is no ordinary file.
    """
    descriptor = _open(path)
    try:
        found = os.fstat(descriptor)
        if found.st_size > most_bytes or not stat.S_ISREG(found.st_mode):
            _check(path, found, most_bytes)
        return _read(descriptor, found.st_size)
    finally:
        os.close(descriptor)


def read_text(path: str | Path, most_bytes: int = MAX_TEXT_BYTES) -> str:
    """Return an ordinary file as text in UTF-8; `OSError` as of `read_file`, or if it is none."""
    try:
        return read_file(path, most_bytes).decode("utf-8")
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "it is no text in UTF-8", str(path)) from None


def read_start(path: str | Path, num_bytes: int) -> bytes:
    """Return the first ``num_bytes`` of an ordinary file, or all if it has fewer; `OSError`."""
    descriptor = _open(path)
    try:
        _check(path, os.fstat(descriptor), sys.maxsize)
        return _read(descriptor, num_bytes)
    finally:
        os.close(descriptor)


def check_file(path: str | Path, most_bytes: int) -> None:
    """Raise the `OSError` of `read_file` for a file that another library will read."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a path or a text
    except ValueError:
        raise _no_name(path) from None
    _check(path, found, most_bytes)


def _open(path: str | Path) -> int:
    try:
        return os.open(path, OPEN_FLAGS)
    except ValueError:  # a zero byte
        raise _no_name(path) from None


def _read(descriptor: int, size: int) -> bytes:
    content = os.read(descriptor, size)
    while len(content) < size and (more := os.read(descriptor, size - len(content))):
        content += more
    return content


def _no_name(path: str | Path) -> OSError:
    return OSError(errno.EINVAL, "no file can have this name", str(path))


def _check(path: str | Path, found: os.stat_result, most_bytes: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        reason = _KINDS.get(stat.S_IFMT(found.st_mode), "it is no ordinary file")
        raise OSError(errno.EINVAL, reason, str(path))
    if found.st_size > most_bytes:
        reason = f"it has {found.st_size / MEBIBYTE:.1f} MiB, and at most "
        raise OSError(errno.EFBIG, f"{reason}{most_bytes / MEBIBYTE:g} MiB are read", str(path))
