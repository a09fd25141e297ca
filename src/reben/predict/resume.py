"""What a long prediction has done so far: parts beside the file that it is to become.

::

    .scores.parquet.parts/
        manifest.json            model, inputs and settings, so that nothing else goes on from here
        part-00000012.parquet    the rows of one part, and the patches of it that were bad
        model/                   the model for other processes, if there are any

A part is written beside its place and renamed into it, so at every moment those that are there are
whole. The finished file is put together from them, one part at a time.

What is finished of a scene, row of windows by row of windows, so that a killed run goes on.

The parts lie in a hidden folder beside the output until that is complete. A file says what they
were made with; parts that were made with something else are not mixed with new ones.
"""

import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from reben.data.preprocess import Suspicious
from reben.errors import ConfigError
from reben.predict.patch_inputs import Bad
from reben.predict.table_files import open_sink
from reben.support.atomic import atomic_file, output_error, write_bytes, write_text

MANIFEST_FILE = "manifest.json"
MODEL_FOLDER = "model"
_BAD_KEY, _SUSPICIOUS_KEY = b"bad", b"suspicious"


@dataclass(frozen=True)
class PartFiles:
    """The parts of one output file.

    Args:
        out: The file that they are to become.
    """

    out: Path

    @property
    def folder(self) -> Path:
        """Where they are: hidden, beside the file."""
        return self.out.parent / f".{self.out.name}.parts"

    def begin(self, manifest: Mapping[str, Any], *, restart: bool = False) -> dict[str, Any]:
        """Make the folder or go on with it; return its manifest.

        Args:
            manifest: What is to be done. ``part_size`` may differ from what was begun with, and
                is then that; all else must be the same.
            restart: Whether to throw away what was done before.

        Raises:
            ConfigError: If something else was begun here; the message says what differs.
            OutputError: If the folder cannot be written.
        """
        if restart:
            self.remove()
        path = self.folder / MANIFEST_FILE
        if not path.is_file():
            write_text(path, json.dumps(manifest, indent=2))
            return dict(manifest)
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            part_size = int(known["part_size"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} cannot be read: {error}. Begin anew with --restart (restart=True)."
            ) from None
        wanted = {**manifest, "part_size": part_size}
        other = [
            f"{name} was {known.get(name)!r}, now {wanted.get(name)!r}"
            for name in {**known, **wanted}
            if known.get(name) != wanted.get(name)
        ]
        if other:
            raise ConfigError(
                f"{self.out} was begun otherwise: {'; '.join(other)}. Give the same command as "
                f"then to go on, another --out, or --restart (restart=True) to throw away what is "
                f"in {self.folder}."
            )
        return wanted

    def path(self, number: int) -> Path:
        """Return where part ``number`` is, once it is done."""
        return self.folder / f"part-{number:08d}.parquet"

    def num_done(self, number: int) -> int | None:
        """Return how many patches part ``number`` is about, bad ones among them; None if not done.

        A file that a crash of the machine left damaged counts as not done.
        """
        try:
            found = pq.read_metadata(self.path(number))
            return int(found.num_rows) + len(_bad_of(found.metadata))
        except (OSError, pa.ArrowException):
            return None

    def write(self, number: int, rows: pa.Table, bad: list[Bad], suspicious: Suspicious) -> None:
        """Write part ``number``.

        Raises:
            OutputError: If it cannot be written.
        """
        kept = rows.replace_schema_metadata(
            {_BAD_KEY: json.dumps(bad), _SUSPICIOUS_KEY: json.dumps(suspicious)}
        )
        with atomic_file(self.path(number)) as temporary:
            pq.write_table(kept, temporary, compression="zstd")

    def bad(self, num_parts: int) -> Iterator[Bad]:
        """Yield the bad patches of all parts, in order."""
        for number in range(num_parts):
            yield from _bad_of(pq.read_metadata(self.path(number)).metadata)

    def suspicious(self, num_parts: int) -> Suspicious:
        """Return how many patches of all parts look wrong."""
        total = Suspicious()
        for number in range(num_parts):
            metadata = pq.read_metadata(self.path(number)).metadata or {}
            total += Suspicious(*json.loads(metadata.get(_SUSPICIOUS_KEY, b"[]")))
        return total

    def assemble(self, num_parts: int, about: Mapping[str, Any]) -> None:
        """Put the parts together into the file, and remove them.

        Raises:
            OutputError: If the file cannot be written; then the parts stay.
        """
        schemas = (pq.read_schema(self.path(number)) for number in range(num_parts))
        schema = next(schema for schema in schemas if len(schema)).remove_metadata()
        with atomic_file(self.out) as temporary:
            sink = open_sink(temporary, self.out.suffix, schema, about)
            for number in range(num_parts):
                table = pq.read_table(self.path(number)).replace_schema_metadata(None)
                if len(table.schema):
                    for batch in table.cast(schema).to_batches():
                        sink.write(batch)
            sink.close()
        self.remove()

    def remove(self) -> None:
        """Remove the parts and the folder.

        Raises:
            OutputError: If that is not possible.
        """
        try:
            if self.folder.exists():
                shutil.rmtree(self.folder)
        except OSError as error:
            raise output_error(self.folder, error) from error


