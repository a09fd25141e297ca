"""What the page shows when something is chosen, uploaded, switched off or clicked.

No Gradio here: every method takes plain values and returns those of the page's parts.
"""

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from reben.app.demo.answers import PatchResult, compare_bands, groups_of, score_patch
from reben.app.demo.limits import MOST_KEPT_BYTES, MOST_QUICKLOOK_BYTES, MOST_SCENE_BYTES
from reben.app.demo.locator import draw_locator
from reben.app.demo.markup import draw
from reben.app.demo.memory import Memory
from reben.app.demo.patches import Samples, ShownPatch, patch_of_upload
from reben.app.demo.pictures import draw_views
from reben.app.demo.results import write_results
from reben.app.demo.scenes import QUICKLOOK, SceneScores, parse_scene
from reben.app.demo.uploads import read_uploaded, take_upload
from reben.errors import RebenError, UploadError
from reben.publish.stated import StatedFacts
from reben.spec.patches import Bounds

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

_LOG = logging.getLogger(__name__)
_RESULT_BYTES = 4096
NO_SAMPLES = (
    "There is no sample to choose from. Fetch 24 real patches with: reben sample "
    "~/.cache/reben/sample, or start the page with --data STORE."
)
Paths = Sequence[str] | None


class PatchTab(NamedTuple):
    """The tab of patches: the HTML of its parts, and what they show."""

    message: str = ""
    views: str = ""
    facts: str = ""
    scores: str = ""
    moves: str = ""
    bands: str = ""
    are_bands_right: bool = True
    patch: ShownPatch | None = None
    result: PatchResult | None = None


class SceneTab(NamedTuple):
    """The HTML of the parts of the tab of scenes."""

    message: str = ""
    class_map: str = ""
    legend: str = ""
    quicklook: str = ""
    scores: str = ""
    facts: str = ""


