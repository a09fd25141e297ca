"""How a model was trained, as lines for its card: from the run's record, never from defaults."""

import json
from typing import Any, NamedTuple

from reben.errors import RunError
from reben.learn.config import TrainConfig
from reben.learn.run import ENVIRONMENT_FILE, Run
from reben.publish.markdown import Markdown, code, thousands

SETTING_NAMES = {
    "backbone": "Backbone",
    "bands": "Bands",
    "epochs": "Epochs at most",
    "batch_size": "Batch size",
    "learning_rate": "Highest learning rate",
    "weight_decay": "Weight decay",
    "warmup_steps": "Warm-up steps",
    "patience": "Epochs without improvement before training stops",
    "drop_rate": "Dropout",
    "drop_path_rate": "Drop path",
    "seed": "Seed",
    "flips": "Flips",
    "upsampling": "Upsampling",
    "image_size": "Image size",
    "pretrained": "Pretrained weights",
    "accelerator": "Accelerator",
    "devices": "Devices",
    "precision": "Precision",
}
"""Every setting of a `TrainConfig`, with its name for people."""


class Line(NamedTuple):
    """One line of a table."""

    name: str
    value: object


class DifferenceLine(NamedTuple):
    """One setting that is not the paper's."""

    name: str
    paper: object
    own: object


def recipe(run: Run) -> list[Line]:
    """Return how a run was done: what was set, and what became of it.

    Raises:
        RunError: If the record of the run is not complete.
    """
    config, summary = run.config, run.summary
    try:
        return [
            *_data_lines(summary),
            Line("Start", "timm's pretrained weights" if config.pretrained else "random weights"),
            Line("Loss", "binary cross-entropy of logits, mean over the labels"),
            Line("Optimiser", f"AdamW, weight decay {config.weight_decay:g} on all weights"),
            Line("Learning rate", _schedule(config, summary["warmup_steps"])),
            Line("Batch size", thousands(config.batch_size)),
            Line("Steps", _steps(summary)),
            Line("Augmentation", _augmentation(config)),
            *_dropout_lines(config, summary["not_applied"]),
            Line("Seed", config.seed),
            Line("Precision", code(config.precision)),
            *_environment_lines(run),
            Line("Training time", format_seconds(summary["seconds"])),
        ]
    except KeyError as error:
        raise RunError(
            f"The record of the run {run.path} has no {error}, so its card cannot be written. "
            "Train again with this version of reben."
        ) from None


def differences(run: Run) -> list[DifferenceLine]:
    """Return the settings of a run that are not those of the paper."""
    return [
        DifferenceLine(SETTING_NAMES[name], _shown(paper), _shown(own))
        for name, paper, own in run.config.differences_from_paper()
    ]


def format_seconds(seconds: float) -> str:
    """Return a duration in the units that people use for it.

    Example:
        >>> format_seconds(8.25), format_seconds(340), format_seconds(86_400)
        ('8.2 s', '5 min 40 s', '24 h 0 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _data_lines(summary: Any) -> list[Line]:  # noqa: ANN401 - JSON
    filters = "; ".join(f"{name}: {value}" for name, value in summary["filters"].items())
    return [
        Line("Training patches", thousands(summary["num_train"])),
        Line("Validation patches", thousands(summary["num_validation"])),
        Line("Chosen by", filters or "no filter"),
        Line("Fingerprint of names and labels", code(summary["data"]["fingerprint"])),
    ]


def _schedule(config: TrainConfig, warmup_steps: int) -> str:
    rise = (
        f"a linear warm-up of {thousands(warmup_steps)} steps from a tenth of it, then"
        if warmup_steps
        else "no warm-up,"
    )
    return f"{config.learning_rate:g} at most; {rise} a cosine down to a tenth of it"


def _steps(summary: Any) -> str:  # noqa: ANN401 - JSON
    return (
        f"{thousands(summary['steps'])} run of the {thousands(summary['total_steps'])} that the "
        "schedule was made for"
    )


def _augmentation(config: TrainConfig) -> str:
    if not config.flips:
        return "none"
    return "flips left to right and top to bottom, each with probability one half"


def _dropout_lines(config: TrainConfig, not_applied: list[str]) -> list[Line]:
    return [
        Line(
            SETTING_NAMES[name],
            "none: the backbone takes none"
            if name in not_applied
            else f"{getattr(config, name):g}",
        )
        for name in ("drop_rate", "drop_path_rate")
    ]


def _environment_lines(run: Run) -> list[Line]:
    path = run.path / ENVIRONMENT_FILE
    try:
        environment = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}. The run is not complete.") from None
    device = environment["device"]
    packages = ("reben", "torch", "timm", "lightning")
    versions = [f"{name} {environment['packages'][name]}" for name in packages]
    return [
        Line("Device", " ".join(filter(None, (device["type"], device["name"])))),
        Line("Software", ", ".join((*versions, f"Python {environment['python']}"))),
    ]


def _shown(value: object) -> Markdown | str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return thousands(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
