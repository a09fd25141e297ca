"""Push: a card folder becomes one commit on the Hugging Face Hub, or nothing at all.

Only what is safe to repeat is retried: large files are named by their hash, and a commit names its
parent, so the Hub refuses a second one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reben.errors import CardError, HubConflictError, HubConnectionError, HubError
from reben.model.hub import ask, in_our_words, require_hub_id, split_revision
from reben.publish.push_checks import require_card, require_sense, require_writer, writing_client
from reben.publish.push_plan import (
    MAIN,
    PushPlan,
    PushTarget,
    make_plan,
    read_tree,
    references,
)

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

_LARGE_BYTES = 1_000_000
_Progress = Callable[[int, int], None]
Outcome = Literal["pushed", "unchanged", "declined", "dry run"]


@dataclass(frozen=True)
class Pushed:
    """The result of a push.

    Args:
        outcome: ``pushed``; ``unchanged`` if the Hub had the same content already, so that no
            commit was made; ``declined`` by the user; ``dry run``.
        url: The page of the model, or of the pull request.
        commit: The commit that holds this content, if any.
        plan: What was done, or would have been.
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
    new_licence: bool = False,
    message: str | None = None,
) -> Pushed:
    """Push a card folder to the Hub in one commit, and return where it is.

    The folder is checked first. Only the files of a card folder are pushed; the plan names the
    others. Files that only the repository holds stay there, but for what reben wrote of weights
    that this push replaces, such as an old ``model.onnx``. Unchanged files are not sent again, and
    if none changed, no commit is made. Other people's changes are never overwritten.

    Args:
        folder: A card folder, as `write_card` makes it.
        repository: Where to, ``owner/name`` or ``owner/name@branch``; it is created if it does not
            exist.
        private: Whether to make a new repository private. An existing public one is then refused.
        create_pr: Whether to open a pull request instead of committing to a branch.
        tag: A tag to set on the commit.
        revision: The branch to commit to, ``main`` by default; a new one starts from main.
        dry_run: Whether to change nothing on the Hub and only return the plan.
        confirm: Called with the plan before anything is changed; nothing is if it returns False.
            Without it, a repository that holds other content is refused.
        token: A token with write access, if not the one from the usual places.
        progress: Called as ``progress(done, total)`` while files are sent, counted in bytes.
        new_licence: Whether the licence may become another than that on the Hub.
        message: The message of the commit; by default it names reben.

    Raises:
        CardError: If the folder does not pass the check.
        ConfigError: If the name is invalid, or the settings contradict each other.
        HubAuthError: If there is no token, or it has no right to do this.
        HubConflictError: If the repository holds other content and ``confirm`` is not given, if it
            holds former weights in other formats or has another licence, if a name is taken, or if
            somebody else changes it at the same time.
        HubConnectionError: If the Hub or the network keeps failing.

    Example:
        >>> push("runs/r50-s2/hub", "my-org/resnet50-s2-v1.0").url  # doctest: +SKIP
        'https://huggingface.co/my-org/resnet50-s2-v1.0'
    """
    repository, revision = split_revision(repository, revision)
    require_hub_id(repository)
    require_sense(create_pr=create_pr, tag=tag, revision=revision)
    api = writing_client(token)
    require_card(Path(folder))
    require_writer(api)
    target = PushTarget(
        repository=repository,
        private=private,
        branch=revision or MAIN,
        pull_request=create_pr,
        tag=tag,
    )
    look = partial(make_plan, api, Path(folder), target)
    plan = look()
    if dry_run:
        return Pushed("dry run", plan.page, None, plan)
    if plan.licence_change is not None and not new_licence:
        old, new = plan.licence_change
        raise HubConflictError(
            f"{plan.url} is under the licence {old}, and the card of {folder} says {new}. Nothing "
            "was pushed. If the licence shall change, say so: new_licence=True (--new-licence); "
            f"else write the card with the licence {old}."
        )
    if plan.is_done:
        return Pushed("unchanged", plan.page, plan.head, plan)
    if confirm is not None and not confirm(plan):
        return Pushed("declined", plan.page, None, plan)
    if confirm is None and plan.overwrites:
        changed = ", ".join(file.path for file in plan.changes)
        raise HubConflictError(
            f"{plan.url} exists and holds other content; {changed} would be new or changed. "
            "Nothing was pushed. To go on, pass confirm=lambda plan: True (--yes), or choose "
            "another name."
        )
    if not plan.exists:
        plan = replace(plan, head=_make_repository(api, plan, look))
    commit, page = _make_commit(api, plan, progress, message)
    if plan.tag is not None and not plan.tag_exists:
        _set_tag(api, plan, commit)
    return Pushed("pushed" if plan.changes else "unchanged", page, commit, plan)


