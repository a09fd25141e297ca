"""Files that once broke a reader: an error with file and reason, whichever front end meets them."""

import json
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import made_up
from fuzzing import MOST_BYTES, peak_bytes
from made_up_files import write_tree
from reben.app.cli import run
from reben.app.demo.uploads import take_upload
from reben.data.downloading.session import Session
from reben.data.encode import encode
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.errors import DownloadError, EncodeError, RebenError
from reben.model.classifier import Classifier
from reben.model.open import open_model
from reben.predict.patches import find_patches, predict_patches
from reben.scene.product import open_scene

CASES = Path(os.environ.get("REBEN_TEST_DATA") or "/nowhere") / "cases" / "hostile"
TIFFS = sorted(CASES.glob("*.tif"))
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="no cases")


@pytest.fixture(autouse=True)
def in_little_memory():
    before = peak_bytes()
    yield
    assert peak_bytes() - before < MOST_BYTES


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "m"
    Classifier("test_resnet", "rgb").eval().save_pretrained(folder)
    return folder


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree", [0, 1], ["s2"])["s2"]


@pytest.mark.parametrize("case", TIFFS, ids=lambda path: path.stem)
def test_encode_leaves_out_the_patch_and_goes_on(case, tree, tmp_path):
    band = next(tree.rglob(f"{made_up.patch_id(0)}_B02.tif"))
    shutil.copyfile(case, band)
    with pytest.raises(EncodeError, match="1 of 2 patches were left out") as caught:
        encode(tmp_path / "store", s2=tree, workers=1)
    (failure,) = caught.value.report.failures
    assert failure.name == made_up.patch_id(0)
    assert "B02" in failure.reason
    assert sum(caught.value.report.new.values()) == 1


@pytest.mark.parametrize("case", TIFFS, ids=lambda path: path.stem)
def test_predict_leaves_out_the_patch_and_goes_on(case, tree, tmp_path, model):
    band = next(tree.rglob(f"{made_up.patch_id(0)}_B02.tif"))
    shutil.copyfile(case, band)
    classifier = open_model(model)
    patches = find_patches(tree, classifier.bands)
    outcome = predict_patches(classifier, patches, tmp_path / "scores.csv")
    assert outcome.num_patches == 1
    (bad,) = outcome.bad
    assert band.name in bad.reason


@pytest.mark.parametrize("case", TIFFS, ids=lambda path: path.stem)
def test_predict_of_one_patch_is_one_line(case, tree, model, capsys):
    band = next(tree.rglob(f"{made_up.patch_id(0)}_B02.tif"))
    shutil.copyfile(case, band)
    assert run(["predict", str(model), str(band.parent)]) in (1, 2)
    said = capsys.readouterr().err
    assert band.name in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("case", TIFFS, ids=lambda path: path.stem)
def test_the_page_refuses_it(case, tmp_path):
    file = tmp_path / "x_B02.tif"
    shutil.copyfile(case, file)
    with pytest.raises(RebenError, match=r"x_B02\.tif"):
        take_upload([file], tmp_path)


def test_a_config_with_numbers_that_overflow(tmp_path, model):
    folder = shutil.copytree(model, tmp_path / "m")
    shutil.copyfile(CASES / "config-overflow.json", folder / "config.json")
    with pytest.raises(RebenError, match=r"band_std|config"):
        open_model(folder)


@pytest.mark.parametrize("case", ["product-metadata-encoding", "product-metadata-overflow"])
def test_metadata_of_a_product(case, tmp_path):
    folder = tmp_path / "S2A_X.SAFE"
    folder.mkdir()
    shutil.copyfile(CASES / f"{case}.xml", folder / "MTD_MSIL2A.xml")
    with pytest.raises(RebenError, match=r"MTD_MSIL2A\.xml|S2A_X"):
        open_scene(folder)


def test_a_stac_item(tmp_path):
    text = (CASES / "stac-item-overflow.json").read_text().replace("TMP", str(tmp_path))
    (tmp_path / "x.json").write_text(text)
    place = GeoTransform(300_000, 5_400_000, 10, 32633)
    content = encode_geotiff(np.full((120, 120), 4, np.uint16), place)
    for asset in json.loads(text)["assets"].values():
        (tmp_path / asset["href"]).write_bytes(content)
    with pytest.raises(RebenError, match="offset"):
        open_scene(tmp_path / "x.json")


def test_a_summary_of_wrong_types(tmp_path):
    from reben.learn.config import TrainConfig
    from reben.learn.resume import open_unfinished

    (tmp_path / "config.toml").write_text(TrainConfig(backbone="resnet50", bands="s2").to_toml())
    shutil.copyfile(CASES / "summary-wrong-types.json", tmp_path / "summary.json")
    with pytest.raises(RebenError, match=r"summary\.json.*(data|filters)"):
        open_unfinished(tmp_path)


def test_the_record_of_an_archive():
    handler = partial(SimpleHTTPRequestHandler, directory=CASES)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/archive-record.json"
        wanted = pytest.raises(DownloadError, match=r"archive-record\.json .*files\.0\.links")
        with Session(None, None) as session, wanted:
            session.list_files(url, None)
        server.shutdown()
