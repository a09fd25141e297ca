"""The files of a .SAFE product, in a folder or in a zip of it that is not unpacked."""

import zipfile
from pathlib import Path, PurePosixPath
from typing import Protocol

from reben.errors import ProductError, ProductLevelError
from reben.scene.metadata_xml import MAX_XML_BYTES

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
