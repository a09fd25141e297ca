"""The inputs of an encoding, cut into jobs; and the metadata, which say which patches to encode."""

import os
import random
import stat
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reben.data.archives.stream import find_parts
from reben.data.encoding.jobs import NUM_COMPARED, ArchiveJob, FolderJob, NameSet
from reben.data.encoding.patch_files import may_be_patch
from reben.data.patch_folders.folder import is_tiff
from reben.data.patch_folders.tree import FolderWalk
from reben.data.storage.environment import METADATA_FILE, SNOW_CLOUD_FILE
from reben.data.storage.value import REFERENCE_MAP, SENTINEL1, SENTINEL2, Kind
from reben.errors import ArchiveError, ConfigError, EncodeError, MetadataError
from reben.spec.patches import are_partners, is_sentinel1_name, is_sentinel2_name
from reben.support.atomic import write_bytes
from reben.support.numbers import require_whole

if TYPE_CHECKING:
    from reben.data.encoding.own import OwnScan
    from reben.data.metadata import PatchTable

PIPE = "-"
"""The path that stands for stdin."""
_ROWS_AT_ONCE = 10_000
_JOB_BYTES = 32 << 20
"""What the values of a job take, at most."""


@dataclass(frozen=True)
class EncodeInput:
    """A folder, an archive of one or several files, or else stdin."""

    kind: Kind
    name: str
    folder: Path | None = None
    parts: tuple[Path, ...] = ()

    @classmethod
    def find(cls, kind: Kind, path: Path) -> Self:
        """Return the input at ``path``; `ArchiveError` if it or a part of it is missing."""
        if str(path) == PIPE:
            if sys.stdin is None or stat.S_ISCHR(os.fstat(sys.stdin.fileno()).st_mode):
                raise ArchiveError(
                    f"The {kind.name} input should come from stdin, but nothing is piped in. "
                    "Pipe an archive, for example: cat S2.tar.zst | reben encode --s2 - ..."
                )
            return cls(kind, PIPE)
        if path.is_dir():
            return cls(kind, path.resolve().name, folder=path)
        return cls(kind, path.name, parts=find_parts(path))

    @property
    def is_pipe(self) -> bool:
        """Whether it is stdin."""
        return self.folder is None and not self.parts

    @property
    def num_bytes(self) -> int | None:
        """Size of an archive; None if it is not known beforehand."""
        return sum(part.stat().st_size for part in self.parts) if self.parts else None

    def scan(
        self, wanted: Container[str] | None, there: NameSet, num_processes: int
    ) -> "FolderScan | OwnScan":
        """Return the jobs that encode it, a folder."""
        return FolderScan(self, wanted, there, num_processes)

    def archive_job(self, wanted: Container[str] | None, there: NameSet) -> ArchiveJob:
        """Return the job that encodes it, an archive."""
        name = "The archive on stdin" if self.is_pipe else self.name
        return ArchiveJob(self.kind.name, name, self.parts, wanted, there)


