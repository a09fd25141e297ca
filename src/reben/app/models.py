"""Models by name, for all verbs that use one: a run, a folder, or a name on the Hub."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reben.learn.run import Run
    from reben.model.classifier import Classifier


def open_run(model: str) -> "Run | None":
    """Return the run that ``model`` is the folder of, or None if it is none."""
    from reben.learn.run import Run, run_folder

    return None if run_folder(model) is None else Run.open(model)


def load_model(model: str, bands: str | None = None) -> "Classifier":
    """Return the best model of a run, or the model of a folder or a name on the Hub."""
    from reben.model.classifier import Classifier

    run = open_run(model)
    return Classifier.from_pretrained(model if run is None else run.best, bands=bands)
