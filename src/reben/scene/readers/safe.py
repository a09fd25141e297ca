"""Sentinel-2 level-2A products in ESA's format, of any processing baseline.

Source: Sentinel-2 Products Specification Document; checked against the metadata of real products
of baselines 02.12, 04.00 and 05.09. Older baselines name some elements otherwise (``..._2A``).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element

from reben.errors import (
    OffsetConflictError,
    ProductError,
    ProductLevelError,
    UnknownOffsetError,
    cut,
)
from reben.scene.band_names import CLASSIFICATION, native_metres
from reben.scene.band_source import BandFile
from reben.scene.offset import (
    GIVEN,
    OffsetAndScale,
    ScaleStatement,
    check_given_offset,
    offset_of_baseline,
    parse_baseline,
)
from reben.scene.readers.safe_files import (
    METADATA_FILE,
    SafeFiles,
    checked_path,
    first_text,
    parse_metadata,
    text_of,
)
from reben.scene.sources import BandSources, Placement, closed_on_error
from reben.spec.bands import S2_FULL

BAND_IDS = (*S2_FULL.names[:10], "B10", *S2_FULL.names[10:])
"""Bands by their ``band_id`` in the metadata. Source: Spectral_Information of real products."""
_BANDS_BY_ID = {str(number): band for number, band in enumerate(BAND_IDS)}
_EXTENSIONS = (".jp2", ".tif", ".tiff", "")
_TILE_METADATA = "MTD_TL.xml"
_SPECIAL_VALUES = {"NODATA": "no_data", "SATURATED": "saturated"}
_LARGEST = 1e8  # of any number that is read: offsets, sizes, metres


@dataclass(frozen=True)
class Safe:
    """The content of a product's metadata file.

    Args:
        name: The product's name.
        baseline: Its processing baseline, such as ``"05.09"``.
        sensed: Start of sensing, as written in the file.
        quantification: Divisor that turns digital numbers into reflectances.
        offsets: Band -> its BOA_ADD_OFFSET; empty if the file lists none.
        images: Paths inside the product, mostly without their extension.
        no_data: The special value NODATA.
        saturated: The special value SATURATED.
    """

    name: str
    baseline: str
    sensed: str
    quantification: float
    offsets: Mapping[str, float]
    images: tuple[str, ...]
    no_data: float | None = None
    saturated: float = 65_535

    @classmethod
    def parse(cls, content: bytes, name: str) -> "Safe":
        """Return the content of a metadata file."""
        root = parse_metadata(content, name)
        kind = first_text(root, "PRODUCT_TYPE", "PROCESSING_LEVEL") or root.tag
        if "2A" not in kind:
            raise ProductLevelError(
                f"{name} says the product is {cut(kind)}. The models need level 2A, surface "
                "reflectance, not top-of-atmosphere reflectance."
            )
        baseline = first_text(root, "PROCESSING_BASELINE")
        quantification = first_text(
            root, "BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"
        )
        if baseline is None or quantification is None:
            lacking = "PROCESSING_BASELINE" if baseline is None else "BOA_QUANTIFICATION_VALUE"
            raise ProductError(f"{name} has no {lacking}. Download the product again.")
        parse_baseline(baseline)
        images = tuple(
            checked_path(text_of(element), name)
            for tag in ("IMAGE_FILE", "IMAGE_FILE_2A", "IMAGE_ID_2A")
            for element in root.iter(tag)
        )
        if not images:
            raise ProductError(f"{name} lists no image (IMAGE_FILE). Download the product again.")
        return cls(
            name=cut(first_text(root, "PRODUCT_URI", "PRODUCT_URI_2A") or "", 200),
            baseline=baseline,
            sensed=first_text(root, "DATATAKE_SENSING_START", "PRODUCT_START_TIME") or "",
            quantification=_number(quantification, "BOA_QUANTIFICATION_VALUE", name),
            offsets=_offsets(root, name),
            images=images,
            **_special_values(root, name),
        )

    def image_of(self, band: str) -> str | None:
        """Return the path of a band at its native pixel size, None if the product lists none."""
        ending = f"_{band}_{native_metres(band)}m"
        found = {path for path in self.images if _stem(path).endswith(ending)}
        if len(found) > 1:
            raise ProductError(
                f"The metadata of {self.name} list {band} at {native_metres(band)} m more than "
                f"once: {', '.join(sorted(found))}. Download the product again."
            )
        return next(iter(found), None)

    @property
    def about(self) -> dict[str, str]:
        """Facts for provenance."""
        return {"processing_baseline": self.baseline, "sensing_time": self.sensed}

    def statements_of(self, band: str) -> list[ScaleStatement]:
        """Return what the file states about the numbers of a band."""
        offset, source = self._stated(band)
        return [] if offset is None else [ScaleStatement(source, offset, self.quantification)]

    def scaling_of(self, band: str, boa_offset: float | None) -> OffsetAndScale:
        """Return offset and scale of a band."""
        offset, source = self._stated(band)
        if boa_offset is not None and offset is not None and boa_offset != offset:
            raise OffsetConflictError(
                f"boa_offset is {boa_offset:g}, but {self.name} says {offset:g} for {band} "
                f"({source}). Leave boa_offset out: the product's own metadata decide."
            )
        if offset is None and boa_offset is None:
            raise UnknownOffsetError(
                f"{self.name} has processing baseline {self.baseline} and no BOA_ADD_OFFSET in "
                f"{METADATA_FILE}, so nothing states the offset of its digital numbers. Pass "
                "boa_offset=-1000 (--boa-offset -1000), or boa_offset=0 if they have none."
            )
        if offset is None:
            return OffsetAndScale(boa_offset or 0, self.quantification, GIVEN)
        return OffsetAndScale(offset, self.quantification, source)

    def _stated(self, band: str) -> tuple[float | None, str]:
        """Return the offset of a band, None if nothing states it, and where it comes from."""
        if not self.offsets:
            # The element came with baseline 04.00; a later product without it is ambiguous.
            offset = 0 if offset_of_baseline(self.baseline) == 0 else None
            return offset, f"no BOA_ADD_OFFSET, processing baseline {self.baseline}"
        if band not in self.offsets:
            raise UnknownOffsetError(
                f"{self.name} has BOA_ADD_OFFSET for some bands, but not for {band}. "
                "Its metadata are damaged; download the product again."
            )
        return self.offsets[band], f"BOA_ADD_OFFSET in {METADATA_FILE}"


def read_safe(files: SafeFiles, boa_offset: float | None = None) -> BandSources:
    """Return the bands of a product; for the errors see `open_scene`."""
    check_given_offset(boa_offset)
    safe = Safe.parse(files.read(METADATA_FILE), files.shown(METADATA_FILE))
    geocoding = _geocoding(files, safe.images)
    missing: dict[str, str] = {}
    with closed_on_error() as sources:
        for band in (*S2_FULL, CLASSIFICATION):
            listed = safe.image_of(band)
            path = _existing(files, listed)
            if path is None:
                missing[band] = _looked_for(files, band, listed)
                if band == CLASSIFICATION and listed is not None:
                    raise ProductError(
                        f"{files.name} is damaged: its metadata list the scene classification, but "
                        f"there is no {missing[band]}. Without it clouds would get land cover. "
                        "Download the product again."
                    )
                continue
            expected = geocoding.get(native_metres(band))
            sources[band] = BandFile(files.raster_path(path), files.shown(path), expected=expected)
        scaling = {
            band: safe.scaling_of(band, boa_offset) for band in sources if band != CLASSIFICATION
        }
    about = {"source": "Sentinel-2 SAFE", **safe.about}
    name = (safe.name or files.name).removesuffix(".SAFE")
    cure = (
        "Download the product again; if its images were changed on purpose, save each band as a "
        "GeoTIFF of its own and pass that folder with boa_offset=0 (--boa-offset 0). "
    )
    return BandSources(
        name,
        sources,
        scaling,
        missing,
        about,
        no_data=safe.no_data,
        saturated=safe.saturated,
        cure=cure,
    )


def _offsets(root: Element, name: str) -> dict[str, float]:
    offsets = {}
    for element in root.iter("BOA_ADD_OFFSET"):
        band = _BANDS_BY_ID.get(element.attrib.get("band_id", ""))
        if band is None or band in offsets:
            said = cut(element.attrib.get("band_id", ""))
            raise ProductError(
                f"{name} has a BOA_ADD_OFFSET for band_id {said!r}, which is unknown or there "
                "twice. Download the product again."
            )
        offsets[band] = _number(text_of(element), "BOA_ADD_OFFSET", name)
    return offsets


def _special_values(root: Element, name: str) -> dict[str, float]:
    found = {}
    for element in root.iter("Special_Values"):
        key = _SPECIAL_VALUES.get((first_text(element, "SPECIAL_VALUE_TEXT") or "").upper())
        if key is not None:
            text = first_text(element, "SPECIAL_VALUE_INDEX") or ""
            found[key] = _number(text, "SPECIAL_VALUE_INDEX", name, least=0, most=65_535)
    return found


def _number(
    text: str, what: str, name: str, *, least: float = -_LARGEST, most: float = _LARGEST
) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise ProductError(
            f"{name}: {what} is {cut(text)!r}, which is not a number of {least:g} to {most:g}. "
            "Download the product again."
        )
    return number


def _stem(path: str) -> str:
    file = PurePosixPath(path)
    return file.stem if file.suffix in _EXTENSIONS else file.name


def _existing(files: SafeFiles, listed: str | None) -> str | None:
    if listed is None:
        return None
    found = [listed + end for end in _EXTENSIONS if files.has(listed + end)]
    if len(found) > 1:
        raise ProductError(
            f"One image of {files.name} is there more than once: {', '.join(found)}. Remove the "
            "one that does not belong to the product."
        )
    return next(iter(found), None)


def _looked_for(files: SafeFiles, band: str, listed: str | None) -> str:
    if listed is None:
        return f"_{band}_{native_metres(band)}m in {files.shown(METADATA_FILE)}, which lists none"
    return files.shown(listed + _EXTENSIONS[0])


def _geocoding(files: SafeFiles, images: tuple[str, ...]) -> dict[int, Placement]:
    granules = {PurePosixPath(path).parts[:2] for path in images}
    if len(granules) != 1:
        raise ProductError(
            f"{files.name} holds {len(granules)} tiles (granules), like the products of 2015 and "
            "2016. Only products of one tile can be read; download those."
        )
    path = str(PurePosixPath(*granules.pop(), _TILE_METADATA))
    if not files.has(path):
        return {}
    root = parse_metadata(files.read(path), files.shown(path))
    crs = first_text(root, "HORIZONTAL_CS_CODE")
    sizes = {element.attrib.get("resolution"): element for element in root.iter("Size")}
    corners = {element.attrib.get("resolution"): element for element in root.iter("Geoposition")}
    return {
        metres: _placement(crs, sizes[str(metres)], corners[str(metres)], files.shown(path))
        for metres in (10, 20, 60)
        if crs and str(metres) in sizes and str(metres) in corners
    }


def _placement(crs: str, size: Element, corner: Element, name: str) -> Placement:
    def number(element: Element, tag: str) -> float:
        return _number(first_text(element, tag) or "", tag, name)

    transform = (
        number(corner, "XDIM"), 0.0, number(corner, "ULX"),
        0.0, number(corner, "YDIM"), number(corner, "ULY"),
    )  # fmt: skip
    return Placement(crs, transform, int(number(size, "NCOLS")), int(number(size, "NROWS")))
