"""The dominant class of each cell as a GeoTIFF that opens coloured, and how certain it is.

GDAL keeps the colours inside the file as long as it has one band. Names of values it reads from a
small file beside it, ``map.tif.aux.xml``: QGIS takes the legend from there. Measures of certainty
are bands of a second GeoTIFF, ``map_certainty.tif``.

Axes: Y rows of cells, X columns of cells, K labels, M measures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from reben.data.pictures import UNCERTAIN_COLOUR, label_colours
from reben.errors import ConfigError, LabelsError
from reben.predict.outputs.cog import Dtype, write_raster, write_values
from reben.scene.grid import Grid
from reben.support.atomic import write_bytes, writing
from reben.support.numbers import require_number

What = Literal["scores", "classes"]
WHATS: tuple[What, ...] = ("scores", "classes")
"""What a map can hold: a band of scores for each label, or one band of dominant classes."""
MASKED = 0
"""The value of masked cells in a map of classes, its no data; label k of K is k + 1."""
MOST_CLASSES = 254
"""One of 256 values is for masked cells, one for uncertain ones."""
UNCERTAIN = "uncertain"
MEASURES: Mapping[str, str] = MappingProxyType(
    {
        "score": "the highest score",
        "gap": "the highest score minus the second highest",
        "entropy": (
            "the mean over the labels of the entropy of yes or no, in bits: 0 where every label is "
            "sure, 1 where each is as likely as not"
        ),
    }
)
"""Measures of certainty, all 0 to 1."""


@dataclass(frozen=True)
class MapOptions:
    """What a map holds.

    Args:
        what: ``scores``: a band for each label; ``classes``: one band, the dominant class.
        min_score: Where the highest score is below it, the class is "uncertain"; 0 to 1.
        measures: Names of `MEASURES` to write into a second file, as its bands.

    Raises:
        ConfigError: If a value is none of these.
    """

    what: What = "scores"
    min_score: float = 0.0
    measures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no map holds."""
        if self.what not in WHATS:
            raise ConfigError(f"A map cannot hold {self.what!r}. Choose {' or '.join(WHATS)}.")
        require_number("min_score", self.min_score, 0, 1)
        unknown = [name for name in self.measures if name not in MEASURES]
        if unknown or len(set(self.measures)) < len(self.measures):
            raise ConfigError(
                f"The measures {', '.join(self.measures)} cannot be written. Choose each once from "
                f"{', '.join(MEASURES)}."
            )
        if self.min_score and self.what != "classes":
            raise ConfigError(
                f"min_score {self.min_score:g} belongs to a map of classes, and this one holds "
                "scores. Choose what=classes (--what classes), or leave min_score out."
            )

    def beside(self, out: Path) -> tuple[Path, ...]:
        """Return the files that are written beside a map."""
        names = [_names_file(out)] * (self.what == "classes")
        certainty = [_certainty_file(out)] * bool(self.measures)
        return (*certainty, *names)

    def require_room(self, num_labels: int) -> None:
        """Raise a LabelsError if the map cannot hold so many."""
        if self.what == "classes" and num_labels > MOST_CLASSES:
            raise LabelsError(
                f"A map of classes has up to {MOST_CLASSES} of them, and the model {num_labels}. "
                "Write the scores instead: what=scores (--what scores)."
            )

    @property
    def tags(self) -> dict[str, str]:
        """What the map says of it."""
        limit = {"min_score": f"{self.min_score:g}"} if self.what == "classes" else {}
        return {"what": str(self.what), **limit}


def write_map(  # noqa: PLR0913 - all after the second are named
    path: Path,
    scores_YXK: NDArray[np.float32],
    *,
    grid: Grid,
    stride_metres: int,
    labels: Sequence[str],
    dtype: Dtype,
    options: MapOptions,
    tags: Mapping[str, str],
) -> None:
    """Write a map and what belongs beside it, each file as a whole or not at all, the map last.

    Args:
        path: The GeoTIFF; an existing one is replaced.
        scores_YXK: 0 to 1, NaN if masked. Row 0 is the northernmost.
        grid: As for `write_raster`, like the other arguments.
        stride_metres: Side length of a cell.
        labels: Names of the K labels.
        dtype: How scores and measures are stored.
        options: What to write.
        tags: Further tags of the files.
    """
    tags = {**tags, **options.tags}
    if options.measures:
        said = {f"measure_{name}": MEASURES[name] for name in options.measures}
        write_raster(
            options.beside(path)[0],
            measures_of(scores_YXK, options.measures),
            labels=options.measures,
            dtype=dtype,
            tags={**tags, "what": "certainty", **said},
            grid=grid,
            stride_metres=stride_metres,
        )
    elif path.exists():
        _remove_earlier(_certainty_file(path))
    if options.what == "scores":
        _remove_earlier(_names_file(path))
        write_raster(
            path,
            scores_YXK,
            grid=grid,
            stride_metres=stride_metres,
            labels=labels,
            dtype=dtype,
            tags=tags,
        )
        return
    names = names_of_classes(labels, options.min_score)
    colours = dict(zip(names, _colours(labels), strict=False))
    write_bytes(_names_file(path), _to_xml(names, colours))
    write_values(
        path,
        classes_of(scores_YXK, options.min_score)[None].astype(np.uint8),
        nodata=MASKED,
        descriptions=("dominant class",),
        colours=colours,
        tags={**tags, "classes": "; ".join(f"{value} {name}" for value, name in names.items())},
        grid=grid,
        stride_metres=stride_metres,
    )


