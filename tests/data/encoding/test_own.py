"""Patches of one's own: found whatever they are called, of any one size, with their labels."""

import json
import logging
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import made_up_files
import own_patches
from own_patches import (
    LABELS,
    LEFT,
    NAMES,
    SPLITS,
    TOP,
    on_ten_metres,
    pixels,
    write,
    write_folders,
    write_labels,
    write_multi,
)
from reben.data.encode import encode
from reben.data.inspection import summarise_store, verify_store
from reben.data.loader import Loader, RawLoader, open_dataset
from reben.data.metadata import PatchTable
from reben.data.store import Store
from reben.errors import (
    ConfigError,
    EncodeError,
    MetadataError,
    PatchShapeError,
    RebenError,
    StoreError,
)
from reben.learn.config import TrainConfig
from reben.learn.evaluate import evaluate
from reben.learn.train import train
from reben.model.classifier import Classifier
from reben.model.open import open_model
from reben.predict.patches import find_patches, predict_patches
from reben.spec.bands import S2_FULL
from reben.spec.statistics import Statistics

TEN = ("B02", "B03", "B04", "B08")


def model_of(bands, size=120, labels=("oat", "rye", "wheat")):
    torch.manual_seed(7)
    figures = Statistics(
        dict.fromkeys(bands, 900.0), dict.fromkeys(bands, 400.0), size, "nearest", "for a test"
    )
    return Classifier(
        "test_resnet", bands, statistics=figures, image_size=size, labels=labels
    ).eval()


def opened(store, bands="s2", **options):
    return open_dataset(store, bands, labels=None, **options)


