"""The files of a .SAFE product, in a folder or in a zip that is not unpacked, and their XML."""

import lzma
import struct
import sys
import zipfile
import zlib
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import NoReturn, Self
from xml.etree.ElementTree import Element, ParseError

from reben.errors import ProductError, ProductLevelError, cut, first_line
from reben.support.bounds import MAX_XML_BYTES, MAX_XML_TAGS, MAX_ZIP_ENTRIES, check_file
from reben.support.extras import optional

_MAX_DEPTH = 100
_ZIP_ERRORS = (
    OSError,
    zipfile.BadZipFile,
    RuntimeError,  # an encrypted member, or a method that is not known
    KeyError,
    ValueError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)
_LONGEST_PATH = 1000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def parse_metadata(content: bytes, name: str) -> Element:
    """Return the root of a metadata file, with element names that lack their namespace.

    Args:
        content: All bytes of the file.
        name: What the file is called in error messages.

    Example:
        >>> root = parse_metadata(b'<a xmlns="urn:x"><b unit="m"> 10 </b></a>', "some.xml")
        >>> first_text(root, "b"), root.find("b").attrib
        ('10', {'unit': 'm'})
        >>> parse_metadata(b'<!DOCTYPE a><a/>', "some.xml")
        Traceback (most recent call last):
        reben.errors.ProductError: some.xml has a document type declaration...
    """
    defused = optional("defusedxml.ElementTree", "geo", "Reading a SAFE product")
    num_tags, num_attributes = content.count(b"<"), content.count(b"=")
    if len(content) > MAX_XML_BYTES or max(num_tags, num_attributes) > MAX_XML_TAGS:
        raise ProductError(
            f"{name} has {len(content):,} bytes, {num_tags:,} tags and {num_attributes:,} "
            f"attributes. The metadata of a product have less than {MAX_XML_BYTES:,} bytes and "
            f"{MAX_XML_TAGS:,} of either. Download the product again."
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
            f"{name} is not XML: {first_line(error)}. Download the product again."
        ) from error
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > _MAX_DEPTH:
            raise ProductError(
                f"{name} nests elements more than {_MAX_DEPTH} deep, as no product's metadata do. "
                "Download the product again."
            )
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
LEVEL_1C_FILE = "MTD_MSIL1C.xml"


@dataclass(frozen=True)
class SafeFiles:
    """Files of a product by their path inside it, with forward slashes.

    Args:
        name: Name of the product's folder.
        root: That folder, on disk or in a zip.
        place: The beginning of a file's name in error messages.
        raster: The beginning of the path that GDAL opens.
    """

    name: str
    root: Path | zipfile.Path
    place: str
    raster: str

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the files of a product in a folder or in a zip, which is not unpacked."""
        folder = path.absolute()
        if path.is_dir():
            if not (folder / METADATA_FILE).is_file():
                _refuse_without_metadata(path, is_level_1c=(folder / LEVEL_1C_FILE).is_file())
            return cls(folder.name, folder, f"{folder}/", f"{folder}/")
        try:
            check_file(folder, sys.maxsize)
            archive = zipfile.ZipFile(folder)
        except _ZIP_ERRORS as error:
            raise ProductError(
                f"{path} cannot be read as a zip file: {first_line(error)}. Download it again."
            ) from None
        if len(archive.filelist) > MAX_ZIP_ENTRIES:
            raise ProductError(
                f"{path} holds {len(archive.filelist):,} files, as no product does. Pass the zip "
                "of one product."
            )
        roots = _folders_with(METADATA_FILE, archive)
        if not roots:
            is_level_1c = bool(_folders_with(LEVEL_1C_FILE, archive))
            _refuse_without_metadata(path, is_level_1c=is_level_1c)
        if len(roots) > 1:
            raise ProductError(
                f"{path} holds {len(roots)} products: {cut(', '.join(roots), 300)}. Pass one at "
                "a time."
            )
        inside = "" if roots[0] == "." else f"{roots[0]}/"
        root = zipfile.Path(archive, inside)
        name = PurePosixPath(roots[0]).name or folder.stem
        return cls(name, root, f"{folder}:{inside}", f"/vsizip/{_in_braces(folder)}/{inside}")

    def has(self, path: str) -> bool:
        """Tell whether the product holds a file."""
        return (self.root / path).is_file()

    def read(self, path: str) -> bytes:
        """Return the bytes of a file, `MAX_XML_BYTES` and one at most."""
        try:
            if isinstance(self.root, Path):
                check_file(self.root / path, sys.maxsize)
            with (self.root / path).open("rb") as file:
                content: bytes = file.read(MAX_XML_BYTES + 1)
        except _ZIP_ERRORS as error:
            raise ProductError(
                f"Cannot read {self.shown(path)}: {first_line(error)}. Download the product again."
            ) from error
        return content

    def raster_path(self, path: str) -> str:
        """Return the path that GDAL opens to read a file."""
        if not isinstance(self.root, Path):
            member = self.root.root.getinfo((self.root / path).at)
            if member.compress_type not in _METHODS or member.flag_bits & 1:
                raise ProductError(
                    f"{self.shown(path)} is encrypted, or compressed by a method other than "
                    "deflate. Unpack the zip and pass the .SAFE folder."
                )
        return self.raster + path

    def shown(self, path: str) -> str:
        """Return the name of a file in error messages."""
        return self.place + path


def _in_braces(archive: Path) -> str:
    """Return a zip file as GDAL writes it, which looks for the brace that closes the first one."""
    steps = {"{": 1, "}": -1}
    depths = list(accumulate(steps.get(letter, 0) for letter in str(archive)))
    if min(depths) < 0 or depths[-1]:
        raise ProductError(
            f"{archive} has a brace in its path that is opened or closed alone, with which no zip "
            "file can be read in place. Rename it, or unpack it and pass the .SAFE folder."
        )
    return f"{{{archive}}}"


def _folders_with(file_name: str, archive: zipfile.ZipFile) -> list[str]:
    """Return the folders of an archive that directly hold a file of that name."""
    found = [PurePosixPath(member) for member in archive.namelist()]
    parents = sorted({str(path.parent) for path in found if path.name == file_name})
    return [parent for parent in parents if ".." not in PurePosixPath(parent).parts]


def refuse_level_1c(product: Path) -> NoReturn:
    """Raise the error that says why top-of-atmosphere reflectance is not read."""
    raise ProductLevelError(
        f"{product} is a level-1C product: top-of-atmosphere reflectance. The models were "
        "trained on level 2A, surface reflectance; haze and scattering would look like "
        "another land cover. Use the level-2A product of the same scene, or make it with "
        "Sen2Cor."
    )


def _refuse_without_metadata(product: Path, *, is_level_1c: bool) -> NoReturn:
    if is_level_1c:
        refuse_level_1c(product)
    raise ProductError(
        f"{product} has no {METADATA_FILE}, the metadata file at the top of a Sentinel-2 level-2A "
        "product. Pass the .SAFE folder itself or a zip of it. Of a part of one, or of single "
        "files of bands, unpack the zip and pass the folder."
    )


def checked_path(path: str, product: str) -> str:
    """Return a path that metadata name; raise a ProductError if it leaves the product."""
    parts = PurePosixPath(path).parts
    strange = any(character in path for character in "\\:{}\0")
    if not parts or strange or ".." in parts or path.startswith("/") or len(path) > _LONGEST_PATH:
        raise ProductError(
            f"{product} names the image {cut(path)!r}, which is not a path inside the product. The "
            "metadata are damaged or were tampered with; download the product again."
        )
    return path
