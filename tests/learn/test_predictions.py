from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from learn.predicted import predicted, subject
from reben.errors import ConfigError, EmptySplitError, LabelsError, OutputError, RunError
from reben.learn.predictions import Calibration, Predictions, require_same_patches
from reben.spec.labels import LABELS


def same(first, second):
    return (
        first.subject == second.subject
        and first.label_names == second.label_names
        and first.patch_ids == second.patch_ids
        and (first.scores == second.scores).all()
        and (first.labels == second.labels).all()
        and (first.countries, first.tiles, first.months)
        == (second.countries, second.tiles, second.months)
    )


def test_predictions_survive_their_file_bit_for_bit(tmp_path):
    whole = predicted(50, digits=9)
    tuned = Calibration(1.25, (0.5,) * 19, "validation", "cd", 7, ("Pastures",))
    whole = replace(whole, subject=subject(calibration=tuned))

    assert same(Predictions.load(whole.save(tmp_path / "p.parquet")), whole)


def test_what_is_not_known_stays_unknown(tmp_path):
    whole = replace(predicted(5), countries=None, tiles=None, months=None)

    assert same(Predictions.load(whole.save(tmp_path / "p.parquet")), whole)


def test_the_file_has_one_row_a_patch_and_columns_named_by_label(tmp_path):
    whole = predicted(5)
    table = pq.read_table(whole.save(tmp_path / "p.parquet"))

    assert table.num_rows == 5
    assert table.column_names[:4] == ["patch_id", "country", "tile", "month"]
    assert (
        table["score: Pastures"].to_pylist() == whole.scores[:, LABELS.index("Pastures")].tolist()
    )
    assert table["label: Urban fabric"].to_pylist() == whole.labels[:, -1].tolist()


def test_some_patches_can_be_taken():
    whole = predicted(9)
    some = whole.take(np.array([7, 2]))

    assert some.patch_ids == ("patch 7", "patch 2")
    assert (some.scores == whole.scores[[7, 2]]).all()
    assert some.tiles == (whole.tiles[7], whole.tiles[2])


def test_a_file_of_something_else_is_an_error_that_names_it(tmp_path):
    (tmp_path / "p.parquet").write_text("scores")

    with pytest.raises(RunError, match=r"p\.parquet.*reben evaluate"):
        Predictions.load(tmp_path / "p.parquet")


def test_a_parquet_file_of_others_is_an_error(tmp_path):
    table = pq.read_table(predicted(5).save(tmp_path / "p.parquet"))
    pq.write_table(table.replace_schema_metadata({}), tmp_path / "q.parquet")

    with pytest.raises(RunError, match=r"q\.parquet"):
        Predictions.load(tmp_path / "q.parquet")


def test_a_missing_column_is_an_error_that_names_it(tmp_path):
    table = pq.read_table(predicted(5).save(tmp_path / "p.parquet"))
    pq.write_table(table.drop_columns(["score: Pastures"]), tmp_path / "q.parquet")

    with pytest.raises(RunError, match="score: Pastures"):
        Predictions.load(tmp_path / "q.parquet")


def test_a_file_of_a_later_format_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("reben.learn.predictions.FORMAT", 2)
    path = predicted(5).save(tmp_path / "p.parquet")
    monkeypatch.undo()

    with pytest.raises(RunError, match="format 2"):
        Predictions.load(path)


def changed(tmp_path, change):
    """Write predictions whose table ``change`` has changed."""
    table = pq.read_table(predicted(5).save(tmp_path / "p.parquet"))
    pq.write_table(change(table), tmp_path / "p.parquet")
    return tmp_path / "p.parquet"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"subject":', '"object":', "subject"),
        ('"fingerprint": "ab12"', '"fingerprint": 12', r"subject\.fingerprint"),
        ('"format": 1', '"format": 1e999', "format"),
        ('"labels": [', '"labels": [3, ', r"labels\.0"),
        ("{", "[" * 100_000, "JSON"),
        ("Pastures", "Pasture\xff", "UTF-8|unicode|JSON"),
    ],
)
def test_damaged_metadata_are_an_error_with_file_field_and_cure(tmp_path, old, new, words):
    def damage(table):
        about = table.schema.metadata[b"reben"].replace(old.encode(), new.encode("latin-1"), 1)
        return table.replace_schema_metadata({b"reben": about})

    with pytest.raises(RunError, match=rf"p\.parquet .*({words}).* reben evaluate"):
        Predictions.load(changed(tmp_path, damage))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("label: Pastures", [0, 1, 256, 0, 1]),
        ("label: Pastures", [0, 1, None, 0, 1]),
        ("score: Pastures", ["a", "b", "c", "d", "e"]),
        ("score: Pastures", [0.5, None, 0.5, 0.5, 0.5]),
        ("patch_id", ["a", "b", "c", "d", None]),
        ("month", [1, 2, 3, 4, 300]),
    ],
)
def test_values_that_a_column_cannot_hold_are_an_error(tmp_path, name, values):
    def damage(table):
        return table.set_column(table.column_names.index(name), name, [values])

    with pytest.raises(RunError, match=r"p\.parquet"):
        Predictions.load(changed(tmp_path, damage))


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError):
        predicted(5).save(tmp_path / "file" / "p.parquet")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"scores": np.full((5, 19), np.nan, np.float32)}, ConfigError, "95 of 95 scores are NaN"),
        ({"scores": np.full((5, 19), 1.5, np.float32)}, ConfigError, "sigmoid"),
        ({"labels": np.full((5, 19), 2, np.uint8)}, LabelsError, "zeros and ones"),
        ({"labels": np.zeros((5, 18), np.uint8)}, LabelsError, "belong together"),
        ({"label_names": (*LABELS[:-1], LABELS[0])}, LabelsError, "twice"),
        ({"tiles": ("33UUP",)}, ConfigError, "1 tiles for 5"),
        ({"patch_ids": ("a",) * 5}, ConfigError, "have only 1 names"),
    ],
)
def test_values_that_cannot_be_are_an_error(changes, error, words):
    with pytest.raises(error, match=words):
        replace(predicted(5), **changes)


def test_no_patch_is_an_error():
    with pytest.raises(EmptySplitError):
        predicted(5).take(np.array([], np.int64))


def test_two_models_with_other_labels_cannot_be_compared():
    with pytest.raises(LabelsError, match="Urban fabric"):
        require_same_patches(predicted(5), predicted(5, labels=(*LABELS[:-1], "Lava")))


def test_two_models_on_other_patches_cannot_be_compared():
    with pytest.raises(ConfigError, match=r"5 patches .* 6"):
        require_same_patches(predicted(5), predicted(6))
