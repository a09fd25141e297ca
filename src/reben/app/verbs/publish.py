"""The verbs that publish models: card, push, hub."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reben.app.flags import AsJson, Files, Switch
from reben.app.terminal import (
    print_json,
    print_place,
    print_text,
    progress_bar,
    talk,
)
from reben.errors import ConfigError

if TYPE_CHECKING:
    from reben.learn.report import Report


def card(  # noqa: PLR0913 - all but the first are flags
    model: str | None = None,
    /,
    *,
    out: Path | None = None,
    report: Path | None = None,
    data: Path | None = None,
    metadata: Files = (),
    check: Switch = False,
    hub_id: str | None = None,
    licence: Annotated[str | None, Parameter(alias="--license")] = None,
    affiliations: str | None = None,
    template: Path | None = None,
    tag: list[str] | None = None,
    metadata_file: Path | None = None,
    licence_name: Annotated[str | None, Parameter(alias="--license-name")] = None,
    licence_link: Annotated[str | None, Parameter(alias="--license-link")] = None,
    figures: bool = True,
    seed: int = 0,
    bands: str | None = None,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a folder that is ready for the Hub: weights, config, model card, example, figures.

    With --check nothing is written: the card is compared with its report, config and weights, and
    the exit code is 1 if they disagree. Text outside the sections that reben marked is yours and
    is not checked.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub; with --check the
            folder of a card.
        out: Folder to write. A card folder is replaced, but for what you wrote outside the sections
            of reben; any other folder must be empty.
        report: The report that the card shows, or its folder. Default: report-test in the run.
        data: Store to take the example from. Default: the one that the run was trained on.
        metadata: Metadata tables (parquet) that list the patches of --data; may be given several
            times. Default: those in the store.
        check: Check a card folder instead of writing one.
        hub_id: The id that the model has or will have on the Hub, owner/name.
        licence: Licence of the weights, by its identifier on the Hub. Default: that of the
            weights that the model is or started from; mit for weights of your own.
        affiliations: Names, links and pictures to show: a TOML or JSON file, or bigearth.
        template: Your own template, with placeholders such as <AP_MACRO> or in Jinja; or original,
            for a card in the form of the first published ones.
        tag: A further tag for the front matter; may be given several times.
        metadata_file: Further fields for the front matter: a YAML, JSON or TOML file.
        licence_name: The name of a licence that the Hub does not know, with --licence other.
        licence_link: Where that licence can be read, an https address.
        figures: Plot the results, which needs matplotlib.
        seed: Seed of the choice of the example patch.
        bands: Bands of the model in their order, for a published model whose name does not say.
        from_: Write a new card for this model on the Hub, after measuring it on --data.
        as_json: Write the result as JSON.
    """
    if check:
        _check(_given(model, "the folder to check"), as_json=as_json)
        return
    options: dict[str, Any] = {
        **({} if licence is None else {"licence": licence}),
        "seed": seed,
        "hub_id": hub_id,
        "branding": _read_branding(affiliations),
        "template": template,
        "tags": tag or (),
        "metadata": _metadata(metadata_file, license_name=licence_name, license_link=licence_link),
        "figures": figures,
        "bands": bands,
    }
    place = Path(_given(None if out is None else str(out), "where to write: --out FOLDER"))
    if from_ is not None:
        if model is not None or report is not None:
            raise ConfigError(
                f"--from {from_} fetches a model and measures it, so it takes neither a model nor "
                "--report. Leave them out, or leave --from out."
            )
        folder = _recard(from_, (data, metadata), place, options)
    else:
        folder = _write(_given(model, "the model"), place, report, (data, metadata), options)
    talk(f"The card is {folder / 'README.md'}; the folder loads with Classifier.from_pretrained.")
    print_place("folder", folder, as_json=as_json)


def _check(folder: str, *, as_json: bool) -> None:
    """Print what is wrong with a card folder; exit with 1 if there is an error."""
    from reben.publish.check import check_card

    if not Path(folder).is_dir():
        raise ConfigError(f"There is no folder {folder} to check.")
    problems = check_card(folder)
    if as_json:
        print_json({"folder": folder, "problems": [asdict(problem) for problem in problems]})
    else:
        for problem in problems:
            print_text(str(problem))
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if problems:
        talk(f"{folder}: {_count(errors, 'error')}, {_count(warnings, 'warning')}.")
    else:
        talk(f"{folder}: the card agrees with its report, config and weights.")
    if errors:
        sys.exit(1)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _write(
    model: str,
    out: Path,
    report: Path | None,
    data: tuple[Path | None, tuple[Path, ...]],
    options: dict[str, Any],
) -> Path:
    from reben.app.models import open_run
    from reben.data.opening import filters_of, open_dataset
    from reben.publish.card import write_card

    told, run, dataset = _find_report(model, report), open_run(model), None
    store, metadata = data
    if store is not None:
        filters = filters_of(told.filters or None, drawing=False)
        opening = {"metadata": metadata or None, **filters}
        dataset = (
            open_dataset(store, ",".join(told.bands), labels=told.labels, **opening)
            if run is None
            else run.dataset(store, **opening)
        )
    return write_card(model, told, out, dataset=dataset, **options)


def _recard(
    name: str, data: tuple[Path | None, tuple[Path, ...]], out: Path, options: dict[str, Any]
) -> Path:
    from reben.data.opening import open_dataset
    from reben.publish.recard import recard

    place, metadata = data
    store = _given(None if place is None else str(place), "what to measure it on: --data STORE")
    given = {key: value for key, value in options.items() if value is not None}
    with progress_bar("patches") as progress:
        return recard(
            name, open_dataset(store, metadata=metadata or None), out, progress=progress, **given
        )


def _find_report(model: str, report: Path | None) -> "Report":
    from reben.app.models import open_run
    from reben.learn.report import Report
    from reben.model.open import open_model

    if report is not None:
        return Report.load(report)
    run = open_run(model)
    if run is None:
        if Path(model).is_file():
            open_model(model)  # raises, and says what to do with a file of that kind
        raise ConfigError(
            f"{model} is not a run, so the report for its card must be named: --report FILE. "
            "Write one with: reben evaluate "
            f"{model} --data STORE --out FOLDER"
        )
    return run.report()


def _read_branding(affiliations: str | None) -> Any:  # noqa: ANN401 - imported late
    if affiliations is None:
        return None
    from reben.publish.branding import Branding

    return Branding.load(affiliations)


def _metadata(file: Path | None, **fields: str | None) -> dict[str, Any]:
    """Return the fields that the user adds to the front matter."""
    from reben.publish.author import read_metadata

    return {
        **({} if file is None else read_metadata(file)),
        **{name: value for name, value in fields.items() if value is not None},
    }


def _given(value: str | None, what: str) -> str:
    if value is None:
        raise ConfigError(f"Say {what}. See: reben card --help")
    return value
