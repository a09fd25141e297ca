"""How a model was trained, as tables for its card: from the run's record, never from defaults."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reben.data.identity import OFFICIAL_SPLITS, DataIdentity
from reben.errors import RunError
from reben.learn.config import SETTINGS, TrainConfig
from reben.learn.run import Run
from reben.learn.run_files import ENVIRONMENT_FILE
from reben.learn.summary import InitialWeights
from reben.model.config import ModelConfig
from reben.publish.cards.data_words import CardPatches
from reben.publish.cards.origin import first_weights
from reben.publish.markdown import number, patches, plural, thousands
from reben.support.json_files import read_json

_RATES = ("drop_rate", "drop_path_rate")
_FINGERPRINT = "Fingerprint of names and labels"
_AVERAGED = "Patches that a batch norm averages over"


@dataclass(frozen=True)
class TableRow:
    """One row of a table of two columns; some values are set as code."""

    name: str
    value: str
    is_code: bool = False


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


def training_values(run: Run, found: CardPatches) -> dict[str, Any]:
    """Return the template values about a recorded training; they contain no paths."""
    config, cure = run.config, "The run is incomplete; train again."
    environment = read_json(run.path / ENVIRONMENT_FILE, _Environment, RunError, cure)
    private = {"store": None, "label_table": None, "metadata": None}
    weights = first_weights(run)
    try:
        return {
            "run": {**run.summary, "data": {**run.summary["data"], **private}},
            "config": {**asdict(config), "init": config.init and _name_of(weights)},
            "base_model": weights.get("hub_id"),
            "course": list(_course(run)),
            "recipe": _recipe(run, environment.device),
            "unknown": "",
            "differences": [
                dict(zip(("name", "paper", "own"), row, strict=True))
                for row in _differences(run, found)
            ],
            "environment": list(_environment_rows(environment)),
        }
    except KeyError as error:
        raise RunError(
            f"The record of the run {run.path} lacks {error}, which its card needs. Train again "
            "with this version of reben."
        ) from None


def unrecorded_values(config: ModelConfig, stated: Mapping[str, str]) -> dict[str, Any]:
    """Return the template values about a training of which others have only ``stated`` facts."""
    if stated:
        names = ", ".join(stated)
        known = f"{names}: as stated by others; reben could not verify it. Nothing else is known."
    else:
        known = (
            "Nothing else is known: neither epochs, batch size, learning rate, schedule, "
            "optimiser, loss, augmentation and seed, nor hardware, software and training patches."
        )
    rates = {SETTINGS[name].card: f"{getattr(config, name):g} (from its config)" for name in _RATES}
    return {
        "run": None,
        "config": None,
        "base_model": None,
        "course": [],
        "recipe": [TableRow(name, str(value)) for name, value in (*rates.items(), *stated.items())],
        "unknown": f"{known} How it differs from the recipe of the BigEarthNet v2.0 paper is "
        "unknown.",
        "differences": [],
        "environment": [],
    }


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


def _course(run: Run) -> Iterator[str]:
    """Yield how the training went and which epoch's weights these are."""
    config, summary = run.config, run.summary
    done, status = summary["epochs_run"], summary["status"]
    after = f"after {done} of at most {config.epochs} epochs"
    on = (
        f"without a better macro average precision on {patches(summary['num_validation'])} of the "
        "validation split"
    )
    if status == "finished" and summary["stopped_early"]:
        yield f"Training stopped early {after}, the last {config.patience} {on}."
    else:
        each = f"all {done} epochs" if done > 1 else f"its {done} {plural(done, 'epoch')}"
        yield {
            "finished": f"Training ran for {each}.",
            "running": f"Training had not ended, or was killed, {after}.",
        }.get(status, f"Training ended prematurely (status: {status}), {after}.")
        yield f"It would have stopped early after {config.patience} epochs {on}."
    if summary.get("in_effect_before"):
        yield "It was resumed on another machine or with other software; the table has the last."
    score = summary["best_validation_macro_average_precision"]
    yield (
        f"These are the weights of epoch {summary['best_epoch']}, the best by that figure: "
        f"{number(score)}."
    )


def _recipe(run: Run, device: _Device) -> list[TableRow]:
    """Return what was in effect, and what came of it; of older runs, what was set."""
    config, summary = run.config, run.summary
    used: Mapping[str, Any] = summary.get("in_effect", {})
    filters = "; ".join(f"{name}: {value}" for name, value in summary["filters"].items())
    only = " that were trained" if config.freeze_backbone else ""
    over = used.get("batch_norm_patches")
    steps, total = (thousands(summary[name]) for name in ("steps", "total_steps"))
    rows = {
        "Training patches": thousands(summary["num_train"]),
        "Validation patches": thousands(summary["num_validation"]),
        "Filters": filters or "none",
        _FINGERPRINT: summary["data"]["fingerprint"],
        "Initial weights": _start(first_weights(run)),
        "Loss": _loss(config),
        "Optimiser": f"AdamW, weight decay {config.weight_decay:g} on all weights{only}",
        "Learning rate": _schedule(config, summary["warmup_steps"]),
        "Batch size": thousands(used.get("batch_size", config.batch_size)),
        _AVERAGED: None if over is None or over == used["batch_size"] else thousands(over),
        "Steps": f"{steps} of the {total} in the schedule",
        "Augmentation": _augmentation(config),
        **{SETTINGS[name].card: _rate(run, name) for name in _RATES},
        **_options(config),
        "Seed": str(config.seed),
        "Precision": _precision(run),
        "Devices": _devices(config, device),
        "Training time": format_seconds(summary["seconds"]),
    }
    known = ((name, text) for name, text in rows.items() if text is not None)
    return [TableRow(name, text, name == _FINGERPRINT) for name, text in known]


