"""What a push would do: the files of a card folder beside what stands on the Hub. It only reads."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reben.errors import CardError, ConfigError, HubConflictError, HubNotFoundError
from reben.model.hub import ask
from reben.publish.card import FILES

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FIGURES = "figures"
"""The folder in a card folder that holds pictures."""
KNOWN = frozenset(FILES).union(("mlm.json", "model.onnx", "example.safetensors")) - {FIGURES}
"""The other names that a card folder may hold; nothing else is ever pushed."""
MAIN = "main"
ATTRIBUTES = ".gitattributes"
"""What the Hub itself puts into a new repository."""
_CHUNK_BYTES = 1 << 20

State = Literal["new", "changed", "same"]


@dataclass(frozen=True)
class Stored:
    """How the Hub knows the content of a file: by git's hash, or by SHA-256 where it is large."""

    git_oid: str
    sha256: str | None


@dataclass(frozen=True)
class LocalFile:
    """A file to push, with both hashes that the Hub may know it by."""

    source: Path
    size: int
    git_oid: str
    sha256: str

    def is_same(self, stored: Stored | None) -> bool:
        """Tell whether the Hub holds this very content."""
        if stored is None:
            return False
        return stored.sha256 == self.sha256 if stored.sha256 else stored.git_oid == self.git_oid


@dataclass(frozen=True)
class PlannedFile:
    """A file of the card folder, and what becomes of it."""

    path: str
    state: State
    local: LocalFile

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.local.size


