"""Files that somebody uploaded, sorted into the bands of one patch: no page, no model."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from reben.app.demo.places import Place, place_of_name
from reben.app.demo.tiff_header import STARTS, read_header
from reben.app.demo.zips import ZipLimits, is_zip, read_zip
from reben.data.tiff import parse_tiff
from reben.errors import UploadError
from reben.spec.bands import ALL_FULL, Sensor, sensor

_BAND = re.compile(
    r"(?:(?P<patch>.*)_)?(?P<band>VV|VH|B0[1-9]|B8A|B1[0-2])(?:_(?:10|20|60)m)?\.tiff?",
    re.IGNORECASE | re.ASCII,
)
_KNOWN_STARTS = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF",
    b"RIFF": "a WebP picture",
    b"\x1f\x8b": "gzip-compressed",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"\x00\x00\x00\x0cjP": "a JPEG 2000 picture",
}
_REFERENCE_MAP = "_reference_map.tif"
_NEAR_METRES = 120.0


@dataclass(frozen=True)
class UploadLimits:
    """How much is taken.

    Args:
        files: How many files in one go.
        file_bytes: Bytes of one of them.
        pixels: Pixels of one band; a patch has 14,400.
        zips: What a zip may hold.
    """

    files: int = 30
    file_bytes: int = 16 << 20
    pixels: int = 1 << 20
    zips: ZipLimits = field(default_factory=ZipLimits)


@dataclass(frozen=True, eq=False)
class UploadedPatch:
    """The bands of one patch as somebody uploaded them; their sizes are not checked yet.

    Args:
        bands: Band -> [h, w], raw values.
        files: Band -> the file it came from.
        names: Sensor -> name of its patch, as far as the files' names say one.
        places: Sensor -> where it lies, as far as files or names say it.
        left_out: Files that were passed over.
    """

    bands: Mapping[str, NDArray[Any]]
    files: Mapping[str, str]
    names: Mapping[Sensor, str]
    places: Mapping[Sensor, Place]
    left_out: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What to call the patch."""
        return self.names.get("Sentinel-2") or self.names.get("Sentinel-1") or "Uploaded patch"

    @property
    def place(self) -> Place | None:
        """Where it lies, if anything says so."""
        return self.places.get("Sentinel-2") or self.places.get("Sentinel-1")

    @property
    def doubt(self) -> str | None:
        """What speaks against the two sensors showing the same place, if anything does."""
        if len(self.places) < 2:
            return None
        apart = self.places["Sentinel-2"].distance(self.places["Sentinel-1"])
        if apart <= _NEAR_METRES:
            return None
        shown = f"{apart / 1000:,.0f} km" if apart >= 10_000 else f"{apart:,.0f} m"
        return (
            f"The Sentinel-1 files lie {shown} from the Sentinel-2 files. The "
            "scores below mix two places."
        )


def take_upload(
    paths: Sequence[Path], root: Path, limits: UploadLimits | None = None
) -> UploadedPatch:
    """Return the bands in uploaded files: one TIFF a band, or a zip of a patch folder.

    Args:
        paths: The files.
        root: The folder that uploads lie in; a file elsewhere is refused.
        limits: How much is taken.

    Raises:
        UploadError: If the files are not the bands of one patch; the message says why.
        TiffError: If a file is a damaged TIFF.
        MissingExtraError: If a TIFF needs rasterio, which is not installed.
    """
    limits = limits or UploadLimits()
    if not paths:
        raise UploadError("No file was uploaded. Choose the TIFFs of one patch, or a zip of them.")
    if len(paths) > limits.files:
        raise UploadError(
            f"{len(paths)} files were uploaded; a patch has at most 14 bands, and no more than "
            f"{limits.files} files are taken. Choose those of one patch."
        )
    found: list[tuple[str, bytes]] = []
    left_out: list[str] = []
    for path in paths:
        content = read_uploaded(path, root, limits.file_bytes)
        if is_zip(content):
            for inside, member in read_zip(path, path.name, limits.zips):
                file = PurePosixPath(inside).name
                if file.lower().endswith((".tif", ".tiff")):
                    found.append((file, member))
                else:
                    left_out.append(file)
        else:
            found.append((path.name, content))
    return _sort(found, left_out, limits)