def _rate(run: Run, name: str) -> str:
    """Return a rate of dropout that was in effect, and why there was none."""
    asked = getattr(run.config, name)
    unsupported = name in run.summary["not_applied"]
    used = run.summary.get("in_effect", {}).get(name, 0.0 if unsupported else asked)
    if used or not asked:
        return f"{used:g}"
    if unsupported:
        return "none: the backbone does not support it"
    return "none: the backbone is frozen" if run.config.freeze_backbone else "none"


def _precision(run: Run) -> str:
    used = run.summary.get("in_effect", {})
    # Runs of reben 0.1 have no such entry; their setting was never auto.
    found = used.get("precision", run.summary.get("precision", run.config.precision))
    asked = run.config.precision
    other = f" ({asked} was asked for)" if asked not in ("auto", found) else ""
    products = used.get("matmul_precision")
    return f"{found}{other}{f', products of float32 matrices: {products}' if products else ''}"


def _differences(run: Run, found: CardPatches) -> Iterator[tuple[str, str, str]]:
    """Yield what can change the result and differs from the paper: name, theirs, in effect."""
    used: Mapping[str, Any] = run.summary.get("in_effect", {})
    paper = DataIdentity("official", ("train",)).describe(OFFICIAL_SPLITS["train"][0], "train")
    trained = None if found.trained is None else found.trained.of_split("train")
    ours = "unknown" if trained is None else trained.describe(run.summary["num_train"], "train")
    if ours != paper:
        yield "Training data", paper, ours
    listed = set()
    for name, theirs, own in run.differences_from_paper():
        listed.add(name)
        yield SETTINGS[name].card, _shown(theirs), _in_effect(run, name, own)
    batch, over = used.get("batch_size"), used.get("batch_norm_patches")
    unlisted = {name: rate for name in _RATES if (rate := _rate(run, name)).startswith("none")}
    if batch not in (None, run.config.batch_size):
        unlisted["batch_size"] = f"{batch:,} in effect"
    for name, own in unlisted.items():
        if name not in listed:
            yield SETTINGS[name].card, _shown(getattr(TrainConfig(), name)), own
    if over not in (None, batch):
        yield _AVERAGED, "a whole batch", f"{over:,} of {batch:,}"


def _in_effect(run: Run, name: str, own: object) -> str:
    """Return what a setting came to; files and folders may be called anything."""
    if name == "init":
        return _name_of(first_weights(run))
    if name == "statistics":
        return str(run.summary.get("statistics_source", "unknown"))
    return _rate(run, name) if name in _RATES else _shown(own)


def _devices(config: TrainConfig, device: _Device) -> str:
    kind = " ".join(filter(None, (device.type, device.name)))
    machines = f" on each of {config.num_nodes} machines" if config.num_nodes > 1 else ""
    parts = f", batches in {config.accumulate} parts" if config.accumulate > 1 else ""
    return f"{config.devices} x {kind}{machines}{parts}"


def _schedule(config: TrainConfig, warmup_steps: int) -> str:
    from reben.learn.training.optimiser import LOWEST_PART

    lowest = f"{LOWEST_PART:.0%} of the peak"
    steps = f"{thousands(warmup_steps)} {plural(warmup_steps, 'step')}"
    warmup = f"linear warm-up over {steps} from {lowest}"
    start = warmup if warmup_steps else "no warm-up"
    return f"peak {config.learning_rate:g}; {start}; cosine decay to {lowest}"


def _start(weights: InitialWeights) -> str:
    if weights["kind"] == "random":
        return "random"
    why = ", since the labels differ" if weights["kind"] == "model" else ""
    head = f"; the classification head is new{why}" if weights.get("new_head") else ""
    return f"{_name_of(weights)}{head}"


def _name_of(weights: InitialWeights) -> str:
    """Return what to call weights, with commit or fingerprint; no path of a machine."""
    revision = weights.get("revision")
    at = f" at commit {revision}" if revision else ""
    name = weights.get("name") or "unknown weights"
    if weights["kind"] == "pretrained":
        where = f" ({weights['hub_id']}{at})" if weights.get("hub_id") else ""
        return f"timm's pretrained weights {name}{where}"
    if weights.get("hub_id"):
        return f"those of {weights['hub_id']}{at}"
    digest = weights.get("sha256")
    told = f", SHA-256 {digest}" if digest else ""
    return f"those of {name}, a model in a folder of the author{told}"


def _loss(config: TrainConfig) -> str:
    from reben.learn.training.losses import ASYMMETRIC_GAMMAS, ASYMMETRIC_SHIFT, FOCAL_GAMMA

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
    ways = (
        (config.flips, "horizontal and vertical flips, each with probability 0.5"),
        (config.turns, "rotations by 0, 90, 180 or 270 degrees"),
        (config.band_dropout, f"bands set to their mean with probability {config.band_dropout:g}"),
    )
    return "; ".join(way for asked, way in ways if asked) or "none"


def _options(config: TrainConfig) -> dict[str, str | None]:
    """Return what is off by default; None where it is off."""
    mean, decay, clip = config.ema_decay, config.layer_decay, config.gradient_clip
    return {
        "Trained weights": "classification head only" if config.freeze_backbone else None,
        "Published weights": None
        if mean is None
        else f"exponential moving average of the weights, decay {mean:g}",
        SETTINGS["layer_decay"].card: None if decay == 1 else f"{decay:g}",
        SETTINGS["gradient_clip"].card: None if clip is None else f"{clip:g}",
    }


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
