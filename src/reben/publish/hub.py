"""Push: a card folder becomes one commit on the Hugging Face Hub, or nothing at all."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reben.errors import (
    CardError,
    ConfigError,
    HubAuthError,
    HubConflictError,
    HubError,
)
from reben.model.hub import ask, checked_token, require_hub_id
from reben.publish.pushing.plan import MAIN, PushPlan, make_plan
from reben.publish.pushing.steps import commit_changes, make_branch, make_repository, page, set_tag

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Outcome = Literal["pushed", "unchanged", "declined", "dry run"]


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Args:
        outcome: ``pushed``; ``unchanged`` if all of it stood there already, so that no commit was
            made; ``declined`` by whoever was asked; ``dry run``.
        url: Where the model is, or would be; for a pull request, its page.
        commit: The commit that holds this content, if there is one.
        plan: What was, or would have been, done.
    """

    outcome: Outcome
    url: str
    commit: str | None
    plan: PushPlan

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        told = {"outcome": self.outcome, "url": self.url, "commit": self.commit}
        return {**told, **self.plan.to_dict()}


def push(  # noqa: PLR0913 - all after the second are named
    folder: str | Path,
    repository: str,
    *,
    private: bool = False,
    create_pr: bool = False,
    tag: str | None = None,
    revision: str | None = None,
    dry_run: bool = False,
    confirm: Callable[[PushPlan], bool] | None = None,
    token: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pushed:
    """Push a card folder to the Hub in one commit, and return where it is.

    The folder is checked first. Only the files of a card folder are pushed; others are left out
    and named in the plan. Files of the repository that the folder does not hold stay there. What
    stands there already is not sent again, and if all does, no commit is made.

    Args:
        folder: A card folder, as `write_card` makes it.
        repository: Where to, ``owner/name``; it is made if it is not there.
        private: Whether to make a new repository private. A public one is then refused.
        create_pr: Whether to open a pull request instead of committing to a branch.
        tag: A tag to set on the commit.
        revision: The branch to commit to, ``main`` by default; one that is not there starts from
            main.
        dry_run: Whether to change nothing on the Hub and only return what would be done.
        confirm: Asked, with the plan, before anything is changed; nothing is if it says no.
            Without it, a repository that holds other content is refused.
        token: A token with the right to write, if not the one from the usual places.
        progress: Called as ``progress(done, total)`` while files are sent, counted in bytes.

    Raises:
        CardError: If the folder does not pass the check.
        ConfigError: If the name cannot be, or the settings contradict each other.
        HubAuthError: If there is no token, or it has not the right to do this.
        HubConflictError: If the repository holds other content and nobody is asked, if a name is
            taken, or if somebody else changes it at the same time.
        HubConnectionError: If the Hub or the network fails, several times over.

    Example:
        >>> push("runs/r50-s2/hub", "my-org/resnet50-s2-v1.0").url  # doctest: +SKIP
        'https://huggingface.co/my-org/resnet50-s2-v1.0'
    """
    require_hub_id(repository)
    _require_sense(create_pr=create_pr, tag=tag, revision=revision)
    found = _require_token(token)
    folder = Path(folder)
    _require_card(folder)
    api = _client(found)
    _require_writer(api)
    plan = make_plan(
        api,
        folder,
        repository,
        private=private,
        pull_request=create_pr,
        tag=tag,
        branch=revision or MAIN,
    )
    if dry_run:
        return Pushed("dry run", page(plan), None, plan)
    if plan.is_done:
        return Pushed("unchanged", page(plan), plan.head, plan)
    if confirm is not None and not confirm(plan):
        return Pushed("declined", page(plan), None, plan)
    if confirm is None and plan.overwrites:
        changed = ", ".join(file.path for file in plan.changes)
        raise HubConflictError(
            f"{plan.url} is there and holds other content; {changed} would be new or changed. "
            "Nothing was pushed. To go on, pass confirm=lambda plan: True (--yes), or choose "
            "another name."
        )
    return _carry_out(api, plan, progress)


def _carry_out(api: "HfApi", plan: PushPlan, progress: Callable[[int, int], None] | None) -> Pushed:
    made = None
    try:
        if not plan.exists:
            made = make_repository(api, plan)
            plan = replace(plan, head=made)
        if not plan.branch_exists:
            make_branch(api, plan)
        made_commit = commit_changes(api, plan, progress) if plan.changes else None
    except (HubError, CardError) as error:
        if made is None:
            raise
        raise type(error)(
            f"{error} The repository {plan.url} was made before that and is empty, so far as is "
            f"known. Push again to go on from there, or delete it at {plan.url}/settings"
        ) from error
    commit, url = made_commit or (plan.head, page(plan))
    if plan.tag is not None and not plan.tag_exists:
        set_tag(api, plan, str(commit))
    return Pushed("pushed" if made_commit else "unchanged", url, commit, plan)


# Before anything is asked of the Hub -------------------------------------------------------------


def _require_sense(*, create_pr: bool, tag: str | None, revision: str | None) -> None:
    """Check that the settings do not contradict each other.

    Raises:
        ConfigError: If they do.
    """
    if create_pr and revision is not None:
        raise ConfigError(
            f"A pull request makes a branch of its own, so it cannot go to {revision}. Leave the "
            "branch (--revision) or the pull request (--pr) out."
        )
    if create_pr and tag is not None:
        raise ConfigError(
            f"The commit of a pull request is not yet that of the model, so it gets no tag "
            f"{tag}. Leave the tag out, and push with it once the pull request is merged."
        )


def _require_token(token: str | None) -> str:
    found = checked_token(token)
    if found is None:
        raise HubAuthError(
            "Pushing needs a token with the right to write, and there is none. Log in with: hf "
            "auth login (or set HF_TOKEN)"
        )
    return found


def _require_card(folder: Path) -> None:
    """Check the card folder.

    Raises:
        CardError: If it is none, or has faults.
    """
    from reben.publish.check import check_card

    if not folder.is_dir():
        raise CardError(f"There is no card folder {folder}. Write one with: reben card")
    problems = [problem for problem in check_card(folder) if problem.severity == "error"]
    if problems:
        listed = "; ".join(str(problem) for problem in problems)
        raise CardError(
            f"{folder} does not pass the check, so nothing was pushed: {listed}. Write it again "
            "with reben card, or see: reben card --check"
        )


# On the Hub --------------------------------------------------------------------------------------


def _client(token: str) -> "HfApi":
    from importlib.metadata import version

    from huggingface_hub import HfApi

    return HfApi(token=token, library_name="reben", library_version=version("reben"))


def _require_writer(api: "HfApi") -> None:
    """Check that the token may write at all, so far as it tells.

    Raises:
        HubAuthError: If it is a read-only one, or is not valid.
    """
    told = ask(api.whoami, "Asking the Hub whose token this is")
    token = told.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise HubAuthError(
            f"The token of {told.get('name')} may only read. Nothing was pushed. Make one with "
            f"the right to write at {api.endpoint}/settings/tokens, and log in with: hf auth login"
        )
