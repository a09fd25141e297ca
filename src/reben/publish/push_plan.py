"""The plan of a push: the files of a card folder compared with those on the Hub; read only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from reben.errors import CardError, ConfigError, HubConflictError, HubNotFoundError
from reben.model.hub import ask, fetch_file
from reben.model.weights import WEIGHTS_FILE
from reben.publish.card import FILES
from reben.publish.mlm_fields import CARD_FILE
from reben.publish.pages import parse_head, read_page, split_head
from reben.publish.report_page import FIGURES_FOLDER

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.hf_api import RepoFile

MAIN = "main"
ATTRIBUTES = ".gitattributes"
"""The file that the Hub itself puts into a new repository."""
_WEIGHTS_SUFFIXES = (
    *(".bin", ".ckpt", ".engine", ".gguf", ".h5", ".keras", ".mlmodel", ".msgpack", ".npz"),
    *(".onnx", ".ot", ".pb", ".pickle", ".pkl", ".pt", ".pt2", ".pth", ".safetensors", ".tflite"),
)
_LARGEST_BYTES_IN_GIT = 10_000_000  # the Hub keeps larger files by their SHA-256


@dataclass(frozen=True)
class PlannedFile:
    """A file of the card folder, compared with the Hub."""

    path: str
    state: Literal["new", "changed", "same"]
    addition: "CommitOperationAdd"
    git_oid: str

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.addition.upload_info.size

    def is_same(self, there: "RepoFile | None") -> bool:
        """Tell whether the Hub holds this very content, by SHA-256 if it is large."""
        if there is None:
            return False
        if there.lfs is not None:
            return bool(there.lfs.sha256 == self.addition.upload_info.sha256.hex())
        return bool(there.blob_id == self.git_oid)


@dataclass(frozen=True, kw_only=True)
class PushTarget:
    """Where a push goes.

    Args:
        repository: Where to, ``owner/name``.
        private: Whether it is, or would be made, private.
        branch: The branch to commit to.
        pull_request: Whether to open a pull request instead of committing to the branch.
        tag: The tag to set, if any.
    """

    repository: str
    private: bool
    branch: str
    pull_request: bool
    tag: str | None


@dataclass(frozen=True, kw_only=True)
class PushPlan(PushTarget):
    """The plan of a push.

    Args:
        url: The page of the repository.
        exists: Whether it exists already.
        branch_exists: Whether the branch exists already; else it starts from main.
        tag_exists: Whether the tag exists already, on the commit that has this content.
        head: The commit that the new one follows; None for a new repository.
        files: The files of the folder.
        stays: Files of the repository that the folder does not hold; they are left there.
        removed: Files of the repository that reben wrote for its former weights, and that the
            folder does not hold; they are deleted, since they would contradict the new ones.
        licence_change: The licence on the Hub and that of the folder, if they differ.
        left_out: Files of the folder that are not pushed -> why.
    """

    url: str
    exists: bool
    branch_exists: bool
    tag_exists: bool
    head: str | None
    files: tuple[PlannedFile, ...]
    stays: tuple[str, ...]
    left_out: Mapping[str, str]
    removed: tuple[str, ...] = ()
    licence_change: tuple[str, str] | None = None

    @property
    def page(self) -> str:
        """The page on the Hub that shows the branch."""
        return self.url if self.branch == MAIN else f"{self.url}/tree/{self.branch}"

    @property
    def changes(self) -> tuple[PlannedFile, ...]:
        """The files that are new or changed."""
        return tuple(file for file in self.files if file.state != "same")

    @property
    def is_done(self) -> bool:
        """Whether everything is on the Hub as it should be."""
        return not self.changes and self.branch_exists and (self.tag is None or self.tag_exists)

    @property
    def overwrites(self) -> bool:
        """Whether the repository holds other content."""
        others = {*self.stays, *self.removed} - {ATTRIBUTES} or any(
            file.state != "new" for file in self.files
        )
        return bool(self.changes and others) and not self.pull_request

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, for JSON."""
        names = ("repository", "exists", "private", "branch", "pull_request", "tag")
        return {
            **{name: getattr(self, name) for name in names},
            "files": [{"path": f.path, "bytes": f.size, "state": f.state} for f in self.files],
            "stays": list(self.stays),
            "removed": list(self.removed),
            "licence_change": self.licence_change and list(self.licence_change),
            "left_out": dict(self.left_out),
        }


