"""The verbs that speak with the Hugging Face Hub: push, hub."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from reben.app.flags import AsJson, Switch
from reben.app.terminal import (
    ask_yes,
    can_ask,
    format_bytes,
    print_json,
    print_table,
    print_text,
    talk,
)
from reben.errors import ConfigError

if TYPE_CHECKING:
    from reben.publish.hub_models import Entry
    from reben.publish.push_plan import PushPlan


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