class FolderScan:
    """The patch folders of an input, found in one walk.

    Of patches with the same name the first one counts, whatever the number of processes: the
    others are left for `late_jobs`, which are done after everything else. So are some of the
    patches that the store has already: if they differ, it was made from other ones.
    """

    def __init__(
        self, source: EncodeInput, wanted: Container[str] | None, there: NameSet, num_processes: int
    ) -> None:
        self.num_there = 0
        self._kind = source.kind
        self._late: list[str] = []
        self._there: list[str] = []
        self._seen_there: set[int] = set()
        self._random = random.Random(0)  # noqa: S311 - no secret
        # A million paths differ in their last part only, so what is above it is kept once.
        self._found: list[tuple[str, str]] = []
        seen: set[int] = set()
        found = self._find(source.folder or Path(), wanted, there)
        for above, paths in groupby(found, lambda path: path[: path.rfind("/") + 1]):
            names = []
            for path in paths:
                name = path[len(above) :]
                if hash(name) in seen:
                    self._late.append(path)
                else:
                    names.append(name)
                    seen.add(hash(name))
            if names:
                self._found.append((above, "/".join(names)))
        self.num_folders = len(seen) + len(self._late)
        at_once = _JOB_BYTES // source.kind.num_bytes
        self._at_once = max(1, min(at_once, self.num_folders // (4 * num_processes) + 1))

    def jobs(self) -> Iterator[FolderJob]:
        """Yield the jobs, without patches whose name came before."""
        paths = (above + name for above, names in self._found for name in names.split("/"))
        while some := list(islice(paths, self._at_once)):
            yield FolderJob(self._kind.name, some)

    def late_jobs(self) -> Iterator[FolderJob]:
        """Yield the jobs that compare patches with what the store has, if there are any."""
        if self._late:
            yield FolderJob(self._kind.name, self._late)
        if self._there:
            yield FolderJob(self._kind.name, self._there, is_there=True)

    def _find(self, root: Path, wanted: Container[str] | None, there: NameSet) -> Iterator[str]:
        """Yield patch folders, and others with TIFFs in them, which will be failures."""
        kind = self._kind
        for found in FolderWalk(kind.is_folder, EncodeError).below(root):
            if found.files is not None:
                if may_be_patch(kind, found.name) and any(map(is_tiff, found.files)):
                    yield found.path
            elif wanted is None or found.name in wanted:
                if found.name + kind.suffix in there:
                    self._note_there(found.path, hash(found.name))
                else:
                    yield found.path

    def _note_there(self, path: str, number: int) -> None:
        """Count a patch that the store has; keep it to be compared, if it is one of a sample."""
        if number in self._seen_there:
            self._late.append(path)
            return
        self._seen_there.add(number)
        self.num_there += 1
        place = self._random.randrange(self.num_there)  # each has the same chance
        if len(self._there) < NUM_COMPARED:
            self._there.append(path)
        elif place < NUM_COMPARED:
            self._there[place] = path


def looks_own(folder: Path) -> bool:
    """Tell whether the first TIFFs below a folder are no patch of BigEarthNet v2.0."""
    if not folder.is_dir():
        return False
    for found in FolderWalk(lambda _name: False, EncodeError).below(folder):
        if any(map(is_tiff, found.files or ())):
            return not (is_sentinel1_name(found.name) or is_sentinel2_name(found.name))
    return False


@dataclass(frozen=True)
class Selection:
    """What to encode."""

    wanted: dict[str, NameSet] = field(default_factory=dict)
    """Kind -> names of patch folders; empty if everything is wanted."""
    asked: dict[str, Any] = field(default_factory=dict)
    """The filters, as the store's record keeps them."""
    listed: "PatchTable | None" = None
    """The patches of the metadata that pass the filters."""

    def mispaired(self) -> Iterator[tuple[str, str]]:
        """Yield the pairs that the metadata list and that are of two places by their names."""
        if self.listed is not None:
            pairs = zip(self.listed.patch_ids, self.listed.s1_names, strict=True)
            yield from (pair for pair in pairs if not are_partners(*pair))

    def folders(self, kind: Kind) -> Iterator[str]:
        """Yield the names of the patch folders of a kind that the metadata list."""
        if self.listed is None:
            return
        column = self.listed.rows.column("s1_name" if kind is SENTINEL1 else "patch_id")
        for start in range(0, len(column), _ROWS_AT_ONCE):
            yield from column.slice(start, _ROWS_AT_ONCE).to_pylist()


def select(
    files: Sequence[Path],
    split: str | None,
    countries: Sequence[str] | None,
    limit: int | None,
) -> Selection:
    """Return what the filters select by metadata files; everything if there is no filter."""
    asked = {"split": split, "countries": countries and list(countries), "limit": limit}
    asked = {name: value for name, value in asked.items() if value is not None}
    if not files:
        if not asked:
            return Selection()
        raise ConfigError(
            f"{', '.join(asked)} cannot be applied without metadata. Pass the data set's "
            "metadata.parquet as well."
        )
    if limit is not None:
        require_whole("limit", limit)
    from reben.data.metadata import PatchTable

    table = PatchTable.read(*files, labels=None)
    if not asked:
        return Selection(listed=table)
    table = table.filter(split=split, countries=countries)
    if limit is not None:
        table = table.take(range(min(limit, len(table))))
    listed = Selection(listed=table)
    sentinel1, sentinel2 = (NameSet(listed.folders(kind)) for kind in (SENTINEL1, SENTINEL2))
    wanted = {
        SENTINEL1.name: sentinel1, SENTINEL2.name: sentinel2, REFERENCE_MAP.name: sentinel2,
    }  # fmt: skip
    return Selection(wanted, asked, table)


def find_metadata(files: Iterable[str | Path], store: Path) -> dict[str, Path]:
    """Return metadata files by their names in a store: those given, and others that it has.

    The two files of the data set keep their names; any other becomes ``metadata.parquet``. Two of
    the same name are a `MetadataError`.
    """
    names = (METADATA_FILE, SNOW_CLOUD_FILE)
    given: dict[str, Path] = {}
    for path in map(Path, files):
        name = path.name if path.name in names else METADATA_FILE
        if name in given and given[name] != path:
            raise MetadataError(
                f"{given[name].name} and {path.name} would both become {name} in the store. "
                f"Name one {METADATA_FILE} or one {SNOW_CLOUD_FILE}, as the data set does."
            )
        given[name] = path
    if given:
        from reben.data.metadata import PatchTable

        PatchTable.read(*given.values(), labels=None)  # whatever their labels
    found = {name: given.get(name, store / name) for name in names}
    return {name: path for name, path in found.items() if name in given or path.exists()}


def keep_metadata(found: Mapping[str, Path], store: Path, selection: Selection) -> list[Path]:
    """Write metadata files into a store's folder; return all metadata files there.

    If filters select patches, only their rows are written, beside those of earlier calls. A
    ``data.toml`` beside the files, which says what data set they are of, is copied too.

    Raises:
        MetadataError: If the store has other rows, or another ``data.toml``.
    """
    for name, path in found.items():
        there = store / name
        if path != there:
            content = _rows_to_keep(path, there, selection)
            if content is None:
                raise _other_there(store, path, name)
            if not there.exists() or there.read_bytes() != content:
                write_bytes(there, content)
            _keep_description(path, store)
    return [store / name for name in found if (store / name).exists()]


def _keep_description(table: Path, store: Path) -> None:
    from reben.data.identity import DATA_FILE

    beside, there = table.with_name(DATA_FILE), store / DATA_FILE
    if not beside.is_file():
        return
    if not there.exists():
        write_bytes(there, beside.read_bytes())
    elif there.read_bytes() != beside.read_bytes():
        raise _other_there(store, beside, DATA_FILE)


def _rows_to_keep(path: Path, there: Path, selection: Selection) -> bytes | None:
    """Return the metadata file that a store shall have; None if it has other rows by now."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from reben.data.tables import read_parquet

    content = path.read_bytes()
    if there.exists() and there.read_bytes() == content:
        return content
    if not there.exists() and not selection.asked:
        return content
    rows = read_parquet(path)
    is_kept = pa.array([False] * len(rows))
    if there.exists():
        try:
            before = read_parquet(there)
            is_kept = pc.is_in(rows["patch_id"], value_set=before["patch_id"])
            if not rows.filter(is_kept).cast(before.schema).equals(before):
                return None
        except (OSError, KeyError, ValueError, pa.ArrowException):
            return None
    if selection.asked and selection.listed is not None:
        wanted = selection.listed.rows["patch_id"]
        is_kept = pc.or_(is_kept, pc.is_in(rows["patch_id"], value_set=wanted))
        if not pc.all(is_kept).as_py():
            kept = pa.BufferOutputStream()
            pq.write_table(rows.filter(is_kept), kept, compression="zstd")
            return bytes(kept.getvalue())
    return content


def _other_there(store: Path, path: Path, name: str) -> MetadataError:
    return MetadataError(
        f"The store {store} has another {name} than {path}. Choose another store, or remove that "
        "file first if the new one is right."
    )
