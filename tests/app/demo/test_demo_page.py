"""The page without a browser: what its parts show, what its server refuses, what it writes."""

import asyncio
import io
import json
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import types
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml

import made_up
import made_up_files
import reben
from demo_page_server import reben_demo, serving
from reben.app.cli import run
from reben.app.demo.handlers import PageState, token_of
from reben.app.demo.memory import Memory
from reben.app.demo.patches import Samples
from reben.app.demo.scenes import open_scene_result
from reben.app.demo.server import OnlyHere, private_folder
from reben.app.demo.serving import DEFAULT_MODEL, find_store, predict_product
from reben.app.demo.space import write_space
from reben.data.loader import open_dataset
from reben.data.store import Store
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.errors import ConfigError
from reben.model.classifier import Classifier
from reben.model.open import name_of
from reben.publish.branding import requirement
from reben.publish.pages import split_head

BANDS = "VV,B04,B03,B02,B8A"
PLACE = GeoTransform(308_400, 5_000_000, 10, 32633)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return made_up.write_store(tmp_path_factory.mktemp("demo") / "store")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    torch.manual_seed(5)
    return Classifier("test_resnet", BANDS).save_pretrained(tmp_path_factory.mktemp("toy") / "toy")


@pytest.fixture
def state(store, model_folder, tmp_path):
    model = Classifier.from_pretrained(model_folder)
    return PageState(model, "toy", tmp_path, Samples(open_dataset(store)))


def put(root, files):
    for name, content in files.items():
        (root / name).write_bytes(content)
    return [str(root / name) for name in files]


def files_of(which, number=7):
    return {path.rpartition("/")[2]: c for path, c in made_up_files.files_of(which, number).items()}


# Patches -----------------------------------------------------------------------------------------


def test_samples_have_readable_names(store):
    samples = Samples(open_dataset(store))
    assert samples.choices[1] == (
        "33UUP 0/1, Austria · Urban fabric · train",
        made_up.patch_id(1),
    )
    assert samples.first == made_up.patch_id(11)  # the first of the test split with three labels


def test_a_chosen_patch_is_shown_with_scores_truth_and_place(state):
    view = state.show(made_up.patch_id(11))
    assert view.message == ""
    assert view.result.full == tuple(map(float, state.model.predict(made_up.patch(11)).values))
    assert view.patch.true_labels == ("Broad-leaved forest", "Inland waters", "Mixed forest")
    assert "The data set names 3" in view.scores
    assert view.views.count("<img") == 3
    assert 'class="dot"' in view.facts
    assert view.are_bands_right


def test_a_patch_that_is_not_among_the_choices_is_a_message(state):
    view = state.show("S2A_elsewhere")
    assert 'role="alert"' in view.message
    assert view.patch is None


def test_uploaded_files_give_the_scores_of_the_same_patch_of_the_store(state, tmp_path):
    paths = put(tmp_path, files_of("s2", 5) | files_of("s1", 5))
    view = state.show(None, paths)
    assert view.result.full == state.show(made_up.patch_id(5)).result.full
    assert view.patch.true_labels is None
    assert "data set names" not in view.scores


def test_an_upload_that_lacks_bands_shows_them_and_says_so(state, tmp_path):
    view = state.show(None, put(tmp_path, files_of("s2")))
    assert "The model needs VV" in view.message
    assert view.result is None
    assert view.scores == ""
    assert '<td class="status">missing</td>' in view.bands
    assert not view.are_bands_right
    assert view.views.count("<img") == 2


def test_an_upload_that_is_no_patch_leaves_nothing_of_the_last_one(state, tmp_path):
    view = state.show(None, put(tmp_path, {"a.txt": b"letter"}))
    assert "a.txt is not a TIFF" in view.message
    assert not any((view.patch, view.result, view.views, view.scores, view.bands))


