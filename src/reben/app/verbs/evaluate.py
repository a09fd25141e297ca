"""The verbs that measure and tune a model: evaluate, calibrate."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from reben.app.flags import NO_DATA_FLAGS, AsJson, AtLeastOne, AtLeastZero, DataFlags
from reben.app.models import open_run
from reben.app.terminal import (
    format_figure,
    print_json,
    print_table,
    print_text,
    progress_bar,
    talk,
)
from reben.errors import ConfigError
from reben.model.engines.names import Engine

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from reben.data.dataset import Dataset
    from reben.learn.predictions import Predictions
    from reben.learn.report import Report
    from reben.model.folder import FoundModel


def evaluate(  # noqa: PLR0913 - all but the first are flags
    model: str | None = None,
    /,
    *,
    data: Path | None = None,
    predictions: Path | None = None,
    split: str = "test",
    out: Path | None = None,
    batch_size: AtLeastOne = 64,
    rounds: AtLeastZero = 1000,
    figures: bool = True,
    bands: str | None = None,
    device: str = "auto",
    engine: Engine = "auto",
    labels: Path | None = None,
    patches: DataFlags = NO_DATA_FLAGS,
    as_json: AsJson = False,
) -> None:
    """Measure a model on one split of a store, or measure saved predictions.

    A report is a folder with report.json, report.html, figures and predictions.parquet, from which
    every figure can be computed again without the model. Under torchrun or srun the processes
    share the patches.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        data: Folder of the store. Default: the one that the run was trained on.
        predictions: Measure this file of predictions instead of a model.
        split: train, validation or test.
        out: Folder to write the report into. Default: into the run, as report-SPLIT.
        batch_size: Patches to predict at a time; it does not change the figures.
        rounds: Resamples for the 95 % intervals; 0 leaves the intervals out.
        figures: Draw figures with matplotlib.
        bands: Bands of the model in their order, for a published model whose name does not say.
        device: Where to compute: auto (an accelerator if there is one, else the CPU), cpu, cuda,
            cuda:1, mps.
        engine: What computes on a CPU: auto (the quickest one, measured if the work is long),
            eager, optimised, compiled, onnx, openvino.
        labels: Table (.csv, .parquet) of patches and labels, in place of those of the metadata.
            Default: the one that the run was trained on, if any.
        patches: Which patches of the split. Default: countries, seasons, snow and cloud as the run
            was trained on them; all of them otherwise.
        as_json: Write the report as JSON.
    """
    place = out
    if predictions is not None:
        others = (model, data, bands, labels)
        if patches != NO_DATA_FLAGS or not all(given is None for given in others):
            raise ConfigError(
                f"--predictions {predictions} is measured by itself. Leave out the model, --data, "
                "--bands, --labels and all filters, or leave out --predictions."
            )
        from reben.learn.predictions import Predictions

        found = Predictions.load(predictions)
        with joined_processes() as first:
            pass
    else:
        run = None if model is None else open_run(model)
        what = _find_split(model, data, split, (bands, device), patches, labels=labels)
        with joined_processes() as first:
            found = _predict_split(*what, device=device, engine=engine, batch_size=batch_size)
        place = run.report_folder(split) if out is None and run is not None else out
    if not first:
        return
    from reben.learn.evaluate import measure

    with progress_bar("resamples") as progress:
        report = measure(found, rounds=rounds, progress=progress)
    if place is not None:
        from reben.publish.report_page import PAGE_FILE, write_report

        write_report(report, place, predictions=found, figures=figures)
        talk(f"The report is in {place}; open {place / PAGE_FILE} to read it.")
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report)


def calibrate(  # noqa: PLR0913 - all but the first are flags
    model: str,
    /,
    *,
    data: Path | None = None,
    split: str = "validation",
    out: Path | None = None,
    batch_size: AtLeastOne = 64,
    bands: str | None = None,
    device: str = "auto",
    labels: Path | None = None,
    patches: DataFlags = NO_DATA_FLAGS,
    as_json: AsJson = False,
) -> None:
    """Tune temperature and thresholds of a model on the validation split, into its config.

    The weights do not change, and neither do the figures at 0.5, which are comparable with the
    published ones. Reports show the tuned figures beside them.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        data: Folder of the store. Default: the one that the run was trained on.
        split: validation or train; nothing may be tuned on test.
        out: Folder to write the calibrated model into; a model on the Hub needs one. Default:
            replace the config in the model's own folder.
        batch_size: Patches to predict at a time; it does not change the result.
        bands: Bands of the model in their order, for a published model whose name does not say.
        device: Where to compute: auto (an accelerator if there is one, else the CPU), cpu, cuda,
            cuda:1, mps.
        labels: Table of the patches and their labels, as for evaluate.
        patches: Which patches of the split, as for evaluate.
        as_json: Write the calibration as JSON.
    """
    from reben.learn.calibrate import apply_calibration, calibrate_predictions, require_tunable
    from reben.model.folder import CONFIG_FILE
    from reben.model.open import open_model
    from reben.support.atomic import write_text
    from reben.support.plain_json import to_plain

    require_tunable(split)
    run = open_run(model)
    own = Path(model) if run is None else run.best
    if out is None and not own.is_dir():
        raise ConfigError(
            f"{model} is not a local folder. Say where to write the model: --out FOLDER"
        )
    what = _find_split(model, data, split, (bands, device), patches, labels=labels)
    with joined_processes() as first:
        predicted = _predict_split(*what, device=device, batch_size=batch_size)
    if not first:
        return
    found = calibrate_predictions(predicted)
    classifier = open_model(model, "cpu", bands=bands)
    apply_calibration(classifier, found)
    if out is None:
        write_text(own / CONFIG_FILE, classifier.config.to_json())
    else:
        classifier.save_pretrained(out)
    talk(f"The calibrated model is in {out or own}; its weights are unchanged.")
    if as_json:
        print_json(to_plain(found))
        return
    print_text(f"temperature {found.temperature:.4f}, from {found.num_patches} patches")
    rows = [
        (label, f"{threshold:.4f}", "no patch has it" if label in found.kept else "")
        for label, threshold in zip(classifier.labels, found.thresholds, strict=True)
    ]
    print_table(("label", "threshold>", "note"), rows)


def _find_split(
    model: str | None,
    data: Path | None,
    split: str,
    opening: tuple[str | None, str],
    patches: DataFlags,
    *,
    labels: Path | None,
) -> "tuple[FoundModel, Dataset]":
    """Return a model and the patches to predict, without importing torch."""
    from reben.data.opening import open_dataset
    from reben.model.folder import find_model
    from reben.model.open import require_device_name

    other = "or measure a file of predictions: --predictions FILE"
    if model is None:
        raise ConfigError(f"Name the model, {other}")
    run = open_run(model)
    if run is None and data is None:
        raise ConfigError(f"Name its data: --data STORE, {other}")
    bands, device = opening
    require_device_name(device)
    found = find_model(model, bands=bands)
    given = {"label_table": labels, "metadata": patches.metadata or None, **patches.kept()}
    if run is not None:
        dataset = run.dataset(data, **given)
    elif data is not None:
        dataset = open_dataset(data, found.config.bands, labels=found.config.labels, **given)
    dataset = dataset[split]
    if patches.strict:
        dataset.require_whole()
    return found, dataset.draw(**patches.drawn())


def joined_processes() -> "AbstractContextManager[bool]":
    """Join the processes that torchrun or srun started, which takes torch."""
    from reben.learn.predict import joined_processes as joined

    return joined()


def _predict_split(
    model: "FoundModel",
    dataset: "Dataset",
    *,
    device: str,
    batch_size: int,
    engine: Engine = "auto",
) -> "Predictions":
    """Return the predictions of a model for patches."""
    from reben.learn.predict import predict_dataset
    from reben.model.open import name_of, open_model

    classifier = open_model(model, device)
    with progress_bar("patches") as progress:
        return predict_dataset(
            classifier,
            dataset,
            batch_size=batch_size,
            engine=engine,
            name=name_of(model),
            progress=progress,
        )


def _print_report(report: "Report") -> None:
    told = f"{report.num_patches} patches of the {report.split} split"
    if report.data is not None and report.data.kind != "unknown":
        told = report.data.describe(report.num_patches, report.split)
    print_text(f"{report.name} on {told}")
    if report.part is not None:
        print_text(f"Of those in the metadata the store held {report.part}.")
    if report.filters:
        print_text(f"Filters: {'; '.join(f'{key} {text}' for key, text in report.filters.items())}")
    columns: tuple[str, ...] = ("figure", "macro>", "micro>")
    parts = [report.macro, report.micro]
    if report.calibrated is not None:
        columns += ("macro, tuned>", "micro, tuned>")
        parts += [report.calibrated.metrics.macro, report.calibrated.metrics.micro]
    rows = [
        (name.replace("_", " "), *(format_figure(getattr(part, name)) for part in parts))
        for name in (field.name for field in fields(report.macro))
    ]
    print_table(columns, rows)
    for line in _describe_intervals(report):
        print_text(line)
    figure_of, figures = report.metrics.figure_of, ("average_precision", "f1")
    labels = [
        (
            label,
            own.support,
            *(format_figure(figure_of(label, name)) for name in figures),
        )
        for label, own in report.per_class.items()
    ]
    print_table(("label", "patches>", "average precision>", "F1>"), labels)
    if report.absent:
        print_text(f"Without a patch, and 0 in the macro figures: {'; '.join(report.absent)}")


def _describe_intervals(report: "Report") -> Iterator[str]:
    """Yield one line for each kind of intervals."""
    from reben.learn.metrics.bootstrap import say_few

    for by, found in report.intervals.items():
        if found.reason is not None:
            yield f"No 95 % interval by {by}: {found.reason}"
            continue
        known = {
            mean: getattr(found, mean)["average_precision"]
            for mean in ("macro", "micro")
            if "average_precision" in getattr(found, mean)
        }
        words = ", ".join(
            f"{mean} average precision "
            f"{format_figure(interval.low)} to {format_figure(interval.high)}"
            for mean, interval in known.items()
        )
        caution = f" {found.caution}" if found.caution else ""
        yield f"95 % interval by {by} ({found.num_units}): {words}.{caution}"
    if report.best_intervals is not None:
        yield f"Intervals are {report.best_intervals.method}."
        yield from filter(None, (say_few(report.num_patches),))