def classes_of(scores_YXK: NDArray[np.float32], min_score: float = 0) -> NDArray[np.int64]:
    """Return the values of a map of classes, int64 [Y, X].

    Args:
        scores_YXK: 0 to 1, NaN if masked.
        min_score: Below it, the highest score is uncertain.

    Returns:
        0 where masked, k + 1 where label k has the highest score, K + 1 where that is uncertain.
    """
    num_labels = scores_YXK.shape[-1]
    is_masked = np.isnan(scores_YXK[..., 0])
    filled = np.where(is_masked[..., None], np.float32(0), scores_YXK)
    values = filled.argmax(axis=-1) + 1
    # As doubles, in which a limit of 0.3 lies where it was set.
    values[filled.max(axis=-1).astype(np.float64) < min_score] = num_labels + 1
    return np.where(is_masked, MASKED, values)


def names_of_classes(labels: Sequence[str], min_score: float = 0) -> dict[int, str]:
    """Return value -> name of a map of classes, without the masked ones."""
    names = dict(enumerate(labels, start=1))
    if min_score > 0:
        names[len(labels) + 1] = f"{UNCERTAIN} (below {min_score:g})"
    return names


def measures_of(scores_YXK: NDArray[np.float32], measures: Sequence[str]) -> NDArray[np.float32]:
    """Return measures of certainty, float32 [Y, X, M], 0 to 1; NaN where masked."""
    ordered = np.sort(scores_YXK, axis=-1)
    second = ordered[..., -2] if ordered.shape[-1] > 1 else np.zeros_like(ordered[..., -1])
    found = {"score": ordered[..., -1], "gap": ordered[..., -1] - second}
    if "entropy" in measures:
        inside = np.clip(scores_YXK.astype(np.float64), 1e-12, 1 - 1e-12)
        bits = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))
        found["entropy"] = bits.mean(axis=-1).astype(np.float32)
    return np.stack([found[name] for name in measures], axis=-1)


def _names_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.aux.xml")


def _certainty_file(path: Path) -> Path:
    return path.with_name(f"{path.stem}_certainty{path.suffix}")


def _remove_earlier(path: Path) -> None:
    """Remove what lies beside an earlier map, and would be taken for a part of this one."""
    with writing(path):
        path.unlink(missing_ok=True)


def _colours(labels: Sequence[str]) -> list[tuple[int, int, int]]:
    found = [(red, green, blue) for red, green, blue in label_colours(labels).tolist()]
    return [*found, UNCERTAIN_COLOUR]


def _to_xml(names: Mapping[int, str], colours: Mapping[int, tuple[int, int, int]]) -> bytes:
    """Return names of values as GDAL reads them: as a list for all, as a table for QGIS's legend.

    Source: the schema of GDAL's auxiliary files; types and usages of columns by their numbers in
    GDALRATFieldType and GDALRATFieldUsage.
    """
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    listed = ET.SubElement(band, "CategoryNames")
    for value in range(max(names) + 1):
        ET.SubElement(listed, "Category").text = names.get(value, "masked")
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    whole, text = "0", "2"
    columns = (
        ("Value", whole, "5"),
        ("Class", text, "2"),
        ("Red", whole, "6"),
        ("Green", whole, "7"),
        ("Blue", whole, "8"),
    )
    for index, (name, kind, usage) in enumerate(columns):
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, content in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(column, tag).text = content
    for index, (value, name) in enumerate(names.items()):
        row = ET.SubElement(table, "Row", index=str(index))
        for content in (str(value), name, *map(str, colours[value])):
            ET.SubElement(row, "F").text = content
    ET.indent(root)
    return ET.tostring(root, encoding="unicode").encode()
