"""What GDAL keeps beside a TIFF: ``x.tif.aux.xml``, which can declare values, and ``x.tif.msk``.

Only what is said about pixels is looked for, as text: GDAL's own reader opens further files that
such XML names.

Source: GDAL, persistent auxiliary metadata (PAMRasterBand: NoDataValue, Scale, Offset) and mask
bands (a file .msk of the same size, 0 where there are no data).
"""

import re
from collections.abc import Container, Iterable
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from reben.data.tiff.read import parse_tiff
from reben.data.values import mask_declared, require_plain
from reben.errors import TiffError
from reben.support.bounds import MAX_XML_BYTES, read_file

_DECLARED = re.compile(rb"<(NoDataValue|Scale|Offset)\b[^<>]*>\s*([^<>\s]{1,60})\s*</\1>")
_ENDINGS = (".aux.xml", ".msk")


def side_files_in(folder: str, files: Iterable[str]) -> set[str]:
    """Return the paths of those of the files in a folder that say something about others."""
    return {f"{folder}/{file}" for file in files if file.endswith(_ENDINGS)}


class SideFiles(NamedTuple):
    """The content of the files beside a TIFF; empty for one that is not there."""

    values: bytes = b""
    mask: bytes = b""

    @classmethod
    def read(cls, file: str, there: Container[str]) -> Self:
        """Return those of a file.

        Args:
            file: Its path.
            there: Paths of all side files of its folder, as of `side_files_in`.

        Raises:
            OSError: If one cannot be read, or is too large.
        """
        paths = [file + ending for ending in _ENDINGS]
        return cls(*(read_file(path, MAX_XML_BYTES) if path in there else b"" for path in paths))

    def apply(self, name: str, pixels: NDArray[Any], file: str) -> NDArray[Any]:
        """Return a band as it is, or masked where these files say that there are no data.

        Args:
            name: The band.
            pixels: Its values, masked or not.
            file: What the TIFF is called in error messages.

        Raises:
            PixelValueError: If they say that pixels are to be scaled first.
            TiffError: If the mask is damaged, or of another size.
        """
        told = {key.decode(): _number(text) for key, text in _DECLARED.findall(self.values)}
        scale, offset = told.get("Scale"), told.get("Offset")
        require_plain(
            f"Band {name}, {file}.aux.xml,",
            1.0 if scale is None else scale,
            0.0 if offset is None else offset,
        )
        masked = mask_declared(name, np.ma.getdata(pixels), told.get("NoDataValue"))
        missing = np.ma.getmaskarray(masked) | np.ma.getmaskarray(pixels)
        if self.mask:
            mask = parse_tiff(self.mask, f"{file}.msk")
            if mask.shape != pixels.shape:
                raise TiffError(
                    f"{file}.msk has {mask.shape[0]} x {mask.shape[1]} pixels, {file} "
                    f"{pixels.shape[0]} x {pixels.shape[1]}. Remove it if it is of another file."
                )
            missing |= mask == 0
        return np.ma.masked_array(np.ma.getdata(pixels), missing) if missing.any() else pixels


def _number(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
