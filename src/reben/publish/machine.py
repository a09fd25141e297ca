"""What a run was done with, as lines for its card: devices, software, system."""

import json
from typing import Any

from reben.errors import RunError
from reben.learn.config import TrainConfig
from reben.learn.run import ENVIRONMENT_FILE, Run
from reben.publish.lines import Line
from reben.publish.markdown import Markdown, code


def environment(run: Run) -> list[Line]:
    """Return the software that a run was done with.

    Raises:
        RunError: If the record of the run is not complete.
    """
    found = read_environment(run)
    try:
        versions = {name: version for name, version in found["packages"].items() if version}
        lines = [Line("Python", found["python"]), *(Line(*each) for each in versions.items())]
        git = found.get("git")
        if git is not None:
            changed = " and uncommitted changes" if git["changed"] else ""
            lines.append(Line("Commit of reben", Markdown(f"{code(git['commit'])}{changed}")))
        return [*lines, Line("System", found["system"])]
    except KeyError as error:
        raise incomplete(run, error) from None


def read_environment(run: Run) -> Any:  # noqa: ANN401 - JSON
    """Return the environment that a run recorded.

    Raises:
        RunError: If there is no record.
    """
    path = run.path / ENVIRONMENT_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}. The run is not complete.") from None


def incomplete(run: Run, error: KeyError) -> RunError:
    """Return the error that says what the record of a run lacks."""
    return RunError(
        f"The record of the run {run.path} has no {error}, so its card cannot be written. "
        "Train again with this version of reben."
    )


def describe_devices(config: TrainConfig, found: Any) -> str:  # noqa: ANN401 - JSON
    """Return in words how many devices of which kind a run was done on.

    Args:
        config: The settings of the run.
        found: Its environment, as `read_environment` gives it.
    """
    device = found["device"]
    kind = " ".join(filter(None, (device["type"], device["name"])))
    machines = f" on each of {config.num_nodes} machines" if config.num_nodes > 1 else ""
    parts = f", batches in {config.accumulate} parts" if config.accumulate > 1 else ""
    return f"{config.devices} x {kind}{machines}{parts}"
