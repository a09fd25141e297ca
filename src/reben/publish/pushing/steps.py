"""The steps of a push that change something on the Hub: repository, branch, commit, tag.

What fails is tried again only where that is safe: content of large files is named by its hash,
and a commit whose answer was lost is looked for before it is sent again.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from reben.errors import CardError, HubConflictError, HubConnectionError, HubError
from reben.model.hub import WAITS, ask, in_our_words
from reben.publish.pushing.plan import (
    ATTRIBUTES,
    MAIN,
    PushPlan,
    read_tree,
    references,
    repository_info,
)

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

_LARGE_BYTES = 1_000_000


def page(plan: PushPlan) -> str:
    """Return the page on the Hub that shows the branch of a plan."""
    return plan.url if plan.branch == MAIN else f"{plan.url}/tree/{plan.branch}"


def make_repository(api: "HfApi", plan: PushPlan) -> str:
    """Make the repository and return its first commit.

    Raises:
        HubConflictError: If the name is taken.
        HubError: If the Hub refuses or fails.
    """
    name = plan.repository
    for wait in (*WAITS, None):
        try:
            with in_our_words(f"Making the repository {name}"):
                # None leaves it to what the organisation has set.
                api.create_repo(name, private=True if plan.private else None)
            break
        except HubConflictError as error:
            raise HubConflictError(
                f"{error} There is a repository {name} that this token cannot see, or that was "
                "made this moment. Nothing was pushed. Choose another name, or look at it."
            ) from error
        except HubConnectionError:
            if wait is None:
                raise
            time.sleep(wait)
            if repository_info(api, name) is not None:  # the answer was lost, not the request
                break
    head = references(api, name)[0][MAIN]
    others = set(read_tree(api, name, head)) - {ATTRIBUTES}
    if others:
        raise HubConflictError(
            f"Somebody else made {name} this moment: it holds {', '.join(sorted(others))}. "
            "Nothing was pushed. Look at it, and push again."
        )
    return head


def make_branch(api: "HfApi", plan: PushPlan) -> None:
    """Make the branch of a plan, from main.

    Raises:
        HubError: If the Hub refuses or fails.
    """
    call = partial(
        api.create_branch, plan.repository, branch=plan.branch, revision=plan.head, exist_ok=True
    )
    ask(call, f"Making the branch {plan.branch} of {plan.repository}")


def commit_changes(
    api: "HfApi", plan: PushPlan, progress: Callable[[int, int], None] | None
) -> tuple[str, str]:
    """Commit all changes at once; return the commit and the page to look at.

    If an answer is lost, the Hub is asked whether the commit is there before it is sent again;
    the Hub itself refuses a second one, since each names the commit that it follows on.

    Raises:
        HubError: If the Hub refuses or fails, or somebody else commits meanwhile.
    """
    from huggingface_hub import CommitOperationAdd

    known = references(api, plan.repository, pull_requests=True)[0] if plan.pull_request else {}
    try:
        operations = [
            CommitOperationAdd(path_in_repo=file.path, path_or_fileobj=file.local.source)
            for file in plan.changes
        ]
    except ValueError as error:
        raise CardError(
            f"The card folder changed since the push began, so nothing was committed: {error}."
        ) from error
    _send(api, plan, operations, progress)
    lost: HubError | None = None
    for wait in WAITS:
        try:
            return _commit_once(api, plan, operations)
        except (HubConnectionError, HubConflictError) as error:
            if lost is None and isinstance(error, HubConflictError):
                raise
            lost = error
        time.sleep(wait)
        landed = _landed(api, plan, known, lost)
        if landed is not None:
            return landed
        if plan.pull_request:
            break
    raise HubConnectionError(f"{lost} No commit was made.") from lost


def _commit_once(
    api: "HfApi", plan: PushPlan, operations: Sequence["CommitOperationAdd"]
) -> tuple[str, str]:
    from importlib.metadata import version

    try:
        with in_our_words(f"Committing to {plan.repository}"):
            info = api.create_commit(
                plan.repository,
                operations,
                commit_message=f"Publish with reben {version('reben')}",
                revision=None if plan.pull_request else plan.branch,
                create_pr=plan.pull_request,
                parent_commit=plan.head,
            )
    except json.JSONDecodeError as error:
        raise HubConnectionError(
            f"Committing to {plan.repository}: the Hub's answer is none of its own. Try "
            "again later."
        ) from error
    except ValueError as error:
        raise CardError(
            f"The Hub does not take the card, so nothing was committed: {error}"
        ) from error
    _require_there(api, plan, info.oid)
    return info.oid, info.pr_url or page(plan)


def _send(
    api: "HfApi",
    plan: PushPlan,
    operations: Sequence["CommitOperationAdd"],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Send the content of large files, which is no part of the repository until it is committed.

    The client sends again what fails; content that arrived is not sent twice.

    Raises:
        CardError: If the repository is set to ignore one of the files.
        HubError: If the Hub refuses or fails.
    """
    large = [[op] for op in operations if op.upload_info.size >= _LARGE_BYTES]
    small = [op for op in operations if op.upload_info.size < _LARGE_BYTES]
    total = sum(op.upload_info.size for op in operations)
    done = 0
    for group in filter(None, [*large, small]):
        with in_our_words(f"Sending files to {plan.repository}"):
            api.preupload_lfs_files(
                plan.repository,
                group,
                revision=None if plan.pull_request else plan.branch,
                create_pr=plan.pull_request,
                free_memory=False,
            )
        done += sum(op.upload_info.size for op in group)
        if progress is not None:
            progress(done, total)
    ignored = [op.path_in_repo for op in operations if getattr(op, "_should_ignore", False)]
    if ignored:
        raise CardError(
            f"The .gitignore of {plan.repository} names {', '.join(ignored)}, which would be left "
            "out without a word. Nothing was committed. Take them out of it first."
        )


