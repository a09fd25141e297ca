"""How a model was trained, as lines for its card: from the run's record, never from defaults.

What a run was done with, as lines for its card: devices, software, system.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reben.errors import RunError
from reben.learn.config import SETTINGS, TrainConfig
from reben.learn.run import ENVIRONMENT_FILE, Run
from reben.model.config import ModelConfig
from reben.model.hub import is_hub_id
from reben.publish.cards.results import DifferenceLine, Line
from reben.publish.markdown import Markdown, code, thousands


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


def recipe(run: Run) -> list[Line]:
    """Return how a run was done: what was set, and what became of it.

    Raises:
        RunError: If the record of the run is not complete.
    """
    config, summary = run.config, run.summary
    try:
        return [
            *_data_lines(summary),
            Line("Start", _start(config, has_new_head=summary.get("new_head", False))),
            Line("Loss", _loss(config)),
            Line("Optimiser", f"AdamW, weight decay {config.weight_decay:g} on all weights"),
            Line("Learning rate", _schedule(config, summary["warmup_steps"])),
            Line("Batch size", thousands(config.batch_size)),
            Line("Steps", _steps(summary)),
            Line("Augmentation", _augmentation(config)),
            *_dropout_lines(config, summary["not_applied"]),
            *_option_lines(config),
            Line("Seed", config.seed),
            # Runs of reben 0.1 have no such entry; their setting was never auto.
            Line("Precision", code(summary.get("precision", config.precision))),
            Line("Devices", describe_devices(config, read_environment(run))),
            Line("Training time", format_seconds(summary["seconds"])),
        ]
    except KeyError as error:
        raise incomplete(run, error) from None


def recipe_of_config(config: ModelConfig, stated: Mapping[str, str]) -> list[Line]:
    """Return what is known of the training of a model without a run.

    Args:
        config: The config of the model.
        stated: What others say of it, name -> value.
    """
    return [
        Line(SETTINGS["drop_rate"].card, f"{config.drop_rate:g}, as its config says"),
        Line(SETTINGS["drop_path_rate"].card, f"{config.drop_path_rate:g}, as its config says"),
        *(Line(name, value) for name, value in stated.items()),
    ]


def unknown(stated: Mapping[str, str]) -> str:
    """Return in words what is not known of the training of a model without a run."""
    if stated:
        names = ", ".join(stated)
        first = f"What stands there as {names} is what others state; reben could not verify it. "
        first += "Nothing else is known here."
    else:
        first = (
            "Nothing else is known here: neither epochs, batch size, learning rate, schedule, "
            "optimiser, loss, augmentation and seed, nor hardware, software, and the patches it "
            "was trained on."
        )
    return f"{first} So what differs from the recipe of the BigEarthNet v2.0 paper cannot be told."


def base_model(config: TrainConfig) -> str | None:
    """Return the id on the Hub of the model whose weights a training started from, if it has one.

    A folder here is none, even if its path looks like one.
    """
    if config.init is None or Path(config.init).exists() or not is_hub_id(config.init):
        return None
    return config.init


def differences(run: Run) -> list[DifferenceLine]:
    """Return the settings of a run that are not those of the paper."""
    return [
        DifferenceLine(
            SETTINGS[name].card,
            _shown(paper),
            _first_weights(run.config) if name == "init" else _shown(own),
        )
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


def _start(config: TrainConfig, *, has_new_head: bool) -> str:
    if config.init is not None:
        head = "; the classification head is new, since the labels are others"
        return f"the weights of {_first_weights(config)}{head if has_new_head else ''}"
    return "timm's pretrained weights" if config.pretrained else "random weights"


def _first_weights(config: TrainConfig) -> str:
    known = base_model(config)
    # The path of a folder says nothing to readers, and may say too much of a machine.
    return known or f"{Path(config.init or '').name}, which is not on the Hub"


def _loss(config: TrainConfig) -> str:
    kinds = {
        "bce": "binary cross-entropy of logits",
        "focal": "focal loss of logits (gamma 2)",
        "asymmetric": "asymmetric loss of logits (gamma 4 and 0, shift 0.05)",
    }
    parts = [kinds[config.loss], "mean over the labels"]
    if config.class_weights:
        parts.append("presence weighted by how rare a label is")
    if config.label_smoothing:
        parts.append(f"label smoothing {config.label_smoothing:g}")
    return ", ".join(parts)


def _augmentation(config: TrainConfig) -> str:
    done = []
    if config.flips:
        done.append("flips left to right and top to bottom, each with probability one half")
    if config.turns:
        done.append("turns by 0, 90, 180 or 270 degrees")
    if config.band_dropout:
        done.append(f"bands set to their mean with probability {config.band_dropout:g}")
    return "; ".join(done) or "none"


def _option_lines(config: TrainConfig) -> list[Line]:
    """Return what is off unless it was asked for."""
    lines = []
    if config.freeze_backbone:
        lines.append(Line("Trained weights", "those of the classification head alone"))
    if config.ema_decay is not None:
        text = f"exponential moving average of the weights, decay {config.ema_decay:g}"
        lines.append(Line("Published weights", text))
    if config.layer_decay != 1:
        lines.append(Line(SETTINGS["layer_decay"].card, f"{config.layer_decay:g}"))
    if config.gradient_clip is not None:
        lines.append(Line(SETTINGS["gradient_clip"].card, f"{config.gradient_clip:g}"))
    return lines


def _dropout_lines(config: TrainConfig, not_applied: list[str]) -> list[Line]:
    return [
        Line(
            SETTINGS[name].card,
            "none: the backbone takes none"
            if name in not_applied
            else f"{getattr(config, name):g}",
        )
        for name in ("drop_rate", "drop_path_rate")
    ]


def _shown(value: object) -> Markdown | str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return thousands(value)
    if isinstance(value, tuple):
        return f"{len(value)} own ones" if value else "the 19"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