# What changes something on the Hub ---------------------------------------------------------------


def _make_repository(api: "HfApi", plan: PushPlan, look: Callable[[], PushPlan]) -> str | None:
    """Make the repository and return its first commit."""
    # None leaves it to what the organisation has set.
    make = partial(api.create_repo, plan.repository, private=True if plan.private else None)
    clash: HubConflictError | None = None
    try:
        ask(make, f"Making the repository {plan.repository}")
    except HubConflictError as error:  # made by us, if an answer was lost
        clash = error
    else:
        _require_private(api, plan)
    made = look()
    if made.overwrites or not made.exists:
        told = "somebody else has just created" if made.exists else "this token cannot see"
        raise HubConflictError(
            f"{clash or ''} There is a repository {plan.repository} that {told}. Nothing was "
            "pushed. Choose another name, or look at it and push again.".lstrip()
        ) from clash
    return made.head


def _require_private(api: "HfApi", plan: PushPlan) -> None:
    """Check that a new repository became private if it was to be."""
    if not plan.private:
        return
    info = ask(partial(api.model_info, plan.repository), f"Looking at the new {plan.repository}")
    if not info.private:
        raise HubConflictError(
            f"The Hub made {plan.url} public, although it was asked for a private repository. "
            f"Nothing was pushed into it. Make it private, or delete it, at {plan.url}/settings"
        )


def _make_commit(
    api: "HfApi", plan: PushPlan, progress: _Progress | None, message: str | None
) -> tuple[str, str]:
    """Make the branch if needed, and one commit of all changes; return commit and page."""
    name, branch = plan.repository, plan.branch
    try:
        if not plan.branch_exists:
            make = partial(
                api.create_branch, name, branch=branch, revision=plan.head, exist_ok=True
            )
            ask(make, f"Making the branch {branch} of {name}")
        if not plan.changes:
            return str(plan.head), plan.page
        return _commit(api, plan, progress, message)
    except (HubError, CardError) as error:
        if plan.exists:
            raise
        raise type(error)(
            f"{error} The repository {plan.url} was created before that and seems to be empty. "
            f"Push again to go on from there, or delete it at {plan.url}/settings"
        ) from error


def _commit(
    api: "HfApi", plan: PushPlan, progress: _Progress | None, message: str | None
) -> tuple[str, str]:
    from huggingface_hub import CommitOperationDelete

    revision = None if plan.pull_request else plan.branch
    target: dict[str, Any] = {"revision": revision, "create_pr": plan.pull_request}
    additions = [file.addition for file in plan.changes]
    deletions = [CommitOperationDelete(path, is_folder=False) for path in plan.removed]
    known = references(api, plan.repository, pull_requests=True)[0] if plan.pull_request else {}
    send = partial(
        api.create_commit,
        plan.repository,
        [*additions, *deletions],
        commit_message=message or f"Publish with reben {version('reben')}",
        parent_commit=plan.head,
        **target,
    )
    asked = f"Committing to {plan.repository}"
    try:
        _send_files(api, plan.repository, additions, target, progress)
        if plan.pull_request:  # asked twice, the Hub would open two
            with in_our_words(asked):
                info = send()
        else:
            info = ask(send, asked)
    except (HubConnectionError, HubConflictError) as error:
        return _find_commit(api, plan, known, error)
    except ValueError as error:
        raise CardError(
            f"The Hub does not take the card, so nothing was committed: {error}"
        ) from error
    except HubError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise CardError(
            f"The card folder changed since the push began, so nothing was committed: {error}"
        ) from error
    missing = _missing(api, plan, info.oid)
    if missing:
        raise HubError(
            f"Commit {info.oid[:8]} of {plan.url} does not hold {', '.join(missing)} as they were "
            "when the push began: the folder changed meanwhile. Push again."
        )
    return info.oid, info.pr_url or plan.page


