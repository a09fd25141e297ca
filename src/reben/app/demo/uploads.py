"""Uploaded files, sorted into the bands of one patch; zips are unpacked in memory only."""

import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from reben.app.demo.limits import UploadLimits
from reben.data.patch_folders.folder import is_tiff, parse_band, require_patch_place
from reben.data.tiff.places import read_header
from reben.data.tiff.tags import STARTS
from reben.errors import PlaceError, UploadError
from reben.spec.band_names import REFERENCE_MAP_TENSOR, match_band_file
from reben.spec.bands import ALL_FULL, Sensor, sensor
from reben.spec.patches import Bounds, is_utm, place_of_name

_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ENCRYPTED = 0x1
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db")
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


@dataclass(eq=False)
class UploadedPatch:
    """The bands of one patch as somebody uploaded them; their sizes are not checked yet."""

    bands: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Band -> [h, w], raw values."""
    files: dict[str, str] = field(default_factory=dict)
    """Band -> the file it came from."""
    names: dict[Sensor, str] = field(default_factory=dict)
    """Sensor -> name of its patch, or nothing if the files do not name one."""
    places: dict[Sensor, Bounds] = field(default_factory=dict)
    """Sensor -> where it lies, if files or names say so."""
    file_places: dict[str, Bounds | None] = field(default_factory=dict)
    """File -> where it lies, if it says so."""
    left_out: list[str] = field(default_factory=list)
    """Files that hold no band."""

    @property
    def title(self) -> str:
        """What to call the patch."""
        return self.names.get("Sentinel-2") or self.names.get("Sentinel-1") or "Uploaded patch"

    @property
    def place(self) -> Bounds | None:
        """Where it lies, if anything says so."""
        return self.places.get("Sentinel-2") or self.places.get("Sentinel-1")

    @property
    def doubt(self) -> str | None:
        """A warning if the files or the names do not show one place."""
        try:
            require_patch_place(self.file_places, self.names.values())
        except PlaceError as error:
            return f"{error} The scores below mix two places."
        return None

    def add(self, file: str, content: bytes, limits: UploadLimits) -> None:
        """Take a file in."""
        found = match_band_file(file)
        if found is not None and found.tensor == REFERENCE_MAP_TENSOR:
            self.left_out.append(file)
            return
        _require_tiff(file, content)
        if found is None:
            raise UploadError(
                f"{file} does not say which band it is. Name it <patch>_<BAND>.tif, for example "
                f"my_patch_B8A.tif; bands are {', '.join(ALL_FULL)}."
            )
        patch, band, _ = found
        if band not in ALL_FULL:
            raise UploadError(f"{file} is band {band}, which no patch has. Leave it out.")
        mission = sensor(band)
        if self.names.setdefault(mission, patch) != patch:
            other = next(name for known, name in self.files.items() if sensor(known) == mission)
            raise UploadError(
                f"The files are of more than one {mission} patch: {other} and {file}. "
                "Choose those of one."
            )
        if band in self.files:
            raise UploadError(
                f"Band {band} is there twice: {self.files[band]} and {file}. Choose one."
            )
        kept = sum(pixels.size for pixels in self.bands.values())
        _check_size(file, content, limits.pixels - kept)
        self.bands[band], place = parse_band(content, band, file)
        self.files[band] = file
        self.file_places[file] = place
        # What is shown of a place, are its zone and metres.
        if place is not None and is_utm(place.epsg):
            self.places.setdefault(mission, place)


def take_upload(
    paths: Sequence[Path], root: Path, limits: UploadLimits | None = None
) -> UploadedPatch:
    """Return the bands in uploaded files: one TIFF for each band, or zips of patch folders.

    Args:
        paths: The files.
        root: The folder of uploads; a file elsewhere is refused.
        limits: How much is taken.
    """
    limits = limits or UploadLimits()
    if not paths:
        raise UploadError("No file was uploaded. Choose the TIFFs of one patch, or a zip of them.")
    if len(paths) > limits.files:
        raise UploadError(
            f"{len(paths)} files were uploaded. A patch has at most 14 bands, and no more than "
            f"{limits.files} files are taken. Choose those of one patch."
        )
    found = UploadedPatch()
    total = sum(path.stat().st_size for path in paths if path.is_file())
    if total > limits.files_bytes:
        raise UploadError(
            f"The files have {_megabytes(total)} together; no more than "
            f"{_megabytes(limits.files_bytes)} are taken. Choose those of one patch."
        )
    for path in paths:
        content = read_uploaded(path, root, limits.file_bytes)
        is_zip = content.startswith(_ZIP_STARTS)
        for file, inside in _read_zip(path, limits) if is_zip else [(path.name, content)]:
            if is_zip and not is_tiff(file):
                found.left_out.append(file)
            else:
                found.add(file, inside, limits)
    if not found.bands:
        raise UploadError(
            "There is no band among these files. A patch folder holds <patch>_<BAND>.tif, with "
            f"{', '.join(ALL_FULL)} for <BAND>."
        )
    named = {mission: place_of_name(patch) for mission, patch in found.names.items()}
    found.places = {m: place for m, place in named.items() if place is not None} | found.places
    found.bands = {name: found.bands[name] for name in ALL_FULL if name in found.bands}
    return found


def read_uploaded(path: Path, root: Path, most_bytes: int) -> bytes:
    """Return the content of an uploaded file."""
    if path.is_symlink() or not path.resolve().is_relative_to(root.resolve()):
        raise UploadError(f"{path.name} was not uploaded here. Choose the file again.")
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise UploadError(
                f"{path.name} has {_megabytes(size)}; no more than {_megabytes(most_bytes)} are "
                "taken. A band of a patch has less than 0.1 MB: cut it out first."
            )
        return path.read_bytes()
    except OSError as error:
        raise UploadError(f"Cannot read {path.name}: {error.strerror}. Upload it again.") from None


def _require_tiff(file: str, content: bytes) -> None:
    if content.startswith(STARTS):
        return
    kind = next((k for start, k in _KNOWN_STARTS.items() if content.startswith(start)), None)
    what = f"it is {kind}" if kind else "it starts with other bytes" if content else "it is empty"
    raise UploadError(
        f"{file} is not a TIFF: {what}. The models need the measured values of each band, one "
        "TIFF for each."
    )


def _check_size(file: str, content: bytes, most_pixels: int) -> None:
    header = read_header(content, file)
    if header.samples != 1:
        raise UploadError(
            f"{file} has {header.samples} bands; a patch has one TIFF for each band. "
            "Write every band to its own file."
        )
    if header.width * header.height > most_pixels:
        raise UploadError(
            f"{file} has {header.width} x {header.height} pixels, more than is taken of a patch; a "
            "band of one has at most 120 x 120. Cut the patch out first, or use reben "
            "predict-scene for a whole scene."
        )


def _read_zip(path: Path, limits: UploadLimits) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files in a zip; attributes that macOS adds are left out."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(members, path.name, limits)
            for member in members:
                parts = PurePosixPath(member.filename).parts
                junk = any(part in _JUNK or part.startswith("._") for part in parts)
                if not (member.is_dir() or junk):
                    yield PurePosixPath(member.filename).name, _unpack(archive, member, path.name)
    except UploadError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UploadError(f"{path.name} is a damaged zip: {error}. Zip it again.") from None
    except (OSError, ValueError, OverflowError) as error:
        raise UploadError(f"{path.name} is not a readable zip: {error}. Zip it again.") from None


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> bytes:
    with archive.open(member) as file:
        # It never gives more than the size that was checked, and a false size is damage to it.
        content = file.read(member.file_size + 1)
    if content.startswith(_ZIP_STARTS):
        raise UploadError(
            f"{name} holds another zip, {member.filename}. Upload that one by itself."
        )
    return content


def _check_members(members: Sequence[zipfile.ZipInfo], name: str, limits: UploadLimits) -> None:
    """Refuse a zip before anything of it is unpacked."""
    if len(members) > limits.members:
        raise UploadError(
            f"{name} has {len(members)} members. A patch folder has at most 15 files, and no more "
            f"than {limits.members} are taken. Zip the folder of one patch."
        )
    seen: set[str] = set()
    for member in members:
        fault = _fault_of_path(member) or _fault_of_size(member, limits)
        if fault is not None:
            raise UploadError(f"{name} {fault}")
        if member.filename in seen:
            raise UploadError(f"{name} holds {member.filename} twice. Zip the folder again.")
        seen.add(member.filename)
    total = sum(member.file_size for member in members)
    if total > limits.total_bytes:
        raise UploadError(
            f"{name} unpacks to {_megabytes(total)}; no more than "
            f"{_megabytes(limits.total_bytes)} are taken. Zip the folder of one patch."
        )


def _fault_of_path(member: zipfile.ZipInfo) -> str | None:
    path = member.filename
    parts = PurePosixPath(path).parts
    is_odd = not path or path.startswith("/") or "\\" in path or not path.isprintable()
    if is_odd or ".." in parts or any(":" in part for part in parts[:1]):
        return (
            f"holds the path {path!r}, which leads out of the folder it is in. Nothing was taken "
            "from it."
        )
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "not an ordinary file"
        return f"holds {path}, which is {what}. Zip the files themselves."
    return None


def _fault_of_size(member: zipfile.ZipInfo, limits: UploadLimits) -> str | None:
    size, packed = member.file_size, member.compress_size
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted. Zip the folder without a password."
    # Only these are unpacked no further than asked for.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"holds {member.filename} in a compression that is not taken. Use plain zip."
    if size > limits.member_bytes:
        return (
            f"holds {member.filename} of {_megabytes(size)}. No band of a patch is that large, "
            f"and no more than {_megabytes(limits.member_bytes)} are taken."
        )
    # A band of one value packs well, and is small: below a megabyte the ratio means nothing.
    if size > 1 << 20 and size > limits.ratio * packed:
        return (
            f"holds {member.filename}, which grows from {packed} bytes to {_megabytes(size)}: "
            "that is a zip bomb, or an empty picture."
        )
    return None


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