def make_plan(api: "HfApi", folder: Path, target: PushTarget) -> PushPlan:
    """Return what pushing ``folder`` would do."""
    repository, branch, tag = target.repository, target.branch, target.tag
    paths, left_out = card_files(folder)
    is_there, is_private = _look_for(api, target)
    branches, tags = references(api, repository) if is_there else ({}, {})
    if branch in tags:
        raise ConfigError(
            f"{branch} is a tag of {repository}, and tags do not move. Name a branch to push to."
        )
    head = branches.get(branch, branches.get(MAIN))
    there = {} if head is None else read_tree(api, repository, head)
    try:
        files = tuple(_planned(path, file, there.get(path)) for path, file in paths.items())
    except (OSError, ValueError) as error:
        raise CardError(f"The card folder {folder} cannot be read: {error}.") from error
    others = sorted(set(there) - set(paths))
    former = _former_files(repository, files, others)
    content = head if all(file.state == "same" for file in files) else None
    if tag is not None and tags.get(tag, content) != content:
        raise HubConflictError(
            f"{repository} has a tag {tag} already, on commit {tags[tag][:8]} with other content, "
            "and tags do not move. Nothing was pushed. Choose another tag."
        )
    return PushPlan(
        **{**asdict(target), "private": is_private},
        url=f"{api.endpoint}/{repository}",
        exists=is_there,
        branch_exists=branch in branches or (not is_there and branch == MAIN),
        tag_exists=tag in tags,
        head=head,
        files=files,
        stays=tuple(path for path in others if path not in former),
        left_out=left_out,
        removed=former,
        licence_change=_licence_change(api, repository, head, folder)
        if CARD_FILE in there
        else None,
    )


def _former_files(
    repository: str, files: Sequence[PlannedFile], others: Sequence[str]
) -> tuple[str, ...]:
    """Return the files of a repository that are of weights which a push replaces.

    What reben writes beside weights can go, since it can be made again. Weights in other formats
    are somebody's work, so they are refused.
    """
    if not any(file.path == WEIGHTS_FILE and file.state != "same" for file in files):
        return ()
    foreign = [
        path
        for path in others
        if path not in FILES and PurePosixPath(path).suffix.lower() in _WEIGHTS_SUFFIXES
    ]
    if foreign:
        raise HubConflictError(
            f"{repository} also holds {', '.join(foreign)}: the former weights in other formats, "
            f"which would not be those of the new {WEIGHTS_FILE}. Nothing was pushed. Delete them "
            "on the Hub first, or push under another name."
        )
    return tuple(path for path in others if path in FILES or path.startswith(f"{FIGURES_FOLDER}/"))


def _licence_change(
    api: "HfApi", repository: str, head: str | None, folder: Path
) -> tuple[str, str] | None:
    """Return the licence of the card on the Hub and of that in a folder, if they differ."""
    there = fetch_file(repository, CARD_FILE, {"revision": head, "token": api.token})
    if there is None:
        return None
    old, new = _licence(there), _licence(folder / CARD_FILE)
    return None if old in ("", new) else (old, new or "none")


def _licence(card: Path) -> str:
    """Return the licence that a card states, with the name of one that the Hub does not know."""
    try:
        block, _ = split_head(read_page(card))
        head = {} if block is None else parse_head(block)
    except CardError:
        return ""
    return " ".join(str(head[name]) for name in ("license", "license_name") if head.get(name))


def card_files(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the files to push by their path in the repository, and what is left out -> why."""
    files: dict[str, Path] = {}
    left_out: dict[str, str] = {}
    figures = folder / FIGURES_FOLDER
    try:
        inside = [*folder.iterdir()]
        if figures.is_dir() and not figures.is_symlink():
            inside = [*(path for path in inside if path != figures), *figures.iterdir()]
    except OSError as error:
        raise CardError(f"The card folder {folder} cannot be read: {error}.") from error
    for file in sorted(inside):
        path = file.relative_to(folder).as_posix()
        if file.name.startswith("."):
            left_out[path] = "hidden"
        elif file.parent != figures and file.name not in FILES:
            left_out[path] = "not part of a card folder"
        elif file.is_symlink():
            raise CardError(
                f"{file} is a link; pushing it would publish whatever it points to. Put the file "
                "itself there, or write the card folder again."
            )
        elif not file.is_file():
            left_out[path] = "not a file"
        else:
            files[path] = file.absolute()
    return files, left_out


def _look_for(api: "HfApi", target: PushTarget) -> tuple[bool, bool]:
    """Return whether a repository is there, and whether it is, or would be made, private."""
    repository = target.repository
    try:
        info = ask(partial(api.model_info, repository), f"Looking for {repository} on the Hub")
    except HubNotFoundError:
        if target.pull_request:
            raise HubNotFoundError(
                f"There is no repository {repository} that this token can see, so no pull request "
                "can be opened there. Check the name, or leave the pull request (--pr) out."
            ) from None
        return False, target.private
    if target.private and not info.private:
        raise HubConflictError(
            f"{repository} exists and is public, and a push cannot make it private. Nothing was "
            f"pushed. Make it private at {api.endpoint}/{repository}/settings, or leave private "
            "(--private) out."
        )
    return True, bool(info.private)


def _planned(path: str, source: Path, there: "RepoFile | None") -> PlannedFile:
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.utils.sha import git_hash

    small = source.stat().st_size <= _LARGEST_BYTES_IN_GIT
    git_oid = git_hash(source.read_bytes()) if small else ""
    file = PlannedFile(path, "new", CommitOperationAdd(path, source), git_oid)
    if there is None:
        return file
    return replace(file, state="same" if file.is_same(there) else "changed")


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


def read_tree(api: "HfApi", repository: str, commit: str) -> "dict[str, RepoFile]":
    """Return the files of a repository at a commit, by path."""
    from huggingface_hub.hf_api import RepoFile

    entries = ask(
        lambda: list(api.list_repo_tree(repository, recursive=True, revision=commit)),
        f"Looking at the files of {repository}",
    )
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
