"""Predictions: the scores of a model for the patches of a split, and their file.

A parquet file with one row per patch: ``patch_id``, ``country``, ``tile``, ``month``, and for each
label ``score: <label>`` and ``label: <label>``. The metadata of its schema say, as JSON under the
key ``reben``, which model and which patches these are.

Axes: N patches, K labels.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from reben.data.identity import DataIdentity, StoredPart
from reben.data.metadata import PatchTable
from reben.data.tables import read_parquet
from reben.errors import (
    ConfigError,
    EmptySplitError,
    LabelsError,
    PatchNameError,
    RebenError,
    RunError,
    first_line,
)
from reben.model.config import Calibration
from reben.spec.patches import Sentinel2Patch
from reben.support.atomic import atomic_file
from reben.support.json_files import Count, parse_json
from reben.support.plain_json import to_plain

FORMAT = 1
"""Version of the file format."""
_KEY = b"reben"
_SCORE, _LABEL = "score: ", "label: "
_KNOWN = {
    "countries": ("country", pa.string()),
    "tiles": ("tile", pa.string()),
    "months": ("month", pa.uint8()),
}
"""Fields that may be None -> column and type."""


@dataclass(frozen=True)
class Subject:
    """Which model and patches predictions are about.

    Args:
        name: Name of the model: its run, folder, id on the Hub, or what it is made of.
        backbone: Name of its timm architecture.
        bands: Its bands, in the order of the channels.
        split: The split, or several separated by commas.
        fingerprint: SHA-256 of the names and labels of the patches.
        filters: Other criteria that the patches were selected by.
        calibration: Temperature and thresholds of the model, if it was calibrated.
        data: Which data set the patches are of; None in files of reben 0.1.
        part: How many of the patches that the metadata list the store held; None if all.
    """

    name: str
    backbone: str
    bands: tuple[str, ...]
    split: str
    fingerprint: str
    filters: Mapping[str, str] = field(default_factory=dict)
    calibration: Calibration | None = None
    data: DataIdentity | None = None
    part: StoredPart | None = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """Scores and labels of patches.

    Args:
        subject: Which model, which patches.
        label_names: Names of the K labels, in the order of the columns.
        patch_ids: Names of the patches, N.
        scores: Scores after the sigmoid at temperature 1, float32 [N, K], 0..1.
        labels: Zeros and ones, uint8 [N, K].
        countries: Country of each patch, where known.
        tiles: Tile of the Sentinel-2 grid of each patch (33UUP), where the names tell.
        months: Month of acquisition of each patch, 1 to 12, where the names tell.
        engine: What computed the scores, as `reben.optimise_for_inference` names it; None if that
            is not known, as in files of earlier versions.

    Raises:
        EmptySplitError: If there is no patch.
        LabelsError: If shapes do not match, a label is named twice, or is not zero or one.
        ConfigError: If a score is NaN or outside 0..1, or a patch occurs twice.
    """

    subject: Subject
    label_names: tuple[str, ...]
    patch_ids: tuple[str, ...]
    scores: NDArray[np.float32]
    labels: NDArray[np.uint8]
    countries: tuple[str, ...] | None = None
    tiles: tuple[str, ...] | None = None
    months: tuple[int, ...] | None = None
    engine: str | None = None

    def __post_init__(self) -> None:
        """Check that everything belongs together."""
        shape = (len(self.patch_ids), len(self.label_names))
        if not self.scores.shape == self.labels.shape == shape:
            raise LabelsError(
                f"Scores of shape {self.scores.shape}, labels of shape {self.labels.shape}, "
                f"{shape[0]} patches and {shape[1]} labels do not belong together."
            )
        if not shape[0]:
            raise EmptySplitError("There are no predictions: choose another split or filter.")
        if len(set(self.label_names)) != shape[1]:
            raise LabelsError(f"A label is named twice: {'; '.join(self.label_names)}.")
        for name in _KNOWN:
            known = getattr(self, name)
            if known is not None and len(known) != shape[0]:
                raise ConfigError(f"There are {len(known)} {name} for {shape[0]} patches.")
        odd = [month for month in self.months or () if month not in range(1, 13)]
        if odd:
            raise ConfigError(f"A patch was acquired in month {odd[0]}; months are 1 to 12.")
        if len(set(self.patch_ids)) != shape[0]:
            raise ConfigError(f"{shape[0]} patches have only {len(set(self.patch_ids))} names.")
        check_values(self.scores, self.labels)

    def __len__(self) -> int:
        """Count the patches."""
        return len(self.patch_ids)

    @classmethod
    def of_table(
        cls,
        table: PatchTable,
        subject: Subject,
        scores: NDArray[np.float32],
        label_names: Sequence[str],
    ) -> Self:
        """Return the predictions for the patches of a table, in its order.

        Raises:
            UnknownLabelError: If a patch has a label that is not in ``label_names``.
        """
        patches: list[Sentinel2Patch] | None = None
        with suppress(PatchNameError):  # a name that is not one of the data set's
            patches = [Sentinel2Patch.parse(name) for name in table.patch_ids]
        return cls(
            subject,
            tuple(label_names),
            tuple(table.patch_ids),
            scores,
            table.multi_hot(label_names),
            tuple(table.rows.column("country").to_pylist()),
            None if patches is None else tuple(patch.tile for patch in patches),
            None if patches is None else tuple(patch.acquired.month for patch in patches),
        )

    def take(self, rows: NDArray[Any]) -> Self:
        """Return the predictions of some patches, by position or as a mask [N]."""
        positions = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows

        def some(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
            return None if values is None else tuple(values[i] for i in positions)

        columns: dict[str, Any] = {name: some(getattr(self, name)) for name in _KNOWN}
        return replace(
            self,
            patch_ids=some(self.patch_ids) or (),
            scores=self.scores[positions],
            labels=self.labels[positions],
            **columns,
        )

    def save(self, path: str | Path) -> Path:
        """Write the predictions to a parquet file, whole or not at all, and return its path.

        Raises:
            OutputError: If the file cannot be written.
        """
        columns: dict[str, Any] = {"patch_id": pa.array(self.patch_ids, pa.string())}
        for field_name, (name, kind) in _KNOWN.items():
            values = getattr(self, field_name)
            if values is not None:
                columns[name] = pa.array(values, kind)
        for start, matrix in ((_SCORE, self.scores), (_LABEL, self.labels)):
            for k, label in enumerate(self.label_names):
                columns[start + label] = pa.array(np.ascontiguousarray(matrix[:, k]))
        about = _About(FORMAT, version("reben"), self.label_names, self.subject, self.engine)
        table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(to_plain(about))})
        with atomic_file(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the predictions that `save` wrote.

        Raises:
            RunError: If the file cannot be read or was not written by reben.
            RebenError: If values in it are invalid, as at construction.
        """
        cure = "Write predictions with: reben evaluate MODEL --data STORE --out FOLDER"
        try:
            table = read_parquet(path)
            about = _read_about(table, path, cure)
            names = about.labels
            return cls(
                about.subject,
                names,
                tuple(_column(table, "patch_id", pa.string()).to_pylist()),
                _matrix(table, _SCORE, names, pa.float32()),
                _matrix(table, _LABEL, names, pa.uint8()),
                **{
                    field_name: tuple(table[name].cast(kind).to_pylist())
                    for field_name, (name, kind) in _KNOWN.items()
                    if name in table.column_names
                },
                engine=about.engine,
            )
        except RebenError:
            raise
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise RunError(
                f"{path} holds no predictions as reben writes them: {first_line(error)}. {cure}"
            ) from None


