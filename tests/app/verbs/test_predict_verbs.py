import json
import os
import shlex
import shutil
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import made_up
import made_up_files
from multiband_files import write_multiband
from reben.app.cli import run
from reben.data.loader import open_dataset
from reben.model.classifier import Classifier

NAMES = ("VV", "B02", "B8A")
NUMBERS = range(4)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("verbs") / "my-model"
    return str(Classifier("test_resnet", NAMES).save_pretrained(folder))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return str(made_up.write_store(tmp_path_factory.mktemp("verbs") / "store"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verbs")
    made_up.write_metadata(folder / "metadata.parquet", [made_up.row(n) for n in NUMBERS])
    roots = made_up_files.write_tree(folder, NUMBERS, ("s1", "s2"))
    return {**roots, "metadata": folder / "metadata.parquet"}


def scores_of(model, numbers):
    classifier = Classifier.from_pretrained(model)
    return [classifier.predict(made_up.patch(number, NAMES)) for number in numbers]


def read(path):
    table = pq.read_table(path)
    labels = [
        name for name in table.column_names if name not in ("id", "geometry", "bbox", "labels")
    ]
    values = np.stack([table.column(name).to_numpy() for name in labels], 1)
    return table.column("id").to_pylist(), values


def test_a_split_of_a_store_goes_into_a_table_and_the_result_is_said(
    model, store, tmp_path, capsys
):
    out = tmp_path / "t.parquet"
    assert run(["predict", model, store, "--split", "test", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}: 3 patches\n"
    ids, values = read(out)
    assert ids == [made_up.patch_id(number) for number in (9, 10, 11)]
    expected = np.stack([scores.values for scores in scores_of(model, (9, 10, 11))])
    np.testing.assert_allclose(values, expected, atol=1e-4)
    about = json.loads(pq.read_schema(out).metadata[b"reben"])
    assert (about["model"], about["bands"]) == ("my-model", list(NAMES))


def test_countries_of_a_store_are_chosen(model, store, tmp_path, capsys):
    words = ["predict", model, store, "--country", "Finland", "--out", str(tmp_path / "t.csv")]
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_patches"] == 6


def test_a_tree_with_partners_gives_the_scores_of_each_patch(model, files, tmp_path):
    out = tmp_path / "t.parquet"
    words = ["predict", model, str(files["s2"]), "--out", str(out), "--s1", str(files["s1"])]
    assert run([*words, "--metadata", str(files["metadata"])]) == 0
    ids, values = read(out)
    assert ids == [made_up.patch_id(number) for number in NUMBERS]
    expected = np.stack([scores.values for scores in scores_of(model, NUMBERS)])
    np.testing.assert_allclose(values, expected, atol=1e-4)


def test_a_tree_without_partners_says_how_to_name_them(model, files, tmp_path, capsys):
    assert run(["predict", model, str(files["s2"]), "--out", str(tmp_path / "t.csv")]) == 2
    assert "--s1 DIR --metadata FILE" in capsys.readouterr().err


def test_one_tiff_of_several_bands_is_shown_by_name_of_its_bands(model, tmp_path, capsys):
    bands = made_up.patch(2, NAMES)
    path = str(write_multiband(tmp_path / "x.tif", bands, descriptions=False))
    assert run(["predict", model, path, "--json", "--top", "2"]) == 2
    assert "--band-names" in capsys.readouterr().err
    words = ["predict", model, path, "--json", "--top", "2", "--band-names", ",".join(NAMES)]
    assert run(words) == 0
    shown = json.loads(capsys.readouterr().out)["scores"]
    expected = scores_of(model, [2])[0].top(2)
    assert [row["label"] for row in shown] == [label for label, _ in expected]
    assert [row["score"] for row in shown] == pytest.approx([score for _, score in expected])


@pytest.mark.parametrize("flag", ["--threads", "--workers"])
def test_threads_that_read_ahead_have_a_name_and_an_older_one(flag, model, store, tmp_path, capsys):
    words = ["predict", model, store, "--split", "test", "--out", str(tmp_path / "t.csv")]
    assert run([*words, flag, "0"]) == 0
    assert run([*words, flag, "-1"]) == 2
    assert "Must be >= 0" in capsys.readouterr().err


def test_overwrite_begins_anew_where_parts_were_made_with_other_settings(
    model, store, tmp_path, capsys
):
    out = tmp_path / "t.csv"
    words = ["predict", model, store, "--out", str(out)]
    manifest = tmp_path / ".t.csv.parts" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text('{"part_size": 4}')
    manifest.with_name("part-00000.parquet").write_bytes(b"")
    assert run(words) == 2
    assert "used other settings" in capsys.readouterr().err
    assert run([*words, "--overwrite"]) == 0


def test_threshold_decides_which_labels_are_above(model, store, capsys):
    words = ["predict", model, store, "--patch", made_up.patch_id(3), "--json"]
    for threshold, count in (("0", 19), ("1", 0)):
        assert run([*words, "--threshold", threshold]) == 0
        assert len(json.loads(capsys.readouterr().out)["above"]) == count
    assert run([*words, "--threshold", "1.2"]) == 2


def test_bad_patches_are_named_and_the_exit_code_tells(model, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number in NUMBERS:
        write_multiband(tmp_path / "in" / f"f{number}.tif", made_up.patch(number, NAMES))
    (tmp_path / "in" / "f2.tif").write_bytes(b"not a TIFF")
    out = tmp_path / "t.csv"
    assert run(["predict", model, str(tmp_path / "in"), "--out", str(out), "--json"]) == 2
    said = capsys.readouterr()
    written = json.loads(said.out)
    assert (written["num_patches"], written["num_bad"]) == (3, 1)
    assert written["bad"][0]["name"] == "f2"
    assert said.err.startswith("PredictError: 1 of 4 patches could not be used: f2: ")
    assert out.read_text().count("\n") == 4


def test_strict_stops(model, tmp_path, capsys):
    (tmp_path / "f2.tif").write_bytes(b"not a TIFF")
    words = ["predict", model, str(tmp_path / "f2.tif"), "--out", str(tmp_path / "t.csv")]
    assert run([*words, "--strict"]) == 2
    assert capsys.readouterr().err.startswith("PredictError: Patch f2 cannot be used: ")


def test_embed_writes_the_embeddings_of_the_model(model, store, tmp_path, capsys):
    out = tmp_path / "e.parquet"
    words = ["embed", model, store, "--split", "test", "--out", str(out), "--no-geometry"]
    assert run(words) == 0
    table = pq.read_table(out)
    assert table.column_names == ["id", "embedding"]
    classifier = Classifier.from_pretrained(model)
    data = open_dataset(store, NAMES)["test"]
    expected = np.stack(list(classifier.embed_many(data.patch(row) for row in range(len(data)))))
    found = np.array(table.column("embedding").combine_chunks().flatten())
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "test"], "--split has no effect here"),
        (["--devices", "2"], "--devices has no effect here"),
        (["--strict"], "--strict has no effect here"),
        (["--out", "t.csv", "--patch", "x"], "--patch has no effect here"),
        (["--out", "t.csv", "--top", "3"], "--top has no effect here"),
        (["--out", "t.csv", "--band-names", "B02"], "is a store, which holds bands by name"),
        (["--out", "t.xlsx"], "No table format has the ending '.xlsx'"),
        (["--out", "t.csv", "--split", "tset"], "'tset'"),
    ],
)
def test_flags_that_would_have_no_effect_are_refused(
    model, store, tmp_path, monkeypatch, words, said, capsys
):
    monkeypatch.chdir(tmp_path)
    assert run(["predict", model, store, *words]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_flags_of_stores_are_refused_for_files(model, files, capsys):
    words = ["predict", model, str(files["s2"]), "--out", "t.csv", "--covered"]
    assert run(words) == 2
    assert "choose patches of a store" in capsys.readouterr().err


def test_a_store_is_the_only_input(model, store, files, capsys):
    assert run(["predict", model, store, str(files["s2"]), "--out", "t.csv"]) == 2
    assert "A store must be the only input" in capsys.readouterr().err


def test_nothing_to_predict_is_said(model, capsys):
    assert run(["predict", model, "--out", "t.csv"]) == 2
    assert "There is nothing to predict" in capsys.readouterr().err


def test_one_patch_with_its_partner_from_the_metadata(model, files, capsys):
    folder = next(files["s2"].glob(f"*/{made_up.patch_id(1)}"))
    words = ["predict", model, str(folder), "--s1", str(files["s1"]), "--json", "--top", "1"]
    assert run([*words, "--metadata", str(files["metadata"])]) == 0
    shown = json.loads(capsys.readouterr().out)["scores"][0]
    assert shown["score"] == pytest.approx(scores_of(model, [1])[0].top(1)[0][1], abs=1e-5)


@pytest.mark.parametrize("verb", ["predict", "embed"])
def test_a_termination_says_that_the_same_command_goes_on(
    verb, model, store, tmp_path, monkeypatch, capsys
):
    def end(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(f"reben.predict.patches.{verb}_patches", end)
    assert run([verb, model, store, "--out", str(tmp_path / "t.parquet")]) == 143
    said = capsys.readouterr().err
    assert said.endswith("the same command goes on from there.\nInterrupted by SIGTERM.\n")


# Stores without metadata --------------------------------------------------------------------------


@pytest.fixture
def bare(store, tmp_path):
    """The store as rico-hdl writes one: nothing but LMDB."""
    folder = tmp_path / "lmdb"
    folder.mkdir()
    shutil.copy(f"{store}/data.mdb", folder)
    return str(folder)


@pytest.mark.parametrize("bands", ["rgb", "s1"])
@pytest.mark.parametrize("verb", ["predict", "embed"])
def test_a_store_without_metadata_is_read_by_the_names_in_it(verb, bands, bare, store, tmp_path):
    torch.manual_seed(1)
    model = Classifier("test_resnet", bands).save_pretrained(tmp_path / "model")
    name = {"rgb": made_up.patch_id, "s1": made_up.s1_name}[bands]
    out = tmp_path / "t.parquet"

    assert run([verb, str(model), bare, "--out", str(out)]) == 0
    table = pq.read_table(out)
    assert table["id"].to_pylist() == sorted(map(name, range(12)))
    assert table["geometry"].null_count == 0

    assert run([verb, str(model), store, "--out", str(tmp_path / "l.parquet")]) == 0
    listed = pq.read_table(tmp_path / "l.parquet")
    column = "embedding" if verb == "embed" else "Pastures"
    by_place = {name.rsplit("_", 2)[-1].zfill(2): value for name, value in zip(
        listed["id"].to_pylist(), listed[column].to_pylist(), strict=True)}  # fmt: skip
    for own, value in zip(table["id"].to_pylist(), table[column].to_pylist(), strict=True):
        np.testing.assert_allclose(value, by_place[own.rsplit("_", 1)[-1].zfill(2)], atol=1e-5)

    words = [verb, str(model), bare, "--out", str(out), "--overwrite", "--limit", "5"]
    assert run(words) == 0
    assert pq.read_table(out)["id"].to_pylist() == table["id"].to_pylist()[:5]


def test_one_patch_of_a_store_without_metadata_has_no_true_labels(bare, tmp_path, capsys):
    model = Classifier("test_resnet", "rgb").save_pretrained(tmp_path / "model")
    assert run(["predict", str(model), bare, "--patch", made_up.patch_id(3), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["true_labels"] is None


def test_what_needs_metadata_says_so_and_takes_them(model, bare, store, tmp_path, capsys):
    words = ["predict", model, bare, "--out", str(tmp_path / "t.csv")]
    assert run(words) == 2
    assert "only metadata tell which Sentinel-1 patch" in capsys.readouterr().err
    single = str(Classifier("test_resnet", "rgb").save_pretrained(tmp_path / "model"))
    assert run(["predict", single, *words[2:], "--country", "Austria", "--split", "test"]) == 2
    assert "nothing tells the split, countries of its patches" in capsys.readouterr().err

    given = ["--metadata", f"{store}/metadata.parquet", "--split", "test", "--limit", "2"]
    assert run([*words, *given]) == 0
    assert capsys.readouterr().out.endswith("t.csv: 2 patches\n")


def test_a_part_that_the_store_lacks_is_left_out_or_refused(model, bare, tmp_path, capsys):
    rows = [made_up.row(number, "test") for number in (*NUMBERS, 70)]
    table = made_up.write_metadata(tmp_path / "all.parquet", rows)
    words = ["predict", model, bare, "--metadata", str(table), "--out", str(tmp_path / "t.csv")]
    assert run([*words, "--strict"]) == 2
    assert "holds 4 of 5 patches (test)" in capsys.readouterr().err
    assert run(words) == 0
    said = capsys.readouterr()
    assert "holds 4 of the 5 patches that the metadata list" in said.err
    assert said.out.endswith("t.csv: 4 patches\n")


def test_the_only_patch_below_a_folder_is_predicted(model, tmp_path, capsys):
    made_up_files.write_tree(tmp_path, [3], ("s2",))
    (found,) = {file.parent for file in tmp_path.rglob("*_B02.tif")}
    above = tmp_path / "above"
    above.mkdir()
    found.rename(above / "farm")
    only_s2 = [name for name in NAMES if name not in ("VV", "VH")]
    own = str(Classifier("test_resnet", only_s2).save_pretrained(tmp_path / "s2-model"))
    shown = []
    for place in (above / "farm", above):
        assert run(["predict", own, str(place), "--json"]) == 0
        shown.append(json.loads(capsys.readouterr().out))
    assert shown[0] == shown[1]

    shutil.copytree(above / "farm", above / "other farm")
    assert run(["predict", own, str(above), "--json"]) == 2
    command = capsys.readouterr().err.partition("Type: ")[2]
    table = tmp_path / "scores.csv"
    words = [str(table) if word == "scores.csv" else word for word in shlex.split(command)]
    assert run(words[1:]) == 0
    assert len(table.read_text().splitlines()) == 1 + 2
