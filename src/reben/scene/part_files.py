"""What a long prediction has done so far: parts beside the file that it is to become.

::

    .scores.parquet.parts/
        manifest.json            model, inputs and settings, so that nothing else goes on from here
        part-00000012.parquet    the rows of one part, and the patches of it that were bad
        model/                   the model for other processes, if there are any

A part is written beside its place and renamed into it, so at every moment those that are there are
whole. The finished file is put together from them, one part at a time.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reben.data.files import atomic_file, output_error, write_text
from reben.data.patch_source import Bad
from reben.data.preprocess import Suspicious
from reben.errors import ConfigError
from reben.scene.sinks import open_sink

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