@dataclass(frozen=True)
class _Head:
    format: Count
    reben_version: str


@dataclass(frozen=True)
class _About(_Head):
    """What the metadata of the file hold."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    labels: tuple[str, ...]
    subject: Subject
    engine: str | None = None


def require_same_patches(first: Predictions, second: Predictions) -> None:
    """Check that two sets of predictions are about the same patches, in the same order."""
    if first.label_names != second.label_names:
        odd = sorted(set(first.label_names) ^ set(second.label_names))
        raise LabelsError(
            f"{first.subject.name} and {second.subject.name} have different labels: "
            f"{'; '.join(odd) or 'the same ones in another order'}."
        )
    if first.patch_ids != second.patch_ids or (first.labels != second.labels).any():
        raise ConfigError(
            f"{first.subject.name} was measured on {len(first)} patches and {second.subject.name} "
            f"on {len(second)}, and these differ in names, labels or order. Evaluate both models "
            "on the same split of the same store."
        )


def check_values(scores: NDArray[Any], labels: NDArray[Any]) -> None:
    """Check that labels are zeros and ones, and scores numbers in 0..1; both [N, K]."""
    if ((labels != 0) & (labels != 1)).any():
        raise LabelsError("Labels are zeros and ones; there are other values among them.")
    nan = np.isnan(scores)
    if nan.any():
        raise ConfigError(
            f"{int(nan.sum())} of {scores.size} scores are NaN, in {int(nan.any(1).sum())} of "
            f"{len(scores)} patches. The weights of the model are damaged, or its training "
            "diverged."
        )
    if ((scores < 0) | (scores > 1)).any():
        raise ConfigError(
            f"Scores must lie in 0..1; these reach from {scores.min():.4g} to {scores.max():.4g}. "
            "If they are logits, apply the sigmoid first."
        )


def _read_about(table: pa.Table, path: str | Path, cure: str) -> _About:
    content = (table.schema.metadata or {}).get(_KEY, b"null")
    name = f"The metadata of {path}"
    head = parse_json(content, _Head, name, RunError, cure)
    if head.format != FORMAT:
        raise RunError(
            f"{path} has format {head.format}, and this reben reads {FORMAT}. Predict again, or "
            f"install the version of reben that wrote it: {head.reben_version}."
        )
    return parse_json(content, _About, name, RunError, cure)


def _column(table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a column without gaps; values that ``kind`` cannot hold are an error of Arrow."""
    column = table[name].cast(kind)
    if column.null_count:
        raise pa.ArrowInvalid(f"{column.null_count} values of the column {name!r} are missing")
    return column


def _matrix(table: pa.Table, start: str, names: Sequence[str], kind: pa.DataType) -> NDArray[Any]:
    return np.stack([_column(table, start + name, kind).to_numpy() for name in names], axis=1)
