"""The files of a .SAFE product, in a folder or in a zip of it that is not unpacked.

XML metadata of products, read so that a hostile file can do nothing.

A document type declaration is refused before anything in it is looked at: entities, which can
name files or blow up, live there, and no metadata file of a Sentinel product has one.
"""

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol, Self
from xml.parsers import expat

from reben.errors import ProductError, ProductLevelError

MAX_XML_BYTES = 64 * 2**20
"""A metadata file of a real product has less than a tenth of it."""
_MAX_DEPTH = 100


@dataclass
class Element:
    """An element of a metadata file: names without their namespace, text without white space."""

    name: str
    attributes: Mapping[str, str]
    text: str = ""
    children: list[Self] = field(default_factory=list)

    def all(self, name: str) -> Iterator[Self]:
        """Yield the elements called ``name`` anywhere below this one, in document order."""
        for child in self.children:
            if child.name == name:
                yield child
            yield from child.all(name)

    def first(self, *names: str) -> Self | None:
        """Return the first element below that has one of the names, the earlier name first."""
        return next((found for name in names for found in self.all(name)), None)

    def first_text(self, *names: str) -> str | None:
        """Return the text of `first`, None if there is no such element or no text in it."""
        found = self.first(*names)
        return found.text or None if found else None


def parse_metadata(content: bytes, name: str) -> Element:
    """Return the root element of a metadata file.

    Args:
        content: All bytes of the file.
        name: What the file is called in error messages.

    Raises:
        ProductError: If it is not well-formed, too large, or has a document type declaration.

    Example:
        >>> root = parse_metadata(b'<a xmlns="urn:x"><b unit="m"> 10 </b></a>', "some.xml")
        >>> root.first_text("b"), root.first("b").attributes
        ('10', {'unit': 'm'})
        >>> parse_metadata(b'<!DOCTYPE a><a/>', "some.xml")
        Traceback (most recent call last):
        reben.errors.ProductError: some.xml has a document type declaration...
    """
    if len(content) > MAX_XML_BYTES:
        raise ProductError(
            f"{name} has {len(content):,} bytes; the metadata of a product have less than "
            f"{MAX_XML_BYTES:,}. This is not such a file."
        )
    builder = _Builder(name)
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = builder.refuse_doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ProductError(f"{name} is not XML: {error}. Fetch the product again.") from error
    return builder.top.children[0]


class _Builder:
    def __init__(self, file_name: str) -> None:
        self.file_name = file_name
        self.top = Element("", {})
        self._open = [self.top]

    def refuse_doctype(self, *_: object) -> None:
        raise ProductError(
            f"{self.file_name} has a document type declaration, which no product's metadata have "
            "and which can make a reader fetch other files. It is not read."
        )

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) > _MAX_DEPTH:
            raise ProductError(f"{self.file_name} nests elements more than {_MAX_DEPTH} deep.")
        element = Element(_local(name), {_local(key): text for key, text in attributes.items()})
        self._open[-1].children.append(element)
        self._open.append(element)

    def end(self, _: str) -> None:
        element = self._open.pop()
        element.text = element.text.strip()

    def characters(self, text: str) -> None:
        self._open[-1].text += text


def _local(name: str) -> str:
    return name.rpartition("}")[2]


METADATA_FILE = "MTD_MSIL2A.xml"
_LEVEL_1C_FILE = "MTD_MSIL1C.xml"


class SafeFiles(Protocol):
    """Files of a product by their path inside it, with forward slashes."""

    name: str

    def has(self, path: str) -> bool:
        """Tell whether there is such a file."""

    def read(self, path: str) -> bytes:
        """Return its bytes."""

    def raster_path(self, path: str) -> str:
        """Return what GDAL opens to read it."""

    def shown(self, path: str) -> str:
        """Return what it is called in error messages."""