def test_switching_a_group_off_keeps_the_patch(state):
    first = state.show(made_up.patch_id(3))
    view = state.show(made_up.patch_id(3), None, [g for g in state.groups if g != "Visible"])
    assert view.result.switched_off == ("Visible",)
    assert view.result.full == first.result.full
    assert "delta" in view.scores
    assert "Without <b>Visible</b>" in view.moves


def test_there_are_no_results_before_a_patch_is_scored(state):
    assert state.results(None, None) == (None, None, None)
    assert state.results("S2A_elsewhere") == (None, None, None)
    assert [Path(path).suffix for path in state.results(made_up.patch_id(3))] == [
        ".json",
        ".csv",
        ".png",
    ]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["map.png"], "0 TIFFs came"),
        (["one.tif", "two.tif"], "2 TIFFs came"),
        (["one.tif", "notes.txt"], "notes.txt is neither"),
        (["one.tif"], "cannot be read as a GeoTIFF"),
    ],
)
def test_files_that_are_no_scene_are_a_message(state, tmp_path, names, said):
    view = state.show_scene(put(tmp_path, dict.fromkeys(names, b"x")))
    assert said in view.message
    assert not any(view[1:])


@pytest.mark.parametrize(("column", "row"), [("1", 2), (None, 0), (1.5, 2), (True, 0)])
def test_a_cell_that_is_no_pair_of_whole_numbers_gives_nothing(state, column, row):
    assert state.cell(None, "", token_of(None), column, row) is None


def test_many_visits_with_large_bands_stay_within_the_bound(state, tmp_path):
    """What one upload keeps is bounded by its pixels, and what all keep by the memory."""
    visits, kept = 12, 3 << 20
    object.__setattr__(state, "memory", Memory(kept))
    band = encode_geotiff(np.full((512, 512), 900, np.uint16), PLACE)
    for visit in range(visits):
        paths = put(tmp_path, {f"x{visit}_B02.tif": band})
        assert "512 x 512" in state.show(None, paths, None, str(visit)).bands
        assert 0 < state.memory.num_bytes <= kept
    paths = put(tmp_path, {f"x_B{n}.tif": band for n in ("02", "03", "04", "05", "06")})
    assert "512 x 512 pixels, more than is taken of a patch" in state.show(None, paths).message


HOSTILE = sorted(Path(os.environ.get("REBEN_TEST_DATA", "/nowhere"), "cases/hostile").glob("*.tif"))


@pytest.mark.parametrize("case", HOSTILE, ids=lambda path: path.stem)
@pytest.mark.parametrize("as_zip", [False, True])
def test_a_hostile_tiff_is_a_message(state, tmp_path, case, as_zip):
    name = f"{case.stem.partition('_')[0]}_B02.tif"
    content = case.read_bytes()
    if as_zip:
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            archive.writestr(f"patch/{name}", content)
        name, content = "patch.zip", written.getvalue()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    view = state.show(None, put(tmp_path, {name: content}))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    assert 'role="alert"' in view.message
    assert view.scores == ""


# The server --------------------------------------------------------------------------------------


