"""Push: the real Hub client against a Hub on loopback."""

import hashlib
import logging
import traceback
from importlib.metadata import version

import pytest
import torch

from hub_server import offline
from reben.errors import (
    CardError,
    ConfigError,
    HubAuthError,
    HubConflictError,
    HubConnectionError,
    HubError,
    HubNotFoundError,
)
from reben.model.classifier import Classifier
from reben.publish.card import FILES
from reben.publish.check import CardProblem
from reben.publish.hub import push

# The Hub client uses an argument of httpx that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "org/tiny-v1"
CARD = b"---\nlicense: mit\ntags: [test_resnet]\n---\n\n# A card\n"


def yes(plan):
    return True


@pytest.fixture(autouse=True)
def check(monkeypatch):
    """What the check of the card finds: nothing, unless a test says so. It has tests of its own."""
    problems = []
    monkeypatch.setattr("reben.publish.check.check_card", lambda folder: tuple(problems))
    return problems


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    waited = []
    monkeypatch.setattr("reben.model.hub.time.sleep", waited.append)
    return waited


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(8)
    return Classifier("test_resnet", "VH,B11").eval()


@pytest.fixture
def folder(model, tmp_path):
    place = model.save_pretrained(tmp_path / "card")
    (place / "README.md").write_bytes(CARD)
    (place / "example.png").write_bytes(b"\x89PNG no real one")
    (place / "report.json").write_bytes(b"{}")
    (place / "figures").mkdir()
    (place / "figures" / "reliability.png").write_bytes(b"\x89PNG another")
    return place


@pytest.fixture
def token(hub, monkeypatch):
    token = hub.token("me", orgs=("org",))
    monkeypatch.setenv("HF_TOKEN", token)
    return token


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def without_attributes(files):
    return {path: data for path, data in files.items() if path != ".gitattributes"}


# A new repository --------------------------------------------------------------------------------


def test_a_card_folder_becomes_one_commit_and_loads_back_bit_for_bit(hub, token, folder, model):
    done = push(folder, NAME)
    assert done.outcome == "pushed"
    assert done.url == f"{hub.url}/{NAME}"
    assert without_attributes(hub.files(NAME)) == content(folder)
    assert len(hub.repositories[NAME].history) == 2
    assert hub.repositories[NAME].refs["refs/heads/main"] == done.commit
    back = Classifier.from_pretrained(NAME)
    x_BCHW = torch.randn(2, 2, 120, 120)
    with torch.inference_mode():
        assert torch.equal(back(x_BCHW), model(x_BCHW))


def test_weights_go_to_the_storage_and_text_into_git(hub, token, folder):
    push(folder, NAME)
    commit = hub.repositories[NAME].commits[hub.repositories[NAME].resolve("main")]
    assert {path for path, blob in commit.files.items() if blob.lfs} == {"model.safetensors"}
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert f"PUT /storage/{weights}" in hub.requests


def test_the_token_is_not_sent_to_the_storage(hub, token, folder):
    push(folder, NAME)
    assert any("/commit/" in request for request in hub.authorised)
    assert not [request for request in hub.authorised if "/storage/" in request]


def test_a_new_repository_is_private_only_if_asked(hub, token, folder):
    push(folder, NAME)
    push(folder, "org/secret", private=True)
    assert not hub.repositories[NAME].private
    assert hub.repositories["org/secret"].private


def test_one_is_asked_before_anything_is_made(hub, token, folder):
    seen = []
    done = push(folder, NAME, confirm=seen.append)
    assert done.outcome == "declined"
    assert hub.repositories == {}
    assert hub.writes() == []
    assert [(file.path, file.state) for file in seen[0].files] == [
        (path, "new") for path in sorted(content(folder))
    ]
    assert not seen[0].exists


def test_a_dry_run_writes_nothing_and_tells_the_plan(hub, token, folder):
    done = push(folder, NAME, dry_run=True, tag="v1.0")
    assert done.outcome == "dry run"
    assert hub.writes() == []
    assert sum(file.size for file in done.plan.changes) == sum(map(len, content(folder).values()))
    assert done.to_dict()["files"][0]["state"] == "new"


# The same and other content ----------------------------------------------------------------------