class SafeFolder:
    """A product as a folder.

    Raises:
        ProductLevelError: If it is a level-1C product.
        ProductError: If it has no metadata file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.name = self.folder.name
        if not self.has(METADATA_FILE):
            refuse_without_metadata(str(folder), level_1c=self.has(_LEVEL_1C_FILE))

    def has(self, path: str) -> bool:
        """Tell whether there is such a file."""
        return (self.folder / path).is_file()

    def read(self, path: str) -> bytes:
        """Return its bytes."""
        try:
            with (self.folder / path).open("rb") as file:
                return file.read(MAX_XML_BYTES + 1)
        except OSError as error:
            raise ProductError(f"Cannot read {self.shown(path)}: {error.strerror}.") from error

    def raster_path(self, path: str) -> str:
        """Return what GDAL opens to read it."""
        return str(self.folder / path)

    def shown(self, path: str) -> str:
        """Return what it is called in error messages."""
        return str(self.folder / path)


class SafeZip:
    """A product as a zip file, which GDAL reads in place: nothing is unpacked.

    Raises:
        ProductLevelError: If it is a level-1C product.
        ProductError: If it is no zip file, or does not hold exactly one product.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            with zipfile.ZipFile(self.path) as archive:
                self._members = frozenset(archive.namelist())
        except (OSError, zipfile.BadZipFile) as error:
            raise ProductError(
                f"{path} cannot be read as a zip file: {error}. Fetch it again."
            ) from None
        roots = self._folders_with(METADATA_FILE)
        if not roots:
            refuse_without_metadata(str(path), level_1c=bool(self._folders_with(_LEVEL_1C_FILE)))
        if len(roots) > 1:
            raise ProductError(
                f"{path} holds {len(roots)} products: {', '.join(roots)}. Give one at a time."
            )
        self._root = PurePosixPath(roots[0])
        self.name = self._root.name or self.path.stem

    def has(self, path: str) -> bool:
        """Tell whether there is such a member."""
        return self._member(path) in self._members

    def read(self, path: str) -> bytes:
        """Return its bytes."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._member(path)) as file:
                return file.read(MAX_XML_BYTES + 1)
        except (OSError, zipfile.BadZipFile, RuntimeError, KeyError) as error:
            raise ProductError(f"Cannot read {self.shown(path)}: {error}.") from error

    def raster_path(self, path: str) -> str:
        """Return what GDAL opens to read it."""
        # The braces say where the name of the zip file ends, whatever its extension is.
        return f"/vsizip/{{{self.path}}}/{self._member(path)}"

    def shown(self, path: str) -> str:
        """Return what it is called in error messages."""
        return f"{self.path}:{self._member(path)}"

    def _member(self, path: str) -> str:
        return str(self._root / path)

    def _folders_with(self, file_name: str) -> list[str]:
        found = [PurePosixPath(member) for member in self._members]
        # The product's own metadata file lies at its top; a copy deeper inside is another thing.
        parents = sorted(str(path.parent) for path in found if path.name == file_name)
        return [parent for parent in parents if ".." not in PurePosixPath(parent).parts]


def refuse_without_metadata(product: str, *, level_1c: bool) -> None:
    """Say why a product cannot be used.

    Raises:
        ProductLevelError: If it is a level-1C product.
        ProductError: Otherwise.
    """
    if level_1c:
        raise ProductLevelError(
            f"{product} is a level-1C product: reflectance at the top of the atmosphere. The "
            "models were trained on level 2A, reflectance at the ground; haze and scattering "
            "would look to them like another land cover. Take the level-2A product of the same "
            "scene, or make it with Sen2Cor."
        )
    raise ProductError(
        f"{product} has no {METADATA_FILE}, the metadata file at the top of a Sentinel-2 level-2A "
        "product. Name the .SAFE folder itself or a zip of it."
    )


def checked_path(path: str, product: str) -> str:
    """Return a path that metadata name, if it stays inside the product.

    Raises:
        ProductError: If it does not.
    """
    parts = PurePosixPath(path).parts
    strange = any(character in path for character in "\\:{}\0")
    if not parts or strange or ".." in parts or path.startswith("/"):
        raise ProductError(
            f"{product} names the image {path!r}, which is not a path inside the product. Its "
            "metadata were tampered with or are damaged; fetch it again."
        )
    return path
