"""A scene's scores as the page shows them: the class map, and the scores of one cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reben.app.demo.answers import PatchResult
from reben.app.demo.limits import MOST_SCORES
from reben.app.demo.locator import describe_place
from reben.data.pictures import label_colours
from reben.data.tiff.tags import STARTS
from reben.data.tiff.with_rasterio import raster_errors
from reben.errors import UploadError
from reben.model.config import DEFAULT_THRESHOLD
from reben.predict.outputs.cog import BYTE_NO_DATA, BYTE_STEPS
from reben.spec.patches import Bounds, is_utm
from reben.support.extras import optional

QUICKLOOK = "map.png"
"""The picture beside the scores, if one was drawn."""
_TAGS = {
    "model": "Model",
    "bands": "Its bands",
    "stride": "Metres from window to window",
    "max_bad": "Most bad pixels in a window",
    "boa_offset": "BOA offset",
    "reben_version": "Version of reben",
}


@dataclass(frozen=True, eq=False)
class SceneScores:
    """Scores of the cells of a scene."""

    name: str
    scores_KYX: NDArray[np.float32]
    """0 to 1; NaN where a cell has none."""
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    """For each label, the score above which it counts as present."""
    place: Bounds | None
    """Where the raster lies, if it is in a UTM zone."""
    about: Mapping[str, str]
    """What else the file says about itself."""
    quicklook: bytes | None = None
    """The picture that was drawn with it, as PNG, if there is one."""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows of cells."""
        return self.scores_KYX.shape[2], self.scores_KYX.shape[1]

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """[Y, X]: whether a cell has scores."""
        return np.asarray(np.isfinite(self.scores_KYX).all(0))

    @property
    def best(self) -> NDArray[np.intp]:
        """[Y, X]: number of the label with the highest score; without a meaning if not known."""
        return np.asarray(np.nan_to_num(self.scores_KYX, nan=-1).argmax(0))

    def class_map(self) -> Image.Image:
        """Return the label with the highest score of each cell, in its colour, RGBA."""
        alpha = np.where(self.is_known, 255, 0).astype(np.uint8)
        return Image.fromarray(np.dstack([label_colours(self.labels)[self.best], alpha]), "RGBA")

    def shares(self) -> list[tuple[str, float]]:
        """Return the labels that are the highest of any cell, with their share of the cells."""
        best = self.best[self.is_known]
        counts = np.bincount(best, minlength=len(self.labels)) / max(1, best.size)
        order = np.argsort(-counts, kind="stable")
        return [(self.labels[k], float(counts[k])) for k in order if counts[k]]

    def result(self, column: int, row: int) -> PatchResult | None:
        """Return the scores of one cell, or None where it has none or there is no such cell."""
        width, height = self.size
        if not (0 <= column < width and 0 <= row < height and self.is_known[row, column]):
            return None
        values = tuple(map(float, self.scores_KYX[:, row, column]))
        return PatchResult(self.labels, self.thresholds, values, values)

    def cell_place(self, column: int, row: int) -> Bounds | None:
        """Return where one cell lies."""
        if self.place is None:
            return None
        width, height = self.size
        x = (self.place.right - self.place.left) / width
        y = (self.place.top - self.place.bottom) / height
        left, top = self.place.left + column * x, self.place.top - row * y
        return Bounds(self.place.epsg, left, top - y, left + x, top)

    def cell_facts(self, column: int, row: int) -> list[tuple[str, str]]:
        """Return what is known about a cell and its scene: names and values."""
        columns, rows = self.size
        place = self.cell_place(column, row)
        return [
            ("Cell", f"column {column} of {columns}, row {row} of {rows}, counted from 0"),
            *([] if place is None else describe_place(place)),
            ("Scene", self.name),
            *((name, self.about[tag]) for tag, name in _TAGS.items() if tag in self.about),
        ]

    @property
    def middle(self) -> tuple[int, int]:
        """Column and row of the cell with scores that is nearest to the middle."""
        rows, columns = np.nonzero(self.is_known)
        if not len(rows):
            return 0, 0
        width, height = self.size
        nearest = int(np.argmin((columns - width / 2) ** 2 + (rows - height / 2) ** 2))
        return int(columns[nearest]), int(rows[nearest])


