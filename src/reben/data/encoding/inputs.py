"""The inputs of an encoding: folders and archives, and how their work is cut into jobs.

Which patches to encode, by the metadata; and the metadata that a store keeps.
"""

import os
import stat
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from reben.data.archives.stream import find_parts
from reben.data.encoding.jobs import BATCH_BYTES, ArchiveJob, FolderJob, NameSet
from reben.data.encoding.patch_files import may_be_patch
from reben.data.patch_folders.folder import is_tiff
from reben.data.patch_folders.tree import FolderWalk
from reben.data.storage.value import REFERENCE_MAP, SENTINEL1, SENTINEL2, Kind
from reben.errors import ArchiveError, ConfigError, EncodeError, MetadataError
from reben.support.atomic import write_bytes

if TYPE_CHECKING:
    from reben.data.metadata import PatchTable

PIPE = "-"
"""The path that stands for stdin."""


@dataclass(frozen=True)
class Source:
    """One input.

    Args:
        kind: What its patch folders hold.
        name: Its name without what is above it.
        folder: Where it lies, if it is a folder.
        parts: Its files in order, if it is an archive.
    """

    kind: Kind
    name: str
    folder: Path | None = None
    parts: tuple[Path, ...] = ()

    @classmethod
    def find(cls, kind: Kind, path: str | Path) -> Self:
        """Return the input at ``path``.

        Raises:
            ArchiveError: If nothing is there, or a part of an archive is missing.
        """
        if str(path) == PIPE:
            if sys.stdin is None or stat.S_ISCHR(os.fstat(sys.stdin.fileno()).st_mode):
                raise ArchiveError(
                    f"The {kind.name} input should come from stdin, and nothing is piped in. "
                    "Pipe an archive, for example: cat S2.tar.zst | reben encode --s2 - ..."
                )
            return cls(kind, PIPE)
        path = Path(path)
        if path.is_dir():
            return cls(kind, path.resolve().name, folder=path)
        return cls(kind, path.name, parts=find_parts(path))

    @property
    def is_pipe(self) -> bool:
        """Whether it comes from stdin."""
        return self.folder is None and not self.parts

    @property
    def num_bytes(self) -> int | None:
        """Size of an archive; None for what has no size beforehand."""
        return sum(part.stat().st_size for part in self.parts) if self.parts else None

    def archive_job(self, wanted: NameSet | None, there: NameSet) -> ArchiveJob:
        """Return the job that encodes it, an archive."""
        name = "The archive on stdin" if self.is_pipe else self.name
        return ArchiveJob(self.kind.name, name, self.parts, wanted, there)