def test_the_same_content_again_makes_no_commit(hub, token, folder):
    first = push(folder, NAME)
    hub.requests.clear()
    again = push(folder, NAME)
    assert again.outcome == "unchanged"
    assert again.commit == first.commit
    assert hub.writes() == []


def test_other_content_is_refused_unless_somebody_says_yes(hub, token, folder):
    push(folder, NAME)
    (folder / "README.md").write_bytes(CARD + b"More.\n")
    hub.requests.clear()
    with pytest.raises(HubConflictError, match=r"other content; README\.md would.*--yes"):
        push(folder, NAME)
    assert hub.writes() == []
    done = push(folder, NAME, confirm=yes)
    assert hub.files(NAME)["README.md"].endswith(b"More.\n")
    assert [file.path for file in done.plan.changes] == ["README.md"]


def test_only_what_changed_is_sent(hub, token, folder):
    push(folder, NAME)
    (folder / "README.md").write_bytes(CARD + b"More.\n")
    hub.requests.clear()
    push(folder, NAME, confirm=yes)
    assert not [request for request in hub.requests if "/storage/" in request]
    assert len(hub.repositories[NAME].history) == 3


def test_changed_weights_of_the_same_size_are_seen(hub, token, folder):
    push(folder, NAME)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    done = push(folder, NAME, confirm=yes)
    assert [file.path for file in done.plan.changes] == ["model.safetensors"]
    assert hub.files(NAME)["model.safetensors"] == bytes(weights)


def test_what_the_folder_lacks_stays_there_and_is_named(hub, token, folder):
    hub.repository(NAME, {"notes.md": b"of others", "README.md": b"---\nlicense: mit\n---\n"})
    done = push(folder, NAME, confirm=yes)
    assert done.plan.stays == (".gitattributes", "notes.md")
    assert {file.path for file in done.plan.files if file.state == "changed"} == {"README.md"}
    assert hub.files(NAME)["notes.md"] == b"of others"


def test_a_repository_with_files_of_others_only_is_other_content(hub, token, folder):
    hub.repository(NAME, {"notes.md": b"of others"})
    with pytest.raises(HubConflictError, match="other content"):
        push(folder, NAME)


def test_an_empty_repository_takes_a_model_without_asking(hub, token, folder):
    hub.repository(NAME)
    assert push(folder, NAME).outcome == "pushed"


# Former weights and licences ---------------------------------------------------------------------


@pytest.fixture
def other_weights(folder):
    """Write weights of another training into a folder."""

    def write():
        torch.manual_seed(9)
        Classifier("test_resnet", "VH,B11").save_pretrained(folder)

    return write


def test_what_reben_wrote_of_former_weights_goes_with_them(hub, token, folder, other_weights):
    (folder / "model.onnx").write_bytes(b"of the former weights")
    push(folder, NAME)
    hub.write(NAME, {"notes.md": b"of others"})
    (folder / "model.onnx").unlink()
    (folder / "figures" / "reliability.png").rename(folder / "figures" / "precision_recall.png")
    other_weights()
    with pytest.raises(HubConflictError, match="other content"):
        push(folder, NAME)
    done = push(folder, NAME, confirm=yes)
    assert done.plan.removed == ("figures/reliability.png", "model.onnx")
    assert done.to_dict()["removed"] == ["figures/reliability.png", "model.onnx"]
    files = without_attributes(hub.files(NAME))
    assert files.pop("notes.md") == b"of others"
    assert files == content(folder)
    assert push(folder, NAME).outcome == "unchanged"


def test_beside_the_same_weights_what_was_made_of_them_stays(hub, token, folder):
    push(folder, NAME)
    hub.write(NAME, {"model.onnx": b"of these weights"})
    (folder / "README.md").write_bytes(CARD + b"More.\n")
    done = push(folder, NAME, confirm=yes)
    assert done.plan.removed == ()
    assert "model.onnx" in hub.files(NAME)


