"""What happens on the page: a patch is chosen or uploaded, bands are switched, a cell is clicked.

No Gradio here: every function takes plain values and returns those of the page's parts.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from reben.app.demo import markup
from reben.app.demo.answers import Answer, ask, compare_bands, groups_of
from reben.app.demo.locator import draw_locator
from reben.app.demo.patches import Samples, ShownPatch, patch_of_upload
from reben.app.demo.pictures import draw_views
from reben.app.demo.results import write_results
from reben.app.demo.scenes import MOST_BYTES, QUICKLOOK, SceneScores, parse_scene
from reben.app.demo.uploads import UploadLimits, read_uploaded, take_upload
from reben.errors import RebenError, UploadError
from reben.model.classifier import Classifier

_LOG = logging.getLogger(__name__)


class PatchView(NamedTuple):
    """What the page shows of a patch: HTML of each part, and what it remembers."""

    patch: ShownPatch | None
    answer: Answer | None
    message: str = ""
    views: str = ""
    facts: str = ""
    scores: str = ""
    moves: str = ""
    bands: str = ""
    are_bands_right: bool = True


class SceneView(NamedTuple):
    """What the page shows of a scene."""

    scene: SceneScores | None
    message: str = ""
    class_map: str = ""
    legend: str = ""
    quicklook: str = ""
    scores: str = ""
    facts: str = ""


@dataclass(frozen=True, eq=False)
class Desk:
    """A model, and what it can be asked about.

    Args:
        model: The model.
        model_name: What it is called.
        root: The folder that uploads and results lie in.
        samples: Patches to choose from, if there are any.
        scene: The scene to begin with, if there is one.
        limits: How much may be uploaded.
    """

    model: Classifier
    model_name: str
    root: Path
    samples: Samples | None = None
    scene: SceneScores | None = None
    limits: UploadLimits = field(default_factory=UploadLimits)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of bands that the model takes, with their bands in the name."""
        return tuple(groups_of(self.model.bands))

    @property
    def about(self) -> dict[str, str]:
        """What is known of the model, as texts."""
        config = self.model.config
        return {
            "name": self.model_name,
            "backbone": config.backbone,
            "bands": str(config.bands),
            "temperature": f"{config.temperature:g}",
        }

    def choose(self, name: str | None) -> PatchView:
        """Show the patch of the store that is called ``name``."""
        samples = self.samples
        if samples is None or not name:
            return PatchView(None, None)
        return self._show(lambda: samples.patch(name))

    def upload(self, paths: Sequence[str] | None) -> PatchView:
        """Show the patch in uploaded files."""
        files = [Path(path) for path in paths or ()]
        return self._show(lambda: patch_of_upload(take_upload(files, self.root, self.limits)))

    def switch(self, patch: ShownPatch | None, kept: Collection[str], bands_html: str) -> PatchView:
        """Show the same patch with only the groups ``kept`` switched on."""
        if patch is None:
            return PatchView(None, None)
        off = [group for group in self.groups if group not in kept]
        return self._answer(patch, off)._replace(bands=bands_html)

    def results(self, patch: ShownPatch | None, answer: Answer | None) -> tuple[str, ...] | None:
        """Write what is shown as JSON, CSV and PNG, and return where; None if nothing is shown."""
        if patch is None or answer is None:
            return None
        return write_results(self.root, patch, answer, self.about)

    def _show(self, load: Callable[[], ShownPatch]) -> PatchView:
        try:
            patch = load()
        except RebenError as error:
            _LOG.debug("refused", exc_info=error)
            return PatchView(None, None, message=markup.alert(str(error)))
        return self._answer(patch, ())

    def _answer(self, patch: ShownPatch, off: Collection[str]) -> PatchView:
        rows = compare_bands(self.model.bands, patch.bands)
        shown = PatchView(
            patch,
            None,
            views=markup.views(draw_views(patch.bands, patch.title)),
            facts=_facts(patch),
            bands=markup.bands(rows),
            are_bands_right=not any(row.problem for row in rows),
        )
        notes = "".join(markup.alert(note, "notice") for note in patch.notes)
        try:
            answer = ask(self.model, patch.bands, off)
        except RebenError as error:
            return shown._replace(message=markup.alert(str(error)) + notes)
        notes += "".join(markup.alert(text, "notice") for text in answer.warnings)
        return shown._replace(
            answer=answer,
            message=notes,
            scores=markup.scores(answer, patch.true_labels),
            moves=markup.moves(answer),
        )

    def show_scene(self, scene: SceneScores | None) -> SceneView:
        """Show a scene and its middle cell."""
        if scene is None:
            return SceneView(None)
        column, row = scene.middle
        scores, facts = self.cell(scene, column, row)
        return SceneView(
            scene,
            class_map=markup.class_map(scene),
            legend=markup.legend(scene),
            quicklook=markup.quicklook(scene),
            scores=scores,
            facts=facts,
        )

    def upload_scene(self, paths: Sequence[str] | None) -> SceneView:
        """Show the scene in uploaded files: ``scores.tif``, and ``map.png`` if there is one."""
        try:
            return self.show_scene(self._read_scene([Path(path) for path in paths or ()]))
        except RebenError as error:
            return SceneView(None, message=markup.alert(str(error)))

    def _read_scene(self, paths: Sequence[Path]) -> SceneScores:
        rasters = [path for path in paths if path.suffix.lower() in (".tif", ".tiff")]
        pictures = [path for path in paths if path.name.lower() == QUICKLOOK]
        other = [path.name for path in paths if path not in (*rasters, *pictures)]
        if other or len(rasters) != 1 or len(pictures) > 1:
            named = f"; {other[0]} is neither" if other else ""
            raise UploadError(
                f"Choose one scores.tif, with its {QUICKLOOK} if there is one: {len(rasters)} "
                f"TIFFs came{named}."
            )
        content = read_uploaded(rasters[0], self.root, MOST_BYTES)
        quicklook = read_uploaded(pictures[0], self.root, MOST_BYTES) if pictures else None
        return parse_scene(content, rasters[0].name, quicklook)

    def cell(self, scene: SceneScores | None, column: object, row: object) -> tuple[str, str]:
        """Return the scores of a cell, and what is known of it, as HTML."""
        if scene is None or not isinstance(column, int) or not isinstance(row, int):
            return "", ""
        answer = scene.answer(column, row)
        place = scene.cell_place(column, row)
        locator = "" if place is None else draw_locator(place, "The cell lies")
        facts = markup.facts(markup.cell_facts(scene, column, row), locator)
        if answer is None:
            return markup.alert("This cell has no scores: no data, cloud or shadow.", "hint"), facts
        return markup.scores(answer, None), facts


def _facts(patch: ShownPatch) -> str:
    locator = "" if patch.place is None else draw_locator(patch.place, f"{patch.title} lies")
    return markup.facts(patch.facts, locator)
