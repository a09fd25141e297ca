"""How a model was trained, as tables for its card: from the run's record, never from defaults."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reben.errors import RunError
from reben.learn.config import SETTINGS, TrainConfig
from reben.learn.run import ENVIRONMENT_FILE, Run
from reben.learn.training.losses import ASYMMETRIC_GAMMAS, ASYMMETRIC_SHIFT, FOCAL_GAMMA
from reben.learn.training.optimiser import LOWEST_PART
from reben.model.config import ModelConfig
from reben.model.hub import is_hub_id
from reben.publish.markdown import thousands
from reben.support.json_files import read_json


@dataclass(frozen=True)
class TableRow:
    """One row of a table of two columns; some values are set as code."""

    name: str
    value: str
    is_code: bool = False


@dataclass(frozen=True)
class ChangedSetting:
    """One setting that differs from the paper."""

    name: str
    paper: str
    own: str


@dataclass(frozen=True)
class _Device:
    type: str
    name: str | None = None


@dataclass(frozen=True)
class _Commit:
    commit: str
    changed: bool


@dataclass(frozen=True)
class _Environment:
    """What a card tells of the `environment.json` of a run."""

    python: str
    system: str
    packages: Mapping[str, str | None]
    device: _Device
    git: _Commit | None = None


def training_values(run: Run) -> dict[str, Any]:
    """Return the template values about a recorded training; they contain no paths."""
    config, cure = run.config, "The run is incomplete; train again."
    found = read_json(run.path / ENVIRONMENT_FILE, _Environment, RunError, cure)
    private = {"store": None, "label_table": None, "metadata": None}
    try:
        return {
            "run": {**run.summary, "data": {**run.summary["data"], **private}},
            "config": {**asdict(config), "init": config.init and _first_weights(config)},
            "base_model": base_model(config),
            "recipe": list(_recipe(run, found.device)),
            "unknown": "",
            "differences": list(_differences(config)),
            "environment": list(_environment_rows(found)),
        }
    except KeyError as error:
        raise RunError(
            f"The record of the run {run.path} lacks {error}, which its card needs. Train again "
            "with this version of reben."
        ) from None


def unrecorded_values(config: ModelConfig, stated: Mapping[str, str]) -> dict[str, Any]:
    """Return the template values about a training without a record.

    Args:
        config: The config of the model.
        stated: What others state about the training, name -> value.
    """
    return {
        "run": None,
        "config": None,
        "base_model": None,
        "recipe": [
            *(
                TableRow(SETTINGS[name].card, f"{getattr(config, name):g} (from its config)")
                for name in ("drop_rate", "drop_path_rate")
            ),
            *(TableRow(name, str(value)) for name, value in stated.items()),
        ],
        "unknown": _unknown(stated),
        "differences": [],
        "environment": [],
    }


def base_model(config: TrainConfig) -> str | None:
    """Return the Hub id of the model whose weights a training started from, if it has one.

    A folder on this machine does not count, even if its path looks like an id.
    """
    if config.init is None or Path(config.init).exists() or not is_hub_id(config.init):
        return None
    return config.init


def format_seconds(seconds: float) -> str:
    """Return a duration in units that suit it.

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


def _environment_rows(found: _Environment) -> Iterator[TableRow]:
    """Yield the software that a run used."""
    yield TableRow("Python", found.python)
    yield from (TableRow(name, version) for name, version in found.packages.items() if version)
    if found.git is not None:
        yield TableRow("Commit of reben", found.git.commit, is_code=True)
        if found.git.changed:
            yield TableRow("Uncommitted changes", "yes")
    yield TableRow("System", found.system)


def _recipe(run: Run, device: _Device) -> Iterator[TableRow]:
    """Yield what was set and what came of it."""
    config, summary = run.config, run.summary
    filters = "; ".join(f"{name}: {value}" for name, value in summary["filters"].items())
    yield TableRow("Training patches", thousands(summary["num_train"]))
    yield TableRow("Validation patches", thousands(summary["num_validation"]))
    yield TableRow("Filters", filters or "none")
    yield TableRow("Fingerprint of names and labels", summary["data"]["fingerprint"], is_code=True)
    yield TableRow("Initial weights", _start(config, has_new_head=summary.get("new_head", False)))
    yield TableRow("Loss", _loss(config))
    yield TableRow("Optimiser", f"AdamW, weight decay {config.weight_decay:g} on all weights")
    yield TableRow("Learning rate", _schedule(config, summary["warmup_steps"]))
    yield TableRow("Batch size", thousands(config.batch_size))
    steps, total = (thousands(summary[name]) for name in ("steps", "total_steps"))
    yield TableRow("Steps", f"{steps} of the {total} in the schedule")
    yield TableRow("Augmentation", _augmentation(config))
    for name in ("drop_rate", "drop_path_rate"):
        taken = name not in summary["not_applied"]
        rate = f"{getattr(config, name):g}" if taken else "none: the backbone does not support it"
        yield TableRow(SETTINGS[name].card, rate)
    yield from _option_rows(config)
    yield TableRow("Seed", str(config.seed))
    # Runs of reben 0.1 have no such entry; their setting was never auto.
    yield TableRow("Precision", summary.get("precision", config.precision), is_code=True)
    yield TableRow("Devices", _devices(config, device))
    yield TableRow("Training time", format_seconds(summary["seconds"]))