@dataclass(frozen=True)
class PushPlan:
    """What a push would do.

    Args:
        repository: Where to, ``owner/name``.
        url: Its page.
        exists: Whether it is there already.
        private: Whether it is, or would be made, private.
        branch: The branch to commit to.
        branch_exists: Whether that is there already; else it starts from main.
        pull_request: Whether to open a pull request instead of committing to the branch.
        tag: The tag to set, if any.
        tag_exists: Whether it is there already, on the very commit that has this content.
        head: The commit that the new one follows on; None for a new repository.
        files: The files of the folder.
        stays: Files of the repository that the folder does not hold; they are left there.
        left_out: Files of the folder that are not pushed -> why.
    """

    repository: str
    url: str
    exists: bool
    private: bool
    branch: str
    branch_exists: bool
    pull_request: bool
    tag: str | None
    tag_exists: bool
    head: str | None
    files: tuple[PlannedFile, ...]
    stays: tuple[str, ...]
    left_out: Mapping[str, str]

    @property
    def changes(self) -> tuple[PlannedFile, ...]:
        """The files that are new or changed."""
        return tuple(file for file in self.files if file.state != "same")

    @property
    def is_done(self) -> bool:
        """Whether everything stands on the Hub as it should."""
        return not self.changes and self.branch_exists and (self.tag is None or self.tag_exists)

    @property
    def overwrites(self) -> bool:
        """Whether other content stands where this would go."""
        others = set(self.stays) - {ATTRIBUTES} or any(file.state != "new" for file in self.files)
        return bool(self.changes and others) and not self.pull_request

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, for JSON."""
        return {
            "repository": self.repository,
            "exists": self.exists,
            "private": self.private,
            "branch": self.branch,
            "pull_request": self.pull_request,
            "tag": self.tag,
            "files": [
                {"path": file.path, "bytes": file.size, "state": file.state} for file in self.files
            ],
            "stays": list(self.stays),
            "left_out": dict(self.left_out),
        }


def make_plan(  # noqa: PLR0913 - all after the third are named
    api: "HfApi",
    folder: Path,
    repository: str,
    *,
    private: bool,
    pull_request: bool,
    tag: str | None,
    branch: str,
) -> PushPlan:
    """Return what pushing ``folder`` would do.

    Raises:
        CardError: If the folder holds a link where a file should be.
        ConfigError: If the branch is the name of a tag.
        HubConflictError: If the tag is taken, or the repository is public and should be private.
        HubNotFoundError: If a pull request is to be opened where there is no repository.
        HubError: If the Hub refuses or cannot be reached.
    """
    files, left_out = card_files(folder)
    info = repository_info(api, repository)
    if info is None and pull_request:
        raise HubNotFoundError(
            f"There is no repository {repository} that this token can see, so no pull request can "
            "be opened there. Check the name, or leave the pull request (--pr) out to make it."
        )
    if info is not None and private and not info.private:
        raise HubConflictError(
            f"{repository} is there and public, and a push cannot make it private. Nothing was "
            f"pushed. Make it private at {api.endpoint}/{repository}/settings, or leave private "
            "(--private) out."
        )
    branches, tags = ({}, {}) if info is None else references(api, repository)
    if branch in tags:
        raise ConfigError(
            f"{branch} is a tag of {repository}, and tags do not move. Name a branch to push to."
        )
    head = branches.get(branch, branches.get(MAIN))
    there = {} if head is None else read_tree(api, repository, head)
    planned = tuple(
        PlannedFile(path, "same" if file.is_same(there.get(path)) else _state(path, there), file)
        for path, file in files.items()
    )
    done = all(file.state == "same" for file in planned)
    _require_free_tag(repository, tag, tags, head if done else None)
    return PushPlan(
        repository=repository,
        url=f"{api.endpoint}/{repository}",
        exists=info is not None,
        private=private if info is None else bool(info.private),
        branch=branch,
        branch_exists=branch in branches or (info is None and branch == MAIN),
        pull_request=pull_request,
        tag=tag,
        tag_exists=tag in tags,
        head=head,
        files=planned,
        stays=tuple(sorted(set(there).difference(files))),
        left_out=left_out,
    )


def card_files(folder: Path) -> tuple[dict[str, LocalFile], dict[str, str]]:
    """Return the files of a card folder by their path, and what is left out with the reason.

    Raises:
        CardError: If a file that would be pushed is a link, or the folder cannot be read.
    """
    files: dict[str, LocalFile] = {}
    left_out: dict[str, str] = {}
    try:
        for entry in sorted(folder.iterdir()):
            if entry.name == FIGURES and entry.is_dir() and not entry.is_symlink():
                for picture in sorted(entry.iterdir()):
                    _sort_in(f"{FIGURES}/{picture.name}", picture, files, left_out, known=True)
            else:
                known = entry.name in KNOWN or entry.name == FIGURES
                _sort_in(entry.name, entry, files, left_out, known=known)
    except OSError as error:
        raise CardError(f"The card folder {folder} cannot be read: {error}.") from error
    return files, left_out


def _sort_in(
    path: str, file: Path, files: dict[str, LocalFile], left_out: dict[str, str], *, known: bool
) -> None:
    """Put a file among those to push or among those that are left out."""
    if file.name.startswith("."):
        left_out[path] = "hidden"
    elif not known:
        left_out[path] = "not part of a card folder"
    elif file.is_symlink():
        raise CardError(
            f"{file} is a link; pushing it would publish whatever it points to. Put the file "
            "itself there, or write the card folder again."
        )
    elif not file.is_file():
        left_out[path] = "not a file"
    else:
        files[path] = _local_file(file)


def _local_file(file: Path) -> LocalFile:
    size = file.stat().st_size
    sha256 = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            sha256.update(chunk)
            git.update(chunk)
    return LocalFile(file, size, git.hexdigest(), sha256.hexdigest())


def repository_info(api: "HfApi", repository: str) -> Any | None:  # noqa: ANN401 - of the client
    """Return what the Hub tells of a repository, or None if there is none that the token sees."""
    try:
        return ask(partial(api.model_info, repository), f"Looking for {repository} on the Hub")
    except HubNotFoundError:
        return None


def references(
    api: "HfApi", repository: str, *, pull_requests: bool = False
) -> tuple[dict[str, str], dict[str, str]]:
    """Return branches (or pull requests) and tags of a repository: name -> commit."""
    call = partial(api.list_repo_refs, repository, include_pull_requests=pull_requests)
    refs = ask(call, f"Looking at the branches and tags of {repository}")
    heads = (refs.pull_requests or []) if pull_requests else refs.branches
    return (
        {(ref.ref if pull_requests else ref.name): ref.target_commit for ref in heads},
        {ref.name: ref.target_commit for ref in refs.tags},
    )


def read_tree(api: "HfApi", repository: str, commit: str) -> dict[str, Stored]:
    """Return the files of a repository at a commit: path -> how the Hub knows its content."""
    from huggingface_hub.hf_api import RepoFile

    def listed() -> list[Any]:
        return list(api.list_repo_tree(repository, recursive=True, revision=commit))

    entries = ask(listed, f"Looking at the files of {repository}")
    return {
        entry.path: Stored(entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
        for entry in entries
        if isinstance(entry, RepoFile)
    }


def _state(path: str, there: Mapping[str, Stored]) -> State:
    return "changed" if path in there else "new"


def _require_free_tag(
    repository: str, tag: str | None, tags: Mapping[str, str], commit: str | None
) -> None:
    """Check that a tag is free, or is on the commit that already has this content.

    Raises:
        HubConflictError: If it is on another one.
    """
    if tag is not None and tags.get(tag, commit) != commit:
        raise HubConflictError(
            f"{repository} has a tag {tag} already, on commit {tags[tag][:8]} with other content, "
            "and tags do not move. Nothing was pushed. Choose another tag."
        )
