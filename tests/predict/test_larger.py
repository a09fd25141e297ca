import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine

from reben.app.cli import run as run_words
from reben.errors import MissingBandError, PatchShapeError
from reben.model.classifier import Classifier
from reben.predict.larger import lead_to_scene
from reben.scene.product import open_scene

CASE = Path(os.environ.get("REBEN_TEST_DATA", "no such folder")) / "cases" / "multiband-256.tif"
BANDS = ("B02", "B03", "B04", "B08", "B05")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(3)
    classifier = Classifier("test_resnet", "B02,B03,B04,B08", labels=("A", "B"))
    return str(classifier.save_pretrained(tmp_path_factory.mktemp("a model")))


def write(path, *, names=BANDS, least=1100, crs="EPSG:32633", transform=None, **more):
    rows, columns = np.mgrid[:200, :220]
    layers = [least + 50 * i + 2500 * (i == 3) + rows + columns for i in range(len(names))]
    with rasterio.open(
        path, "w", driver="GTiff", width=220, height=200, count=len(names), dtype="uint16",
        crs=crs, transform=transform or Affine(10, 0, 300_000, 0, -10, 5_000_000), **more,
    ) as file:  # fmt: skip
        file.write(np.stack(layers).astype(np.uint16))
        file.descriptions = names
    return path


def command_of(error):
    return shlex.split(str(error).partition("Type: reben ")[2])