@pytest.mark.parametrize(
    "path", ["pytorch_model.bin", "onnx/model_q8.onnx", "last.CKPT", "model-00001-of-2.safetensors"]
)
def test_former_weights_in_other_formats_stop_a_push_of_new_ones(
    hub, token, folder, other_weights, path
):
    push(folder, NAME)
    hub.write(NAME, {path: b"of the former weights"})
    (folder / "README.md").write_bytes(CARD + b"More.\n")
    push(folder, NAME, confirm=yes)  # the weights are the same
    other_weights()
    hub.requests.clear()
    with pytest.raises(HubConflictError, match=rf"also holds {path}.*Delete them"):
        push(folder, NAME, confirm=yes)
    assert hub.writes() == []


@pytest.mark.parametrize("change", [b"license: apache-2.0", b"license: other\nlicense_name: mine"])
def test_a_licence_changes_only_if_that_is_said(hub, token, folder, change):
    hub.repository(NAME, {"README.md": CARD.replace(b"license: mit", b"license: cc-by-nc-4.0")})
    (folder / "README.md").write_bytes(CARD.replace(b"license: mit", change))
    with pytest.raises(HubConflictError, match=r"licence cc-by-nc-4\.0.*--new-licence") as caught:
        push(folder, NAME, confirm=yes)
    assert hub.writes() == []
    assert change.split()[-1].decode() in str(caught.value)
    assert push(folder, NAME, dry_run=True).plan.licence_change[0] == "cc-by-nc-4.0"
    assert push(folder, NAME, confirm=yes, new_licence=True).outcome == "pushed"
    assert change in hub.files(NAME)["README.md"]


@pytest.mark.parametrize("there", [b"# no head", b"---\ntags: [x]\n---\n"])
def test_a_card_without_a_licence_can_get_one(hub, token, folder, there):
    hub.repository(NAME, {"README.md": there})
    assert push(folder, NAME, confirm=yes).outcome == "pushed"


def test_a_repository_that_did_not_become_private_gets_nothing(hub, token, folder):
    hub.all_public = True
    with pytest.raises(HubConflictError, match=r"made .* public, although.*Nothing was pushed"):
        push(folder, NAME, private=True)
    assert without_attributes(hub.files(NAME)) == {}


# Branch, tag, pull request -----------------------------------------------------------------------


def test_a_tag_is_set_on_the_commit_and_loads(hub, token, folder):
    done = push(folder, NAME, tag="v1.0")
    assert hub.repositories[NAME].refs["refs/tags/v1.0"] == done.commit
    hub.write(NAME, {"config.json": b"{}"})
    assert Classifier.from_pretrained(NAME, revision="v1.0").bands.names == ("VH", "B11")


def test_a_tag_can_be_set_on_what_stands_there(hub, token, folder):
    first = push(folder, NAME)
    done = push(folder, NAME, tag="v1.0")
    assert (done.outcome, done.commit) == ("unchanged", first.commit)
    assert hub.repositories[NAME].refs["refs/tags/v1.0"] == first.commit
    hub.requests.clear()
    push(folder, NAME, tag="v1.0")
    assert hub.writes() == []


def test_a_tag_that_is_taken_stops_the_push_before_it_begins(hub, token, folder):
    push(folder, NAME, tag="v1.0")
    (folder / "README.md").write_bytes(CARD + b"More.\n")
    hub.requests.clear()
    with pytest.raises(HubConflictError, match=r"has a tag v1\.0 already.*another tag"):
        push(folder, NAME, tag="v1.0", confirm=yes)
    assert hub.writes() == []


def test_a_branch_that_is_not_there_starts_from_main(hub, token, folder):
    push(folder, NAME)
    (folder / "README.md").write_bytes(CARD + b"More.\n")
    done = push(folder, NAME, revision="next/one", confirm=yes)
    assert done.url.endswith("/tree/next/one")
    assert hub.files(NAME, "next/one")["README.md"].endswith(b"More.\n")
    assert hub.files(NAME)["README.md"] == CARD
    assert push(folder, NAME, revision="next/one").outcome == "unchanged"


@pytest.mark.parametrize("name", ["", " ", "a b", "a..b", "-a", "/a", "a/", "a.lock", "a\nb"])
@pytest.mark.parametrize("kind", ["tag", "revision"])
def test_what_cannot_be_the_name_of_a_tag_or_branch_is_refused_unasked(hub, folder, kind, name):
    with pytest.raises(ConfigError, match="cannot be the name of a"):
        push(folder, NAME, **{kind: name})
    assert hub.requests == []