def _landed(
    api: "HfApi", plan: PushPlan, known: dict[str, str], lost: HubError
) -> tuple[str, str] | None:
    """Return the commit whose answer was lost, and its page; None if there is none.

    Raises:
        HubConflictError: If there is one by somebody else.
        HubConnectionError: If it cannot be seen.
    """
    try:
        heads = references(api, plan.repository, pull_requests=plan.pull_request)[0]
        if plan.pull_request:
            for ref, commit in heads.items():
                if ref not in known and not _missing(api, plan, commit):
                    return commit, f"{plan.url}/discussions/{ref.rsplit('/', 1)[-1]}"
            return None
        head = heads[plan.branch]
        if head == plan.head:
            return None
        missing = _missing(api, plan, head)
    except HubConnectionError as error:
        raise HubConnectionError(
            f"{lost} Whether the commit is there could not be seen either. Run the same again: it "
            "looks first, and commits nothing twice."
        ) from error
    if missing:
        raise HubConflictError(
            f"Somebody else committed to {plan.url} meanwhile ({head[:8]}). Look at it, and push "
            "again."
        ) from lost
    return head, page(plan)


def _missing(api: "HfApi", plan: PushPlan, commit: str) -> list[str]:
    there = read_tree(api, plan.repository, commit)
    return [file.path for file in plan.files if not file.local.is_same(there.get(file.path))]


def _require_there(api: "HfApi", plan: PushPlan, commit: str) -> None:
    """Check that a commit holds what was planned.

    Raises:
        HubError: If it does not, for example since a file changed on the way.
    """
    missing = _missing(api, plan, commit)
    if missing:
        raise HubError(
            f"Commit {commit[:8]} of {plan.url} does not hold {', '.join(missing)} as they were "
            "when the push began: the folder changed meanwhile. Push again."
        )


def set_tag(api: "HfApi", plan: PushPlan, commit: str) -> None:
    """Set the tag on a commit; the answer to an earlier attempt may have been lost.

    Raises:
        HubError: If the Hub refuses or fails. The files are there then, and it says so.
    """
    call = partial(api.create_tag, plan.repository, tag=str(plan.tag), revision=commit)
    try:
        ask(call, f"Setting the tag {plan.tag}")
    except HubConflictError as error:
        if references(api, plan.repository)[1].get(str(plan.tag)) != commit:
            raise _untagged(error, plan, commit) from error
    except HubError as error:
        raise _untagged(error, plan, commit) from error


def _untagged(error: HubError, plan: PushPlan, commit: str) -> HubError:
    return type(error)(
        f"{error} All files are at {plan.url} as commit {commit[:8]}; only the tag {plan.tag} is "
        "missing. Run the same again to set it."
    )