def run(words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert run_words(words) == 0
    with rasterio.open(words[words.index("--out") + 1]) as file:
        return file.read(), file.tags()


@pytest.mark.parametrize(
    ("more", "flags"),
    [
        ({}, ["--boa-offset", "-1000"]),
        ({"least": 40}, ["--boa-offset", "0"]),
        ({"names": ("blue", "S2_B03", "B4", "B08_10m", "NDVI")}, ["--boa-offset", "-1000"]),
        (
            {"names": tuple("abcd")},
            ["--band-names", "B02,B03,B04,B08", "--boa-offset", "-1000"],
        ),
        (
            {"crs": "EPSG:3857", "transform": Affine(20, 0, 2_777_000, 0, -20, 8_400_000)},
            ["--boa-offset", "-1000", "--reproject"],
        ),
    ],
)
def test_a_larger_image_leads_to_a_command_that_works_as_printed(
    model, tmp_path, monkeypatch, more, flags
):
    path = write(tmp_path / "my image.tif", **more)

    with pytest.raises(PatchShapeError, match="220 x 200 pixels, a patch 120 x 120") as caught:
        lead_to_scene(model, path)
    words = command_of(caught.value)
    assert words == [
        "predict-scene", model, str(path), "--out", "my image_scores.tif", *flags
    ]  # fmt: skip
    assert ("usual order" in str(caught.value)) == ("--band-names" in flags)

    scores, tags = run(words, tmp_path, monkeypatch)
    assert np.isfinite(scores).any()
    assert tags["boa_offset"] == flags[flags.index("--boa-offset") + 1]
    assert ("reprojected" in tags) == ("--reproject" in flags)


def test_predict_leads_there(model, tmp_path, capsys):
    path = write(tmp_path / "i.tif")
    for more in ([], ["--out", str(tmp_path / "t.csv")]):
        assert run_words(["predict", model, str(path), *more]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert re.search(r"Type: reben predict-scene .* --boa-offset -1000", said)


def test_names_that_are_given_are_kept(model, tmp_path):
    path = write(tmp_path / "i.tif", names=tuple("abcde"))
    with pytest.raises(PatchShapeError, match=r"--band-names B08,B04,B03,B02,- --boa"):
        lead_to_scene(model, path, names=["B08", "B04", "B03", "B02", "-"])
    with pytest.raises(MissingBandError, match=r"lacks B08; it has B02, B03, B04"):
        lead_to_scene(model, path, names=["-", "B04", "B03", "B02", "-"])


def test_patches_and_other_files_are_left_alone(model, tmp_path):
    lead_to_scene(model, tmp_path)
    with rasterio.open(
        tmp_path / "p.tif", "w", driver="GTiff", width=120, height=120, count=4, dtype="uint16",
        crs="EPSG:32633", transform=Affine(10, 0, 300_000, 0, -10, 5_000_000),
    ):  # fmt: skip
        pass
    lead_to_scene("no model", tmp_path / "p.tif")


@pytest.mark.skipif(not CASE.is_file(), reason="REBEN_TEST_DATA names no cases")
def test_a_real_image_of_twelve_bands_is_predicted_as_printed(model, tmp_path, monkeypatch):
    with pytest.raises(PatchShapeError) as caught:
        lead_to_scene(model, CASE)
    names = "B01,B02,B03,B04,B05,B06,B07,B08,B8A,B09,B11,B12"
    words = command_of(caught.value)
    assert words[words.index("--band-names") + 1] == names

    scores, tags = run(words, tmp_path, monkeypatch)
    assert scores.shape == (2, 2, 2)
    assert tags["boa_offset"] == "-1000"


@pytest.mark.parametrize(("unit", "names"), [("db", ("VV", "VH")), ("linear", (None, None))])
def test_a_larger_image_of_sentinel_1_leads_to_a_command_that_works(
    tmp_path, monkeypatch, unit, names
):
    model = Classifier("test_resnet", "s1", labels=("A", "B")).save_pretrained(tmp_path / "s1")
    rows = np.mgrid[:150, :150][0].astype(np.float32) / 99
    db = np.stack([level + rows for level in (-10, -17)])
    with rasterio.open(
        tmp_path / "s1.tif", "w", driver="GTiff", width=150, height=150, count=2, dtype="float32",
        crs="EPSG:32633", transform=Affine(10, 0, 300_000, 0, -10, 5_000_000),
    ) as file:  # fmt: skip
        file.write(db if unit == "db" else 10 ** (db / 10))
        file.descriptions = names

    with pytest.raises(PatchShapeError, match="Nothing says the unit") as caught:
        lead_to_scene(str(model), tmp_path / "s1.tif")

    words = command_of(caught.value)
    assert words[words.index("--sentinel1-unit") + 1] == unit
    assert ("--band-names" in words) == (names == (None, None))
    scores, _ = run(words, tmp_path, monkeypatch)
    assert np.isfinite(scores).all()


def test_a_stac_item_leads_to_the_command_for_scenes(model, tmp_path):
    with pytest.raises(
        PatchShapeError, match=r"Type: reben predict-scene .*item\.json --out item_s"
    ):
        lead_to_scene(model, tmp_path / "item.json")


def test_an_address_of_an_item_leads_there_without_what_signs_it(model):
    address = "https://some.host/collections/s2/items/S2B_33UUP_20230821"
    with pytest.raises(PatchShapeError) as caught:
        lead_to_scene(model, Path(f"{address}?sig=secret"))
    assert command_of(caught.value) == [
        "predict-scene", model, address, "--out", "S2B_33UUP_20230821_scores.tif"
    ]  # fmt: skip
    assert "secret" not in str(caught.value)


def test_two_bands_without_names_lead_to_the_command_for_radar(tmp_path, monkeypatch):
    model = Classifier("test_resnet", "s1", labels=("A", "B")).save_pretrained(tmp_path / "s1")
    rows = np.mgrid[:120, :120][0].astype(np.float32) / 99
    with rasterio.open(
        tmp_path / "my s1.tif", "w", driver="GTiff", width=120, height=120, count=2,
        dtype="float32", crs="EPSG:32633", transform=Affine(10, 0, 300_000, 0, -10, 5_000_000),
    ) as file:  # fmt: skip
        file.write(np.stack([rows - 10, rows - 17]))

    with pytest.raises(MissingBandError, match="no Sentinel-2 band by name") as caught:
        open_scene(tmp_path / "my s1.tif")

    assert "boa" not in str(caught.value)
    command = str(caught.value).partition("reben predict-scene ")[2].partition(" (unit")[0]
    words = [str(model) if word == "MODEL" else word for word in shlex.split(command)]
    _, tags = run(["predict-scene", *words], tmp_path, monkeypatch)
    assert (tags["sentinel1_unit"], tags["sentinel1_quantity"]) == ("db", "sigma0")