@dataclass(frozen=True, eq=False)
class PageState:
    """A model, and what the page can show of it.

    What is shown follows from what the boxes of the page hold, and from nothing else, so that no
    order of events leads to another patch than the one that a box names. ``visit`` is an id of the
    visit; what was read for it is kept in ``memory``.
    """

    model: "Classifier"
    model_name: str
    root: Path
    """The folder of uploads and results."""
    samples: Samples | None = None
    """Patches to choose from, if there are any."""
    scene: SceneScores | None = None
    """The scene to begin with, if there is one."""
    stated: StatedFacts | None = None
    """What its run or its card states of the model."""
    memory: Memory = field(default_factory=lambda: Memory(MOST_KEPT_BYTES))

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The groups of bands that the model uses, with their bands."""
        return groups_of(self.model.bands)

    def show(
        self,
        choice: str | None,
        paths: Paths = None,
        kept: Collection[str] | None = None,
        visit: str = "",
    ) -> PatchTab:
        """Show the patch in uploaded files, else the chosen one of the store.

        Args:
            choice: Its name in the store.
            paths: The uploaded files.
            kept: The groups of bands that are switched on; by default all.
            visit: The visit.
        """
        if not choice and not paths:
            hint = "" if self.samples else draw("alert", NO_SAMPLES, "hint")
            return PatchTab(hint)
        try:
            patch = self._patch(choice, paths, visit)
        except RebenError as error:
            _LOG.debug("refused", exc_info=error)
            return PatchTab(draw("alert", str(error)))
        rows = compare_bands(self.model.bands, patch.bands)
        shown = PatchTab(
            views=draw("views", draw_views(patch.bands, patch.title)),
            facts=_draw_facts(patch.facts, patch.place, f"{patch.title} lies"),
            bands=draw("bands", rows),
            are_bands_right=not any(row.problem for row in rows),
            patch=patch,
        )
        notes = "".join(draw("alert", note, "notice") for note in patch.notes)
        try:
            result = self._result(choice, paths, kept, visit)
        except RebenError as error:
            return shown._replace(message=draw("alert", str(error)) + notes)
        notes += "".join(draw("alert", text, "notice") for text in result.warnings)
        return shown._replace(
            result=result,
            message=notes,
            scores=draw("scores", result, patch.true_labels),
            moves=draw("moves", result),
        )

    def results(
        self,
        choice: str | None,
        paths: Paths = None,
        kept: Collection[str] | None = None,
        visit: str = "",
    ) -> tuple[str | None, str | None, str | None]:
        """Write what `show` shows as JSON, CSV and PNG; return the paths, if it has scores."""
        if not choice and not paths:
            return None, None, None
        try:
            patch = self._patch(choice, paths, visit)
            result = self._result(choice, paths, kept, visit)
        except RebenError:
            return None, None, None
        config = self.model.config
        about = {
            "name": self.model_name,
            "backbone": config.backbone,
            "bands": str(config.bands),
            "temperature": f"{config.temperature:g}",
        }
        return write_results(self.root, patch, result, about)

    def _patch(self, choice: str | None, paths: Paths, visit: str) -> ShownPatch:
        def load() -> ShownPatch:
            if paths:
                return patch_of_upload(take_upload(self._uploaded(paths, visit), self.root))
            if self.samples is None or choice is None:
                raise UploadError("There is no patch to choose from. Upload one.")
            return self.samples.patch(choice)

        return self.memory.get(
            visit,
            tuple(paths) if paths else choice,
            load,
            lambda patch: sum(pixels.nbytes for pixels in patch.bands.values()),
        )

    def _result(
        self, choice: str | None, paths: Paths, kept: Collection[str] | None, visit: str
    ) -> PatchResult:
        patch = self._patch(choice, paths, visit)
        off = tuple(group for group in self.groups if kept is not None and group not in kept)
        return self.memory.get(
            visit,
            (tuple(paths) if paths else choice, off),
            lambda: score_patch(self.model, patch.bands, off),
            lambda _: _RESULT_BYTES,
        )

    def _uploaded(self, paths: Sequence[str], visit: str) -> list[Path]:
        """Return uploaded files, which are removed when the visit ends."""
        files = [Path(path) for path in paths]
        self.memory.note_uploads(
            visit, (file for file in files if self.root in file.resolve().parent.parents)
        )
        return files

    def show_scene(self, paths: Paths = None, visit: str = "") -> SceneTab:
        """Show the scene in uploaded files, else the one to begin with, and its middle cell.

        Args:
            paths: ``scores.tif``, and ``map.png`` if there is one.
            visit: The visit.
        """
        try:
            scene = self._scene(paths, visit)
        except RebenError as error:
            return SceneTab(draw("alert", str(error)))
        if scene is None:
            return SceneTab()
        parts = {part: draw(part, scene) for part in ("legend", "quicklook")}
        scores, facts = self._draw_cell(scene, *scene.middle)
        class_map = draw("class_map", scene, token_of(paths))
        return SceneTab(scores=scores, facts=facts, class_map=class_map, **parts)

    def cell(
        self, paths: Paths, visit: str, token: object, column: object, row: object
    ) -> tuple[str, str] | None:
        """Return the scores of a cell and what is known about it, as HTML.

        None if the cell is not one of the scene that is shown now, which `token_of` tells.
        """
        if token != token_of(paths) or type(column) is not int or type(row) is not int:
            return None
        try:
            scene = self._scene(paths, visit)
        except RebenError:
            return None
        return None if scene is None else self._draw_cell(scene, column, row)

    def _scene(self, paths: Paths, visit: str) -> SceneScores | None:
        if not paths:
            return self.scene
        return self.memory.get(
            visit,
            ("scene", *paths),
            lambda: self._read_scene(self._uploaded(paths, visit)),
            lambda scene: scene.scores_KYX.nbytes + len(scene.quicklook or b""),
        )

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
        content = read_uploaded(rasters[0], self.root, MOST_SCENE_BYTES)
        beside = [read_uploaded(path, self.root, MOST_QUICKLOOK_BYTES) for path in pictures]
        return parse_scene(content, rasters[0].name, *beside)

    def _draw_cell(self, scene: SceneScores, column: int, row: int) -> tuple[str, str]:
        result = scene.result(column, row)
        place = scene.cell_place(column, row)
        facts = _draw_facts(scene.cell_facts(column, row), place, "The cell lies")
        if result is None:
            said = "This cell has no scores: no data, cloud or shadow."
            return draw("alert", said, "hint"), facts
        return draw("scores", result), facts


def token_of(paths: Paths) -> str:
    """Return a text that tells the scenes of one page from each other."""
    return hashlib.sha256("\n".join(paths or ()).encode()).hexdigest()[:16]


def _draw_facts(rows: Sequence[tuple[str, str]], place: Bounds | None, where: str) -> str:
    return draw("facts", rows, "" if place is None else Markup(draw_locator(place, where)))  # noqa: S704 - it escapes