class FolderScan:
    """Finds the patch folders of an input, and hands them out.

    A patch that is there twice is handed out a second time by `late_jobs`, after everything else
    is done, so that the first one is the one that is kept, whatever the number of workers.

    Args:
        source: The input, a folder.
        wanted: Names of the patch folders to encode; all if None.
        there: Names of the values that the store has already.
        num_workers: How many share the work.

    Raises:
        EncodeError: If a folder cannot be listed.
    """

    def __init__(
        self, source: Source, wanted: NameSet | None, there: NameSet, num_workers: int
    ) -> None:
        self.num_there = 0
        self._source = source
        self._wanted = wanted
        self._there = there
        self._late: list[str] = []
        # Of a million paths, what they have in common is kept once.
        self._found: list[tuple[str, str]] = []
        hashes = array("q")
        for above, paths in groupby(self._find(), lambda path: path[: path.rfind("/") + 1]):
            names = [path[len(above) :] for path in paths]
            hashes.extend(map(hash, names))
            self._found.append((above, "/".join(names)))
        self.num_folders = len(hashes)
        values, counts = np.unique(np.array(hashes), return_counts=True)
        self._repeated = {int(value): False for value in values[counts > 1]}
        at_once = BATCH_BYTES // source.kind.num_bytes
        self._at_once = max(1, min(at_once, self.num_folders // (4 * num_workers) + 1))

    def jobs(self) -> Iterator[FolderJob]:
        """Yield the jobs, patches that come again left out."""
        folders: list[str] = []
        for above, names in self._found:
            for name in names.split("/"):
                key = hash(name)
                if self._repeated.get(key):
                    self._late.append(above + name)
                    continue
                if key in self._repeated:
                    self._repeated[key] = True
                folders.append(above + name)
                if len(folders) == self._at_once:
                    yield FolderJob(self._source.kind.name, folders)
                    folders = []
        if folders:
            yield FolderJob(self._source.kind.name, folders)

    def late_jobs(self) -> Iterator[FolderJob]:
        """Yield a job for the patches that came again, if there are any."""
        if self._late:
            yield FolderJob(self._source.kind.name, self._late)

    def _find(self) -> Iterator[str]:
        """Yield patch folders, and others that hold TIFFs and should be one."""
        kind = self._source.kind
        walk = FolderWalk(kind.is_folder, EncodeError)
        for found in walk.below(self._source.folder or Path()):
            if found.files is None:
                if self._wanted is not None and found.name not in self._wanted:
                    continue
                if found.name + kind.suffix in self._there:
                    self.num_there += 1
                    continue
                yield found.path
            elif may_be_patch(kind, found.name) and any(map(is_tiff, found.files)):
                yield found.path


_AT_ONCE = 10_000


@dataclass(frozen=True)
class Selection:
    """What to encode.

    Args:
        wanted: Kind -> names of patch folders; empty if everything is wanted.
        asked: The filters, as the store's record keeps them.
        listed: The patches that the metadata list, as far as they are asked for.
    """

    wanted: dict[str, NameSet] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    listed: "PatchTable | None" = None

    def folders(self, kind: Kind) -> Iterator[str]:
        """Yield the names of the patch folders of a kind that the metadata list."""
        if self.listed is None:
            return
        column = self.listed.rows.column("s1_name" if kind is SENTINEL1 else "patch_id")
        for start in range(0, len(column), _AT_ONCE):
            yield from column.slice(start, _AT_ONCE).to_pylist()


def keep_metadata(files: Iterable[str | Path], store: Path) -> list[Path]:
    """Copy metadata files into a store's folder; return all the metadata files there.

    A file called like one of the two of the data set keeps its name; one that is called
    otherwise becomes ``metadata.parquet``.

    Raises:
        MetadataError: If a file is no metadata table, if two would get the same name, or if the
            store has another one of that name.
        OutputError: If a file cannot be written.
    """
    paths = [Path(file) for file in files]
    if not paths and not any(store.glob("*.parquet")):
        return []
    from reben.data.metadata import METADATA_FILE, SNOW_CLOUD_FILE, PatchTable

    given: dict[str, Path] = {}
    for path in paths:
        name = path.name if path.name in (METADATA_FILE, SNOW_CLOUD_FILE) else METADATA_FILE
        if name in given and given[name] != path:
            raise MetadataError(
                f"{given[name].name} and {path.name} would both become {name} in the store. "
                f"Name one {METADATA_FILE} or one {SNOW_CLOUD_FILE}, as the data set does."
            )
        given[name] = path
    if given:
        PatchTable.read(*given.values(), labels=None)  # own ones are none of its business
    for name, path in given.items():
        content, there = path.read_bytes(), store / name
        if not there.exists():
            write_bytes(there, content)
        elif there.read_bytes() != content:
            raise MetadataError(
                f"The store {store} has another {name} than {path}. Choose another store, or "
                "remove that file first if the new one is right."
            )
    return [store / name for name in (METADATA_FILE, SNOW_CLOUD_FILE) if (store / name).exists()]


def select(
    files: Sequence[Path],
    split: str | None,
    countries: Sequence[str] | None,
    limit: int | None,
) -> Selection:
    """Return what is asked for; everything if there is no filter.

    Args:
        files: Metadata files.
        split: Only this split.
        countries: Only these countries.
        limit: Only this many patches, the first ones of the tables that pass the other filters.

    Raises:
        ConfigError: If there are filters and no metadata, or the limit is below one.
        MetadataError: If no patch is left, or a filter has an impossible value.
    """
    asked = {"split": split, "countries": countries and list(countries), "limit": limit}
    asked = {name: value for name, value in asked.items() if value is not None}
    if not files:
        if not asked:
            return Selection()
        raise ConfigError(
            f"{', '.join(asked)} cannot be applied without metadata. Pass the data set's "
            "metadata.parquet as well."
        )
    if limit is not None and limit < 1:
        raise ConfigError(f"limit must be at least 1, and it is {limit}.")
    from reben.data.metadata import PatchTable

    table = PatchTable.read(*files, labels=None)
    if not asked:
        return Selection(listed=table)
    table = table.filter(split=split, countries=countries)
    if limit is not None:
        table = table.take(range(min(limit, len(table))))
    listed = Selection(listed=table)
    sentinel2 = NameSet(listed.folders(SENTINEL2))
    wanted = {
        SENTINEL2.name: sentinel2,
        SENTINEL1.name: NameSet(listed.folders(SENTINEL1)),
        REFERENCE_MAP.name: sentinel2,
    }
    return Selection(wanted, asked, table)
