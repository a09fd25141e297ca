"""What a Hugging Face Hub answers, request by request: as much as reben asks for.

It keeps git's promises that matter here: blobs and commits are named by hashes, LFS files are
pointers in the tree and bytes in a storage of their own, a commit may name its parent, and what
is private looks like what is not there. Files in LFS are answered by a redirect to another host
name, as on the Hub, where the token must not go along.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from hub_state import LFS_SUFFIXES, Answer, Blob, Commit, FakeHub, Refusal, Repository, Request

Route = Callable[..., Answer]
_ROUTES: list[tuple[re.Pattern[str], Route]] = []
_ID = r"(?P<name>[^/]+/[^/]+?)"
_REVISION = r"(?P<revision>[^/]+)"
_REGULAR_BYTES = 10_000_000
_PAGE = 2  # models of an author on one page, so that the client has to turn it


def route(pattern: str) -> Callable[[Route], Route]:
    def register(function: Route) -> Route:
        _ROUTES.append((re.compile(pattern), function))
        return function

    return register


def _readable(hub: FakeHub, name: str, who: dict[str, Any] | None) -> Repository:
    repository = hub.repositories.get(name)
    hidden = repository is None or (repository.private and not _belongs(repository.owner, who))
    if repository is None or hidden:
        if who is None:
            raise Refusal(401, "Invalid username or password.")
        raise Refusal(404, "Repository not found", "RepoNotFound")
    return repository


def _writable(hub: FakeHub, name: str, who: dict[str, Any] | None) -> Repository:
    repository = _readable(hub, name, who)
    _require_write(repository.owner, who)
    return repository


def _belongs(owner: str, who: dict[str, Any] | None) -> bool:
    return who is not None and owner in (who["user"], *who["orgs"])


def _require_write(owner: str, who: dict[str, Any] | None) -> None:
    if who is None:
        raise Refusal(401, "Invalid username or password.")
    if who["role"] == "read" or not _belongs(owner, who):
        raise Refusal(403, f'You don\'t have the rights to create a model under "{owner}"')


def _commit_of(repository: Repository, revision: str) -> str:
    oid = repository.resolve(unquote(revision))
    if oid is None:
        raise Refusal(404, f"Invalid rev id: {unquote(revision)}", "RevisionNotFound")
    return oid


@route(r"GET /api/whoami-v2")
def whoami(hub: FakeHub, ask: Request) -> Answer:
    if ask.who is None:
        raise Refusal(401, "Invalid username or password.")
    token = {"displayName": "test", "role": ask.who["role"]}
    orgs = [{"name": org, "type": "org", "roleInOrg": "write"} for org in ask.who["orgs"]]
    auth = {"type": "access_token", "accessToken": token}
    return Answer.json({"type": "user", "name": ask.who["user"], "orgs": orgs, "auth": auth})


@route(r"POST /api/repos/create")
def create(hub: FakeHub, ask: Request) -> Answer:
    wanted = ask.json()
    owner = wanted["organization"] or (ask.who or {}).get("user")
    _require_write(owner, ask.who)
    name = f"{owner}/{wanted['name']}"
    if name in hub.repositories:
        raise Refusal(409, "You already created this model repo")
    private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
    hub.repository(name, private=private and not hub.all_public)
    return Answer.json({"url": f"{hub.url}/{name}", "name": name})


@route(r"POST /api/validate-yaml")
def validate_yaml(hub: FakeHub, ask: Request) -> Answer:
    content = ask.json()["content"]
    if not content.startswith("---\n"):
        return Answer.json({"errors": [], "warnings": [{"message": "empty or missing metadata"}]})
    if "license:" not in content.split("\n---")[0]:
        body = {"errors": [{"message": '"license" is required'}], "warnings": []}
        return Answer(json.dumps(body).encode(), {"Content-Type": "application/json"}, 400)
    return Answer.json({"errors": [], "warnings": []})


@route(r"GET /api/models")
def models(hub: FakeHub, ask: Request) -> Answer:
    author = ask.query["author"][0]
    listed = [
        _info(name, repository, repository.refs["refs/heads/main"])
        for name, repository in sorted(hub.repositories.items())
        if repository.owner == author and (not repository.private or _belongs(author, ask.who))
    ]
    first = int(ask.query.get("cursor", ["0"])[0])
    more = {}
    if len(listed) > first + _PAGE:
        target = f"{hub.url}/api/models?author={author}&cursor={first + _PAGE}"
        more = {"Link": f'<{target}>; rel="next"'}
    return Answer.json(listed[first : first + _PAGE], **more)


@route(rf"GET /api/models/{_ID}/refs")
def refs(hub: FakeHub, ask: Request, name: str) -> Answer:
    repository = _readable(hub, name, ask.who)

    def of(prefix: str) -> list[dict[str, str]]:
        return [
            {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": oid}
            for ref, oid in repository.refs.items()
            if ref.startswith(prefix)
        ]

    found = {"branches": of("refs/heads/"), "tags": of("refs/tags/"), "converts": []}
    if "include_prs" in ask.query:
        found["pullRequests"] = of("refs/pr/")
    return Answer.json(found)


@route(rf"GET /api/models/{_ID}(/revision/{_REVISION})?")
def info(hub: FakeHub, ask: Request, name: str, revision: str | None = None) -> Answer:
    repository = _readable(hub, name, ask.who)
    return Answer.json(_info(name, repository, _commit_of(repository, revision or "main")))


def _info(name: str, repository: Repository, oid: str) -> dict[str, Any]:
    import yaml

    files = repository.commits[oid].files
    card = files.get("README.md", Blob(b"", lfs=False)).content.decode()
    front = yaml.safe_load(card.split("---")[1]) if card.startswith("---\n") else None
    return {
        "id": name,
        "author": repository.owner,
        "sha": oid,
        "private": repository.private,
        "lastModified": "2026-11-24T12:00:00.000Z",
        "siblings": [{"rfilename": path} for path in sorted(files)],
        "cardData": front,
        "tags": (front or {}).get("tags", []),
    }


@route(rf"GET /api/models/{_ID}/tree/{_REVISION}")
def tree(hub: FakeHub, ask: Request, name: str, revision: str) -> Answer:
    repository = _readable(hub, name, ask.who)
    files = repository.commits[_commit_of(repository, revision)].files
    folders = sorted({path.split("/")[0] for path in files if "/" in path})
    listed = [
        {"type": "directory", "path": folder, "oid": hashlib.sha1(folder.encode()).hexdigest()}
        for folder in folders
    ]
    return Answer.json(listed + [files[path].entry(path) for path in sorted(files)])


@route(rf"POST /api/models/{_ID}/preupload/{_REVISION}")
def preupload(hub: FakeHub, ask: Request, name: str, revision: str) -> Answer:
    repository = _readable(hub, name, ask.who)
    if "create_pr" not in ask.query:
        _require_write(repository.owner, ask.who)
    files = repository.commits[_commit_of(repository, revision)].files
    ignored = files.get(".gitignore", Blob(b"", lfs=False)).content.decode().split()
    answers = []
    for file in ask.json()["files"]:
        large = file["path"].endswith(LFS_SUFFIXES) or file["size"] > _REGULAR_BYTES
        there = files.get(file["path"])
        answers.append(
            {
                "path": file["path"],
                "uploadMode": "lfs" if large else "regular",
                "shouldIgnore": file["path"] in ignored,
                "oid": (there.sha256 if there.lfs else there.oid) if there else None,
            }
        )
    return Answer.json({"files": answers})


@route(rf"POST /{_ID}\.git/info/lfs/objects/batch")
def batch(hub: FakeHub, ask: Request, name: str) -> Answer:
    _readable(hub, name, ask.who)
    objects = []
    for wanted in ask.json()["objects"]:
        actions = {
            "upload": {"href": f"{hub.storage_url}/storage/{wanted['oid']}?signature=abc"},
            "verify": {"href": f"{hub.url}/{name}.git/info/lfs/verify"},
        }
        new = wanted["oid"] not in hub.storage
        objects.append({**wanted, **({"actions": actions} if new else {})})
    return Answer.json({"transfer": "basic", "objects": objects})


@route(r"PUT /storage/(?P<oid>[0-9a-f]{64})")
def upload(hub: FakeHub, ask: Request, oid: str) -> Answer:
    if hashlib.sha256(ask.body).hexdigest() != oid:
        raise Refusal(400, "The content is not what its name says")
    hub.storage[oid] = ask.body
    return Answer()


@route(rf"POST /{_ID}\.git/info/lfs/verify")
def verify(hub: FakeHub, ask: Request, name: str) -> Answer:
    wanted = ask.json()
    if len(hub.storage.get(wanted["oid"], b"")) != wanted["size"]:
        raise Refusal(404, "Object not found")
    return Answer()


@route(rf"POST /api/models/{_ID}/commit/{_REVISION}")
def commit(hub: FakeHub, ask: Request, name: str, revision: str) -> Answer:
    as_pull_request = "create_pr" in ask.query
    repository = (_readable if as_pull_request else _writable)(hub, name, ask.who)
    lines = [json.loads(line) for line in ask.body.splitlines()]
    header = lines[0]["value"]
    parent = _commit_of(repository, revision)
    wanted = header.get("parentCommit", parent)
    if wanted != parent and not as_pull_request:
        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
    made = Commit(
        _changed(hub, repository.commits[wanted].files, lines[1:]), header["summary"], wanted
    )
    ref = f"refs/heads/{unquote(revision)}"
    number = 1 + sum(other.startswith("refs/pr/") for other in repository.refs)
    if as_pull_request:
        ref = f"refs/pr/{number}"
    repository.refs[ref] = repository.add(made)
    answer = {"success": True, "commitOid": made.oid}
    answer["commitUrl"] = f"{hub.url}/{name}/commit/{made.oid}"
    if as_pull_request:
        answer["pullRequestUrl"] = f"{hub.url}/{name}/discussions/{number}"
    return Answer.json(answer)


def _changed(hub: FakeHub, files: dict[str, Blob], lines: list[dict[str, Any]]) -> dict[str, Blob]:
    files = dict(files)
    for line in lines:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = Blob(base64.b64decode(value["content"]), lfs=False)
        elif line["key"] == "lfsFile":
            if value["oid"] not in hub.storage:
                raise Refusal(400, f"LFS pointer pointed to a file that does not exist: {value}")
            files[value["path"]] = Blob(hub.storage[value["oid"]], lfs=True)
        elif line["key"] == "deletedFile":
            del files[value["path"]]
        else:
            raise Refusal(400, f"Unknown operation {line['key']}")
    return files


@route(rf"POST /api/models/{_ID}/branch/{_REVISION}")
def branch(hub: FakeHub, ask: Request, name: str, revision: str) -> Answer:
    repository = _writable(hub, name, ask.who)
    ref = f"refs/heads/{unquote(revision)}"
    if ref in repository.refs:
        raise Refusal(409, f"Reference already exists: {unquote(revision)}")
    repository.refs[ref] = _commit_of(repository, ask.json().get("startingPoint", "main"))
    return Answer()


@route(rf"POST /api/models/{_ID}/tag/{_REVISION}")
def tag(hub: FakeHub, ask: Request, name: str, revision: str) -> Answer:
    repository = _writable(hub, name, ask.who)
    ref = f"refs/tags/{ask.json()['tag']}"
    if ref in repository.refs:
        raise Refusal(409, f"Tag already exists: {ask.json()['tag']}")
    repository.refs[ref] = _commit_of(repository, revision)
    return Answer()


@route(rf"(HEAD|GET) /{_ID}/resolve/{_REVISION}/(?P<file>.+)")
def resolve(hub: FakeHub, ask: Request, name: str, revision: str, file: str) -> Answer:
    repository = _readable(hub, name, ask.who)
    oid = _commit_of(repository, revision)
    blob = repository.commits[oid].files.get(unquote(file))
    if blob is None:
        raise Refusal(404, "Entry not found", "EntryNotFound")
    if not blob.lfs:
        return Answer(blob.content, {"ETag": f'"{blob.oid}"', "X-Repo-Commit": oid})
    linked = {
        "X-Repo-Commit": oid,
        "X-Linked-Etag": f'"{blob.sha256}"',
        "X-Linked-Size": str(len(blob.content)),
        "Location": f"{hub.storage_url}/storage/{blob.sha256}?signature=abc",
    }
    return Answer(b"", linked, 302)


@route(r"(HEAD|GET) /storage/(?P<oid>[0-9a-f]{64})")
def stored(hub: FakeHub, ask: Request, oid: str) -> Answer:
    return Answer(hub.storage[oid], {"ETag": f'"{oid}"'})


def answer(hub: FakeHub, said: str, ask: Request) -> Answer:
    """Return the answer to the request ``METHOD /path``.

    Raises:
        Refusal: If the answer is an error.
    """
    for pattern, function in _ROUTES:
        match = pattern.fullmatch(said)
        if match:
            names = {key: text for key, text in match.groupdict().items() if text is not None}
            return function(hub, ask, **names)
    raise Refusal(404, f"Nothing is served at {said}")
