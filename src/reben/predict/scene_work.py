"""The prediction of one scene that is open: strips to parts, parts to output files."""

import logging
from collections.abc import Callable
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reben.data.vector.areas import Area
from reben.errors import BandsMismatchError
from reben.model.engines.names import Engine
from reben.predict.outputs.class_map import write_map
from reben.predict.outputs.quicklook import (
    QuicklookPicture,
    colour_bands,
    draw_quicklook,
    shrink,
    shrink_factor,
    shrink_mask,
)
from reben.predict.outputs.window_table import write_windows
from reben.predict.resume import RowReader, RowWriter, ScenePart, SceneProgress
from reben.predict.scene_settings import ScenePrediction, SceneSettings
from reben.predict.selection import Selection, select
from reben.predict.sharing import begin_on_engine, fast_model
from reben.predict.strips import Strip, StripReader, count_bad
from reben.predict.windows import Mosaic, put_together
from reben.scene.band_scene import NO_CLASSES, Scene
from reben.scene.masks import NO_DATA
from reben.spec.patches import PATCH_PIXELS
from reben.support.atomic import atomic_file
from reben.support.times import copernicus_notice

if TYPE_CHECKING:
    from reben.data.preprocess import Suspicious
    from reben.model.classifier import Classifier
    from reben.predict.scoring import Scorer

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with how many windows are done, and how many there are."""


class SceneOutputs(NamedTuple):
    """The files to write: the GeoTIFF of scores, and if wanted a table of windows and a picture."""

    out: Path
    table: Path | None
    quicklook: Path | None


class SceneWork:
    """The prediction of one scene.

    Args:
        model: The classifier.
        model_name: What to call it in the outputs.
        scene: The scene, which stays open.
        settings: How it is predicted.
        outputs: The files to write.
        part: The part of it that is wanted: an area, or windows; by default all of it.
    """

    def __init__(
        self,
        model: "Classifier",
        model_name: str,
        scene: Scene,
        settings: SceneSettings,
        outputs: SceneOutputs,
        part: Area | Selection | None = None,
    ) -> None:
        _require_bands(model, scene)
        if isinstance(scene, Scene):
            scene = scene.for_bands(model.bands)
        settings.map.require_room(len(model.labels))
        num_cut = getattr(scene, "num_cut", (0, 0))
        chosen = part
        if not isinstance(chosen, Selection):
            chosen = select(scene.name, scene.grid, settings.stride, chosen, num_cut)
        if chosen.place != (0, 0, scene.grid.height, scene.grid.width):
            scene = scene.cut(*chosen.place)
        if "left_out" in chosen.about:
            logger.warning("%s: no window covers %s.", scene.name, chosen.about["left_out"])
        self.chosen = chosen
        self.model = model
        self.model_name = model_name
        self.scene = scene
        self.settings = settings
        self.outputs = outputs
        self.plan = chosen.plan
        self.colours = () if outputs.quicklook is None else colour_bands(scene.bands)
        self.factor = shrink_factor(scene.grid)
        self.engine: Engine = settings.engine
        self.fast = model

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the model's weights and settings."""
        return self.model.fingerprint()

    def run(self, *, overwrite: bool, progress: Progress | None) -> ScenePrediction:
        """Do what is not done yet, write the outputs, and remove the parts."""
        parts = SceneProgress(self.outputs.out)
        begin = partial(parts.begin, replace=overwrite, kept=("engine",))
        size, num_windows = self.settings.batch_size, int(self.chosen.is_wanted.sum())
        make = partial(fast_model, self.model, num_patches=num_windows, batch_size=size)
        _, self.fast = begin_on_engine(begin, self.made_with(), make, self.settings.engine)
        self.engine = self.fast.engine
        resumed = parts.finished(self.plan.rows.num_windows)
        self.score(parts, resumed, progress)
        mosaic = put_together(parts, self.plan, self.settings.max_bad)
        self.write(parts, mosaic)
        parts.remove()
        if mosaic.is_masked.all():
            logger.warning(
                "Nothing of %s was predicted: all windows were left out, %d of %d for missing "
                "data, the others for clouds, shadow or defects. The outputs are empty. Check the "
                "product, or allow more bad pixels: max_bad (--max-bad).",
                self.scene.name,
                mosaic.num_no_data_windows,
                mosaic.num_masked_windows,
            )
        return ScenePrediction(
            *self.outputs,
            product=self.scene.name,
            num_windows=int(self.chosen.is_wanted.sum()),
            num_outside=self.chosen.num_outside,
            num_masked=mosaic.num_masked_windows,
            num_no_data=mosaic.num_no_data_windows,
            about=self.about,
            num_resumed=int(self.chosen.is_wanted[resumed].sum()),
            shares=mosaic.shares(self.model.labels),
            beside=self.settings.map.beside(self.outputs.out),
        )

    @property
    def about(self) -> dict[str, str]:
        """What outputs say of the product and the area, and the notice that its data ask for."""
        known = {**self.scene.about, **self.chosen.about}
        about = {key: str(text) for key, text in known.items()}
        sensed = about.get("sensing_time") or self.scene.name, about.get("sentinel1_sensing_time")
        return {"attribution": copernicus_notice(filter(None, sensed)), **about}

    def made_with(self) -> dict[str, Any]:
        """Return everything that parts depend on."""
        grid = self.scene.grid
        return {
            "reben": version("reben"),
            "model": self.fingerprint,
            "product": self.scene.name,
            "pixels": self.scene.fingerprint(self.model.bands)
            if isinstance(self.scene, Scene)
            else "",
            "grid": [grid.crs, grid.left, grid.top, grid.width, grid.height, *grid.pixel],
            "about": self.about,
            "stride": self.settings.stride,
            "max_bad": self.settings.max_bad,
            "quicklook": list(self.colours),
        }

    def score(self, parts: RowWriter, resumed: list[int], progress: Progress | None) -> None:
        """Score the rows of windows that are not done, and keep each as a part."""
        per_row = self.chosen.is_wanted.sum(axis=1)
        done, total = int(per_row[resumed].sum()), int(per_row.sum())
        if progress is not None:
            progress(done, total)
        rows = [row for row in range(self.plan.rows.num_windows) if row not in set(resumed)]
        if not rows:
            return
        from reben.predict.scoring import Scorer

        scorer = Scorer(self.fast, self.settings.batch_size)
        bands = tuple(dict.fromkeys((*self.model.bands, *self.colours)))
        fill = dict.fromkeys(bands, 0.0) | dict(self.model.preprocess.statistics.mean)
        reader = StripReader(
            self.scene, bands, self.plan.rows, fill, self.needed(rows), self.colours
        )
        for row in rows:
            if not per_row[row]:
                parts.write(row, self.part(reader.blank(row), scorer)[0])
        rows = [row for row in rows if per_row[row]]
        strips, do = reader.read_ahead(rows), partial(self.part, scorer=scorer)
        for row, (part, suspicious) in zip(rows, scorer.in_streams(strips, do), strict=True):
            scorer.note(suspicious)
            parts.write(row, part)
            done += int(per_row[row])
            if progress is not None:
                progress(done, total)
        scorer.end()

    def needed(self, rows: list[int]) -> NDArray[np.bool_] | None:
        """Return where bands are needed, bool [rows of windows, pixels of a row]; None for all.

        Args:
            rows: Rows of windows that are to be predicted; those that overlap one count, too.
        """
        scene: Any = self.scene  # a map's tile is read like one
        if not isinstance(scene, Scene):
            return None
        columns, tops = self.plan.columns, self.plan.rows.start
        lefts = [columns.start(window) for window in range(columns.num_windows)]
        edges = [(left, left + PATCH_PIXELS) for left in lefts]
        needed = np.zeros((self.plan.rows.num_windows, columns.length), np.bool_)
        most = self.settings.max_bad * PATCH_PIXELS**2
        for row in range(len(needed)):
            wanted = self.chosen.is_wanted[row]
            is_near = any(abs(tops(row) - tops(other)) < PATCH_PIXELS for other in rows)
            if not wanted.any() or not is_near:
                continue
            bad = count_bad(scene.classified(tops(row), PATCH_PIXELS), edges)
            for window in np.flatnonzero(wanted & (bad <= most)):
                needed[row, slice(*edges[window])] = True
        return needed

    def part(self, strip: Strip, scorer: "Scorer") -> "tuple[ScenePart, Suspicious]":
        """Return the part of one row of windows, and what looks wrong there."""
        columns, num_labels = self.plan.columns, len(self.model.labels)
        lefts = [columns.start(window) for window in range(columns.num_windows)]
        edges = [(left, left + PATCH_PIXELS) for left in lefts]
        bad = count_bad(strip.mask, edges) / np.float32(PATCH_PIXELS**2)
        no_data = count_bad(strip.mask == NO_DATA, edges) / np.float32(PATCH_PIXELS**2)
        is_outside = ~self.chosen.is_wanted[strip.row]
        bad[is_outside] = no_data[is_outside] = np.nan
        used = np.flatnonzero(bad <= self.settings.max_bad)
        scores = np.full((len(lefts), num_labels), np.nan, np.float32)
        scores[used], suspicious = scorer.score(strip.bands, [lefts[window] for window in used])
        fresh = strip.mask[-strip.num_fresh :]
        part = ScenePart(
            scores=scores,
            bad=bad.astype(np.float32),
            no_data=no_data.astype(np.float32),
            bad_of_cells=self.bad_of_cells(strip),
            colours=shrink(strip, self.colours, self.factor),
            kinds=shrink_mask(fresh, self.factor),
            counts=np.bincount(fresh.ravel(), minlength=3),
        )
        return part, suspicious

    def bad_of_cells(self, strip: Strip) -> NDArray[np.float32]:
        """Return the share of bad pixels of the cells in the fresh rows of a strip."""
        rows, columns = self.plan.rows, self.plan.columns
        top = rows.start(strip.row)
        first = (top + PATCH_PIXELS - strip.num_fresh) // rows.stride
        edges = [columns.cell(number) for number in range(columns.num_cells)]
        widths = np.array([stop - start for start, stop in edges])
        shares = []
        for number in range(first, rows.cells_of(strip.row).stop):
            start, stop = rows.cell(number)
            bad = count_bad(strip.mask[start - top : stop - top], edges)
            shares.append(bad / (widths * (stop - start)))
        return np.array(shares, np.float32)

    def write(self, parts: RowReader, mosaic: Mosaic) -> None:
        """Write all outputs, the GeoTIFF last."""
        if self.outputs.table is not None:
            write_windows(
                self.outputs.table,
                parts,
                plan=self.plan,
                grid=self.scene.grid,
                name=self.scene.name,
                labels=self.model.labels,
                thresholds=self.model.config.thresholds,
                about={
                    key: text
                    for key, text in self.tags(mosaic).items()
                    if key not in {"labels", "thresholds"}  # the table has them as lists
                },
            )
        if self.outputs.quicklook is not None:
            picture = draw_quicklook(
                QuicklookPicture(
                    mosaic,
                    self.scene.grid,
                    self.settings.stride,
                    self.colours,
                    knows_clouds=self.scene.about.get("mask") != NO_CLASSES,
                    min_score=self.settings.map.min_score,
                ),
                labels=self.model.labels,
                product=self.scene.name,
                model=self.model_name,
                about=self.about,
            )
            with atomic_file(self.outputs.quicklook) as temporary:
                picture.save(temporary, format="PNG")
        write_map(
            self.outputs.out,
            mosaic.scores,
            grid=self.scene.grid,
            stride_metres=self.settings.stride,
            labels=self.model.labels,
            dtype=self.settings.dtype,
            options=self.settings.map,
            tags=self.tags(mosaic),
        )

    def tags(self, mosaic: Mosaic) -> dict[str, str]:
        """Return what the outputs say about themselves."""
        thresholds = [f"{threshold:g}" for threshold in self.model.config.thresholds]
        return {
            "reben_version": version("reben"),
            "model": self.model_name,
            "model_fingerprint": self.fingerprint,
            "engine": self.engine,
            "bands": str(self.model.bands),
            "labels": "; ".join(self.model.labels),
            "thresholds": "; ".join(thresholds),
            "product": self.scene.name,
            **self.about,
            "stride": str(self.settings.stride),
            "max_bad": f"{self.settings.max_bad:g}",
            "num_windows": str(int(self.chosen.is_wanted.sum())),
            **({"num_outside": str(self.chosen.num_outside)} if self.chosen.num_outside else {}),
            "num_masked": str(mosaic.num_masked_windows),
            "num_no_data": str(mosaic.num_no_data_windows),
        }


def _require_bands(model: "Classifier", scene: Scene) -> None:
    missing = model.bands.missing_from(scene.bands)
    if missing:
        raise BandsMismatchError(
            f"The model needs {', '.join(missing)}; {scene.name} has {', '.join(scene.bands)}. "
            "Name the product that holds them too (sentinel1 for VV and VH), or choose a model "
            "for these."
        )
