"""What a long prediction has finished so far, in a hidden folder beside its output.

::

    .scores.parquet.parts/
        manifest.json            model, inputs and settings; only the same ones continue from here
        part-00000012.parquet    of a table: the rows of one chunk, and the patches it left out
        row-0012.npz             of a scene: one row of windows
        model/                   of a table: the model, for other processes

A part is written beside its place and renamed into it, so those that are there are complete. The
output is put together from them, and the folder is then removed.
"""

import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from reben.errors import ConfigError, OutputError
from reben.model.engines.names import Engine
from reben.predict.patch_inputs import Unreadable
from reben.predict.table_files import write_table
from reben.support.atomic import atomic_file, make_folder, write_bytes, write_text, writing
from reben.support.json_files import read_json
from reben.support.locks import lock_file

if TYPE_CHECKING:
    from reben.data.preprocess import Suspicious

_MANIFEST_FILE = "manifest.json"
_BAD_KEY, _SUSPICIOUS_KEY = b"bad", b"suspicious"


class _Progress:
    """The folder of finished parts of one output.

    Args:
        out: The output.
    """

    anew = "--restart (restart=True)"
    """What a user passes to throw the parts away."""
    part_names = "part-*.parquet"
    """What its parts are called."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out.with_name(f".{out.name}.parts")

    @property
    def exists(self) -> bool:
        """Whether an earlier run left parts."""
        return (self.folder / _MANIFEST_FILE).is_file()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes and threads from the same output while the block runs.

        Raises:
            OutputError: If one is at it.
        """

        def refuse(holder: str) -> OutputError:
            return OutputError(
                f"Another run is writing {self.out}: {holder}. Nothing was changed. Wait for it, "
                "or choose another output."
            )

        make_folder(self.out.parent)
        with lock_file(self.out.with_name(f".{self.out.name}.lock"), refuse):
            yield

    def begin(
        self, manifest: Mapping[str, Any], *, replace: bool = False, kept: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Make the folder, or continue in the one that is there; return its manifest.

        Args:
            manifest: Everything that the parts depend on, as JSON holds it.
            replace: Whether parts with another manifest may be thrown away. Without a part there
                is nothing to lose: an input that was refused may be corrected.
            kept: Keys of positive numbers and engines that keep the values of the earlier run, if
                there was one, instead of having to agree.
        """
        path, wanted = self.folder / _MANIFEST_FILE, dict(manifest)
        if self.exists:
            known = read_json(path, dict[str, Any], ConfigError, f"Begin anew with {self.anew}.")
            wanted |= {key: known[key] for key in kept if _can_be_kept(known.get(key))}
            differences = [
                f"{key} was {known.get(key)!r}, now {wanted.get(key)!r}"
                for key in {**known, **wanted}
                if known.get(key) != wanted.get(key)
            ]
            if not differences:
                return wanted
            if not replace and any(self.folder.glob(self.part_names)):
                raise ConfigError(
                    f"An unfinished run of {self.out} used other settings: "
                    f"{'; '.join(differences)}. Repeat its command to continue, choose another "
                    f"output, or begin anew with {self.anew}. Its parts are in {self.folder}."
                )
        self.remove()
        write_text(path, json.dumps(manifest, indent=2))
        return dict(manifest)

    def remove(self) -> None:
        """Remove the folder with all parts."""
        with writing(self.folder):
            # First what makes parts of them, so that a half removed folder is not continued.
            (self.folder / _MANIFEST_FILE).unlink(missing_ok=True)
            if self.folder.exists():
                shutil.rmtree(self.folder)


def _can_be_kept(value: object) -> bool:
    return (type(value) is int and value > 0) or value in get_args(Engine)


class TableProgress(_Progress):
    """The finished chunks of patches of a table."""

    @property
    def model_folder(self) -> Path:
        """Where other processes find the model."""
        return self.folder / "model"

    def path(self, number: int) -> Path:
        """Return where chunk ``number`` is once it is done."""
        return self.folder / f"part-{number:08d}.parquet"

    def num_done(self, number: int) -> int | None:
        """Return how many patches chunk ``number`` had, bad ones included; None if not done.

        A file that a crash of the machine left damaged counts as not done.
        """
        try:
            found = pq.read_metadata(self.path(number))
            return int(found.num_rows) + len(_bad_of(found.metadata))
        except (OSError, pa.ArrowException):
            return None

    def write(
        self, number: int, rows: pa.Table, bad: Sequence[Unreadable], suspicious: "Suspicious"
    ) -> None:
        """Write chunk ``number``."""
        kept = rows.replace_schema_metadata(
            {_BAD_KEY: json.dumps(bad), _SUSPICIOUS_KEY: json.dumps(suspicious)}
        )
        with atomic_file(self.path(number)) as temporary:
            pq.write_table(kept, temporary, compression="zstd")

    def bad(self, num_chunks: int) -> Iterator[Unreadable]:
        """Yield the bad patches of all chunks, in order."""
        for number in range(num_chunks):
            yield from _bad_of(pq.read_metadata(self.path(number)).metadata)

    def suspicious(self, num_chunks: int) -> "Suspicious":
        """Return how many patches of all chunks look wrong."""
        from reben.data.preprocess import Suspicious

        total = Suspicious()
        for number in range(num_chunks):
            metadata = pq.read_metadata(self.path(number)).metadata or {}
            total += Suspicious(*json.loads(metadata.get(_SUSPICIOUS_KEY, b"[]")))
        return total

    def ids(self, num_chunks: int) -> Iterator[str]:
        """Yield the names of the patches of all chunks."""
        for number in range(num_chunks):
            if pq.read_metadata(self.path(number)).num_columns:
                yield from pq.read_table(self.path(number), columns=["id"])["id"].to_pylist()

    def assemble(self, num_chunks: int, about: Mapping[str, Any]) -> None:
        """Put the chunks together into the table, and remove them."""
        schemas = (pq.read_schema(self.path(number)) for number in range(num_chunks))
        schema = next(schema for schema in schemas if len(schema)).remove_metadata()
        tables = (pq.read_table(self.path(number)) for number in range(num_chunks))
        batches = (
            batch
            for table in tables
            if len(table.schema)
            for batch in table.replace_schema_metadata(None).cast(schema).to_batches()
        )
        write_table(self.out, batches, about)
        self.remove()


def _bad_of(metadata: Mapping[bytes, bytes] | None) -> list[Unreadable]:
    return [Unreadable(*pair) for pair in json.loads((metadata or {}).get(_BAD_KEY, b"[]"))]


@dataclass(frozen=True, eq=False)
class ScenePart:
    """One row of windows, and the cells and pixels that the rows above it do not hold.

    Args:
        scores: float32 [windows, K], 0 to 1; NaN for windows that were left out.
        bad: Share of each window's pixels that are not good, float32 [windows], 0 to 1.
        no_data: Share of them without data, float32 [windows], 0 to 1.
        bad_of_cells: The same for cells, float32 [rows of cells, columns of cells].
        colours: Bands of the quick look with fewer pixels, float32 [h, w, bands]; no pixels
            where no quick look is wanted.
        kinds: What most pixels are there, uint8 [h, w], as many pixels as ``colours``: `GOOD`,
            `NO_DATA` or `OBSCURED` as in `reben.scene.band_scene`.
        counts: How many pixels are good, without data, and covered, int64 [3].
    """

    scores: NDArray[np.float32]
    bad: NDArray[np.float32]
    no_data: NDArray[np.float32]
    bad_of_cells: NDArray[np.float32]
    colours: NDArray[np.float32]
    kinds: NDArray[np.uint8]
    counts: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MapPart(ScenePart):
    """Cells of a map in rows: each array has a first axis more, but for pixels and counts.

    Args:
        looks: How often the pixels of each cell were seen clearly, in the mean; float32.
    """

    looks: NDArray[np.float32]


class RowReader(Protocol):
    """Where finished rows of windows come from."""

    def read(self, row: int, /) -> ScenePart:
        """Return a row of windows that is finished."""


class RowWriter(Protocol):
    """Where finished rows of windows go to."""

    def write(self, row: int, part: ScenePart, /) -> None:
        """Keep a row of windows."""


class SceneProgress(_Progress):
    """The finished rows of windows of a scene."""

    anew = "--overwrite (overwrite=True)"
    part_names = "row-*.npz"
    kind: type[ScenePart] = ScenePart

    def finished(self, num_rows: int) -> list[int]:
        """Return the rows of windows that are there and can be read."""
        return [row for row in range(num_rows) if self._load(row) is not None]

    def write(self, row: int, part: ScenePart) -> None:
        """Keep a row of windows, whole or not at all."""
        content = io.BytesIO()
        arrays = {field.name: getattr(part, field.name) for field in fields(self.kind)}
        np.savez(content, allow_pickle=False, **arrays)
        write_bytes(self.path(row), content.getvalue())

    def read(self, row: int) -> ScenePart:
        """Return a row of windows that is finished."""
        part = self._load(row)
        assert part is not None, f"row {row} was finished and is gone"  # noqa: S101
        return part

    def path(self, row: int) -> Path:
        """Return where a row of windows is once it is done."""
        return self.folder / self.part_names.replace("*", f"{row:04d}")

    def _load(self, row: int) -> ScenePart | None:
        try:
            content = io.BytesIO(self.path(row).read_bytes())
            with np.load(content, allow_pickle=False) as arrays:
                return self.kind(**{field.name: arrays[field.name] for field in fields(self.kind)})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None  # not there, or cut off when the machine lost its power: done again


class MapProgress(SceneProgress):
    """The finished tiles of a map; each is a `MapPart`."""

    part_names = "tile-*.npz"
    kind = MapPart
