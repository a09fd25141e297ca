"""The files of a .SAFE product, in a folder or in a zip that is not unpacked, and their XML."""

import zipfile
from pathlib import Path, PurePosixPath
from typing import Protocol
from xml.etree.ElementTree import Element, ParseError

from reben.errors import ProductError, ProductLevelError, first_line
from reben.support.extras import optional

MAX_XML_BYTES = 64 * 2**20
"""A metadata file of a real product has less than a tenth of it."""
_MAX_ELEMENTS = 1_000_000
_MAX_DEPTH = 100


def parse_metadata(content: bytes, name: str) -> Element:
    """Return the root of a metadata file, with element names that lack their namespace.

    Args:
        content: All bytes of the file.
        name: What the file is called in error messages.

    Raises:
        ProductError: If it is not well-formed, too large or too deep, or has a document type
            declaration: entities live there, and no metadata file of a Sentinel product has one.
        MissingExtraError: If defusedxml is not installed.

    Example:
        >>> root = parse_metadata(b'<a xmlns="urn:x"><b unit="m"> 10 </b></a>', "some.xml")
        >>> first_text(root, "b"), root.find("b").attrib
        ('10', {'unit': 'm'})
        >>> parse_metadata(b'<!DOCTYPE a><a/>', "some.xml")
        Traceback (most recent call last):
        reben.errors.ProductError: some.xml has a document type declaration...
    """
    defused = optional("defusedxml.ElementTree", "geo", "Reading a SAFE product")
    if len(content) > MAX_XML_BYTES or content.count(b"<") > 2 * _MAX_ELEMENTS:
        raise ProductError(
            f"{name} has {len(content):,} bytes and {content.count(b'<'):,} tags. The metadata of "
            f"a product have less than {MAX_XML_BYTES:,} bytes and {2 * _MAX_ELEMENTS:,} tags."
        )
    try:
        root: Element = defused.fromstring(content, forbid_dtd=True)
    except defused.DTDForbidden:
        raise ProductError(
            f"{name} has a document type declaration, which no product's metadata have and which "
            "can make a reader fetch other files. It is not read."
        ) from None
    except (ParseError, ValueError, LookupError) as error:
        raise ProductError(
            f"{name} is not XML: {first_line(error)}. Fetch the product again."
        ) from error
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > _MAX_DEPTH:
            raise ProductError(f"{name} nests elements more than {_MAX_DEPTH} deep.")
        for element in level:
            element.tag = element.tag.rpartition("}")[2]
        level = [child for element in level for child in element]
    return root


def first_text(element: Element, *names: str) -> str | None:
    """Return the text of the first element below with one of the names, the earlier name first."""
    found = next((child for name in names for child in element.iter(name)), None)
    return None if found is None else text_of(found) or None


def text_of(element: Element) -> str:
    """Return the text of an element without the white space around it."""
    return (element.text or "").strip()


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
