"""Models on the command line: the run that a word names."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reben.learn.run import Run


def open_run(model: str) -> "Run | None":
    """Return the run that ``model`` is the folder of, or None if it is none."""
    from reben.learn.run import Run
    from reben.model.folder import run_folder

    return None if run_folder(model) is None else Run.open(model)
