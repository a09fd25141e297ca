"""The verb `train`: settings from flags, --set and a file; resuming a run."""

import dataclasses
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from cyclopts import Parameter

from reben.app.flags import NO_DATA_FLAGS, AsJson, DataFlags
from reben.app.terminal import Bar, print_json, print_text, progress_bar, talk
from reben.errors import ConfigError, first_line
from reben.learn.config import SETTINGS, TrainConfig
from reben.spec.labels import LABELS
from reben.support.bounds import read_text
from reben.support.json_files import parse_json
from reben.support.toml_files import parse_toml, read_toml

if TYPE_CHECKING:
    from reben.learn.run import Run
    from reben.learn.training.record import ProgressObserver, TrainProgress

_LABELS_HELP = (
    "Your own labels: a file of the names that the metadata use (a JSON list, or one per line), or "
    "a table (.csv, .parquet) with the columns patch_id and labels."
)
_LABELS_CURE = "List label names, each once: as a JSON list, or one per line."
LoggerName = Literal["wandb", "mlflow", "trackio"]


def _make_flags() -> type:
    """Return a dataclass with a flag for each setting, which is None if it is not given."""
    hints = get_type_hints(TrainConfig)
    flags: list[Any] = []
    for setting in dataclasses.fields(TrainConfig):
        text = SETTINGS[setting.name].help
        if setting.default not in (None, ()) and "Default" not in text:
            text = f"{text} [default: {setting.default}]"
        hint: Any = hints[setting.name]
        if setting.name == "labels":
            hint, text = Path, _LABELS_HELP
        kind = Annotated[hint | None, Parameter(help=text, show_default=False)]
        flags.append((setting.name, kind, dataclasses.field(default=None)))
    return dataclasses.make_dataclass(
        "TrainFlags", flags, namespace={"__module__": __name__}, frozen=True, kw_only=True
    )


TrainFlags = _make_flags()
_NO_FLAGS = TrainFlags()


def train(  # noqa: PLR0913 - all are flags
    flags: Annotated[TrainFlags, Parameter(name="*")] = _NO_FLAGS,  # type: ignore[valid-type]
    *,
    data: Path | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    config: Path | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", consume_multiple=True)] = None,
    logger: tuple[LoggerName, ...] = (),
    patches: DataFlags = NO_DATA_FLAGS,
    as_json: AsJson = False,
) -> None:
    """Train a classifier on the train split of a store, and keep its best epoch.

    The best epoch is the one with the highest macro average precision on the validation split.
    The settings default to the recipe of the BigEarthNet v2.0 paper. A flag overrides --set, which
    overrides the file.

    Args:
        flags: The settings, one flag each.
        data: Folder of the store. With --resume it defaults to the store of the run.
        out: Folder of the run, new or empty.
        resume: Folder of a run to resume from its last checkpoint, instead of --out.
        config: TOML file of settings, such as the config.toml of a run.
        set_: Settings as name=value, for example --set epochs=20 drop_rate=0.
        logger: A logger in addition to CSV and TensorBoard.
        patches: Which patches are used.
        as_json: Write the result as JSON.
    """
    from reben.learn.run_files import is_first_in_environment, require_new

    given = _given(config, set_ or [], flags)
    run = None if resume is None else _run_to_resume(resume, out)
    settings = TrainConfig.from_values(given if run is None else vars(run.config) | given)
    past = {} if run is None else run.summary.get("data", {})
    folder, store = resume or out, data or past.get("store")
    if folder is None or store is None:
        raise ConfigError(
            "Name the store with --data, and the folder of the run with --out, or with --resume to "
            "resume it."
        )
    if run is None and is_first_in_environment():
        require_new(folder)
    # Not before: they import what takes seconds.
    from reben.data.opening import filters_of, open_dataset
    from reben.data.selecting.label_table import is_label_table
    from reben.learn.train import train as fit

    labels: Path | None = vars(flags)["labels"]
    if labels is None:
        table = past.get("label_table")
    else:
        table = labels if is_label_table(labels) else None
    listed = None if run is None or data is not None else run.metadata
    filters = {} if run is None else filters_of(run.summary.get("filters"))
    filters |= patches.kept() | patches.drawn()
    knowing = nullcontext() if run is None else run.knowing_its_data(is_named=data is not None)
    with progress_bar("epoch") as bar:
        with knowing:
            dataset = open_dataset(
                store,
                settings.bands,
                metadata=patches.metadata or listed,
                labels=settings.label_names if settings.labels or run is not None else None,
                label_table=table,
                **filters,
            )
            if run is None and dataset.table.labels != settings.label_names:
                settings = dataclasses.replace(settings, labels=dataset.table.labels)
            for split in ("train", "validation") if patches.strict else ():
                dataset[split].require_whole()
        done = fit(
            settings,
            dataset,
            folder,
            resume=run is not None,
            loggers=logger,
            progress=None if bar is None else _show_training(bar),
        )
    _tell(done, as_json=as_json)


