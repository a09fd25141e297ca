"""What a card is made of: the model that it is about, and everything known about it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from reben.data.dataset import Dataset
from reben.data.identity import DataIdentity
from reben.errors import LabelsError, MetadataError, OutputError, RunError, StoreError
from reben.learn.report import Report
from reben.learn.run import Run
from reben.model.folder import run_folder
from reben.model.open import as_classifier, name_of, open_model
from reben.publish.cards.data_words import CardPatches
from reben.spec.bands import BandSet

if TYPE_CHECKING:
    from reben.model.classifier import Classifier


@dataclass(frozen=True, eq=False)
class CardSubject:
    """The model that a card is about."""

    model: "Classifier"
    name: str  # what messages call it
    run: Run | None = None  # the run that trained it; None if there is no record of the training
    folder: Path | None = None  # the folder that it was read from, if any

    @classmethod
    def read(
        cls, source: "Run | Classifier | Path | str", bands: BandSet | str | None = None
    ) -> Self:
        """Return the subject that ``source`` is or names, see `write_card`."""
        own = as_classifier(source)
        if own is not None:
            return cls(open_model(own, bands=bands), name_of(own))
        model = open_model(source, "cpu", bands=bands)  # where every reader can compute the same
        if isinstance(source, str | Path) and run_folder(source) is not None:
            source = Run.open(source)
        if isinstance(source, Run):
            return cls(model, str(source.path), source, source.path)
        folder = Path(str(source)) if Path(str(source)).is_dir() else None
        return cls(model, str(source), folder=folder)

    def require_report(self, report: Report) -> None:
        """Raise RunError if a report is about another model or another calibration of it."""
        config = self.model.config
        for what, ours, theirs in (
            ("backbone", config.backbone, report.backbone),
            ("bands", ", ".join(self.model.bands), ", ".join(report.bands)),
            ("labels", "; ".join(self.model.labels), "; ".join(report.labels)),
        ):
            if ours != theirs:
                raise RunError(
                    f"The report is about a model with {what} {theirs}; {self.name} has {ours}. "
                    f"Measure it with: reben evaluate {self.name} --data STORE"
                )
        tuned = report.calibrated
        if tuned is not None and (
            tuned.calibration.temperature != config.temperature
            or tuned.calibration.thresholds != config.thresholds
        ):
            raise RunError(
                "The report was made with other thresholds or another temperature than "
                f"{self.name} has now. Measure it again: reben evaluate {self.name} --data STORE"
            )

    def require_elsewhere(self, out: Path) -> None:
        """Raise OutputError if ``out`` is the folder of the model itself."""
        if self.folder is not None and self.folder.resolve() == out.resolve():
            raise OutputError(
                f"{out} holds the model itself, which its card would replace. Choose another "
                "folder."
            )


def patches_of(run: Run | None, measured: Dataset) -> CardPatches:
    """Return which patches a model was trained on, by its run, and measured on.

    Of a run of an earlier version, the data are looked at again if they are still there.
    """
    if run is None:
        return CardPatches(measured.identity)
    found = CardPatches.of_run(run, measured.identity)
    if found.trained is None or found.trained.kind == "unknown":
        return replace(found, trained=_look_again(run))
    return found


def _look_again(run: Run) -> DataIdentity:
    """Return the identity of the data of a run, which may have been described since."""
    try:
        found = run.dataset().identity
    except (StoreError, MetadataError, LabelsError):
        return DataIdentity("unknown")
    found.require_known(Path(run.summary["data"]["store"]))
    return replace(found, whole=())  # the run may have filtered them
