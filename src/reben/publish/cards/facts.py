"""Everything that a card is made of, before any of it is put into words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from reben.errors import OutputError, RunError
from reben.learn.report import Report
from reben.learn.run import Run
from reben.model.classifier import Classifier
from reben.model.folder import run_folder
from reben.model.open import name_of, open_model
from reben.publish.branding import Branding
from reben.publish.cards.example import Example
from reben.spec.bands import BandSet


@dataclass(frozen=True, eq=False)
class CardSubject:
    """The model that a card is about, and what is known of where it is from.

    Args:
        model: The model.
        name: What messages call it.
        run: The run that made it; None for a model without one, of whose training next to nothing
            is known.
        folder: The folder that it was read from, if it was.
    """

    model: Classifier
    name: str
    run: Run | None = None
    folder: Path | None = None

    @classmethod
    def read(
        cls, source: "Run | Classifier | Path | str", bands: BandSet | str | None = None
    ) -> Self:
        """Return the subject that a run, a model, or the folder of either is.

        Args:
            source: A run or its folder (the best model of it is meant), a model folder, the id of
                a model on the Hub, or a model.
            bands: Bands in the order of the channels, for older folders that do not tell.

        Raises:
            RunError: If a run holds no model.
            ModelError: If the model cannot be loaded.
        """
        if isinstance(source, Classifier):
            return cls(open_model(source, bands=bands), name_of(source))
        model = open_model(source, "cpu", bands=bands)  # where every reader can compute the same
        if not isinstance(source, Run) and run_folder(source) is not None:
            source = Run.open(source)
        if isinstance(source, Run):
            return cls(model, str(source.path), source, source.path)
        folder = Path(source) if Path(source).is_dir() else None
        return cls(model, str(source), folder=folder)

    def require_report(self, report: Report) -> None:
        """Check that a report is about a model like this one.

        Raises:
            RunError: If its backbone, bands, labels or calibration are others.
        """
        config = self.model.config
        for what, ours, theirs in (
            ("backbone", config.backbone, report.backbone),
            ("bands", ", ".join(self.model.bands), ", ".join(report.bands)),
            ("labels", "; ".join(self.model.labels), "; ".join(report.labels)),
        ):
            if ours != theirs:
                raise RunError(
                    f"The report is about a model with {what} {theirs}; {self.name} has {ours}. "
                    f"Write its own with: reben evaluate {self.name} --data STORE"
                )
        tuned = report.calibrated
        if tuned is not None and (
            tuned.calibration.temperature != config.temperature
            or tuned.calibration.thresholds != config.thresholds
        ):
            raise RunError(
                f"The report was made when the model had other thresholds or another temperature "
                f"than {self.name} has now. Measure it again: reben evaluate {self.name} --data "
                "STORE"
            )

    def require_elsewhere(self, out: Path) -> None:
        """Check that a card does not replace what it is made of.

        Raises:
            OutputError: If ``out`` is the folder of the model.
        """
        if self.folder is not None and self.folder.resolve() == out.resolve():
            raise OutputError(
                f"{out} holds the model itself, whose card would replace it. Choose another folder."
            )


@dataclass(frozen=True, kw_only=True)
class CardData:
    """What stands on a card.

    Args:
        subject: The model, with its run if that is at hand.
        report: What it reached.
        example: The patch that the card shows.
        name: The model's name.
        licence: Licence of the weights, as the Hub names it.
        seed: What the example was chosen by.
        made_up: Whether the patches of training or test are no measurements.
        hub_id: The model's id on the Hub, if it is to have one.
        origin: Where the weights were published first, if this is a card for weights of others.
        stated: What others say of a training without a run, name -> value.
        branding: Names, links and pictures.
        figures: Names of the pictures of results that lie in the folder.
    """

    subject: CardSubject
    report: Report
    example: Example
    name: str
    licence: str
    seed: int = 0
    made_up: bool = False
    hub_id: str | None = None
    origin: str | None = None
    stated: Mapping[str, str] = field(default_factory=dict)
    branding: Branding = field(default_factory=Branding)
    figures: tuple[str, ...] = ()

    @property
    def num_train(self) -> int | None:
        """How many patches the model was trained on; None if nobody recorded it."""
        run = self.subject.run
        return None if run is None else int(run.summary["num_train"])