def read_uploaded(path: Path, root: Path, most_bytes: int) -> bytes:
    """Return the content of an uploaded file.

    Raises:
        UploadError: If it does not lie in ``root``, is no ordinary file, or is too large.
    """
    if path.is_symlink() or not path.resolve().is_relative_to(root.resolve()):
        raise UploadError(f"{path.name} was not uploaded here. Choose the file again.")
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise UploadError(
                f"{path.name} has {size / 1e6:.1f} MB; no more than {most_bytes / 1e6:.0f} MB "
                "are taken. A band of a patch has less than 0.1 MB: cut it out first."
            )
        return path.read_bytes()
    except OSError as error:
        raise UploadError(f"{path.name} cannot be read: {error.strerror}. Upload again.") from None


def _sort(
    found: Sequence[tuple[str, bytes]], left_out: list[str], limits: UploadLimits
) -> UploadedPatch:
    bands: dict[str, NDArray[Any]] = {}
    files: dict[str, str] = {}
    names: dict[Sensor, str] = {}
    places: dict[Sensor, Place] = {}
    for file, content in found:
        if file.lower().endswith(_REFERENCE_MAP):
            left_out.append(file)
            continue
        name, patch = _band_of(file, content)
        _require_one_patch(name, patch, file, names, files)
        pixels, place = _read_band(file, content, limits)
        bands[name], files[name] = pixels, file
        names.setdefault(sensor(name), patch)
        if place is not None:
            places.setdefault(sensor(name), place)
    if not bands:
        raise UploadError(
            "There is no band among these files. A patch folder holds <patch>_<BAND>.tif, with "
            f"{', '.join(ALL_FULL)} for <BAND>."
        )
    for mission, patch in names.items():
        place = place_of_name(patch)
        if place is not None and mission not in places:
            places[mission] = place
    ordered = {name: bands[name] for name in ALL_FULL if name in bands}
    known = {mission: patch for mission, patch in names.items() if patch}
    return UploadedPatch(ordered, files, known, places, tuple(left_out))


def _band_of(file: str, content: bytes) -> tuple[str, str]:
    """Return which band a file is and of which patch, by its name."""
    if not content.startswith(STARTS):
        kind = next((k for start, k in _KNOWN_STARTS.items() if content.startswith(start)), None)
        what = f"it is {kind}" if kind else "it starts with other bytes"
        raise UploadError(
            f"{file} is not a TIFF: {what if content else 'it is empty'}. "
            "The models need the measured values of each band, one TIFF a band."
        )
    match = _BAND.fullmatch(file)
    if match is None:
        raise UploadError(
            f"{file} does not say which band it is. Name it <patch>_<BAND>.tif, for example "
            f"my_patch_B8A.tif; bands are {', '.join(ALL_FULL)}."
        )
    name = match["band"].upper()
    if name not in ALL_FULL:
        raise UploadError(f"{file} is band {name}, which no patch has. Leave it out.")
    return name, match["patch"] or ""


def _require_one_patch(
    name: str, patch: str, file: str, names: Mapping[Sensor, str], files: Mapping[str, str]
) -> None:
    mission = sensor(name)
    known = names.get(mission, patch)
    if known != patch:
        example = next(other for band, other in files.items() if sensor(band) == mission)
        raise UploadError(
            f"The files are of more than one {mission} patch: {example} and {file}. "
            "Choose those of one."
        )
    if name in files:
        raise UploadError(f"Band {name} is there twice: {files[name]} and {file}. Choose one.")


def _read_band(
    file: str, content: bytes, limits: UploadLimits
) -> tuple[NDArray[Any], Place | None]:
    header = read_header(content, file)
    if header.samples != 1:
        raise UploadError(
            f"{file} has {header.samples} bands; a patch has one TIFF for each band. "
            "Write every band to its own file."
        )
    if header.width * header.height > limits.pixels:
        raise UploadError(
            f"{file} has {header.width} x {header.height} pixels; a patch has at most 120 x 120. "
            "Cut the patch out first, or use reben predict-scene for a whole scene."
        )
    return parse_tiff(content, file), header.place