def test_the_branch_may_be_part_of_the_name(hub, token, folder):
    done = push(folder, f"{NAME}@next")
    assert done.url.endswith(f"{NAME}/tree/next")
    assert without_attributes(hub.files(NAME, "next")) == content(folder)
    with pytest.raises(ConfigError, match="another revision"):
        push(folder, f"{NAME}@next", revision="other")


def test_a_push_calls_us_by_name(hub, token, folder):
    push(folder, NAME)
    assert f"reben/{version('reben')}" in hub.agents
    assert len(hub.agents) == 2  # files go to the storage without it


def test_a_branch_of_a_new_repository_leaves_main_empty(hub, token, folder):
    push(folder, NAME, revision="next")
    assert without_attributes(hub.files(NAME)) == {}
    assert without_attributes(hub.files(NAME, "next")) == content(folder)


def test_a_branch_with_the_name_of_a_tag_is_refused(hub, token, folder):
    push(folder, NAME, tag="v1.0")
    with pytest.raises(ConfigError, match=r"v1\.0 is a tag"):
        push(folder, NAME, revision="v1.0")


def test_a_pull_request_leaves_main_alone_and_gives_its_page(hub, token, folder):
    hub.repository("other/model", {"README.md": b"---\nlicense: mit\n---\n"})
    done = push(folder, "other/model", create_pr=True)
    assert done.url == f"{hub.url}/other/model/discussions/1"
    assert hub.files("other/model")["README.md"] == b"---\nlicense: mit\n---\n"
    assert hub.files("other/model", "refs/pr/1")["README.md"] == CARD


def test_a_pull_request_needs_a_repository(hub, token, folder):
    with pytest.raises(HubNotFoundError, match="no pull request"):
        push(folder, NAME, create_pr=True)
    assert hub.writes() == []


@pytest.mark.parametrize("other", [{"tag": "v1.0"}, {"revision": "next"}])
def test_a_pull_request_has_neither_tag_nor_branch(hub, token, folder, other):
    with pytest.raises(ConfigError, match=next(iter(other.values()))):
        push(folder, NAME, create_pr=True, **other)


# What is pushed ----------------------------------------------------------------------------------


def test_nothing_but_the_files_of_a_card_is_pushed_and_the_rest_is_named(hub, token, folder):
    (folder / ".env").write_text("SECRET=1")
    (folder / "notes.txt").write_text("mine")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").write_text("x")
    (folder / "figures" / ".DS_Store").write_text("x")
    done = push(folder, NAME)
    assert done.plan.left_out == {
        ".env": "hidden",
        "checkpoints": "not part of a card folder",
        "figures/.DS_Store": "hidden",
        "notes.txt": "not part of a card folder",
    }
    assert set(without_attributes(hub.files(NAME))) <= {*FILES} | {"figures/reliability.png"}


