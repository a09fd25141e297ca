"""What a Hugging Face Hub knows: repositories, commits, blobs, tokens; and how it is to fail."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

LFS_SUFFIXES = (".safetensors", ".bin", ".onnx", ".pt", ".npz", ".zip")
GIT_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


@dataclass(frozen=True)
class Blob:
    """The content of a file, and how the repository holds it."""

    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        return (
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{self.sha256}\nsize {len(self.content)}\n"
        ).encode()

    @property
    def oid(self) -> str:
        stored = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    def entry(self, path: str) -> dict[str, Any]:
        """What the tree says of it."""
        entry = {"type": "file", "path": path, "oid": self.oid, "size": len(self.content)}
        if self.lfs:
            lfs = {"oid": self.sha256, "size": len(self.content)}
            entry["lfs"] = {**lfs, "pointerSize": len(self.pointer)}
        return entry


@dataclass(frozen=True)
class Commit:
    files: dict[str, Blob]
    title: str
    parent: str | None = None

    @property
    def oid(self) -> str:
        tree = sorted((path, blob.oid) for path, blob in self.files.items())
        return hashlib.sha1(json.dumps([tree, self.title, self.parent]).encode()).hexdigest()


@dataclass
class Repository:
    owner: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first = Commit({".gitattributes": Blob(GIT_ATTRIBUTES, lfs=False)}, "initial commit")
        self.refs["refs/heads/main"] = self.add(first)

    def add(self, commit: Commit) -> str:
        self.commits[commit.oid] = commit
        return commit.oid

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, tag, full reference or commit."""
        names = (f"refs/heads/{revision}", f"refs/tags/{revision}", revision)
        found = next((self.refs[name] for name in names if name in self.refs), revision)
        return found if found in self.commits else None

    @property
    def history(self) -> list[str]:
        """Titles of the commits of main, newest first."""
        titles, oid = [], self.refs["refs/heads/main"]
        while oid:
            titles.append(self.commits[oid].title)
            oid = self.commits[oid].parent
        return titles


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass
class Fault:
    """How one kind of request goes wrong: a status, or one of these words.

    ``drop`` closes before anything is done; ``lose`` does what was asked and closes without an
    answer; ``half`` sends half of the answer and closes.
    """

    request: re.Pattern[str]
    what: int | str
    times: int


@dataclass
class FakeHub:
    """All that the Hub knows."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    storage: dict[str, bytes] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    authorised: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    before: dict[str, Callable[[], None]] = field(default_factory=dict)
    url: str = ""
    all_public: bool = False
    """Whether it makes what is to be private public all the same."""

    @property
    def storage_url(self) -> str:
        """The same server under another host name."""
        return self.url.replace("127.0.0.1", "localhost")

    def token(self, user: str, role: str = "write", orgs: tuple[str, ...] = ()) -> str:
        """Return a new token of a user."""
        token = f"hf_{user}{role}{len(self.tokens)}Secret"
        self.tokens[token] = {"user": user, "role": role, "orgs": orgs}
        return token

    def fault(self, request: str, what: int | str, times: int = 1) -> None:
        """Let the next requests whose ``METHOD /path`` matches go wrong."""
        self.faults.append(Fault(re.compile(request), what, times))

    def repository(
        self, name: str, files: dict[str, bytes] | None = None, *, private: bool = False
    ) -> Repository:
        """Return a new repository; with files, they come in a second commit."""
        repository = Repository(name.split("/", maxsplit=1)[0], private)
        self.repositories[name] = repository
        if files is not None:
            self.write(name, files)
        return repository

    def write(self, name: str, files: dict[str, bytes], title: str = "files") -> str:
        """Commit files to main, as somebody else would."""
        repository = self.repositories[name]
        parent = repository.refs["refs/heads/main"]
        blobs = {path: Blob(data, path.endswith(LFS_SUFFIXES)) for path, data in files.items()}
        self.storage.update({blob.sha256: blob.content for blob in blobs.values() if blob.lfs})
        commit = Commit({**repository.commits[parent].files, **blobs}, title, parent)
        repository.refs["refs/heads/main"] = repository.add(commit)
        return commit.oid

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """What stands in a repository."""
        repository = self.repositories[name]
        commit = repository.commits[repository.resolve(revision)]
        return {path: blob.content for path, blob in commit.files.items()}

    def writes(self) -> list[str]:
        """The requests that would change something."""
        harmless = re.compile(r"(GET|HEAD) |POST /api/validate-yaml|.*/preupload/")
        return [request for request in self.requests if not harmless.match(request)]


@dataclass(frozen=True)
class Request:
    """One request, with the one who asks."""

    path: str
    query: dict[str, list[str]]
    body: bytes
    who: dict[str, Any] | None

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200

    @classmethod
    def json(cls, value: object, **headers: str) -> "Answer":
        return cls(json.dumps(value).encode(), {"Content-Type": "application/json", **headers})
