"""The files of a run folder by name, and what a folder must hold to begin a run or to resume it.

It imports nothing heavy, so that a folder that will not do is refused at once.
"""

import os
from pathlib import Path

from reben.errors import OutputError, RunError
from reben.model.folder import SUMMARY_FILE
from reben.support.atomic import require_free

CONFIG_FILE = "config.toml"
"""The settings; what makes a folder a run that can be resumed."""
ENVIRONMENT_FILE = "environment.json"
METRICS_FILE = "metrics.csv"
STATISTICS_FILE = "statistics.json"
"""The band statistics of a run that does not take the published ones."""
LOG_FILE = "train.log"
CHECKPOINT_FOLDER = "checkpoints"

_BEFORE_CONFIG = (LOG_FILE, ENVIRONMENT_FILE, METRICS_FILE, SUMMARY_FILE, STATISTICS_FILE)
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def is_first_in_environment() -> bool:
    """Return whether this is the first of several processes, by what their launcher says."""
    told = next((os.environ[name] for name in _RANKS if name in os.environ), "0")
    return told == "0"


def require_new(out: Path) -> None:
    """Raise an OutputError unless a run may begin in a folder."""
    if (out / CONFIG_FILE).is_file():
        raise OutputError(
            f"{out} holds a run already, which is never overwritten. Choose another folder, or "
            f"resume it: reben train --resume {out}"
        )
    names = {entry.name for entry in out.glob("*")}
    # The settings are written last, so a training that was killed before they were left only these.
    if LOG_FILE not in names or not all(
        name.startswith(tuple(f".{one}." for one in (*_BEFORE_CONFIG, CONFIG_FILE)))
        for name in names.difference(_BEFORE_CONFIG)
    ):
        require_free(out)


def require_run(folder: Path) -> None:
    """Raise a RunError unless a folder holds a run to resume."""
    if not (folder / CONFIG_FILE).is_file():
        raise RunError(
            f"{folder} is no run to resume, since it holds no {CONFIG_FILE}. Name the folder that "
            "reben train wrote, or train without resuming."
        )
