"""The verbs that use models: card, predict."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from reben.app.data_verbs import AsJson
from reben.app.terminal import print_json, print_table, print_text, talk
from reben.errors import ConfigError
from reben.spec.bands import BandSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reben.learn.run import Run
    from reben.model.classifier import Classifier
    from reben.model.scores import Scores


def card(
    run: Path,
    /,
    *,
    out: Path,
    report: Path | None = None,
    data: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Write a folder that is ready for the Hub: weights, config, model card, example picture.

    Args:
        run: Folder of the run.
        out: Folder to write; one that an earlier call wrote is replaced, any other is refused.
        report: The report to tell of, or its folder. Default: report-test in the run.
        data: Store to take the example from. Default: the one that the run was trained on.
        as_json: Write the result as JSON.
    """
    from reben.learn.report import Report
    from reben.learn.run import Run
    from reben.publish.card import write_card

    opened = Run.open(run)
    told = opened.report() if report is None else Report.load(report)
    dataset = None if data is None else opened.dataset(data)
    place = write_card(opened, told, out, dataset=dataset)
    talk(f"The card is {place / 'README.md'}; the folder loads with Classifier.from_pretrained.")
    if as_json:
        print_json({"folder": str(place)})
    else:
        print_text(str(place))


def predict(
    model: str,
    /,
    *inputs: Path,
    patch: str | None = None,
    top: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 5,
    bands: str | None = None,
    as_json: AsJson = False,
) -> None:
    """Predict one patch, and show the highest scores beside the true labels where they are known.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        inputs: The patch's folder of TIFFs; for a model of both sensors the Sentinel-2 folder and
            the Sentinel-1 folder. Or a store, with --patch.
        patch: Sentinel-2 name of a patch in the store.
        top: How many scores to show.
        bands: Bands of the model in their order, for a published model whose name does not say.
        as_json: Write the result as JSON.
    """
    classifier = load_model(model, bands)
    values, true_labels = _read_input(inputs, patch, classifier.bands)
    scores = classifier.predict(values)
    if as_json:
        rows = [{"label": label, "score": score} for label, score in scores.top(top)]
        print_json({"scores": rows, "above": scores.above(), "true_labels": true_labels})
    else:
        _print_scores(scores, top, true_labels)


def open_run(model: str) -> "Run | None":
    """Return the run that ``model`` is the folder of, or None if it is none."""
    from reben.learn.run import Run, run_folder

    return None if run_folder(model) is None else Run.open(model)


def load_model(model: str, bands: str | None = None) -> "Classifier":
    """Return the best model of a run, or the model of a folder or a name on the Hub."""
    from reben.model.classifier import Classifier

    run = open_run(model)
    return Classifier.from_pretrained(model if run is None else run.best, bands=bands)


def _read_input(
    inputs: tuple[Path, ...], patch: str | None, bands: BandSet
) -> tuple[dict[str, "NDArray[Any]"], list[str] | None]:
    """Return the raw values of one patch, and its true labels where they are known."""
    from reben.data.store import DATA_FILE

    if not inputs:
        raise ConfigError("There is nothing to predict. Name a patch folder, or a store.")
    if not (inputs[0] / DATA_FILE).is_file():
        if patch is not None:
            raise ConfigError(
                f"--patch {patch} names a patch of a store, but {inputs[0]} is none (it holds no "
                f"{DATA_FILE}). Leave --patch out for a patch folder."
            )
        from reben.data.patch_folder import read_patch_folder

        return read_patch_folder(*inputs), None
    if len(inputs) > 1:
        raise ConfigError(f"{inputs[0]} is a store; it is the only input there can be.")
    return _read_from_store(inputs[0], patch, bands)


def _read_from_store(
    store: Path, patch: str | None, bands: BandSet
) -> tuple[dict[str, "NDArray[Any]"], list[str]]:
    from reben.data.loader import open_dataset

    dataset = open_dataset(store, bands, snow=None, cloud=None, labels=None)
    if patch is None:
        raise ConfigError(
            f"{store} is a store of {len(dataset)} patches. Name one with --patch, for example "
            f"--patch {dataset.table.patch_ids[0]}."
        )
    row = dataset.table.position(patch)
    return dataset.patch(row), sorted(dataset.table.label_names[row])


def _print_scores(scores: "Scores", top: int, true_labels: list[str] | None) -> None:
    above = set(scores.above())
    rows = [
        (label, f"{score:.4f}", "yes" if label in above else "")
        + (() if true_labels is None else ("yes" if label in true_labels else "",))
        for label, score in scores.top(top)
    ]
    columns = ("label", "score>", "above threshold")
    print_table(columns if true_labels is None else (*columns, "true label"), rows)
    if true_labels is not None:
        print_text(f"True labels: {'; '.join(true_labels) or 'none'}")
