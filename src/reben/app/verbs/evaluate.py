"""The verbs that measure models: evaluate, calibrate.

The verb that sets reports side by side: compare.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reben.app.flags import AsJson, AtLeastOne, AtLeastZero, Switch
from reben.app.models import open_run
from reben.app.terminal import print_json, print_table, print_text, progress_bar, talk
from reben.errors import ConfigError

if TYPE_CHECKING:
    from reben.learn.predictions import Predictions
    from reben.learn.report import Report


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
    labels: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on one split of a store, or predictions that were made before.

    The folder of a report holds report.json, report.html, pictures, and predictions.parquet, from
    which every figure can be computed again without the model. Under torchrun the patches are
    shared among the processes, each predicted once.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        data: Folder of the store.
        predictions: Measure what is in this file; then neither model nor data are needed.
        split: train, validation or test.
        out: Folder to write the report into. Default: into the run, as report-SPLIT.
        batch_size: Patches to predict at a time; it does not change the figures.
        rounds: Resamples that the 95 % intervals are from; 0 leaves the intervals out.
        figures: Draw pictures, which needs matplotlib.
        bands: Bands of the model in their order, for a published model whose name does not say.
        device: Where to compute: auto (an accelerator if there is one, else the CPU), cpu, cuda,
            cuda:1, mps.
        labels: Table (.csv, .parquet) of the patches and their labels, if they are not those of
            the metadata. Default: the one that the run was trained on, if it had one.
        as_json: Write the report as JSON.
    """
    from reben.learn.evaluate import joined_processes, measure
    from reben.learn.predictions import Predictions

    place = out
    if predictions is not None:
        if not all(given is None for given in (model, data, bands, labels)):
            raise ConfigError(
                f"--predictions {predictions} is measured by itself. Leave the model, --data, "
                "--bands and --labels out, or leave --predictions out."
            )
        found = Predictions.load(predictions)
    else:
        run = None if model is None else open_run(model)
        with joined_processes() as first:
            found = _predict_split(
                model, data, split, (bands, device), batch_size=batch_size, labels=labels
            )
        if not first:
            return
        place = run.report_folder(split) if out is None and run is not None else out
    with progress_bar("resamples") as progress:
        report = measure(found, rounds=rounds, progress=progress)
    if place is not None:
        from reben.publish.report_page import PAGE_FILE, write_report

        write_report(report, place, predictions=found, figures=figures)
        talk(f"The report is in {place}; to look at: {place / PAGE_FILE}")
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report)