def _differences(config: TrainConfig) -> Iterator[ChangedSetting]:
    for name, paper, own in config.differences_from_paper():
        shown = _first_weights(config) if name == "init" else _shown(own)
        yield ChangedSetting(SETTINGS[name].card, _shown(paper), shown)


def _unknown(stated: Mapping[str, str]) -> str:
    """Return in words what is unknown about a training without a record."""
    if stated:
        names = ", ".join(stated)
        known = f"{names}: as stated by others; reben could not verify it. Nothing else is known."
    else:
        known = (
            "Nothing else is known: neither epochs, batch size, learning rate, schedule, "
            "optimiser, loss, augmentation and seed, nor hardware, software and training patches."
        )
    return f"{known} How it differs from the recipe of the BigEarthNet v2.0 paper is unknown."


def _devices(config: TrainConfig, device: _Device) -> str:
    kind = " ".join(filter(None, (device.type, device.name)))
    machines = f" on each of {config.num_nodes} machines" if config.num_nodes > 1 else ""
    parts = f", batches in {config.accumulate} parts" if config.accumulate > 1 else ""
    return f"{config.devices} x {kind}{machines}{parts}"


def _schedule(config: TrainConfig, warmup_steps: int) -> str:
    lowest = f"{LOWEST_PART:.0%} of the peak"
    warmup = f"linear warm-up over {thousands(warmup_steps)} steps from {lowest}"
    start = warmup if warmup_steps else "no warm-up"
    return f"peak {config.learning_rate:g}; {start}; cosine decay to {lowest}"


def _start(config: TrainConfig, *, has_new_head: bool) -> str:
    if config.init is not None:
        head = "; the classification head is new, since the labels differ"
        return f"those of {_first_weights(config)}{head if has_new_head else ''}"
    return "timm's pretrained weights" if config.pretrained else "random"


def _first_weights(config: TrainConfig) -> str:
    known = base_model(config)
    # The path of a folder tells readers nothing, and may tell too much about a machine.
    return known or f"{Path(config.init or '').name}, which is not on the Hub"


def _loss(config: TrainConfig) -> str:
    present, absent = ASYMMETRIC_GAMMAS
    kinds = {
        "bce": "binary cross-entropy of logits",
        "focal": f"focal loss of logits (gamma {FOCAL_GAMMA:g})",
        "asymmetric": (
            f"asymmetric loss of logits (gamma {absent:g} and {present:g}, shift "
            f"{ASYMMETRIC_SHIFT:g})"
        ),
    }
    parts = [kinds[config.loss], "mean over the labels"]
    if config.class_weights:
        parts.append("presence weighted by the rarity of a label")
    if config.label_smoothing:
        parts.append(f"label smoothing {config.label_smoothing:g}")
    return ", ".join(parts)


def _augmentation(config: TrainConfig) -> str:
    done = []
    if config.flips:
        done.append("horizontal and vertical flips, each with probability 0.5")
    if config.turns:
        done.append("rotations by 0, 90, 180 or 270 degrees")
    if config.band_dropout:
        done.append(f"bands set to their mean with probability {config.band_dropout:g}")
    return "; ".join(done) or "none"


def _option_rows(config: TrainConfig) -> Iterator[TableRow]:
    """Yield what is off by default."""
    if config.freeze_backbone:
        yield TableRow("Trained weights", "classification head only")
    if config.ema_decay is not None:
        text = f"exponential moving average of the weights, decay {config.ema_decay:g}"
        yield TableRow("Published weights", text)
    if config.layer_decay != 1:
        yield TableRow(SETTINGS["layer_decay"].card, f"{config.layer_decay:g}")
    if config.gradient_clip is not None:
        yield TableRow(SETTINGS["gradient_clip"].card, f"{config.gradient_clip:g}")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return thousands(value)
    if isinstance(value, tuple):
        return f"{len(value)} own labels" if value else "the 19"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
