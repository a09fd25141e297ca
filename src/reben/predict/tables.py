"""Rows of tables: scores or embeddings of patches or windows, in Arrow columns.

Axes: N rows, K labels, D features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reben.errors import ConfigError
from reben.predict.polygons import Ring, to_wkb
from reben.predict.table_files import GEOMETRY

ID, LABELS_COLUMN, EMBEDDING = "id", "labels", "embedding"


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a table of scores.

    Args:
        ids: What each is called.
        scores: float32 [N, K]; NaN where there is none, which becomes an empty cell.
        polygons: Where each lies, as far as known; None if places are left out.
        extra: Further columns by name, between places and scores.
    """

    ids: Sequence[str]
    scores: NDArray[np.float32]
    polygons: Sequence[Ring | None] | None = None
    extra: Mapping[str, Sequence[Any] | NDArray[Any]] = field(default_factory=dict)


def batch_of_scores(
    rows: Rows, labels: Sequence[str], thresholds: Sequence[float]
) -> pa.RecordBatch:
    """Return rows as columns: id, geometry, extra ones, a score for each label, labels.

    The last one lists the labels that score above their threshold, the highest score first.
    """
    scores = np.asarray(rows.scores, np.float32)
    if scores.shape != (len(rows.ids), len(labels)) or len(labels) != len(thresholds):
        raise ConfigError(
            f"{len(rows.ids)} rows, scores of shape {scores.shape}, {len(labels)} labels and "
            f"{len(thresholds)} thresholds do not belong together."
        )
    columns = _first_columns(rows.ids, rows.polygons)
    for name, values in rows.extra.items():
        _add(columns, name, pa.array(values))
    for place, label in enumerate(labels):
        _add(columns, label, pa.array(scores[:, place], pa.float32(), from_pandas=True))
    _add(columns, LABELS_COLUMN, _labels_above(scores, labels, thresholds))
    return _to_batch(columns)


def batch_of_embeddings(
    ids: Sequence[str],
    embeddings: NDArray[np.float32],
    polygons: Sequence[Ring | None] | None = None,
) -> pa.RecordBatch:
    """Return embeddings, float32 [N, D], as columns: id, geometry, embedding."""
    columns = _first_columns(ids, polygons)
    flat = pa.array(np.ascontiguousarray(embeddings, np.float32).ravel())
    _add(columns, EMBEDDING, pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1]))
    return _to_batch(columns)


def _first_columns(
    ids: Sequence[str], polygons: Sequence[Ring | None] | None
) -> dict[str, pa.Array]:
    columns = {ID: pa.array(ids, pa.string())}
    if polygons is not None:
        content = [None if ring is None else to_wkb(ring) for ring in polygons]
        columns[GEOMETRY] = pa.array(content, pa.binary())
    return columns


def _labels_above(
    scores: NDArray[np.float32], labels: Sequence[str], thresholds: Sequence[float]
) -> pa.Array:
    # As doubles, in which a threshold of 0.3 lies where it was set.
    above = scores.astype(np.float64) > np.array(thresholds)
    order = np.argsort(-scores, axis=1, kind="stable")
    named = [
        [labels[place] for place in places.tolist() if yes[place]]
        for places, yes in zip(order, above, strict=True)
    ]
    return pa.array(named, pa.list_(pa.string()))


def _add(columns: dict[str, pa.Array], name: str, values: pa.Array) -> None:
    if name in columns:
        raise ConfigError(f"A table cannot have two columns called {name!r}. Call one otherwise.")
    columns[name] = values


def _to_batch(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ConfigError(f"Columns differ in their number of rows: {lengths}.")
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
