"""The verb that trains: settings from flags, from --set and from a file; going on with a run."""

import dataclasses
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from cyclopts import Parameter

from reben.app.flags import AsJson
from reben.app.terminal import Bar, print_json, print_text, progress_bar, talk
from reben.errors import ConfigError
from reben.learn.config import SETTINGS, TrainConfig

if TYPE_CHECKING:
    from reben.data.loader import Dataset
    from reben.learn.run import Run
    from reben.learn.training.record import ProgressObserver, TrainProgress

_LABELS_HELP = (
    "Labels of your own: a file of their names (a JSON list, or one a line), which the metadata "
    "then hold; or a table of patches (.csv, .parquet) with the columns patch_id and labels."
)
LoggerName = Literal["wandb", "mlflow", "trackio"]


def _make_flags() -> type:
    """Return a dataclass with a flag for each setting; one that was not given is None."""
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
    as_json: AsJson = False,
) -> None:
    """Train a classifier on the train split of a store, and keep its best epoch.

    The best epoch is the one with the highest macro average precision on the validation split.
    The settings default to the recipe of the BigEarthNet v2.0 paper. A flag wins over --set, which
    wins over the file.

    Args:
        flags: The settings, each a flag of its own.
        data: Folder of the store. With --resume the one that the run was trained on.
        out: Folder of the run, new or empty.
        resume: Folder of a run to go on with from its last checkpoint, in place of --out.
        config: TOML file of settings, such as the config.toml of a run.
        set_: Settings as name=value, for example --set epochs=20 drop_rate=0.
        logger: Another logger beside CSV and TensorBoard.
        as_json: Write the result as JSON.
    """
    from reben.learn.train import train as fit

    given = _given(config, set_ or [], flags)
    if resume is None:
        if data is None or out is None:
            raise ConfigError(
                "Name the store with --data and the folder of the run with --out, or a run to go "
                "on with by --resume."
            )
        settings = TrainConfig.from_values(given)
        folder, store = out, data
    else:
        folder, settings, store = _resumed(resume, given, data, out)
    with progress_bar("epoch") as bar:
        progress = None if bar is None else _show_training(bar)
        dataset = _open(store, settings, _label_table(flags, resume))
        run = fit(
            settings, dataset, folder, resume=resume is not None, loggers=logger, progress=progress
        )
    _tell(run, as_json=as_json)


def _given(file: Path | None, assignments: list[str], flags: object) -> dict[str, Any]:
    """Return the settings that were given: flags win over assignments, and these over the file."""
    values = {} if file is None else _read_config_file(file)
    values |= _read_assignments(assignments)
    for name, value in vars(flags).items():
        if value is not None:
            values[name] = _read_labels(value) if name == "labels" else value
    return values


def _read_config_file(path: Path) -> dict[str, Any]:
    """Return the settings that a TOML file names.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The settings in {path} cannot be read: {error}.") from None


def _read_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Return settings given as ``name=value``, with values as in TOML; quotes may be left out.

    Raises:
        ConfigError: If a text is not of that form.

    Example:
        >>> _read_assignments(["epochs=3", "flips=false", "bands=s1"])
        {'epochs': 3, 'flips': False, 'bands': 's1'}
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not name or not equals:
            raise ConfigError(f"{text!r} does not set anything. Write name=value.")
        try:
            values[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[name] = value
    return values


def _read_labels(file: Path) -> tuple[str, ...]:
    """Return the names in a file: a table of patches, a JSON list, or one a line.

    Raises:
        ConfigError: If it cannot be read, or holds no names.
        MetadataError: If it is a table that cannot be read.
    """
    from reben.data.label_table import is_label_table, read_label_names

    if is_label_table(file):
        return read_label_names(file)
    try:
        text = file.read_text(encoding="utf-8").strip()
        names = json.loads(text) if text.startswith("[") else text.splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"The labels in {file} cannot be read: {error}") from None
    found = [name.strip() for name in names if isinstance(name, str) and name.strip()]
    if not found or len(found) != len(set(found)):
        raise ConfigError(f"{file} must list label names, each once: a JSON list, or one a line.")
    return tuple(found)


def _label_table(flags: object, resume: Path | None) -> Path | None:
    """Return the table that labels are from: the one that was given, or that of the run."""
    from reben.data.label_table import is_label_table
    from reben.learn.run import Interrupted

    given: Path | None = vars(flags)["labels"]
    if given is not None:
        return given if is_label_table(given) else None
    return None if resume is None else Interrupted.open(resume).label_table


def _resumed(
    folder: Path, given: dict[str, Any], data: Path | None, out: Path | None
) -> tuple[Path, TrainConfig, Path]:
    """Return folder, settings and store of a run to go on with."""
    from reben.learn.run import Interrupted

    if out is not None and out.resolve() != folder.resolve():
        raise ConfigError(f"--resume {folder} writes into that folder; leave --out {out} out.")
    run = Interrupted.open(folder)
    store = data or run.store
    if store is None:
        raise ConfigError(f"{folder} does not tell where its data are. Name the store with --data.")
    settings = {
        field.name: getattr(run.config, field.name) for field in dataclasses.fields(run.config)
    }
    return folder, TrainConfig.from_values(settings | given), store


def _open(store: Path, settings: TrainConfig, table: Path | None) -> "Dataset":
    from reben.data.loader import open_dataset

    names = settings.label_names
    return open_dataset(store, settings.bands, labels=names, label_table=table)


def _tell(run: "Run", *, as_json: bool) -> None:
    from reben.learn.distributed import is_first_rank

    if not is_first_rank():
        return
    if run.summary["not_applied"]:
        talk(f"{run.config.backbone} takes no {', no '.join(run.summary['not_applied'])}.")
    if as_json:
        print_json({"run": str(run.path), "best": str(run.best), "summary": run.summary})
        return
    talk(f"The model of the best epoch is in {run.best}.")
    print_text(str(run.path))


def _show_training(bar: Bar) -> "ProgressObserver":
    """Return a function that shows epoch, loss, rate, images a second and the best figure."""

    def show(done: "TrainProgress") -> None:
        figures = [f"loss {done.loss:.4f}"]
        figures += [] if done.best is None else [f"best {done.best:.4f}"]
        figures += [f"{done.images_per_second:.0f} images/s", f"rate {done.learning_rate:.2g}"]
        name = f"epoch {done.epoch}/{done.epochs}"
        bar(done.batch, done.batches, what=name, note=", ".join(figures))

    return show