def _bad_of(metadata: Mapping[bytes, bytes] | None) -> list[Bad]:
    return [Bad(*pair) for pair in json.loads((metadata or {}).get(_BAD_KEY, b"[]"))]


_MADE_WITH = "made-with.json"


@dataclass(frozen=True, eq=False)
class Part:
    """One row of windows, and the cells and pixels that the rows above it do not hold.

    Args:
        scores: float32 [windows, K], 0 to 1; NaN for windows that were left out.
        bad: Share of each window's pixels that are not good, float32 [windows], 0 to 1.
        bad_of_cells: The same for cells, float32 [rows of cells, columns of cells].
        colours: Bands of the quick look with fewer pixels, float32 [h, w, bands]; no pixels
            where no quick look is wanted.
        kinds: What most pixels are there, uint8 [h, w], as many pixels as ``colours``: `GOOD`,
            `NO_DATA` or `COVERED` as in `reben.predict.strips`.
        counts: How many pixels are good, without data, and covered, int64 [3].
    """

    scores: NDArray[np.float32]
    bad: NDArray[np.float32]
    bad_of_cells: NDArray[np.float32]
    colours: NDArray[np.float32]
    kinds: NDArray[np.uint8]
    counts: NDArray[np.int64]


class Parts:
    """The folder of parts of one output.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, out: Path) -> Self:
        """Return the parts of ``out``, whether there are any or not."""
        return cls(out.with_name(f".{out.name}.parts"))

    @property
    def exist(self) -> bool:
        """Whether an earlier run left some."""
        return (self.folder / _MADE_WITH).is_file()

    def begin(self, made_with: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Make the folder, or go on in the one that is there.

        Args:
            made_with: Everything that the parts depend on, as JSON holds it.
            overwrite: Whether parts that were made with something else may be thrown away.

        Raises:
            ConfigError: If there are parts that were made with something else.
            OutputError: If the folder cannot be written.
        """
        path = self.folder / _MADE_WITH
        before = json.loads(path.read_text(encoding="utf-8")) if self.exist else None
        if before == made_with:
            return
        if before is not None and not overwrite:
            keys = [key for key in {**before, **made_with} if before.get(key) != made_with.get(key)]
            listed = (f"{key} was {before.get(key)}, is {made_with.get(key)}" for key in keys)
            raise ConfigError(
                f"An earlier run that did not finish began this output otherwise: "
                f"{'; '.join(listed)}. Give what it was given and it goes on, or overwrite to "
                f"begin anew. Its parts are in {self.folder}."
            )
        self.discard()
        write_text(path, json.dumps(made_with, indent=1, sort_keys=True) + "\n")

    def finished(self, num_rows: int) -> list[int]:
        """Return the rows of windows that are there and can be read."""
        return [row for row in range(num_rows) if self._load(row) is not None]

    def write(self, row: int, part: Part) -> None:
        """Keep the part of a row of windows, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
        """
        content = io.BytesIO()
        arrays = {field.name: getattr(part, field.name) for field in fields(part)}
        np.savez(content, allow_pickle=False, **arrays)
        write_bytes(self._path(row), content.getvalue())

    def read(self, row: int) -> Part:
        """Return the part of a row of windows that is finished."""
        part = self._load(row)
        assert part is not None, f"row {row} was finished and is gone"  # noqa: S101
        return part

    def discard(self) -> None:
        """Remove the folder with all parts.

        Raises:
            OutputError: If it cannot be removed.
        """
        try:
            # First what makes parts of them: a folder that is half removed is then no longer one.
            (self.folder / _MADE_WITH).unlink(missing_ok=True)
            if self.folder.exists():
                shutil.rmtree(self.folder)
        except OSError as error:
            raise output_error(self.folder, error) from error

    def _path(self, row: int) -> Path:
        return self.folder / f"row-{row:04d}.npz"

    def _load(self, row: int) -> Part | None:
        try:
            content = io.BytesIO(self._path(row).read_bytes())
            with np.load(content, allow_pickle=False) as arrays:
                return Part(**{field.name: arrays[field.name] for field in fields(Part)})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None  # not there, or cut off when the machine lost its power: done again
