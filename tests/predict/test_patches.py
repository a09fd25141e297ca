"""Many patches into one table: what is in it, how it goes on after a kill, what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import torch

import made_up
import made_up_files
from multiband_files import write_multiband
from pool_tasks import DeadlyPatches
from reben.data.loader import open_dataset
from reben.data.patch_folders.folder import read_patch_folder
from reben.data.preprocess import SuspiciousInputWarning
from reben.data.store import StoreWriter
from reben.errors import ConfigError, MissingExtraError, ModelError, OutputError, PredictError
from reben.model.classifier import Classifier
from reben.predict import patch_work
from reben.predict.patch_inputs import ReadPatches
from reben.predict.patch_options import PredictOptions
from reben.predict.patches import embed_patches, find_patches, predict_patches
from reben.predict.resume import TableProgress

NAMES = ("VV", "B02", "B8A")
NUMBERS = range(12)
SMALL = PredictOptions(batch_size=2, part_size=4)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    return Classifier("test_resnet", NAMES).eval()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return made_up.write_store(tmp_path_factory.mktemp("many") / "store")


@pytest.fixture
def data(store):
    return open_dataset(store, NAMES)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    return made_up_files.write_tree(folder / "files", NUMBERS, ("s1", "s2"))


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    path = tmp_path_factory.mktemp("many") / "metadata.parquet"
    return made_up.write_metadata(path, [made_up.row(number) for number in NUMBERS])


def read(path, labels):
    table = pq.read_table(path)
    return table.column("id").to_pylist(), np.stack([table.column(name) for name in labels], 1)


def one_by_one(model):
    return np.stack([model.predict(made_up.patch(number, NAMES)).values for number in NUMBERS])


# What is in it ----------------------------------------------------------------------------------


def test_a_store_gives_the_scores_of_predict_patch_by_patch(model, data, tmp_path):
    outcome = predict_patches(model, data, tmp_path / "t.parquet", options=SMALL)
    ids, scores = read(outcome.out, model.labels)
    assert ids == [made_up.patch_id(number) for number in NUMBERS]
    np.testing.assert_allclose(scores, one_by_one(model), atol=1e-4)
    assert (outcome.num_patches, outcome.num_bad, outcome.num_resumed) == (12, 0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_a_tree_of_files_gives_the_same_with_partners_from_the_metadata(
    model, files, metadata, tmp_path
):
    source = find_patches(files["s2"], model.bands, s1=files["s1"], metadata=metadata)
    options = PredictOptions(batch_size=5, part_size=7, num_workers=0)
    outcome = predict_patches(model, source, tmp_path / "t.parquet", options=options)
    ids, scores = read(outcome.out, model.labels)
    assert ids == [made_up.patch_id(number) for number in NUMBERS]
    np.testing.assert_allclose(scores, one_by_one(model), atol=1e-4)


def test_tiffs_of_several_bands_give_the_same(model, tmp_path):
    for number in NUMBERS:
        bands = made_up.patch(number, reversed(NAMES))
        write_multiband(tmp_path / f"field_{number:02d}.tif", bands)
    source = find_patches(tmp_path, model.bands)
    outcome = predict_patches(model, source, tmp_path / "out" / "t.parquet", options=SMALL)
    ids, scores = read(outcome.out, model.labels)
    assert ids == [f"field_{number:02d}" for number in NUMBERS]
    np.testing.assert_allclose(scores, one_by_one(model), atol=1e-4)


def test_labels_are_those_above_the_thresholds_of_the_model_or_the_given_one(model, data, tmp_path):
    for threshold in (None, 0.52):
        out = tmp_path / f"{threshold}.parquet"
        predict_patches(model, data, out, threshold=threshold, options=SMALL)
        found = pq.read_table(out).column("labels").to_pylist()
        expected = [
            model.predict(made_up.patch(number, NAMES)).above(threshold) for number in NUMBERS
        ]
        assert [set(names) for names in found] == [set(names) for names in expected]
    with pytest.raises(ConfigError, match=r"got 1\.5"):
        predict_patches(model, data, tmp_path / "x.csv", threshold=1.5)


def test_the_table_names_the_years_in_which_its_patches_were_sensed(model, data, tmp_path):
    predict_patches(model, data, tmp_path / "t.parquet", options=SMALL)
    about = json.loads(pq.read_metadata(tmp_path / "t.parquet").metadata[b"reben"])
    years = sorted(
        {name[11:15] for name in pq.read_table(tmp_path / "t.parquet")["id"].to_pylist()}
    )
    notice = f"Contains modified Copernicus Sentinel data {', '.join(years)}"
    assert about["attribution"] == notice


def test_places_are_those_of_the_files_or_of_the_names(model, data, files, metadata, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    source = find_patches(files["s2"], model.bands, s1=files["s1"], metadata=metadata)
    by_file = predict_patches(model, source, tmp_path / "f.parquet", options=SMALL)
    by_name = predict_patches(model, data, tmp_path / "n.parquet", options=SMALL)
    found = geopandas.read_parquet(by_file.out).to_crs(32633).bounds
    np.testing.assert_allclose(found["minx"], 300_000 + made_up_files.EAST_OF_NAME, atol=1e-3)
    np.testing.assert_allclose(found["maxy"], [5_400_000 - 1200 * n for n in NUMBERS], atol=1e-3)
    named = geopandas.read_parquet(by_name.out).to_crs(32633).bounds
    np.testing.assert_allclose(named["minx"], 300_000, atol=1e-3)
    np.testing.assert_allclose(named["maxy"], [5_400_000 - 1200 * n for n in NUMBERS], atol=1e-3)


def test_embeddings_are_those_of_embed(model, data, tmp_path):
    outcome = embed_patches(model, data, tmp_path / "e.parquet", options=SMALL)
    table = pq.read_table(outcome.out)
    column = table.column("embedding").combine_chunks()
    found = np.array(column.flatten()).reshape(len(table), -1)
    expected = np.stack([model.embed(made_up.patch(number, NAMES)) for number in NUMBERS])
    assert str(column.type) == f"fixed_size_list<element: float>[{expected.shape[1]}]"
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(ConfigError, match="written as parquet"):
        embed_patches(model, data, tmp_path / "e.csv")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "geojson"])
def test_every_text_format_has_every_patch(model, data, tmp_path, ending):
    out = predict_patches(model, data, tmp_path / f"t.{ending}", options=SMALL).out
    for number in NUMBERS:
        assert made_up.patch_id(number).encode() in out.read_bytes()


@pytest.mark.slow
def test_several_processes_write_the_very_order_of_one(model, data, tmp_path):
    done = []
    options = PredictOptions(batch_size=2, part_size=4, devices=2)
    outcome = predict_patches(
        model, data, tmp_path / "t.parquet", options=options,
        progress=lambda count, total: done.append((count, total)),
    )  # fmt: skip
    ids, scores = read(outcome.out, model.labels)
    assert ids == [made_up.patch_id(number) for number in NUMBERS]
    np.testing.assert_allclose(scores, one_by_one(model), atol=1e-4)
    assert done[-1] == (12, 12)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_and_what_the_others_did_is_kept(model, tmp_path):
    out = tmp_path / "t.parquet"
    options = PredictOptions(part_size=1, devices=2)
    with pytest.raises(PredictError, match=r"died twice over the same patches \(exit code 7\)"):
        predict_patches(model, DeadlyPatches(), out, options=options)
    assert TableProgress(out).num_done(0) == 1
    assert TableProgress(out).num_done(1) is None


class MadeWhenRead:
    """As many patches as are asked for, black ones."""

    def __init__(self, count):
        self.count = count

    def measure(self):
        return self.count, str(self.count)

    def chunks(self, size):
        for first in range(0, self.count, size):
            yield range(first, min(first + size, self.count))

    def read(self, chunk, how):
        images = torch.zeros(len(chunk), 3, 120, 120)
        yield ReadPatches([f"p{number}" for number in chunk], images, [None] * len(chunk))


def test_memory_does_not_grow_with_the_number_of_patches(model, tmp_path):
    def peak(count):
        options = PredictOptions(batch_size=4, part_size=4, overwrite=True)
        tracemalloc.start()
        predict_patches(model, MadeWhenRead(count), tmp_path / f"{count}.csv", options=options)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(8)
    few, many = peak(8), peak(72)
    # Beyond noise, 64 patches more may not take as much as their scores alone would as objects.
    assert many - few < 64 * 19 * 24


# Bad patches ------------------------------------------------------------------------------------


@pytest.fixture
def damaged(files, tmp_path):
    folder = shutil.copytree(files["s2"], tmp_path / "damaged")
    victim = next(folder.glob(f"*/{made_up.patch_id(5)}/*_B02.tif"))
    victim.write_bytes(victim.read_bytes()[:1000])
    shutil.rmtree(next(folder.glob(f"*/{made_up.patch_id(9)}")))
    (folder / made_up.patch_id(9)).mkdir()
    return folder


def test_bad_patches_are_named_counted_and_left_out(damaged, tmp_path):
    model = Classifier("test_resnet", "B02,B8A")
    source = find_patches(damaged, model.bands)
    outcome = predict_patches(model, source, tmp_path / "t.parquet", options=SMALL)
    ids, scores = read(outcome.out, model.labels)
    good = [number for number in NUMBERS if number not in (5, 9)]
    assert sorted(ids) == [made_up.patch_id(number) for number in good]
    expected = {n: model.predict(made_up.patch(n, ("B02", "B8A"))).values for n in good}
    for patch, found in zip(ids, scores, strict=True):
        number = [made_up.patch_id(n) for n in NUMBERS].index(patch)
        np.testing.assert_allclose(found, expected[number], atol=1e-4)
    assert (outcome.num_patches, outcome.num_bad) == (10, 2)
    lines = outcome.bad_file.read_text().splitlines()
    assert {json.loads(line)["name"] for line in lines} == {one.name for one in outcome.bad}
    assert {one.name for one in outcome.bad} == {made_up.patch_id(5), made_up.patch_id(9)}
    with pytest.raises(PredictError, match=r"2 of 12 patches could not be used: .*damaged TIFF"):
        outcome.require_all()


def test_strict_stops_at_the_first_bad_patch_and_keeps_what_was_done(damaged, tmp_path):
    model = Classifier("test_resnet", "B02,B8A")
    source = find_patches(damaged, model.bands)
    options = PredictOptions(batch_size=2, part_size=2, strict=True)
    with pytest.raises(PredictError, match=rf"Patch {made_up.patch_id(5)} cannot be used"):
        predict_patches(model, source, tmp_path / "t.csv", options=options)
    assert not (tmp_path / "t.csv").exists()


def test_a_bad_patch_of_a_store_does_not_harm_the_others(model, tmp_path, caplog):
    folder = made_up.write_store(tmp_path / "store", num_train=5, num_validation=0, num_test=0)
    rows = [made_up.row(number) for number in (0, 1, 2, 3, 4, 60, 61)]
    made_up.write_metadata(folder / "metadata.parquet", rows)
    with StoreWriter(folder) as writer:
        bands = made_up.patch(61)
        writer.put(made_up.s1_name(61), {"VV": bands["VV"] * np.nan, "VH": bands["VH"]})
        writer.put(made_up.patch_id(61), {"B02": bands["B02"], "B8A": bands["B8A"]})
    data = open_dataset(folder, NAMES)
    outcome = predict_patches(model, data, tmp_path / "t.parquet", options=SMALL)
    ids, scores = read(outcome.out, model.labels)
    assert ids == [made_up.patch_id(number) for number in range(5)]
    np.testing.assert_allclose(scores, one_by_one(model)[:5], atol=1e-4)
    assert "holds 6 of the 7 patches that the metadata list" in caplog.text
    assert [one.name for one in outcome.bad] == [made_up.patch_id(61)]
    assert "NaN" in outcome.bad[0].reason


def test_values_of_a_store_that_are_no_measurements_are_said_by_patch(tmp_path):
    model = Classifier("test_resnet", NAMES).eval()
    folder = made_up.write_store(tmp_path / "store", num_train=3, num_validation=0, num_test=0)
    changes = {
        10: lambda name, band: np.where(np.arange(120) < 40, -9999, band) if name == "VV" else band,
        11: lambda name, band: band * 0 if name[0] == "B" else band,
        12: lambda name, band: band * (np.arange(len(band)) > len(band) / 3)
        if name[0] == "B" else band,
        13: lambda name, band: np.where(np.arange(len(band)) < 9, 55537, band)
        if name == "B8A" else band,
        14: lambda name, band: np.where(np.arange(120) < 2, np.nan, band)
        if name == "VV" else band,
    }  # fmt: skip
    with StoreWriter(folder) as writer:
        for number, change in changes.items():
            bands = {n: change(n, b).astype(b.dtype) for n, b in made_up.patch(number).items()}
            writer.put(made_up.s1_name(number), {n: bands.pop(n) for n in ("VV", "VH")})
            writer.put(made_up.patch_id(number), bands)
        writer.put(made_up.patch_id(20), {n: made_up.band(n, 20) for n in ("B02", "B8A")})
    rows = [made_up.row(number) for number in (0, 1, 2, *changes)]
    rows.append(made_up.row(20, s1_name=made_up.s1_name(2)))
    made_up.write_metadata(folder / "metadata.parquet", rows)
    with pytest.warns(SuspiciousInputWarning, match="VV has pixels without data"):
        outcome = predict_patches(model, open_dataset(folder, NAMES), tmp_path / "t.parquet")
    ids, scores = read(outcome.out, model.labels)
    assert ids == [made_up.patch_id(number) for number in (0, 1, 2, 14)]
    np.testing.assert_allclose(scores[:3], one_by_one(model)[:3], atol=1e-4)
    reasons = {one.name: one.reason for one in outcome.bad}
    for number, said in {
        10: "Band VV has 4,800 pixels without data", 11: "100% of the pixels are 0 in B02, B8A",
        12: "% of the pixels are 0", 13: "15% of band B8A are 55537", 20: "another place",
    }.items():  # fmt: skip
        assert said in reasons[made_up.patch_id(number)]


def test_no_table_comes_of_bad_patches_alone(model, tmp_path):
    (tmp_path / made_up.patch_id(1)).mkdir()
    write_multiband(tmp_path / "x.tif", made_up.patch(0, ("VV", "B02")))
    source = find_patches(tmp_path / "x.tif", model.bands)
    with pytest.raises(PredictError, match=r"None of 1 patches .*needs B8A"):
        predict_patches(model, source, tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()
    assert (tmp_path / "t.csv.bad.jsonl").read_text().count("\n") == 1


def test_whatever_a_file_holds_only_its_patch_is_left_out(tmp_path):
    model = Classifier("test_resnet", NAMES).eval()
    folders = made_up_files.write_tree(tmp_path / "files", range(9), ("s1", "s2"))
    table = made_up.write_metadata(tmp_path / "m.parquet", [made_up.row(n) for n in range(9)])

    def replace(number, name, pixels, **profile):
        root = folders["s1"] if name == "VV" else folders["s2"]
        path = next(
            root.glob(
                f"*/*/*_{number}_{name}.tif"
                if name == "VV"
                else f"*/{made_up.patch_id(number)}/*_{name}.tif"
            )
        )
        place = made_up_files.rasterio_profile(path)
        with rasterio.open(path, "w", **{**place, "dtype": pixels.dtype, **profile}) as image:
            image.write(pixels, 1)

    replace(0, "VV", np.where(np.arange(120) < 40, -9999, made_up.band("VV")), nodata=-9999)
    replace(1, "B02", made_up.band("B02").astype(np.complex64))
    replace(2, "B8A", made_up.band("B8A").astype(np.uint8))
    replace(3, "B02", made_up.band("B02") / np.float32(1e4))
    replace(4, "B02", made_up.band("B02"), crs="EPSG:3857")
    replace(5, "VV", made_up.band("VV"), transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6))
    replace(6, "VV", np.full((120, 120), 3e38, np.float32))
    source = find_patches(folders["s2"], model.bands, s1=folders["s1"], metadata=table)
    outcome = predict_patches(model, source, tmp_path / "t.parquet", options=SMALL)
    assert read(outcome.out, model.labels)[0] == [made_up.patch_id(7), made_up.patch_id(8)]
    assert {one.name for one in outcome.bad} == {made_up.patch_id(n) for n in range(7)}
    with pytest.raises(PredictError, match="7 of 9 patches could not be used"):
        outcome.require_all()


def test_no_patch_at_all_is_an_error(model, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PredictError, match="no patch"):
        predict_patches(model, find_patches(tmp_path / "empty", model.bands), tmp_path / "t.csv")


def test_forgotten_offsets_are_warned_of_once_for_all_patches(model, tmp_path):
    (tmp_path / "in").mkdir()
    for number in NUMBERS:
        bands = made_up.patch(number, NAMES)
        bands["B02"] = bands["B02"] + (1000 if number % 3 else 0)
        write_multiband(tmp_path / "in" / f"f{number:02d}.tif", bands)
    source = find_patches(tmp_path / "in", model.bands)
    with pytest.warns(SuspiciousInputWarning) as warned:
        predict_patches(model, source, tmp_path / "t.csv", options=SMALL)
    assert [str(one.message).split(" have")[0] for one in warned] == ["8 of 12 patches"]
    assert warned[0].filename == __file__


def test_values_of_a_store_that_look_wrong_are_warned_of(model, tmp_path):
    with StoreWriter(tmp_path / "store") as writer:
        bands = made_up.patch(0)
        writer.put(made_up.s1_name(0), {"VV": bands["VV"]})
        writer.put(made_up.patch_id(0), {"B02": bands["B02"] + 1000, "B8A": bands["B8A"]})
    made_up.write_metadata(tmp_path / "store" / "metadata.parquet", [made_up.row(0)])
    with pytest.warns(SuspiciousInputWarning, match="1 of 1 patches"):
        predict_patches(model, open_dataset(tmp_path / "store", NAMES), tmp_path / "t.csv")


def test_a_table_of_a_published_model_holds_its_golden_scores(golden, real_store, tmp_path):
    expected = np.load(golden / "test_resnet-all" / "expected.npz")
    bands = ",".join(map(str, expected["bands"]))
    model = Classifier.from_pretrained(golden / "test_resnet-all", bands=bands)
    data = open_dataset(real_store, bands, snow=None, cloud=None)
    outcome = predict_patches(model, data, tmp_path / "t.parquet")
    ids, scores = read(outcome.out, model.labels)
    order = [ids.index(str(name)) for name in expected["patch_ids"]]
    wanted = 1 / (1 + np.exp(-expected["logits"].astype(float)))
    np.testing.assert_allclose(scores[order], wanted, rtol=0, atol=1e-4)


# Going on ---------------------------------------------------------------------------------------


def break_off(monkeypatch, after):
    """Make the work break off after some batches, as Ctrl-C does."""
    real, count = patch_work._predict_batch, [0]

    def predict_batch(*arguments):
        count[0] += 1
        if count[0] > after:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(patch_work, "_predict_batch", predict_batch)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_an_interrupted_call_goes_on_to_the_very_file(model, data, tmp_path, monkeypatch, ending):
    whole = predict_patches(model, data, tmp_path / f"whole.{ending}", options=SMALL).out
    out = tmp_path / f"t.{ending}"
    with monkeypatch.context() as patch:
        break_off(patch, after=5)
        with pytest.raises(KeyboardInterrupt):
            predict_patches(model, data, out, options=SMALL)
    assert not out.exists()
    outcome = predict_patches(model, data, out, options=SMALL)
    assert outcome.num_resumed == 8
    assert out.read_bytes() == whole.read_bytes()
    assert not TableProgress(out).folder.exists()


def engine_of(path):
    return json.loads(pq.read_schema(path).metadata[b"reben"])["engine"]


def test_a_table_says_which_engine_computed_it(model, data, tmp_path):
    plain = replace(SMALL, engine="eager")
    for name, options in (
        ("auto", SMALL),
        ("plain", plain),
        ("several", replace(plain, devices=2)),
    ):
        predict_patches(model, data, tmp_path / f"{name}.parquet", options=options)
    found = {path.stem: engine_of(path) for path in tmp_path.iterdir()}
    assert found == {"auto": "optimised", "plain": "eager", "several": "eager"}


def test_a_call_that_goes_on_keeps_its_engine(model, data, tmp_path, monkeypatch):
    out = tmp_path / "t.parquet"
    with monkeypatch.context() as patch:
        break_off(patch, after=3)
        with pytest.raises(KeyboardInterrupt):
            predict_patches(model, data, out, options=replace(SMALL, engine="eager"))
    assert predict_patches(model, data, out, options=SMALL).num_resumed == 4
    assert engine_of(out) == "eager"


def test_embeddings_are_computed_in_torch(model, data, tmp_path):
    with pytest.raises(ConfigError, match="Embeddings are computed in torch, not by onnx"):
        embed_patches(model, data, tmp_path / "e.parquet", options=PredictOptions(engine="onnx"))


def test_a_part_that_was_damaged_is_made_anew(model, data, tmp_path, monkeypatch):
    out = tmp_path / "t.csv"
    with monkeypatch.context() as patch:
        break_off(patch, after=5)
        with pytest.raises(KeyboardInterrupt):
            predict_patches(model, data, out, options=SMALL)
    part = TableProgress(out).path(0)
    part.write_bytes(part.read_bytes()[:50])
    assert predict_patches(model, data, out, options=SMALL).num_resumed == 4
    assert out.read_text().count("\n") == 13


def test_two_tables_of_one_name_at_once_are_refused(model, data, tmp_path):
    out, refused = tmp_path / "t.csv", []

    def begin_another(_done, _total):
        with pytest.raises(OutputError, match=r"Another run is writing .*t\.csv") as caught:
            predict_patches(model, data, out, options=SMALL)
        refused.append(caught)

    predict_patches(model, data, out, options=SMALL, progress=begin_another)

    assert refused
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.fixture
def begun(model, data, tmp_path, monkeypatch):
    out = tmp_path / "t.csv"
    with monkeypatch.context() as patch:
        break_off(patch, after=3)
        with pytest.raises(KeyboardInterrupt):
            predict_patches(model, data, out, options=SMALL)
    return out


def test_another_model_is_refused_until_it_is_to_begin_anew(begun, data):
    torch.manual_seed(6)
    other = Classifier("test_resnet", NAMES).eval()
    with pytest.raises(ConfigError, match=r"other settings: model was .*--restart"):
        predict_patches(other, data, begun, options=SMALL)
    options = PredictOptions(batch_size=2, part_size=4, restart=True)
    assert predict_patches(other, data, begun, options=options).num_resumed == 0


def test_other_patches_and_settings_are_refused_by_name(begun, model, data):
    with pytest.raises(ConfigError, match="patches was 12, now 3"):
        predict_patches(model, data["test"], begun, options=SMALL)
    with pytest.raises(ConfigError, match=r"thresholds was .*now"):
        predict_patches(model, data, begun, options=SMALL, threshold=0.3)
    with pytest.raises(ConfigError, match="geometry was True, now False"):
        predict_patches(model, data, begun, options=PredictOptions(geometry=False))


@pytest.mark.slow
def test_batches_and_devices_may_change_on_the_way(begun, model, data):
    options = PredictOptions(batch_size=3, devices=2)
    outcome = predict_patches(model, data, begun, options=options)
    assert (outcome.num_resumed, outcome.num_patches) == (4, 12)


def test_a_finished_table_is_replaced_only_if_asked(model, data, tmp_path):
    out = tmp_path / "t.csv"
    predict_patches(model, data, out, options=SMALL)
    with pytest.raises(OutputError, match="--overwrite"):
        predict_patches(model, data, out, options=SMALL)
    before = out.read_bytes()
    out.write_text("old")
    predict_patches(model, data, out, options=PredictOptions(overwrite=True, part_size=4))
    assert len(out.read_bytes()) == pytest.approx(len(before), rel=0.05)


def test_files_that_vanish_meanwhile_are_noticed(model, tmp_path, monkeypatch):
    for number in range(4):
        bands = made_up.patch(number, NAMES)
        write_multiband(tmp_path / f"f{number}.tif", bands)
    source = find_patches(tmp_path, model.bands)
    real = type(source).measure

    def measure(self):
        found = real(self)
        (tmp_path / "f3.tif").unlink()
        return found

    monkeypatch.setattr(type(source), "measure", measure)
    with pytest.raises(PredictError, match="inputs changed"):
        predict_patches(model, source, tmp_path / "out" / "t.csv", options=SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_killed_command_goes_on_with_no_patch_lost_or_twice(model, store, tmp_path, devices):
    folder = model.save_pretrained(tmp_path / "model")
    out = tmp_path / "t.parquet"
    code = f"""