@pytest.mark.parametrize("name", ["README.md", "model.onnx", "figures/stolen.png", "figures"])
def test_a_link_is_refused_since_it_may_lead_anywhere(hub, token, folder, tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_text("not for the world")
    if name == "figures":
        (folder / "figures" / "reliability.png").unlink()
        (folder / "figures").rmdir()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(secret)
    with pytest.raises(CardError, match="is a link"):
        push(folder, NAME)
    assert hub.writes() == []


def test_a_folder_that_does_not_pass_the_check_is_not_pushed(hub, token, folder, check):
    check.append(CardProblem("README.md", "the table says 0.9, the report 0.8"))
    with pytest.raises(CardError, match=r"does not pass the check.*the report 0\.8"):
        push(folder, NAME)
    assert hub.requests == []


def test_warnings_of_the_check_do_not_stop_a_push(hub, token, folder, check):
    check.append(CardProblem("README.md", "there is no widget", "warning"))
    assert push(folder, NAME).outcome == "pushed"


def test_a_folder_that_is_not_there_is_said_so(hub, token, tmp_path):
    with pytest.raises(CardError, match="no card folder"):
        push(tmp_path / "none", NAME)


@pytest.mark.parametrize("name", ["org", "org/a/b", "org/a--b", "org/.hidden", "or g/x", ""])
def test_a_name_that_cannot_be_is_refused_at_once(hub, token, folder, name):
    with pytest.raises(ConfigError):
        push(folder, name)
    assert hub.requests == []


def test_a_file_that_the_repository_ignores_stops_the_push(hub, token, folder):
    hub.repository(NAME, {".gitignore": b"report.json\n"})
    with pytest.raises(CardError, match=r"\.gitignore of .* names report\.json"):
        push(folder, NAME, confirm=yes)
    assert len(hub.repositories[NAME].history) == 2


def test_front_matter_that_the_hub_does_not_take_is_said_so(hub, token, folder):
    (folder / "README.md").write_bytes(b"---\ntags: [x]\n---\n")
    with pytest.raises(CardError, match=r'"license" is required.*seems to be empty'):
        push(folder, NAME)
    assert without_attributes(hub.files(NAME)) == {}


def test_progress_is_counted_in_bytes(hub, token, folder, monkeypatch):
    monkeypatch.setattr("reben.publish.hub._LARGE_BYTES", 10_000)
    steps = []
    push(folder, NAME, progress=lambda done, total: steps.append((done, total)))
    total = sum(map(len, content(folder).values()))
    assert steps == [((folder / "model.safetensors").stat().st_size, total), (total, total)]


# Who may ----------------------------------------------------------------------------------------


def test_without_a_token_it_says_how_to_get_one(hub, folder):
    with pytest.raises(HubAuthError, match=r"needs a token.*hf auth login.*HF_TOKEN"):
        push(folder, NAME)
    assert hub.requests == []


def test_a_token_that_may_only_read_is_refused_before_anything_is_written(hub, folder):
    token = hub.token("me", "read", orgs=("org",))
    with pytest.raises(HubAuthError, match="of me may only read"):
        push(folder, NAME, token=token)
    assert hub.writes() == []


def test_an_organisation_that_the_token_may_not_write_to_says_so(hub, folder):
    with pytest.raises(HubAuthError, match=r"403.*rights to create a model under .org."):
        push(folder, NAME, token=hub.token("me"))
    assert hub.repositories == {}


def test_a_token_that_is_not_valid_is_said_to_be_so(hub, folder):
    with pytest.raises(HubAuthError, match="not valid"):
        push(folder, NAME, token="hf_outdatedSecret")


@pytest.mark.parametrize(
    "trouble",
    ["wrong", "line end", "read", "403", "503", "drop", "conflict", "check"],
)
def test_the_token_is_in_no_message_no_traceback_and_no_log(
    hub, folder, trouble, caplog, capfd, check
):
    caplog.set_level(logging.DEBUG)
    role = "read" if trouble == "read" else "write"
    token = hub.token("me", role, orgs=() if trouble == "403" else ("org",))
    sent = {"wrong": "hf_unknownSecret", "line end": f"{token}\r\n"}.get(trouble, token)
    if trouble == "conflict":
        hub.repository(NAME, {"README.md": b"other"})
    if trouble == "check":
        check.append(CardProblem("README.md", "a fault"))
    if trouble in ("503", "drop"):
        hub.fault("POST .*/commit/", 503 if trouble == "503" else "drop", times=99)
    with pytest.raises((HubError, CardError)) as caught:
        push(folder, NAME, token=sent)
    everything = "".join(traceback.format_exception(caught.value))
    everything += caplog.text + "".join(capfd.readouterr()) + repr(caught.value.__dict__)
    assert "Traceback" in everything
    assert "Secret" not in everything


def test_a_token_in_what_the_hub_says_is_not_repeated(hub, token, folder, monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError(f"refused for Bearer {token} of yours")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    monkeypatch.setattr("reben.model.hub.WAITS", ())
    with pytest.raises(HubConnectionError, match=r"Bearer \[token\] of yours"):
        push(folder, NAME)


# Clashes -----------------------------------------------------------------------------------------


def test_a_name_that_is_taken_by_what_the_token_cannot_see_is_a_clash(hub, folder, token):
    def theirs():
        hub.repository(NAME, {"README.md": b"theirs"}, private=True).owner = "elsewhere"

    hub.before["POST /api/repos/create"] = theirs
    with pytest.raises(HubConflictError, match=r"409.*cannot see.*another name"):
        push(folder, NAME)
    assert hub.files(NAME)["README.md"] == b"theirs"


def test_a_repository_that_somebody_else_makes_this_moment_is_a_clash(hub, folder, token):
    hub.before["POST /api/repos/create"] = lambda: hub.repository(NAME, {"README.md": b"theirs"})
    with pytest.raises(
        HubConflictError, match=r"409.*somebody else has just created.*another name"
    ):
        push(folder, NAME)
    assert hub.files(NAME)["README.md"] == b"theirs"


def test_a_public_repository_made_this_moment_does_not_take_what_shall_be_private(
    hub, folder, token
):
    hub.before["POST /api/repos/create"] = lambda: hub.repository(NAME)
    with pytest.raises(HubConflictError, match="exists and is public"):
        push(folder, NAME, private=True)
    assert without_attributes(hub.files(NAME)) == {}


def test_a_public_repository_does_not_take_what_shall_be_private(hub, token, folder):
    push(folder, NAME)
    (folder / "README.md").write_bytes(CARD + b"Secret.\n")
    with pytest.raises(HubConflictError, match="exists and is public"):
        push(folder, NAME, private=True, confirm=yes)
    assert hub.files(NAME)["README.md"] == CARD


def test_a_commit_of_somebody_else_meanwhile_is_not_run_over(hub, token, folder):
    push(folder, NAME)
    (folder / "README.md").write_bytes(CARD + b"Mine.\n")
    hub.before["POST .*/commit/"] = lambda: hub.write(NAME, {"README.md": b"theirs"})
    with pytest.raises(HubConflictError, match=r"412.*commit has happened since"):
        push(folder, NAME, confirm=yes)
    assert hub.files(NAME)["README.md"] == b"theirs"


# A Hub or a network that fails -------------------------------------------------------------------


READS = ("GET /api/whoami", f"GET /api/models/{NAME}$", "GET .*/refs", "GET .*/tree")
WRITES = (
    "POST /api/repos/create",
    "POST /api/validate-yaml",
    "POST .*/preupload/",
    "POST .*/objects/batch",
    "PUT /storage",
    "POST .*/lfs/verify",
    "POST .*/commit/",
    "POST .*/tag/",
)


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        *((request_, what) for request_ in READS for what in (503, "lose")),
        *((request_, what) for request_ in WRITES for what in (503, "drop", "lose")),
    ],
)
def test_what_fails_once_is_made_good_with_one_commit(hub, token, folder, request_, what):
    hub.fault(request_, what)
    done = push(folder, NAME, tag="v1.0")
    assert hub.faults[0].times == 0
    assert without_attributes(hub.files(NAME)) == content(folder)
    assert len(hub.repositories[NAME].history) == 2
    refs = hub.repositories[NAME].refs
    assert refs["refs/heads/main"] == refs["refs/tags/v1.0"] == done.commit


