"""The verbs that publish models: card, push, hub."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reben.app.flags import AsJson, Files, Switch
from reben.app.terminal import (
    ask_yes,
    can_ask,
    format_bytes,
    print_json,
    print_place,
    print_table,
    print_text,
    progress_bar,
    talk,
)
from reben.errors import ConfigError

if TYPE_CHECKING:
    from reben.learn.report import Report
    from reben.publish.hub_models import Entry
    from reben.publish.push_plan import PushPlan


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
    from reben.data.dataset import filters_of, open_dataset
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
    from reben.data.loader import open_dataset
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

    if report is not None:
        return Report.load(report)
    run = open_run(model)
    if run is None:
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


def push(  # noqa: PLR0913 - one for each option
    folder: Path,
    repository: str,
    /,
    *,
    private: Switch = False,
    pr: Switch = False,
    tag: str | None = None,
    revision: str | None = None,
    dry_run: Switch = False,
    yes: Switch = False,
    new_licence: Annotated[bool, Parameter(negative="", alias="--new-license")] = False,
    as_json: AsJson = False,
) -> None:
    """Push a card folder to the Hugging Face Hub in one commit, and print where it is.

    The folder is checked first, what would be pushed is shown, and you are asked. The same
    content again changes nothing. The token is that of `hf auth login`, or HF_TOKEN.

    Args:
        folder: The folder that reben card wrote.
        repository: Where to, owner/name or owner/name@branch; it is made if it is not there.
        private: Make a new repository private.
        pr: Open a pull request instead of committing to a branch.
        tag: A tag to set on the commit, for example v1.0.
        revision: The branch to commit to; one that is not there is made. Default: main.
        dry_run: Show what would be done, and change nothing.
        yes: Do not ask. Needed where no terminal is, and then also for other content.
        new_licence: Let the licence become another than that on the Hub.
        as_json: Write the result as JSON.
    """
    from reben.publish.hub import push as push_folder

    def confirm(plan: "PushPlan") -> bool:
        _show(plan, as_talk=True)
        if yes:
            return True
        if not can_ask():
            raise ConfigError(
                f"Nothing was pushed to {plan.repository}: there is no terminal to ask at. Look "
                "at the files above, and add --yes."
            )
        return ask_yes(_question(plan))

    with _client_bars():
        done = push_folder(
            folder,
            repository,
            private=private,
            create_pr=pr,
            tag=tag,
            revision=revision,
            dry_run=dry_run,
            confirm=confirm,
            new_licence=new_licence,
        )
    if done.outcome == "declined":
        talk("Nothing was pushed.")
        raise SystemExit(1)
    if done.outcome == "dry run" and not as_json:
        _show(done.plan, as_talk=False)
        return
    if done.outcome == "unchanged":
        talk("The same content stands there already; no commit was made.")
    if as_json:
        print_json(done.to_dict())
    else:
        print_text(done.url)


def hub(owner: str, /, *, as_json: AsJson = False) -> None:
    """List the models of an organisation or user on the Hugging Face Hub, the best first.

    Bands and architecture are those of the configs, average precision is what the cards tell in
    their model-index or their table of results.

    Args:
        owner: Name of the organisation or user, for example BIFOLD-BigEarthNetv2-0.
        as_json: Write the result as JSON.
    """
    from reben.publish.hub_models import list_models

    entries = list_models(owner)
    if as_json:
        print_json([entry.to_dict() for entry in entries])
        return
    columns = ("model", "architecture", "bands", "macro AP>", "measured on", "remark")
    print_table(columns, [_row(entry) for entry in entries])


@contextmanager
def _client_bars() -> Iterator[None]:
    """Let the Hub client draw its bars only where stderr is a terminal, and as the user has it."""
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if sys.stderr.isatty() or constants.HF_HUB_DISABLE_PROGRESS_BARS is not None:
        yield
        return
    drawn = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if drawn:
            enable_progress_bars()


def _show(plan: "PushPlan", *, as_talk: bool) -> None:
    rows: list[tuple[str, str, str]] = [
        (file.path, format_bytes(file.size), {"same": "unchanged"}.get(file.state, file.state))
        for file in plan.files
    ]
    rows += [(path, "", "deleted: of the former weights") for path in plan.removed]
    rows += [(path, "", "stays as it is there") for path in plan.stays]
    rows += [(path, "", f"left out: {why}") for path, why in plan.left_out.items()]
    (talk if as_talk else print_text)(_headline(plan))
    print_table(("file", "size>", "state"), rows, as_talk=as_talk)


def _headline(plan: "PushPlan") -> str:
    kind = ("private" if plan.private else "public") if plan.exists else "new"
    if not plan.exists and plan.private:
        kind = "new, private"
    where = "a pull request" if plan.pull_request else f"branch {plan.branch}"
    new = "" if plan.branch_exists or plan.pull_request else " (new)"
    tag = f", tag {plan.tag}" if plan.tag else ""
    change = plan.licence_change
    licence = f", licence {change[1]} instead of {change[0]}" if change else ""
    return f"{plan.url} ({kind}), {where}{new}{tag}{licence}"


def _question(plan: "PushPlan") -> str:
    size = format_bytes(sum(file.size for file in plan.changes))
    count = len(plan.changes)
    other = " over other content" if plan.overwrites else ""
    return f"Push {count} file{'' if count == 1 else 's'} ({size}) to {plan.repository}{other}?"


def _row(entry: "Entry") -> tuple[str, ...]:
    precision = entry.average_precision
    return (
        entry.model,
        entry.architecture or "unknown",
        ", ".join(entry.bands) if entry.bands else "unknown",
        "unknown" if precision is None else f"{precision:.4f}",
        entry.measured_on or "",
        "; ".join(filter(None, ("private" if entry.private else "", entry.remark))),
    )
