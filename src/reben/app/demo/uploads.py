"""Files that somebody uploaded, sorted into the bands of one patch: no page, no model.

Zip files that somebody uploaded: their members in memory, or a refusal.
"""

import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from reben.app.demo.locator import distance_between, place_of_name
from reben.data.patch_folders.folder import (
    REFERENCE_MAP_TENSOR,
    BandFile,
    is_tiff,
    match_band_file,
)
from reben.data.tiff.read import parse_tiff
from reben.data.tiff.tags import STARTS, read_header
from reben.errors import UploadError
from reben.spec.bands import ALL_FULL, Sensor, sensor
from reben.spec.patches import Bounds

ZIP_START = b"PK\x03\x04"
"""What a zip with at least one member starts with."""
_ZIP_STARTS = (ZIP_START, b"PK\x05\x06", b"PK\x07\x08")
_ENCRYPTED = 0x1
_MEANINGLESS = ("__MACOSX", ".DS_Store", "Thumbs.db")


@dataclass(frozen=True)
class ZipLimits:
    """How much a zip may hold.

    Args:
        members: Files and folders.
        member_bytes: Bytes of one file, unpacked.
        total_bytes: Bytes of all files, unpacked.
        ratio: How many times smaller than unpacked a file may be.
    """

    members: int = 200
    member_bytes: int = 8 << 20
    total_bytes: int = 64 << 20
    ratio: int = 200


def is_zip(content: bytes) -> bool:
    """Tell by its first bytes whether ``content`` is a zip."""
    return content.startswith(_ZIP_STARTS)


def read_zip(path: Path, name: str, limits: ZipLimits) -> list[tuple[str, bytes]]:
    """Return the files of a zip, unpacked in memory: nothing of it is ever written to disk.

    Args:
        path: The zip.
        name: What it is called in error messages.
        limits: How much it may hold.

    Returns:
        ``[(path inside the zip, content), ...]``; attributes that macOS adds are left out.

    Raises:
        UploadError: If it is damaged or encrypted, or holds what no patch folder holds: links,
            paths that lead out of it, zips, the same path twice, or more than the limits.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, name, limits)
            return list(_unpack(archive, name, limits))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UploadError(f"{name} is a damaged zip: {error}. Make it anew.") from None
    except (OSError, ValueError, OverflowError) as error:
        if isinstance(error, UploadError):
            raise
        raise UploadError(f"{name} cannot be read as a zip: {error}. Make it anew.") from None


def _check_members(archive: zipfile.ZipFile, name: str, limits: ZipLimits) -> None:
    members = archive.infolist()
    if len(members) > limits.members:
        raise UploadError(
            f"{name} has {len(members)} members; a patch folder has at most 15 files, and no more "
            f"than {limits.members} are taken. Zip the folder of one patch."
        )
    seen: set[str] = set()
    for member in members:
        _check_path(member, name)
        if member.filename in seen:
            raise UploadError(f"{name} holds {member.filename} twice. Make it anew.")
        seen.add(member.filename)
        _check_size(member, name, limits)
    total = sum(member.file_size for member in members)
    if total > limits.total_bytes:
        raise _too_large(name, total, limits)


def _check_path(member: zipfile.ZipInfo, name: str) -> None:
    parts = PurePosixPath(member.filename).parts
    escapes = (
        member.filename.startswith("/")
        or "\\" in member.filename
        or ".." in parts
        or any(":" in part for part in parts[:1])
        or not member.filename.isprintable()
    )
    if escapes:
        raise UploadError(
            f"{name} holds the path {member.filename!r}, which leads out of the folder it is in. "
            "Nothing was taken from it."
        )
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "no ordinary file"
        raise UploadError(
            f"{name} holds {member.filename}, which is {what}. Zip the files themselves."
        )
    if member.flag_bits & _ENCRYPTED:
        raise UploadError(f"{name} is encrypted. Zip the folder without a password.")


def _check_size(member: zipfile.ZipInfo, name: str, limits: ZipLimits) -> None:
    if member.file_size > limits.member_bytes:
        raise UploadError(
            f"{name} holds {member.filename} of {_megabytes(member.file_size)}; no band of a "
            f"patch is that large, and no more than {_megabytes(limits.member_bytes)} are taken."
        )
    # A band of one value all over packs well, and is small: below a megabyte the ratio is no sign.
    if member.file_size > 1 << 20 and member.file_size > limits.ratio * member.compress_size:
        raise UploadError(
            f"{name} holds {member.filename}, which grows from {member.compress_size} bytes to "
            f"{_megabytes(member.file_size)}: that is a zip bomb, or an empty picture."
        )


def _unpack(archive: zipfile.ZipFile, name: str, limits: ZipLimits) -> Iterator[tuple[str, bytes]]:
    total = 0
    for member in archive.infolist():
        parts = PurePosixPath(member.filename).parts
        junk = any(part in _MEANINGLESS or part.startswith("._") for part in parts)
        if member.is_dir() or junk:
            continue
        # What a member says of its size can be a lie, so reading itself has a limit.
        with archive.open(member) as file:
            content = file.read(limits.member_bytes + 1)
        total += len(content)
        if len(content) > limits.member_bytes or total > limits.total_bytes:
            raise _too_large(name, total, limits)
        if is_zip(content):
            raise UploadError(
                f"{name} holds another zip, {member.filename}. Upload that one by itself."
            )
        yield member.filename, content


def _too_large(name: str, total: int, limits: ZipLimits) -> UploadError:
    return UploadError(
        f"{name} unpacks to {_megabytes(total)} or more; no more than "
        f"{_megabytes(limits.total_bytes)} are taken. Zip the folder of one patch."
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


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
    places: Mapping[Sensor, Bounds]
    left_out: tuple[str, ...] = ()

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
        """What speaks against the two sensors showing the same place, if anything does."""
        if len(self.places) < 2:
            return None
        apart = distance_between(self.places["Sentinel-2"], self.places["Sentinel-1"])
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
                if is_tiff(file):
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
    places: dict[Sensor, Bounds] = {}
    for file, content in found:
        match = match_band_file(file, loosely=True)
        if match is not None and match.tensor == REFERENCE_MAP_TENSOR:
            left_out.append(file)
            continue
        patch, name = _require_band(file, content, match)
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


def _require_band(file: str, content: bytes, match: BandFile | None) -> BandFile:
    """Return which band a file is and of which patch, by its name, if it is a TIFF of one."""
    if not content.startswith(STARTS):
        kind = next((k for start, k in _KNOWN_STARTS.items() if content.startswith(start)), None)
        what = f"it is {kind}" if kind else "it starts with other bytes"
        raise UploadError(
            f"{file} is not a TIFF: {what if content else 'it is empty'}. "
            "The models need the measured values of each band, one TIFF a band."
        )
    if match is None:
        raise UploadError(
            f"{file} does not say which band it is. Name it <patch>_<BAND>.tif, for example "
            f"my_patch_B8A.tif; bands are {', '.join(ALL_FULL)}."
        )
    if match.tensor not in ALL_FULL:
        raise UploadError(f"{file} is band {match.tensor}, which no patch has. Leave it out.")
    return match


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
) -> tuple[NDArray[Any], Bounds | None]:
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
