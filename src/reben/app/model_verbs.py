"""Models by name, for all verbs that use one; and the verb that makes a card of one: card."""

from pathlib import Path
from typing import TYPE_CHECKING

from reben.app.data_verbs import AsJson
from reben.app.terminal import print_json, print_text, talk

if TYPE_CHECKING:
    from reben.learn.run import Run
    from reben.model.classifier import Classifier


def card(
    run: Path,
    /,
    *,
    out: Path,
    report: Path | None = None,
    data: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Write a folder that is ready for the Hub: weights, config, model card, example picture.

    Args:
        run: Folder of the run.
        out: Folder to write; one that an earlier call wrote is replaced, any other is refused.
        report: The report to tell of, or its folder. Default: report-test in the run.
        data: Store to take the example from. Default: the one that the run was trained on.
        as_json: Write the result as JSON.
    """
    from reben.data.loader import open_dataset
    from reben.learn.report import Report
    from reben.learn.run import Run
    from reben.publish.card import write_card

    opened = Run.open(run)
    told = opened.report() if report is None else Report.load(report)
    dataset = None if data is None else open_dataset(data)
    place = write_card(opened, told, out, dataset=dataset)
    talk(f"The card is {place / 'README.md'}; the folder loads with Classifier.from_pretrained.")
    if as_json:
        print_json({"folder": str(place)})
    else:
        print_text(str(place))


def open_run(model: str) -> "Run | None":
    """Return the run that ``model`` is the folder of, or None if it is none."""
    from reben.learn.run import Run, run_folder

    return None if run_folder(model) is None else Run.open(model)


def load_model(model: str, bands: str | None = None) -> "Classifier":
    """Return the best model of a run, or the model of a folder or a name on the Hub."""
    from reben.model.classifier import Classifier

    run = open_run(model)
    return Classifier.from_pretrained(model if run is None else run.best, bands=bands)