def calibrate(  # noqa: PLR0913 - all but the first are flags
    model: str,
    /,
    *,
    data: Path,
    split: str = "validation",
    out: Path | None = None,
    batch_size: AtLeastOne = 64,
    bands: str | None = None,
    device: str = "auto",
    labels: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Tune temperature and thresholds of a model on the validation split, into its config.

    The weights stay as they are, and so do the figures at 0.5 that can be compared with published
    ones. Reports show the tuned figures beside them.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        data: Folder of the store.
        split: validation or train; nothing may be tuned on test.
        out: Folder to write the calibrated model into. Default: the model's own folder, whose
            config is replaced; a model on the Hub needs one.
        batch_size: Patches to predict at a time; it does not change the result.
        bands: Bands of the model in their order, for a published model whose name does not say.
        device: Where to compute: auto (an accelerator if there is one, else the CPU), cpu, cuda,
            cuda:1, mps.
        labels: Table of the patches and their labels, as for evaluate.
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
        raise ConfigError(f"{model} is not a folder here. Say where to write it calibrated: --out.")
    found = calibrate_predictions(
        _predict_split(model, data, split, (bands, device), batch_size=batch_size, labels=labels)
    )
    classifier = open_model(model, "cpu", bands=bands)
    apply_calibration(classifier, found)
    if out is None:
        write_text(own / CONFIG_FILE, classifier.config.to_json())
    else:
        classifier.save_pretrained(out)
    talk(f"The calibrated model is in {out or own}; its weights are what they were.")
    if as_json:
        print_json(to_plain(found))
        return
    print_text(f"temperature {found.temperature:.4f}, from {found.num_patches} patches")
    rows = [
        (label, f"{threshold:.4f}", "no patch has it" if label in found.kept else "")
        for label, threshold in zip(classifier.labels, found.thresholds, strict=True)
    ]
    print_table(("label", "threshold>", "note"), rows)


def _predict_split(
    model: str | None,
    data: Path | None,
    split: str,
    opening: tuple[str | None, str],
    *,
    batch_size: int,
    labels: Path | None,
) -> "Predictions":
    """Return what a model says of the patches of a split.

    Raises:
        ConfigError: If the model or the data are not named.
    """
    from reben.data.loader import open_dataset
    from reben.learn.predict import predict_dataset
    from reben.model.open import name_of, open_model

    if model is None or data is None:
        missing = "the model" if model is None else "its data: --data STORE"
        raise ConfigError(f"Name {missing}, or measure a file of predictions: --predictions FILE.")
    run = open_run(model)
    bands, device = opening
    classifier = open_model(model, device, bands=bands)
    dataset = (
        open_dataset(data, labels=classifier.labels, label_table=labels)
        if run is None
        else run.dataset(data, label_table=labels)
    )
    with progress_bar("patches") as progress:
        return predict_dataset(
            classifier,
            dataset[split],
            batch_size=batch_size,
            name=name_of(model),
            progress=progress,
        )


_OF_LABELS = ("average_precision", "f1")


def _print_report(report: "Report") -> None:
    from dataclasses import asdict

    print_text(f"{report.name} on {report.num_patches} patches of the {report.split} split")
    columns: tuple[str, ...] = ("figure", "macro>", "micro>")
    parts = [asdict(report.macro), asdict(report.micro)]
    if report.calibrated is not None:
        columns += ("macro, tuned>", "micro, tuned>")
        tuned = report.calibrated.metrics
        parts += [asdict(tuned.macro), asdict(tuned.micro)]
    rows = [(name.replace("_", " "), *(f"{part[name]:.4f}" for part in parts)) for name in parts[0]]
    print_table(columns, rows)
    for line in _describe_intervals(report):
        print_text(line)
    figure_of = report.metrics.figure_of
    labels = [
        (label, own.support, *(_number(figure_of(label, name)) for name in _OF_LABELS))
        for label, own in report.per_class.items()
    ]
    print_table(("label", "patches>", "average precision>", "F1>"), labels)
    if report.absent:
        print_text(f"Without a patch, and 0 in the macro figures: {'; '.join(report.absent)}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _describe_intervals(report: "Report") -> list[str]:
    """Return one line for each way of resampling."""
    lines = []
    for by, found in report.intervals.items():
        if found.reason is not None:
            lines.append(f"No 95 % interval by {by}: {found.reason}")
            continue
        words = [
            f"{means} average precision {interval.low:.4f} to {interval.high:.4f}"
            for means, interval in (
                ("macro", found.macro["average_precision"]),
                ("micro", found.micro["average_precision"]),
            )
        ]
        caution = f" {found.caution}" if found.caution else ""
        lines.append(f"95 % interval by {by} ({found.num_units}): {', '.join(words)}.{caution}")
    return lines


_Figure = Literal["average_precision", "f1", "precision", "recall", "accuracy"]

_SHORT = {"average_precision": "AP", "f1": "F1"}


def compare(  # noqa: PLR0913 - all but the first are flags
    *reports: Path,
    out: Path | None = None,
    split: str = "test",
    figure: _Figure = "average_precision",
    mean: Literal["macro", "micro"] = "macro",
    together: Switch = False,
    rounds: AtLeastZero = 1000,
    seed: int = 0,
    figures: bool = True,
    as_json: AsJson = False,
) -> None:
    """Rank models by their reports, and say which differences are real.

    Reports of different patches are ranked in lists of their own.

    Args:
        reports: For each model its report, the folder of its report, or its run. Differences are
            shown for those in whose folders predictions.parquet lies.
        out: Write leaderboard.md, .csv, .html and .png into this folder.
        split: Which report of a run to take.
        figure: The figure to rank by.
        mean: Its mean over the labels.
        together: Rank reports of different patches in one list all the same.
        rounds: Bootstrap resamples for each pair of models; 0 leaves the differences out.
        seed: What the resamples follow from.
        figures: Draw leaderboard.png.
        as_json: Write the leaderboard as JSON.
    """
    from reben.publish.compare import compare as rank
    from reben.publish.leaderboard import files as leaderboard
    from reben.publish.leaderboard.picture import heading, shown_bands
    from reben.support.plain_json import to_plain

    with progress_bar("resamples") as progress:
        board = rank(
            reports,
            split=split,
            mean=mean,
            figure=figure,
            together=together,
            rounds=rounds,
            seed=seed,
            progress=progress,
        )
    if out is not None:
        leaderboard.write_leaderboard(board, out, picture=figures)
        talk(f"The leaderboard is in {out}.")
    if as_json:
        print_json(to_plain(leaderboard.summarise(board)))
        return
    for note in board.notes:
        talk(note)
    for group in board.groups:
        rows = [
            (
                place,
                entry.name,
                shown_bands(entry),
                *(f"{entry.figure(*column):.4f}" for column in leaderboard.COLUMNS),
            )
            for place, entry in enumerate(group.entries, start=1)
        ]
        heads = [f"{mean} {_SHORT.get(name, name)}>" for mean, name in leaderboard.COLUMNS]
        print_text(heading(group))
        print_table(("#>", "model", "bands", *heads), rows)
        if group.comparisons:
            print_text(leaderboard.difference_heading(board))
            head, *lines = leaderboard.matrix(board, group)
            print_table(head, lines)