def through_middleware(path, root="/nowhere", method="GET", most_stored=1 << 30, **headers):
    """Status and headers that come back for ``path`` through the middleware."""
    named = {"host": "127.0.0.1:7860", **headers}
    given = [(k.replace("_", "-").encode(), str(v).encode()) for k, v in named.items()]
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": given}
    asyncio.run(OnlyHere(app, Path(root), most_stored)(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


def test_the_server_fetches_nothing_for_anyone():
    assert through_middleware("/gradio_api/file=http://127.0.0.1/x")[0] == 404
    assert through_middleware("/gradio_api/file=HTTPS://example.org/x")[0] == 404
    assert through_middleware("/gradio_api/proxy=https://example.hf.space/x")[0] == 404


def test_browsers_are_told_to_ask_no_other_host():
    status, headers = through_middleware("/")
    assert status == 200
    policy = headers[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy
    assert "http" not in policy


PATHS = ("/", "/config", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/queue/data")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_another_site_is_refused_everywhere(path, method):
    size = {"content_length": 10} if method == "POST" else {}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:7861", "http://127.0.0.1"):
        assert through_middleware(path, method=method, origin=origin, **size)[0] == 403
    for origin in ("http://127.0.0.1:7860", "https://127.0.0.1:7860"):
        assert through_middleware(path, method=method, origin=origin, **size)[0] == 200
    proxied = {"origin": "https://demo.example", "x_forwarded_host": "demo.example"}
    assert through_middleware(path, method=method, **proxied, **size)[0] == 200


def test_requests_are_bounded_before_they_are_read(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "upload").write_bytes(bytes(5000))
    post = {"method": "POST", "root": tmp_path, "most_stored": 8000 + folder_size(tmp_path)}

    def status(path, size):
        return through_middleware(path, content_length=size, **post)[0]

    assert status("/gradio_api/upload", 3000) == 200
    assert status("/gradio_api/upload", 8001) == 413
    assert status("/gradio_api/upload", 10**30) == 413
    assert status("/gradio_api/queue/join", 8001) == 200
    assert status("/gradio_api/queue/join", 2 << 20) == 413
    for size in ("", "-1", "x", "1_0"):
        assert status("/gradio_api/upload", size) == 411
    assert through_middleware("/gradio_api/upload", transfer_encoding="chunked", **post)[0] == 411


def folder_size(folder):
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def test_the_page_opens_no_web_socket():
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(OnlyHere(None, Path("/"))({"type": "websocket"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_the_private_folder_is_gone_in_the_end_and_the_environment_as_before(monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/before")
    monkeypatch.delenv("GRADIO_ANALYTICS_ENABLED", raising=False)
    before = tempfile.gettempdir()
    with private_folder() as folder:
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder) == tempfile.gettempdir()
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        (folder / "x").write_text("x")
    assert not folder.exists()
    assert os.environ["GRADIO_TEMP_DIR"] == "/before"
    assert "GRADIO_ANALYTICS_ENABLED" not in os.environ
    assert tempfile.gettempdir() == before


def fetch(address, host=None):
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.slow
def test_files_outside_its_folder_and_other_hosts_get_nothing(store, model_folder):
    with serving(reben_demo(model_folder, "--data", store)) as (address, _):
        assert address.startswith("http://127.0.0.1:")
        status, page = fetch(address)
        assert status == 200
        assert b"googleapis" not in page
        for path in (store / "data.mdb", model_folder / "config.json", "/etc/passwd"):
            assert fetch(f"{address}gradio_api/file={path}")[0] in (403, 404)
        assert fetch(f"{address}gradio_api/file=http://127.0.0.1:1/")[0] == 404
        assert fetch(address, host="evil.example")[0] == 400
        config = json.loads(fetch(f"{address}config")[1])
        assert {event["api_visibility"] for event in config["dependencies"]} == {"private"}
        assert str(store) not in json.dumps(config)


# Where scenes come from --------------------------------------------------------------------------


def test_a_product_is_predicted_into_the_private_folder_and_shown(
    model_folder, tmp_path, monkeypatch
):
    rasterio = pytest.importorskip("rasterio")
    asked = {}

    def predict_scene(model, product, out, *, quicklook, model_name, progress):
        asked.update(bands=model.bands, product=product, name=model_name)
        transform = rasterio.Affine(1200, 0, 300_000, 0, -1200, 5_400_000)
        profile = {"driver": "GTiff", "count": 1, "height": 2, "width": 3, "dtype": "float32"}
        with rasterio.open(out, "w", transform=transform, crs="EPSG:32633", **profile) as file:
            file.write(np.full((1, 2, 3), 0.25, np.float32))
            file.descriptions = ("Pastures",)
        quicklook.write_bytes(b"\x89PNG\r\n")

    fake = types.SimpleNamespace(predict_scene=predict_scene)
    monkeypatch.setitem(sys.modules, "reben.predict.scene", fake)
    model = Classifier.from_pretrained(model_folder)
    product = Path("S2A_MSIL2A_X.SAFE")
    scene = open_scene_result(predict_product(model, "me/toy", product, tmp_path))
    assert asked == {"bands": model.bands, "product": product, "name": "me/toy"}
    assert scene.result(2, 1).full == (0.25,)
    assert scene.quicklook is not None
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["map.png", "scores.tif"]


# The verb ----------------------------------------------------------------------------------------


def test_a_scene_and_a_product_are_one_too_many(model_folder, capsys):
    words = ["demo", str(model_folder), "--scene", "a.tif", "--product", "b.SAFE"]
    assert run(words) == 2
    assert "--scene a.tif and --product b.SAFE are two scenes" in capsys.readouterr().err


@pytest.fixture
def unloadable(monkeypatch):
    """Loading a model fails the test."""

    def load(*words, **named):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(Classifier, "from_pretrained", load)


def test_what_a_user_got_wrong_is_said_before_a_model_is_loaded(
    unloadable, model_folder, tmp_path, capsys
):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words, said in (
            (["--port", str(port)], f"port {port}: Address already in use. Choose another --port"),
            (["--port", "70000"], "port must be at most 65535, not 70000"),
            (["--port", "-1"], "port must be at least 1, not -1"),
            (["--host", "no.such.host.example"], "cannot listen on no.such.host.example"),
            (["--host", "192.0.2.1"], "--host is an address of this machine"),
            (["--device", "abacus"], "The device abacus cannot be used"),
            (["--data", str(tmp_path / "nowhere")], "nowhere"),
            (["--scene", str(tmp_path / "nowhere.tif")], "Name a scores.tif"),
            (["--product", str(tmp_path / "no.SAFE")], "There is no product"),
        ):
            assert run(["demo", str(model_folder), *words]) == 2
            assert said in capsys.readouterr().err


def test_a_model_that_is_not_there_is_one_line(capsys):
    assert run(["demo", "no-such-model"]) == 2
    assert capsys.readouterr().err.startswith("ModelFolderError: There is no folder no-such-model")


def test_without_gradio_the_extra_is_named(model_folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert run(["demo", str(model_folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("MissingExtraError: ")
    assert 'pip install "reben[demo]"' in said


def test_models_are_called_by_their_last_folder_or_their_name_on_the_hub(tmp_path):
    assert name_of(str(tmp_path)) == tmp_path.name
    assert name_of(DEFAULT_MODEL) == DEFAULT_MODEL


def test_the_real_sample_is_used_where_it_lies_and_no_store_is_named(monkeypatch, tmp_path, store):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_store(None) is None
    place = tmp_path / ".cache" / "reben" / "sample"
    place.parent.mkdir(parents=True)
    place.symlink_to(store)
    assert find_store(None) == place
    assert find_store(Path("mine")) == Path("mine")


# The Space ---------------------------------------------------------------------------------------


def test_a_space_holds_the_model_samples_and_its_front_matter(store, model_folder, tmp_path):
    folder = write_space(tmp_path / "space", str(model_folder), data=store)
    readme = (folder / "README.md").read_text()
    assert readme.startswith('---\ntitle: "toy on Sentinel patches"\n')
    for line in ("sdk: gradio", "app_file: app.py"):
        assert f"\n{line}\n" in readme
    assert "models:" not in readme
    copied = Classifier.from_pretrained(folder / "model" / "toy").predict(made_up.patch(2))
    given = Classifier.from_pretrained(model_folder).predict(made_up.patch(2))
    np.testing.assert_array_equal(copied.values, given.values)
    table = pq.read_table(folder / "samples" / "metadata.parquet")
    samples = Store.open(folder / "samples")
    for name in (*table["patch_id"].to_pylist(), *table["s1_name"].to_pylist()):
        assert name in samples
    assert len(table) == 12


def test_a_space_has_python_its_own_name_a_licence_and_an_install_line(
    store, model_folder, tmp_path
):
    odd = tmp_path / "odd: \"x\" 'y' `z` <b> [a](b)"
    shutil.copytree(model_folder, odd)
    (odd / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    folder = write_space(tmp_path / "space", str(odd), data=store)
    readme = (folder / "README.md").read_text()
    head, body = split_head(readme)
    settings = yaml.safe_load(head)
    assert settings["title"] == f"{odd.name} on Sentinel patches"
    assert settings["python_version"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert settings["license"] == "cc-by-nc-4.0"
    assert (folder / "requirements.txt").read_text() == f"reben[demo]=={reben.__version__}\n"
    assert f'str(HERE / "model" / {odd.name!r})' in (folder / "app.py").read_text()
    compile((folder / "app.py").read_text(), "app.py", "exec")
    assert name_of(folder / "model" / odd.name) == odd.name
    assert "``odd: \"x\" 'y' `z` <b> [a](b)``" in body
    assert "12 patch pairs of Ramps\n(cc0-1.0)" in body


def test_the_install_line_of_a_space_follows_that_of_cards(monkeypatch):
    monkeypatch.setattr("reben.publish.branding.INSTALL", "pip install git+https://x.example/reben")
    assert requirement("demo") == "reben[demo] @ git+https://x.example/reben"


def test_a_space_of_a_model_on_the_hub_names_it(store, tmp_path):
    folder = write_space(tmp_path / "space", "me/my-model", bands="s2", data=store)
    assert "\nmodels:\n- me/my-model\n" in (folder / "README.md").read_text()
    app = (folder / "app.py").read_text()
    assert "'me/my-model'" in app
    assert "bands='s2'" in app
    assert not (folder / "model").exists()


def test_a_space_takes_an_even_choice_of_many_patches(model_folder, tmp_path):
    many = made_up.write_store(tmp_path / "many", num_train=40, num_validation=5, num_test=5)
    folder = write_space(tmp_path / "space", str(model_folder), data=many)
    names = pq.read_table(folder / "samples" / "metadata.parquet")["patch_id"].to_pylist()
    assert names == [made_up.patch_id(number) for number in range(0, 50, 3)]


def test_a_space_that_cannot_be_finished_is_not_there(model_folder, tmp_path, capsys):
    out = tmp_path / "space"
    assert run(["demo", str(model_folder), "--data", str(tmp_path), "--space", str(out)]) == 2
    assert capsys.readouterr().err.startswith("StoreError: ")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_neither_folder_nor_name_makes_no_space(tmp_path):
    with pytest.raises(ConfigError, match="neither a model folder nor the name"):
        write_space(tmp_path / "space", "toy")


def test_the_verb_writes_a_space_and_takes_no_flag_of_the_page(
    store, model_folder, tmp_path, capsys
):
    words = ["demo", str(model_folder), "--data", str(store), "--space", str(tmp_path / "s")]
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(tmp_path / "s")}
    assert run([*words, "--port", "7000"]) == 2
    assert "Leave --scene, --product and --port out" in capsys.readouterr().err


@pytest.mark.slow
def test_the_app_of_a_space_serves_the_page(store, model_folder, tmp_path):
    folder = write_space(tmp_path / "space", str(model_folder), data=store)
    app = [sys.executable, "app.py"]
    # A Space is ended by a termination, not by Ctrl-C; what it wrote must be gone then too.
    with serving(app, folder, signal.SIGTERM, GRADIO_SERVER_PORT="7893") as (address, _):
        assert address == "http://127.0.0.1:7893/"
        status, config = fetch(f"{address}config")
        assert status == 200
        assert made_up.patch_id(11) in config.decode()
