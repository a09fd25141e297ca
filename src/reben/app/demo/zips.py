"""Zip files that somebody uploaded: their members in memory, or a refusal."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from reben.errors import UploadError

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
