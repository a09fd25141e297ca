"""The verb of model cards: card, which writes them, and checks them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reben.app.data_verbs import AsJson
from reben.app.terminal import print_json, print_text, progress_bar, talk
from reben.errors import ConfigError

if TYPE_CHECKING:
    from reben.learn.report import Report

Check = Annotated[bool, Parameter(negative="")]


def card(  # noqa: PLR0913 - all but the first are flags
    model: str | None = None,
    /,
    *,
    out: Path | None = None,
    report: Path | None = None,
    data: Path | None = None,
    check: Check = False,
    hub_id: str | None = None,
    licence: str = "mit",
    affiliations: str | None = None,
    template: Path | None = None,
    figures: bool = True,
    seed: int = 0,
    bands: str | None = None,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a folder that is ready for the Hub: weights, config, model card, example, figures.

    With --check nothing is written: the folder is compared with itself, and the exit code is 1 if
    the card says anything else than its report, config and weights.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub; with --check the
            folder of a card.
        out: Folder to write; one that an earlier call wrote is replaced, any other is refused.
        report: The report to tell of, or its folder. Default: report-test in the run.
        data: Store to take the example from. Default: the one that the run was trained on.
        check: Check a card folder instead of writing one.
        hub_id: The id that the model has or will have on the Hub: owner/name.
        licence: Licence of the weights, by its identifier on the Hub.
        affiliations: Names, links and pictures to show: a TOML or JSON file, or bigearth.
        template: A Jinja template of your own for the text of the card.
        figures: Draw pictures of the results, which needs matplotlib.
        seed: What the choice of the example patch follows from.
        bands: Bands of the model in their order, for a published model whose name does not say.
        from_: Write a new card for this model on the Hub, which is fetched and measured on --data.
        as_json: Write the result as JSON.
    """
    if check:
        _check(_given(model, "the folder to check"), as_json=as_json)
        return
    options: dict[str, Any] = {
        "licence": licence,
        "seed": seed,
        "hub_id": hub_id,
        "branding": _read_branding(affiliations),
        "template": template,
        "figures": figures,
        "bands": bands,
    }
    place = Path(_given(None if out is None else str(out), "where to write: --out FOLDER"))
    if from_ is not None:
        if model is not None or report is not None:
            raise ConfigError(
                f"--from {from_} is fetched and measured by itself. Leave the model and --report "
                "out, or leave --from out."
            )
        folder = _recard(from_, data, place, options)
    else:
        folder = _write(_given(model, "the model"), place, report, data, options)
    talk(f"The card is {folder / 'README.md'}; the folder loads with Classifier.from_pretrained.")
    if as_json:
        print_json({"folder": str(folder)})
    else:
        print_text(str(folder))


def _check(folder: str, *, as_json: bool) -> None:
    """Say what is wrong with a card folder, and leave with 1 if anything is."""
    from reben.publish.check import check_card

    if not Path(folder).is_dir():
        raise ConfigError(f"There is no folder {folder} to check.")
    problems = check_card(folder)
    if as_json:
        found = [{"where": problem.where, "what": problem.what} for problem in problems]
        print_json({"folder": folder, "problems": found})
    else:
        for problem in problems:
            print_text(str(problem))
    count = len(problems)
    talk(
        f"{count} {'problem' if count == 1 else 'problems'} in {folder}."
        if problems
        else f"{folder}: the card says what its report, config and weights say."
    )
    if problems:
        sys.exit(1)


def _write(
    model: str, out: Path, report: Path | None, data: Path | None, options: dict[str, Any]
) -> Path:
    from reben.app.model_verbs import open_run
    from reben.data.loader import open_dataset
    from reben.publish.card import write_card

    told, run, dataset = _find_report(model, report), open_run(model), None
    if data is not None:
        dataset = open_dataset(data, labels=told.labels) if run is None else run.dataset(data)
    return write_card(model, told, out, dataset=dataset, **options)


def _recard(name: str, data: Path | None, out: Path, options: dict[str, Any]) -> Path:
    from reben.data.loader import open_dataset
    from reben.publish.recard import recard

    store = _given(None if data is None else str(data), "what to measure it on: --data STORE")
    given = {key: value for key, value in options.items() if value is not None}
    with progress_bar("patches") as progress:
        return recard(name, open_dataset(store), out, progress=progress, **given)


def _find_report(model: str, report: Path | None) -> "Report":
    from reben.app.model_verbs import open_run
    from reben.learn.report import Report

    if report is not None:
        return Report.load(report)
    run = open_run(model)
    if run is None:
        raise ConfigError(
            f"{model} is no run, so nothing tells which report its card is about. Name it: "
            "--report FILE. Write one with: reben evaluate "
            f"{model} --data STORE --out FOLDER"
        )
    return run.report()


def _read_branding(affiliations: str | None) -> Any:  # noqa: ANN401 - imported late
    if affiliations is None:
        return None
    from reben.publish.branding import Branding

    return Branding.load(affiliations)


def _given(value: str | None, what: str) -> str:
    if value is None:
        raise ConfigError(f"Say {what}. See: reben card --help")
    return value