def scores_of(path):
    table = pq.read_table(path)
    columns = [name for name in table.column_names if name in ("oat", "rye", "wheat")]
    assert len(columns) == 3, table.column_names
    return dict(
        zip(
            table.column(0).to_pylist(),
            np.stack([table[name].to_numpy() for name in columns], 1),
            strict=True,
        )
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    encode(
        folder / "store",
        folder=write_folders(folder / "files"),
        labels=write_labels(folder / "labels.csv"),
        workers=1,
    )
    return folder / "store"


@pytest.mark.parametrize("form", ["folders", "flat", "multi", "named"])
def test_the_store_holds_the_pixels_of_the_files(tmp_path, form):
    root = tmp_path / "files"
    options = {}
    if form in ("folders", "flat"):
        write_folders(root, flat=form == "flat")
    else:
        write_multi(root, described=form == "multi")
    if form == "named":
        options["band_names"] = list(S2_FULL)

    labels = write_labels(tmp_path / "labels.csv")
    report = encode(tmp_path / "store", folder=root, labels=labels, workers=1, **options)

    assert report.new == {"Sentinel-2": 4}
    for number, name in enumerate(NAMES):
        found = Store.open(tmp_path / "store").get(name)
        assert sorted(found) == sorted(S2_FULL)
        for band, values in found.items():
            assert values.dtype == np.uint16
            np.testing.assert_array_equal(values, pixels(band, number, 120))


def test_the_metadata_of_the_store_are_the_labels(store):
    table = opened(store).table

    assert table.patch_ids == list(NAMES)
    assert table.splits == list(SPLITS)
    assert table.labels == ("oat", "rye", "wheat")
    assert table.label_names == [tuple(text.split("; ")) for text in LABELS]
    assert json.loads((store / "store.json").read_text())["own"]["size"] == 120


def test_inspect_says_what_the_patches_are(store):
    summary = summarise_store(store)

    assert summary.values == {"Sentinel-2": 4}
    assert summary.num_unlisted == 0
    assert summary.own == "Patches of your own, 3 labels, 120 x 120 pixels of 10 m"
    assert verify_store(store).num_problems == 0


def test_the_same_command_does_only_what_is_missing(store):
    files, labels = store.parent / "files", store.parent / "labels.csv"

    again = encode(store, folder=files, labels=labels, workers=1)

    assert (again.new, again.there) == ({"Sentinel-2": 0}, {"Sentinel-2": 4})


def test_a_store_and_its_files_have_the_same_scores(store, tmp_path):
    model = model_of(("B02", "B8A", "B09"))

    predict_patches(model, opened(store), out=tmp_path / "store.parquet")
    source = find_patches([store.parent / "files"], model.bands)
    predict_patches(model, source, out=tmp_path / "files.parquet")

    of_store, of_files = (scores_of(tmp_path / f"{one}.parquet") for one in ("store", "files"))
    assert of_store.keys() == of_files.keys()
    for name in NAMES:
        np.testing.assert_allclose(of_store[name], of_files[name], rtol=0, atol=1e-6)


def test_a_model_is_trained_and_evaluated_on_them(store, tmp_path):
    config = TrainConfig(
        backbone="test_resnet", bands="s2", accelerator="cpu", epochs=1, batch_size=2
    )
    run = train(config, opened(store), tmp_path / "run")

    report = evaluate(run.best, opened(store)["test"])

    assert open_model(run.best, "cpu").labels == ("oat", "rye", "wheat")
    assert report.num_patches == 1


def test_both_sensors_are_pairs_by_their_names(tmp_path):
    s2 = write_folders(tmp_path / "s2")
    s1 = write_folders(tmp_path / "s1", ("VV", "VH"))
    labels = write_labels(tmp_path / "labels.csv")

    encode(tmp_path / "store", s2=s2, s1=s1, labels=labels, workers=1)

    data = opened(tmp_path / "store", "all")
    data.require_stored()
    np.testing.assert_array_equal(data.patch("farm_2")["VH"], pixels("VH", 2, 120))
    assert summarise_store(tmp_path / "store").values == {"Sentinel-2": 4, "Sentinel-1": 4}


def test_the_table_may_name_other_partners(tmp_path):
    s2 = write_folders(tmp_path / "s2", TEN)
    s1 = write_folders(tmp_path / "s1", ("VV", "VH"))
    labels = write_labels(tmp_path / "labels.csv", s1_name=[*reversed(NAMES)])

    encode(tmp_path / "store", s2=s2, s1=s1, labels=labels, workers=1)

    patch = opened(tmp_path / "store", ("B02", "VV")).patch("farm_0")
    np.testing.assert_array_equal(patch["VV"], pixels("VV", 3, 120))
    np.testing.assert_array_equal(patch["B02"], pixels("B02", 0, 120))


def test_radar_alone_is_a_store(tmp_path):
    s1 = write_folders(tmp_path / "s1", ("VV", "VH"))

    encode(tmp_path / "store", s1=s1, labels=write_labels(tmp_path / "l.csv"), workers=1)

    assert opened(tmp_path / "store", "s1").patch(1)["VV"].shape == (120, 120)


def test_patches_keep_their_size(tmp_path):
    bands = list(S2_FULL)
    names = [*bands, "-"]  # as EuroSAT, which has B10
    for number, name in enumerate(NAMES):
        layers = [on_ten_metres(band, number, 64) for band in bands]
        write(tmp_path / "tif" / f"{name}.tif", [*layers, layers[0]], number)
    labels = write_labels(tmp_path / "labels.csv")

    encode(tmp_path / "store", folder=tmp_path / "tif", labels=labels, band_names=names, workers=1)

    data = opened(tmp_path / "store", "s2_full")
    sides = {name: len(band) for name, band in data.patch(0).items()}
    assert data.size == 64
    assert (sides["B02"], sides["B8A"], sides["B09"]) == (64, 32, 64)
    np.testing.assert_array_equal(data.patch(3)["B8A"], pixels("B8A", 3, 64))
    assert verify_store(tmp_path / "store").num_problems == 0


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A store of patches of 64 pixels, and its files."""
    folder = tmp_path_factory.mktemp("small")
    write_multi(folder / "files", size=64)
    labels = write_labels(folder / "labels.csv")
    encode(folder / "store", folder=folder / "files", labels=labels, workers=1)
    return folder / "store"


def test_a_model_of_their_size_takes_them_unscaled(small, tmp_path):
    model = model_of(("B02", "B8A", "B09"), 64)
    data = opened(small)

    batch = next(iter(Loader(data, model.preprocess, 4, labels=data.table.labels)))

    raw = data.with_bands(model.bands).patch(2)
    blown = np.kron(raw["B8A"], np.ones((2, 2)))
    expected = np.stack([raw["B02"], blown, raw["B09"]]).astype(np.float32)
    np.testing.assert_allclose(batch.images[2], (expected - 900) / 400, atol=1e-5)
    raws = next(iter(RawLoader(data.with_bands(model.bands), 4, labels=data.table.labels)))
    np.testing.assert_allclose(raws.finish(model.preprocess).images, batch.images, atol=1e-6)


def test_their_files_have_the_same_scores(small, tmp_path):
    model = model_of(("B02", "B8A", "B09"), 64)

    predict_patches(model, opened(small), out=tmp_path / "store.parquet")
    source = find_patches([small.parent / "files"], model.bands)
    predict_patches(model, source, out=tmp_path / "files.parquet")

    of_store, of_files = (scores_of(tmp_path / f"{one}.parquet") for one in ("store", "files"))
    for name in NAMES:
        np.testing.assert_allclose(of_store[name], of_files[name], rtol=0, atol=1e-6)


def test_a_model_is_trained_at_their_size(small, tmp_path):
    config = TrainConfig(
        backbone="test_resnet", bands="s2", accelerator="cpu", epochs=1, batch_size=2,
        image_size=64, statistics="auto",
    )  # fmt: skip

    run = train(config, opened(small), tmp_path / "run")

    measured = open_model(run.best, "cpu").config.statistics.mean["B02"]
    expected = np.mean([pixels("B02", number, 64) for number in (0, 1)])
    assert measured == pytest.approx(expected)


def test_a_model_of_another_size_is_refused(small, tmp_path):
    said = "have 64 x 64 pixels of 10 m, and the images 120 x 120"
    with pytest.raises(PatchShapeError, match=said):
        predict_patches(model_of(TEN), opened(small), out=tmp_path / "p.parquet")
    config = TrainConfig(backbone="test_resnet", bands="rgb", accelerator="cpu", batch_size=2)
    with pytest.raises(PatchShapeError, match="--image-size 64 --statistics auto"):
        train(config, opened(small), tmp_path / "run")


def test_tiles_cover_a_patch_from_its_corner(tmp_path, caplog):
    write_folders(tmp_path / "files", TEN, 264, numbers=[0, 1])
    labels = write_labels(tmp_path / "l.csv", names=NAMES[:2])

    encode(tmp_path / "store", folder=tmp_path / "files", labels=labels, tile=120, workers=1)

    data = opened(tmp_path / "store", "10m")
    assert data.table.patch_ids[:4] == [f"farm_0_r{r}_c{c}" for r in (0, 1) for c in (0, 1)]
    whole = pixels("B03", 1, 264)
    np.testing.assert_array_equal(data.patch("farm_1_r1_c0")["B03"], whole[120:240, :120])
    assert "24 pixels of 10 m at its right and bottom are left over" in caplog.text


def test_a_crop_is_the_middle(tmp_path):
    write_folders(tmp_path / "files", ("B02", "B8A", "B09"), 264, numbers=[0, 1])
    labels = write_labels(tmp_path / "l.csv", names=NAMES[:2])

    encode(tmp_path / "store", folder=tmp_path / "files", labels=labels, crop=120, workers=1)

    patch = opened(tmp_path / "store", ("B02", "B8A", "B09")).patch(1)
    np.testing.assert_array_equal(patch["B02"], pixels("B02", 1, 264)[72:192, 72:192])
    np.testing.assert_array_equal(patch["B8A"], pixels("B8A", 1, 264)[36:96, 36:96])
    np.testing.assert_array_equal(patch["B09"], pixels("B09", 1, 264)[12:32, 12:32])


def test_sizes_are_not_mixed(tmp_path):
    write_folders(tmp_path / "files", TEN, 120, numbers=[0])
    write_folders(tmp_path / "files", TEN, 264, numbers=[1])
    labels = write_labels(tmp_path / "l.csv", names=NAMES[:2])

    with pytest.raises(EncodeError, match="farm_1: it has other bands or sizes"):
        encode(tmp_path / "store", folder=tmp_path / "files", labels=labels, workers=1)
    encode(tmp_path / "all", folder=tmp_path / "files", labels=labels, crop=120, workers=1)
    assert len(Store.open(tmp_path / "all")) == 2


def test_pixels_of_another_scale_are_refused(tmp_path):
    layer = pixels("B02", 0, 120)
    write(tmp_path / "files" / "farm_0_B02.tif", [layer], 0, metres=30)

    with pytest.raises(EncodeError, match="pixels of 30 m"):
        encode(tmp_path / "store", folder=tmp_path / "files", workers=1)


def test_means_are_taken_on_request_only(tmp_path):
    rng = np.random.default_rng(1)
    for number, name in enumerate(NAMES):
        layer = rng.integers(200, 900, (120, 120)).astype(np.uint16)
        write(tmp_path / "files" / f"{name}.tif", [layer, layer], number, ["B02", "B8A"])
    labels = write_labels(tmp_path / "l.csv")

    with pytest.raises(EncodeError, match="--resample mean"):
        encode(tmp_path / "s", folder=tmp_path / "files", labels=labels, workers=1)
    encode(tmp_path / "store", folder=tmp_path / "files", labels=labels, resample="mean", workers=1)

    patch = opened(tmp_path / "store", ("B02", "B8A")).patch(3)
    expected = layer.reshape(60, 2, 60, 2).mean((1, 3))
    np.testing.assert_allclose(patch["B8A"], expected, rtol=1e-6)
    assert verify_store(tmp_path / "store").num_problems == 0


@pytest.mark.parametrize("form", ["marks", "lists", "id"])
def test_labels_have_several_forms(tmp_path, form):
    root = write_folders(tmp_path / "files", TEN)
    expected = [sorted(text.split("; ")) for text in LABELS]
    path = tmp_path / ("l.parquet" if form == "lists" else "l.csv")
    if form == "lists":
        columns = {"patch_id": NAMES, "labels": expected, "split": SPLITS}
        pq.write_table(pa.table(columns), path)
    elif form == "marks":
        marks = {
            label: [int(label in names) for names in expected] for label in ("oat", "rye", "wheat")
        }
        write_labels(path, labels=None, **marks)
    else:
        write_labels(path, patch_id=None, id=NAMES)

    encode(tmp_path / "store", folder=root, labels=path, workers=1)

    assert [sorted(one) for one in opened(tmp_path / "store").table.label_names] == expected


def test_what_is_not_clear_is_refused(tmp_path):
    root = write_folders(tmp_path / "files", TEN, numbers=[0])
    for columns, said in (
        ({"labels": ["['wheat', 'rye']"] * 4}, "may be one label or several"),
        ({"labels": None, "wheat": [2] * 4}, "wheat holds 2"),
        ({"split": None}, "--split-by tile"),
    ):
        labels = write_labels(tmp_path / "l.csv", **columns)
        with pytest.raises(MetadataError, match=said):
            encode(tmp_path / "store", folder=root, labels=labels, workers=1)


def test_patches_are_shared_out_where_no_split_is_told(tmp_path):
    root = write_folders(tmp_path / "files", TEN)
    labels = write_labels(tmp_path / "l.csv", split=None)

    encode(tmp_path / "store", folder=root, labels=labels, split_by="random", workers=1)

    assert set(opened(tmp_path / "store").table.splits) == {"train", "validation", "test"}


def test_rows_and_patches_that_do_not_match_are_named(tmp_path, caplog):
    root = write_folders(tmp_path / "files", TEN, numbers=[0, 1, 2])
    labels = write_labels(tmp_path / "l.csv", names=["farm_0", "farm_1", "elsewhere"])

    with pytest.raises(MetadataError, match=r"elsewhere.*farm_2"):
        encode(tmp_path / "strict", folder=root, labels=labels, workers=1, strict=True)
    with caplog.at_level(logging.WARNING):
        encode(tmp_path / "store", folder=root, labels=labels, workers=1)

    assert "1 rows of the labels have no patch (elsewhere)" in caplog.text
    assert "1 patches have no labels and are left out (farm_2)" in caplog.text
    assert opened(tmp_path / "store").table.patch_ids == ["farm_0", "farm_1"]
    assert len(Store.open(tmp_path / "store")) == 2


def polygon(west, south, east, north):
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def test_labels_are_those_of_all_features_on_the_ground(tmp_path, caplog):
    root = write_folders(tmp_path / "files", TEN, numbers=[0, 1, 2])
    right = LEFT + 1200
    features = [
        (polygon(LEFT - 500, TOP - 600, LEFT + 10, TOP), "rye"),
        (polygon(LEFT + 100, TOP - 900, LEFT + 200, TOP - 800), "oat"),
        (polygon(right, TOP - 600, right + 700, TOP), "touches the edge only"),
        (polygon(LEFT + 5100, TOP - 900, LEFT + 5200, TOP - 800), "wheat"),
    ]
    content = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}},
        "features": [
            {
                "type": "Feature",
                "geometry": shape,
                "properties": {"labels": label, "split": "train"},
            }
            for shape, label in features
        ],
    }
    (tmp_path / "fields.geojson").write_text(json.dumps(content))

    encode(tmp_path / "store", folder=root, labels=tmp_path / "fields.geojson", workers=1)

    table = opened(tmp_path / "store").table
    found = dict(zip(table.patch_ids, table.label_names, strict=True))
    assert found == {"farm_0": ("oat", "rye"), "farm_1": ("wheat",)}
    assert "farm_2" in caplog.text


def test_features_may_name_patches(tmp_path):
    root = write_folders(tmp_path / "files", TEN, numbers=[0])
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [0, 0]},
        "properties": {"patch_id": "farm_0", "labels": "rye", "split": "test"},
    }
    content = {"type": "FeatureCollection", "features": [feature]}
    (tmp_path / "fields.geojson").write_text(json.dumps(content))

    encode(tmp_path / "store", folder=root, labels=tmp_path / "fields.geojson", workers=1)

    assert opened(tmp_path / "store").table.label_names == [("rye",)]


def test_other_patches_go_into_another_store(store, tmp_path):
    other = write_folders(tmp_path / "files", TEN, 264)
    with pytest.raises(StoreError, match="encode into another folder"):
        encode(store, folder=other, labels=store.parent / "labels.csv", workers=1)
    official = made_up_files.write_tree(tmp_path / "tree", [0], ["s2"])
    with pytest.raises(StoreError, match="another folder"):
        encode(store, **official, workers=1)


def test_patches_without_labels_are_a_store_to_predict_on(tmp_path, caplog):
    root = write_folders(tmp_path / "files", TEN)

    report = encode(tmp_path / "store", folder=root, workers=1)

    assert report.new == {"Sentinel-2": 4}
    assert "--labels FILE" in caplog.text


def test_there_must_be_patches(tmp_path):
    (tmp_path / "empty").mkdir()
    labels = write_labels(tmp_path / "l.csv")
    with pytest.raises(ConfigError, match="There are no patches in"):
        encode(tmp_path / "store", folder=tmp_path / "empty", labels=labels)
    with pytest.raises(RebenError):
        encode(tmp_path / "store", folder=write_folders(tmp_path / "f", TEN), labels=labels,
               crop=100, tile=50)  # fmt: skip


def test_several_processes_write_the_same_values(tmp_path, store):
    encode(
        tmp_path / "store", folder=store.parent / "files", labels=store.parent / "labels.csv",
        workers=2,
    )  # fmt: skip

    one, two = (Store.open(folder) for folder in (store, tmp_path / "store"))
    assert list(one.names()) == list(two.names()) == list(own_patches.NAMES)
    for name in NAMES:
        for band, values in one.get(name).items():
            np.testing.assert_array_equal(two.get(name)[band], values)


def test_a_first_try_that_left_out_all_does_not_bind_the_store(tmp_path, caplog):
    rng = np.random.default_rng(0)
    layers = [rng.integers(300, 3000, (120, 120)).astype(np.uint16) for _ in S2_FULL]
    write(tmp_path / "in" / "farm_0.tif", layers, 0, [*S2_FULL])
    with pytest.raises(EncodeError, match="1 of 1 patches were left out"):
        encode(tmp_path / "store", folder=tmp_path / "in")
    report = encode(tmp_path / "store", folder=tmp_path / "in", resample="auto")
    assert report.new == {"Sentinel-2": 1}
    told = "In 1 patch B01, B05, B06, B07, B8A, B09, B11, B12 had been interpolated to 10 m"
    assert caplog.text.count("interpolated") == caplog.text.count(told) == 1


def test_one_label_of_each_patch_may_be_called_so(tmp_path):
    folders = write_folders(tmp_path / "in")
    file = write_labels(tmp_path / "l.csv", labels=None, label=["rye", "oat", "rye", "oat"])
    encode(tmp_path / "store", folder=folders, labels=file)
    table = PatchTable.read(tmp_path / "store" / "metadata.parquet", labels=None)
    assert table.label_names == [("rye",), ("oat",), ("rye",), ("oat",)]


def test_inspect_misses_no_partner_of_patches_without_one(store):
    assert summarise_store(store).missing_sentinel1 == ()


def test_encoding_imports_no_torch():
    code = "import sys, reben.data.encode, reben.data.inspection; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