from pathlib import Path
import time
from reben.data.loader import open_dataset
from reben.model.classifier import Classifier
from reben.predict.patch_options import PredictOptions
from reben.predict.patches import predict_patches
if __name__ == "__main__":
    model = Classifier.from_pretrained({str(folder)!r})
    data = open_dataset({str(store)!r}, model.bands)
    options = PredictOptions(batch_size=1, part_size=1, devices={devices})
    def pause(done, total):
        print(done, flush=True)
        time.sleep(0.3 if done else 0)
    predict_patches(model, data, {str(out)!r}, options=options, progress=pause)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    while int(process.stdout.readline()) < 3:
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    time.sleep(1)
    assert not out.exists()
    options = PredictOptions(batch_size=1, part_size=1, devices=devices)
    data = open_dataset(store, model.bands)
    outcome = predict_patches(model, data, out, options=options)
    assert outcome.num_resumed >= 2
    assert read(out, model.labels)[0] == [made_up.patch_id(number) for number in NUMBERS]


# What is refused --------------------------------------------------------------------------------


def test_formats_of_places_are_refused_without_places(model, data, tmp_path):
    with pytest.raises(ConfigError, match="geometry is to be left out"):
        predict_patches(model, data, tmp_path / "t.geojson", options=PredictOptions(geometry=False))


def test_without_pyproj_places_can_be_left_out(model, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyproj", None)
    with pytest.raises(MissingExtraError, match="--no-geometry"):
        predict_patches(model, data, tmp_path / "t.csv")
    outcome = predict_patches(
        model, data, tmp_path / "t.csv", options=PredictOptions(geometry=False)
    )
    assert outcome.num_patches == 12


@pytest.mark.parametrize("name", ["batch_size", "devices", "part_size"])
def test_numbers_that_cannot_be_are_refused(name):
    with pytest.raises(ConfigError, match=f"{name} must be at least 1"):
        PredictOptions(**{name: 0})


def test_weights_that_are_no_numbers_are_refused(data, tmp_path):
    model = Classifier("test_resnet", NAMES).eval()
    with torch.no_grad():
        model.model.vision_encoder.get_classifier().bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="NaN or infinite"):
        predict_patches(model, data, tmp_path / "t.csv")


def test_the_names_of_folders_are_read_as_read_patch_folder_does(files):
    folder = next(files["s2"].glob(f"*/{made_up.patch_id(2)}"))
    np.testing.assert_array_equal(read_patch_folder(folder)["B02"], made_up.band("B02", 2))