def test_a_branch_whose_answer_is_lost_is_there(hub, token, folder):
    hub.fault("POST .*/branch/", "lose")
    push(folder, NAME, revision="next")
    assert without_attributes(hub.files(NAME, "next")) == content(folder)


def test_a_lost_answer_to_a_later_commit_does_not_make_it_twice(hub, token, folder):
    push(folder, NAME)
    (folder / "README.md").write_bytes(CARD + b"More.\n")
    hub.fault("POST .*/commit/", "lose")
    done = push(folder, NAME, confirm=yes)
    assert done.commit == hub.repositories[NAME].refs["refs/heads/main"]
    assert len(hub.repositories[NAME].history) == 3
    assert sum("/commit/" in request for request in hub.requests) <= 3  # the Hub refused one


def test_a_lost_answer_and_a_commit_of_somebody_else_are_told_apart(hub, token, folder):
    push(folder, NAME)
    (folder / "README.md").write_bytes(CARD + b"Mine.\n")
    hub.fault("POST .*/commit/", "drop")
    hub.before["POST .*/commit/"] = lambda: hub.before.update(
        {"POST .*/commit/": lambda: hub.write(NAME, {"README.md": b"theirs"})}
    )
    with pytest.raises(HubConflictError, match="Somebody else committed"):
        push(folder, NAME, confirm=yes)
    assert hub.files(NAME)["README.md"] == b"theirs"


