"""The tags of a TIFF: the one reader of what a file says about itself before its pixels.

It knows both byte orders, classic TIFF and BigTIFF. Half a million patches share a few
directories, so a directory is parsed only once.

Source: TIFF revision 6.0 (Adobe, 1992); BigTIFF (AWare Systems, 2008).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from reben.errors import TiffError
from reben.support.bounds import MAX_TAG_VALUES, MAX_TAGS


class Tag(IntEnum):
    """The tags that reben reads or writes."""

    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTES = 279
    PLANAR = 284
    PREDICTOR = 317
    TILE_WIDTH = 322
    SAMPLE_FORMAT = 339
    PIXEL_SCALE = 33550
    TIEPOINT = 33922
    TRANSFORM = 34264
    GEO_KEYS = 34735
    GEO_TEXT = 34737
    METADATA = 42112
    NODATA = 42113


_READ = frozenset(Tag)


class _Form(NamedTuple):
    """How one kind of TIFF is packed: header, number of tags, one entry, number of a far byte."""

    order: str
    header: struct.Struct
    num_tags: struct.Struct
    entry: struct.Struct
    word_bytes: int


def _form(order: str, word: str) -> _Form:
    header = f"{order}4xI" if word == "I" else f"{order}8xQ"
    entry = struct.Struct(f"{order}HH{word}{word}")
    num_tags = struct.Struct(f"{order}{'H' if word == 'I' else 'Q'}")
    return _Form(order, struct.Struct(header), num_tags, entry, struct.calcsize(f"{order}{word}"))


PLAIN_START = b"II*\x00"
"""What a little-endian, classic TIFF starts with; all files of the data set do."""
_FORMS = {
    PLAIN_START: _form("<", "I"),
    b"MM\x00*": _form(">", "I"),
    b"II+\x00": _form("<", "Q"),
    b"MM\x00+": _form(">", "Q"),
}
STARTS = tuple(_FORMS)
"""What a TIFF starts with: little-endian and big-endian, classic and BigTIFF."""

_CODES = {1: "B", 2: "s", 3: "H", 4: "I", 12: "d", 16: "Q"}


class FaultError(Exception):
    """Why a TIFF cannot be read: the rest of a sentence that starts with the name of the file."""


def damaged(reason: str) -> FaultError:
    """Return the error for a damaged file."""
    return FaultError(f"is a damaged TIFF: {reason}. Fetch the file again.")


def require_inside(content: bytes, end: int, what: str) -> None:
    """Refuse a file that ends before byte ``end``."""
    if end > len(content):
        raise damaged(f"{what} should end at byte {end}, and it has {len(content)}")


class Field(NamedTuple):
    """The values of one tag: their code in `struct`, how many, first byte and end in the file."""

    code: str
    num_values: int
    start: int
    end: int


@dataclass(frozen=True, eq=False, slots=True)
class Directory:
    """The tags of the first image of a TIFF; files with the same entries share one object."""

    order: str
    fields: Mapping[int, Field]
    start: int
    entries: bytes

    def number(self, tag: int, default: int) -> int:
        """Return the one number of a tag, or -1 if it is not one whole number in its entry."""
        field = self.fields.get(tag)
        if field is None:
            return default
        at = field.start - self.start
        is_near = at in range(len(self.entries))
        if field.num_values != 1 or field.code not in ("H", "I", "Q") or not is_near:
            return -1
        return int(struct.unpack_from(f"{self.order}{field.code}", self.entries, at)[0])

    def text(self, tag: int, content: bytes) -> str:
        """Return the text of a tag, without its end; an empty one if the file lacks it."""
        field = self.fields.get(tag)
        if field is None or field.code != "s":
            return ""
        near = self.entries[max(0, field.start - self.start) :][: field.num_values]
        if not self.start <= field.start <= self.start + len(self.entries) - field.num_values:
            require_inside(content, field.end, f"its tag {int(tag)}")
            near = content[field.start : field.end]
        return near.split(b"\0")[0].decode("ascii", "replace").strip()

    def values(self, tag: int, content: bytes) -> tuple[float, ...]:
        """Return the numbers of a tag, none if the file lacks it."""
        field = self.fields.get(tag)
        if field is None or field.code in ("", "s"):
            return ()
        if field.num_values > MAX_TAG_VALUES:
            raise damaged(f"its tag {int(tag)} claims {field.num_values} values")
        require_inside(content, field.end, f"its tag {int(tag)}")
        return struct.unpack_from(
            f"{self.order}{field.num_values}{field.code}", content, field.start
        )


def read_directory(content: bytes) -> Directory:
    """Return the tags of the first image.

    Args:
        content: The file, which starts with one of `STARTS`, or the part that holds its tags.
    """
    magic = content[:4]
    form = _FORMS[magic]
    require_inside(content, form.header.size, "its header")
    (start,) = form.header.unpack_from(content)
    first = start + form.num_tags.size
    require_inside(content, first, "its directory")
    (count,) = form.num_tags.unpack_from(content, start)
    end = first + count * form.entry.size
    require_inside(content, end, "its directory")
    if count > MAX_TAGS:
        raise damaged(f"it claims {count} tags")
    return _parse_entries(magic, first, content[first:end])


@lru_cache(maxsize=128)
def _parse_entries(magic: bytes, first: int, entries: bytes) -> Directory:
    form = _FORMS[magic]
    fields: dict[int, Field] = {}
    for number, (tag, kind, count, far) in enumerate(form.entry.iter_unpack(entries), start=1):
        if tag in fields and tag in _READ:
            # Of two widths, one reader takes the first and another one the last.
            raise damaged(f"it has its tag {tag} twice")
        code = _CODES.get(kind, "")
        num_bytes = count * struct.calcsize(f"<{code}")
        near = first + number * form.entry.size - form.word_bytes
        start = near if num_bytes <= form.word_bytes else far
        fields[tag] = Field(code, count, start, start + num_bytes)
    return Directory(form.order, fields, first, entries)


class Claims(NamedTuple):
    """What a TIFF says about its values.

    Args:
        nodata: The value of pixels without data.
        scale: What pixels are to be multiplied by.
        offset: What is to be added then.
        has_more: Whether more images follow: a mask, or smaller copies.
    """

    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    has_more: bool = False


def read_claims(content: bytes, name: str) -> Claims:
    """Return what a TIFF in memory says about its values, as GDAL writes it.

    Args:
        content: All bytes of the file.
        name: What the file is called in error messages.
    """
    try:
        directory = read_directory(content)
        end = directory.start + len(directory.entries)
        has_more = any(content[end : end + _FORMS[content[:4]].word_bytes])
        nodata, metadata = _near_texts(directory) or (
            directory.text(Tag.NODATA, content), directory.text(Tag.METADATA, content)
        )  # fmt: skip
    except FaultError as fault:
        raise TiffError(f"{name} {fault}") from None
    return _parse_claims(nodata, metadata, has_more)


@lru_cache(maxsize=128)
def _near_texts(directory: Directory) -> tuple[str, str] | None:
    """Return the texts about values where they lie in the directory, as in the data set."""
    try:
        return directory.text(Tag.NODATA, b""), directory.text(Tag.METADATA, b"")
    except FaultError:
        return None


@lru_cache(maxsize=128)
def _parse_claims(nodata: str, metadata: str, has_more: bool) -> Claims:
    scale, offset = (_number(_item(metadata, role)) for role in ("scale", "offset"))
    return Claims(
        _number(nodata),
        1.0 if scale is None else scale,
        0.0 if offset is None else offset,
        has_more,
    )


def _item(metadata: str, role: str) -> str:
    """Return the text of the item of GDAL's metadata that has a role."""
    return metadata.partition(f'role="{role}"')[2].partition(">")[2].partition("<")[0]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
