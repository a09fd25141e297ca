"""What the page shows when something is chosen, uploaded, switched off or clicked.

No Gradio here: every method takes plain values and returns those of the page's parts.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from reben.app.demo.answers import PatchResult, compare_bands, groups_of, score_patch
from reben.app.demo.locator import draw_locator
from reben.app.demo.markup import draw
from reben.app.demo.patches import Samples, ShownPatch, patch_of_upload
from reben.app.demo.pictures import draw_views
from reben.app.demo.results import write_results
from reben.app.demo.scenes import MOST_BYTES, QUICKLOOK, SceneScores, parse_scene
from reben.app.demo.uploads import read_uploaded, take_upload
from reben.errors import RebenError, UploadError
from reben.model.classifier import Classifier
from reben.spec.patches import Bounds

_LOG = logging.getLogger(__name__)


class PatchTab(NamedTuple):
    """The tab of patches: what it remembers, and the HTML of its parts."""

    patch: ShownPatch | None = None
    result: PatchResult | None = None
    message: str = ""
    views: str = ""
    facts: str = ""
    scores: str = ""
    moves: str = ""
    bands: str = ""
    are_bands_right: bool = True


class SceneTab(NamedTuple):
    """The tab of scenes: what it remembers, and the HTML of its parts."""

    scene: SceneScores | None = None
    message: str = ""
    class_map: str = ""
    legend: str = ""
    quicklook: str = ""
    scores: str = ""
    facts: str = ""


@dataclass(frozen=True, eq=False)
class PageState:
    """A model, and what the page can show of it."""

    model: Classifier
    model_name: str
    root: Path
    """The folder of uploads and results."""
    samples: Samples | None = None
    """Patches to choose from, if there are any."""
    scene: SceneScores | None = None
    """The scene to begin with, if there is one."""

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The groups of bands that the model uses, with their bands."""
        return groups_of(self.model.bands)

    def choose(self, name: str | None) -> PatchTab:
        """Show the patch of the store that is called ``name``."""
        samples = self.samples
        return self._show(lambda: samples.patch(name)) if samples and name else PatchTab()

    def upload(self, paths: Sequence[str] | None) -> PatchTab:
        """Show the patch in uploaded files."""
        files = [Path(path) for path in paths or ()]
        return self._show(lambda: patch_of_upload(take_upload(files, self.root)))

    def switch(self, patch: ShownPatch | None, kept: Collection[str], bands_html: str) -> PatchTab:
        """Show the same patch with only the groups ``kept`` switched on."""
        if patch is None:
            return PatchTab()
        off = [group for group in self.groups if group not in kept]
        return self._score(patch, off)._replace(bands=bands_html)

    def results(
        self, patch: ShownPatch | None, result: PatchResult | None
    ) -> tuple[str | None, str | None, str | None]:
        """Write what is shown as JSON, CSV and PNG; return the paths, if anything is shown."""
        if patch is None or result is None:
            return None, None, None
        config = self.model.config
        about = {
            "name": self.model_name,
            "backbone": config.backbone,
            "bands": str(config.bands),
            "temperature": f"{config.temperature:g}",
        }
        return write_results(self.root, patch, result, about)

    def _show(self, load: Callable[[], ShownPatch]) -> PatchTab:
        try:
            patch = load()
        except RebenError as error:
            _LOG.debug("refused", exc_info=error)
            return PatchTab(message=draw("alert", str(error)))
        return self._score(patch, ())

    def _score(self, patch: ShownPatch, off: Collection[str]) -> PatchTab:
        rows = compare_bands(self.model.bands, patch.bands)
        shown = PatchTab(
            patch,
            views=draw("views", draw_views(patch.bands, patch.title)),
            facts=_draw_facts(patch.facts, patch.place, f"{patch.title} lies"),
            bands=draw("bands", rows),
            are_bands_right=not any(row.problem for row in rows),
        )
        notes = "".join(draw("alert", note, "notice") for note in patch.notes)
        try:
            result = score_patch(self.model, patch.bands, off)
        except RebenError as error:
            return shown._replace(message=draw("alert", str(error)) + notes)
        notes += "".join(draw("alert", text, "notice") for text in result.warnings)
        return shown._replace(
            result=result,
            message=notes,
            scores=draw("scores", result, patch.true_labels),
            moves=draw("moves", result),
        )

    def show_scene(self, scene: SceneScores | None) -> SceneTab:
        """Show a scene and its middle cell."""
        if scene is None:
            return SceneTab()
        parts = {part: draw(part, scene) for part in ("class_map", "legend", "quicklook")}
        scores, facts = self.cell(scene, *scene.middle)
        return SceneTab(scene, scores=scores, facts=facts, **parts)

    def upload_scene(self, paths: Sequence[str] | None) -> SceneTab:
        """Show the scene in uploaded files: ``scores.tif``, and ``map.png`` if there is one."""
        try:
            return self.show_scene(self._read_scene([Path(path) for path in paths or ()]))
        except RebenError as error:
            return SceneTab(message=draw("alert", str(error)))

    def _read_scene(self, paths: Sequence[Path]) -> SceneScores:
        rasters = [path for path in paths if path.suffix.lower() in (".tif", ".tiff")]
        pictures = [path for path in paths if path.name.lower() == QUICKLOOK]
        other = [path.name for path in paths if path not in (*rasters, *pictures)]
        if other or len(rasters) != 1 or len(pictures) > 1:
            named = f"; {other[0]} is neither" if other else ""
            raise UploadError(
                f"Choose one scores.tif, and its {QUICKLOOK} if there is one. "
                f"{len(rasters)} TIFFs came{named}."
            )
        content = read_uploaded(rasters[0], self.root, MOST_BYTES)
        quicklook = read_uploaded(pictures[0], self.root, MOST_BYTES) if pictures else None
        return parse_scene(content, rasters[0].name, quicklook)

    def cell(self, scene: SceneScores | None, column: object, row: object) -> tuple[str, str]:
        """Return the scores of a cell and what is known about it, as HTML."""
        if scene is None or not isinstance(column, int) or not isinstance(row, int):
            return "", ""
        result = scene.result(column, row)
        place = scene.cell_place(column, row)
        facts = _draw_facts(scene.cell_facts(column, row), place, "The cell lies")
        if result is None:
            said = "This cell has no scores: no data, cloud or shadow."
            return draw("alert", said, "hint"), facts
        return draw("scores", result), facts


def _draw_facts(rows: Sequence[tuple[str, str]], place: Bounds | None, where: str) -> str:
    return draw("facts", rows, "" if place is None else Markup(draw_locator(place, where)))  # noqa: S704 - it escapes