def test_a_pull_request_whose_answer_is_lost_is_found_and_not_opened_twice(hub, token, folder):
    hub.repository("other/model", {"README.md": b"---\nlicense: mit\n---\n"})
    push(folder, "other/model", create_pr=True)  # one of the same content that was there before
    hub.fault("POST .*/commit/", "lose")
    done = push(folder, "other/model", create_pr=True)
    assert done.url.endswith("/discussions/2")
    refs = hub.repositories["other/model"].refs
    assert [ref for ref in refs if ref.startswith("refs/pr/")] == ["refs/pr/1", "refs/pr/2"]


@pytest.mark.parametrize("what", [503, "drop"])
def test_a_commit_that_keeps_failing_leaves_an_empty_repository_and_says_so(
    hub, token, folder, what, no_waiting
):
    hub.fault("POST .*/commit/", what, times=99)
    with pytest.raises(HubConnectionError, match=r"No commit was made.*empty.*go on from there"):
        push(folder, NAME)
    assert without_attributes(hub.files(NAME)) == {}
    assert sum("/commit/" in request for request in hub.requests) <= 4
    hub.faults.clear()
    assert push(folder, NAME).outcome == "pushed"


def test_an_upload_that_keeps_failing_commits_nothing(hub, token, folder):
    hub.fault("PUT /storage", "drop", times=99)
    with pytest.raises(HubConnectionError, match=r"Sending files.*connection.*try again"):
        push(folder, NAME)
    assert without_attributes(hub.files(NAME)) == {}
    assert not [request for request in hub.requests if "/commit/" in request]


def test_a_tag_that_keeps_failing_says_that_the_files_are_there(hub, token, folder):
    hub.fault("POST .*/tag/", 503, times=99)
    with pytest.raises(HubConnectionError, match=r"All files are at .* only the tag v1\.0"):
        push(folder, NAME, tag="v1.0")
    assert without_attributes(hub.files(NAME)) == content(folder)
    hub.faults.clear()
    assert push(folder, NAME, tag="v1.0").outcome == "unchanged"
    assert "refs/tags/v1.0" in hub.repositories[NAME].refs


def test_a_commit_that_cannot_be_looked_for_is_said_to_be_uncertain(hub, token, folder):
    hub.before["POST .*/commit/"] = lambda: hub.fault("GET", 503, times=99)
    hub.fault("POST .*/commit/", "lose")
    with pytest.raises(HubConnectionError, match=r"could not be checked.*commits nothing twice"):
        push(folder, NAME)
    hub.faults.clear()
    assert push(folder, NAME).outcome == "unchanged"


def test_a_client_that_is_set_offline_says_so(hub, token, folder):
    with offline(), pytest.raises(HubConnectionError, match="HF_HUB_OFFLINE"):
        push(folder, NAME)
    assert hub.requests == []


def test_a_file_that_changes_on_the_way_is_noticed(hub, token, folder):
    hub.before["POST .*/repos/create"] = lambda: (folder / "report.json").write_bytes(b"[1]")
    with pytest.raises(HubError, match=r"does not hold report\.json.*changed meanwhile"):
        push(folder, NAME)


def test_a_file_that_goes_away_on_the_way_stops_the_push(hub, token, folder):
    hub.before["POST .*/repos/create"] = (folder / "report.json").unlink
    with pytest.raises(CardError, match=r"changed since the push began.*report\.json"):
        push(folder, NAME)
    assert without_attributes(hub.files(NAME)) == {}


def test_a_file_that_cannot_be_read_is_not_called_a_network_that_fails(
    hub, token, folder, monkeypatch
):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "model.safetensors")

    monkeypatch.setattr("huggingface_hub.HfApi.preupload_lfs_files", refuse)
    with pytest.raises(HubError, match=r"this machine refuses.*Permission denied") as caught:
        push(folder, NAME)
    assert not isinstance(caught.value, HubConnectionError)


def test_a_refusal_by_the_storage_of_the_hub_is_about_the_token(hub, token, folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("no longer valid")

    monkeypatch.setattr("huggingface_hub.HfApi.preupload_lfs_files", refuse)
    with pytest.raises(HubAuthError, match="storage refuses the token"):
        push(folder, NAME)
