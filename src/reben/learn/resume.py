"""A run that was stopped, opened to be resumed."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from reben.errors import RunError
from reben.learn.run import Run, read_run_config, read_run_summary
from reben.learn.run_files import require_run
from reben.learn.training.checkpoints import newest_checkpoint
from reben.model.folder import SUMMARY_FILE
from reben.support.plain_json import to_plain

logger = logging.getLogger(__name__)


def open_unfinished(path: str | Path) -> Run:
    """Return a run to resume, which may still lack a summary and a model."""
    folder = Path(path)
    require_run(folder)
    return Run(folder, read_run_config(folder), _summary_to_resume(folder))


def _summary_to_resume(folder: Path) -> Mapping[str, Any]:
    """Return the summary; if it is damaged or missing, that of the checkpoint, if there is one."""
    damage: RunError | None = None
    if (folder / SUMMARY_FILE).is_file():
        try:
            return read_run_summary(folder)
        except RunError as error:
            damage = error
    checkpoint = newest_checkpoint(folder)
    if checkpoint is not None:
        logger.warning(
            "%s The checkpoint has it too.", damage or f"{folder} has no {SUMMARY_FILE}."
        )
        return cast("Mapping[str, Any]", to_plain(checkpoint.state["summary"]))
    if damage is not None:
        raise damage
    return {}