def open_scene_result(path: Path) -> SceneScores:
    """Return the result of `reben predict-scene`: ``scores.tif``, or the folder that holds it."""
    file = path / "scores.tif" if path.is_dir() else path
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UploadError(f"Cannot read {file}: {error.strerror}. Name a scores.tif.") from None
    beside = file.with_name(QUICKLOOK)
    return parse_scene(content, file.name, beside.read_bytes() if beside.is_file() else None)


def parse_scene(content: bytes, name: str, quicklook: bytes | None = None) -> SceneScores:
    """Return the scores in a raster that `reben predict-scene` wrote.

    Args:
        content: The bytes of the GeoTIFF.
        name: What it is called in error messages.
        quicklook: The picture that was drawn with it.
    """
    rasterio = optional("rasterio", "demo", "Showing a scene")
    if not content.startswith(STARTS):
        raise UploadError(f"{name} cannot be read as a GeoTIFF: it starts with other bytes.")
    try:
        with (
            rasterio.MemoryFile(content, filename="scores.tif") as memory,
            memory.open(driver="GTiff", sharing=False) as file,
        ):
            _check(file, name)
            scores = _decode(file.read())
            labels = tuple(map(str, file.descriptions))
            place = _place(file)
            tags = {str(key): str(value) for key, value in file.tags().items()}
    except raster_errors() as error:
        raise UploadError(f"{name} cannot be read as a GeoTIFF: {error}.") from None
    known = scores[np.isfinite(scores)]
    if known.size and not (known.min() >= 0 and known.max() <= 1):
        raise UploadError(f"{name} holds values outside 0 to 1, so they are not scores.")
    if quicklook is not None and not quicklook.startswith(b"\x89PNG\r\n"):
        quicklook = None
    called = tags.get("product") or name
    return SceneScores(called, scores, labels, _thresholds(tags, labels), place, tags, quicklook)


def _check(file: Any, name: str) -> None:  # noqa: ANN401 - rasterio is optional
    if file.count * file.width * file.height > MOST_SCORES:
        raise UploadError(
            f"{name} has {file.width} x {file.height} pixels in {file.count} bands, more than is "
            "taken. Is it a raster of scores? It has a pixel for each cell, not for each 10 m."
        )
    what = file.tags().get("what", "scores")
    if what != "scores":
        raise UploadError(
            f"{name} holds {what}, and the page shows the scores of all labels. Choose a file that "
            "reben predict-scene wrote with --what scores, the default."
        )
    if not all(file.descriptions) or len(set(file.descriptions)) < file.count:
        raise UploadError(
            f"The bands of {name} are not named by labels. Choose the scores.tif that "
            "reben predict-scene wrote."
        )
    if len(set(file.dtypes)) > 1 or file.dtypes[0] not in ("float32", "uint8"):
        raise UploadError(f"{name} holds {file.dtypes[0]}; scores are float32 or uint8.")


def _decode(pixels: NDArray[Any]) -> NDArray[np.float32]:
    if pixels.dtype == np.float32:
        return np.asarray(pixels)
    scores = np.where(pixels == BYTE_NO_DATA, np.nan, pixels / np.float32(BYTE_STEPS))
    return np.asarray(scores, np.float32)


def _thresholds(tags: Mapping[str, str], labels: Sequence[str]) -> tuple[float, ...]:
    """Return the thresholds in the tags, or the default."""
    try:
        numbers = tuple(map(float, tags.get("thresholds", "").split(";")))
    except ValueError:
        numbers = ()
    return numbers if len(numbers) == len(labels) else (DEFAULT_THRESHOLD,) * len(labels)


def _place(file: Any) -> Bounds | None:  # noqa: ANN401 - rasterio is optional
    epsg = None if file.crs is None else file.crs.to_epsg()
    transform = file.transform
    if epsg is None or not is_utm(epsg) or transform.b or transform.d or transform.e >= 0:
        return None
    return Bounds(epsg, *map(float, file.bounds))
