"""What is finished of a scene, row of windows by row of windows, so that a killed run goes on.

The parts lie in a hidden folder beside the output until that is complete. A file says what they
were made with; parts that were made with something else are not mixed with new ones.
"""

import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from reben.data.files import output_error, write_bytes, write_text
from reben.errors import ConfigError

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
            `NO_DATA` or `COVERED` as in `reben.scene.strips`.
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