def _run_to_resume(folder: Path, out: Path | None) -> "Run":
    from reben.learn.run_files import require_run

    require_run(folder)
    from reben.learn.resume import open_unfinished

    if out is not None and out.resolve() != folder.resolve():
        raise ConfigError(f"--resume {folder} writes into that folder; leave out --out {out}.")
    return open_unfinished(folder)


def _given(file: Path | None, assignments: list[str], flags: object) -> dict[str, Any]:
    """Return the settings that were given: flags override assignments, and these the file."""
    cure = "Name a file of settings, as the config.toml of a run is one."
    values = {} if file is None else read_toml(file, ConfigError, cure)
    values |= _read_assignments(assignments)
    for name, value in vars(flags).items():
        if value is not None:
            values[name] = _read_labels(value, values.get(name)) if name == "labels" else value
    if values.get("labels") == LABELS:
        values["labels"] = ()  # they are the default
    return values


def _read_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Return settings given as ``name=value``, with values as in TOML; quotes are optional.

    Example:
        >>> _read_assignments(["epochs=3", "flips=false", "bands=s1"])
        {'epochs': 3, 'flips': False, 'bands': 's1'}
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not name or not equals:
            raise ConfigError(f"--set {text!r} is not a setting. Write name=value.")
        try:
            values[name] = parse_toml(f"value = {value}", text, ConfigError, "")["value"]
        except ConfigError:  # a text without quotes
            values[name] = value
    return values


def _read_labels(file: Path, given: list[str] | None) -> tuple[str, ...]:
    """Return the names in a file: a table of patches, a JSON list, or one per line.

    Names that are ``given`` besides a table are the labels, whichever of them it names.
    """
    from reben.data.selecting.label_table import is_label_table, read_label_names

    if is_label_table(file):
        return read_label_names(file) if given is None else tuple(given)
    try:
        text = read_text(file).strip()
    except OSError as error:
        raise ConfigError(
            f"The labels in {file} cannot be read: {first_line(error)}. {_LABELS_CURE}"
        ) from None
    names = text.splitlines()
    if text.startswith("["):
        names = parse_json(text, list[str], str(file), ConfigError, _LABELS_CURE)
    found = [name.strip() for name in names if name.strip()]
    if not found or len(found) != len(set(found)):
        raise ConfigError(f"{file} holds no labels, or one twice. {_LABELS_CURE}")
    return tuple(found)


def _tell(run: "Run", *, as_json: bool) -> None:
    from reben.learn.distributed import is_first_rank

    if not is_first_rank():
        return
    if run.summary["not_applied"]:
        talk(f"{run.config.backbone} supports no {', no '.join(run.summary['not_applied'])}.")
    if as_json:
        print_json({"run": str(run.path), "best": str(run.best), "summary": run.summary})
        return
    talk(f"The model of the best epoch is in {run.best}.")
    print_text(str(run.path))


def _show_training(bar: Bar) -> "ProgressObserver":
    def show(done: "TrainProgress") -> None:
        figures = [f"loss {done.loss:.4f}"]
        figures += [] if done.best is None else [f"best {done.best:.4f}"]
        figures += [f"{done.images_per_second:.0f} images/s", f"rate {done.learning_rate:.2g}"]
        name = f"epoch {done.epoch}/{done.epochs}"
        bar(done.batch, done.batches, what=name, note=", ".join(figures))

    return show