def _send_files(
    api: "HfApi",
    repository: str,
    additions: Sequence["CommitOperationAdd"],
    target: dict[str, Any],
    progress: _Progress | None,
) -> None:
    """Send the content of large files, which is no part of the repository until it is committed.

    The client retries; content that arrived is not sent twice.
    """
    large = [[one] for one in additions if one.upload_info.size >= _LARGE_BYTES]
    small = [one for one in additions if one.upload_info.size < _LARGE_BYTES]
    total = sum(one.upload_info.size for one in additions)
    done = 0
    for group in filter(None, [*large, small]):
        with in_our_words(f"Sending files to {repository}"):
            api.preupload_lfs_files(repository, group, free_memory=False, **target)
        done += sum(one.upload_info.size for one in group)
        if progress is not None:
            progress(done, total)
    ignored = [one.path_in_repo for one in additions if getattr(one, "_should_ignore", False)]
    if ignored:
        raise CardError(
            f"The .gitignore of {repository} names {', '.join(ignored)}, which the Hub would drop "
            "silently. Nothing was committed. Remove these lines from it first."
        )


def _find_commit(
    api: "HfApi", plan: PushPlan, known: dict[str, str], lost: HubError
) -> tuple[str, str]:
    """Return the commit whose answer was lost, and its page, or raise why there is none."""
    try:
        heads = references(api, plan.repository, pull_requests=plan.pull_request)[0]
        new = {ref: commit for ref, commit in heads.items() if ref not in known}
        for ref, commit in new.items() if plan.pull_request else ():
            if not _missing(api, plan, commit):
                return commit, f"{plan.url}/discussions/{ref.rsplit('/', 1)[-1]}"
        head = heads.get(plan.branch)
        if head not in (None, plan.head) and not _missing(api, plan, str(head)):
            return str(head), plan.page
    except HubConnectionError as error:
        raise HubConnectionError(
            f"{lost} Whether the commit arrived could not be checked either. Run the same again: "
            "it looks first, and commits nothing twice."
        ) from error
    if isinstance(lost, HubConflictError):
        raise HubConflictError(
            f"{lost} Somebody else committed to {plan.url} meanwhile. Look at it, and push again."
        ) from lost
    raise HubConnectionError(f"{lost} No commit was made.") from lost


def _missing(api: "HfApi", plan: PushPlan, commit: str) -> list[str]:
    there = read_tree(api, plan.repository, commit)
    return [file.path for file in plan.files if not file.is_same(there.get(file.path))]


def _set_tag(api: "HfApi", plan: PushPlan, commit: str) -> None:
    """Set the tag on a commit; if that fails, say that the files are there."""
    tag = str(plan.tag)
    make = partial(api.create_tag, plan.repository, tag=tag, revision=commit, exist_ok=True)
    try:
        ask(make, f"Setting the tag {tag}")
        if references(api, plan.repository)[1].get(tag) != commit:
            raise HubConflictError(f"Somebody else set the tag {tag} this moment.")
    except HubError as error:
        raise type(error)(
            f"{error} All files are at {plan.url} as commit {commit[:8]}; only the tag {tag} is "
            "missing. Run the same again to set it."
        ) from error
