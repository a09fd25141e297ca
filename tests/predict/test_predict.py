import json
import shutil

import numpy as np
import pytest
import rasterio
import torch

from made_up_scene import ArrayScene, grid_of, patch_at, scene_of
from reben.errors import BandsMismatchError, ConfigError, OutputError, PixelValueError, ProductError
from reben.model.classifier import Classifier
from reben.predict.resume import SceneProgress
from reben.predict.scene import predict_scene
from reben.predict.scoring import Scorer
from reben.spec.bands import S2

LABELS = ("Arable land", "Pastures", "Mixed forest")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return Classifier("test_resnet", "s2", labels=LABELS)


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def covered(side, step):
    """Pixels of a side that cells cover: a rim of less than half a cell is left out."""
    return side - side % step if side % step < step / 2 else side


def expected_scores(model, scene, stride):
    """Cell by cell, from patches that are predicted as patches."""
    step = stride // 10
    height, width = covered(scene.grid.height, step), covered(scene.grid.width, step)
    tops = [*range(0, height - 119, step), height - 120]
    lefts = [*range(0, width - 119, step), width - 120]
    places = [(top, left) for top in dict.fromkeys(tops) for left in dict.fromkeys(lefts)]
    cut = [patch_at(scene, *place) for place in places]
    stacked = {name: np.stack([patch[name] for patch in cut]) for name in model.bands}
    patches = dict(zip(places, model.predict(stacked).values, strict=True))
    shape = (-(-height // step), -(-width // step))
    cells = np.empty((len(model.labels), *shape), np.float32)
    for row, column in np.ndindex(shape):
        y, x = row * step, column * step
        bottom, right = min(y + step, height), min(x + step, width)
        covering = [
            scores
            for (top, left), scores in patches.items()
            if top <= y and bottom <= top + 120 and left <= x and right <= left + 120
        ]
        cells[:, row, column] = np.mean(covering, axis=0)
    return cells


# Oracles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1200, 600, 240])
def test_a_cell_has_the_mean_of_the_windows_that_cover_it(model, stride, tmp_path):
    scene = scene_of(height=252, width=306)

    predict_scene(model, scene, tmp_path / "out.tif", stride=stride)

    found = read(tmp_path / "out.tif")
    np.testing.assert_allclose(found, expected_scores(model, scene, stride), atol=1e-4)
    assert np.ptp(found, axis=(1, 2)).min() > 1e-3  # the scene is not the same everywhere


@pytest.mark.parametrize("batch_size", [1, 3])
def test_scores_do_not_depend_on_the_batch_size(model, batch_size, tmp_path):
    scene = scene_of(height=126, width=480)

    predict_scene(model, scene, tmp_path / "out.tif", batch_size=batch_size)

    wanted = expected_scores(model, scene, 1200)
    np.testing.assert_allclose(read(tmp_path / "out.tif"), wanted, atol=1e-4)


def test_scores_are_those_at_the_temperature_of_the_model(model, tmp_path):
    from dataclasses import replace

    warm = Classifier.from_config(replace(model.config, temperature=2.5))
    warm.load_state_dict(model.state_dict())
    scene = scene_of(height=120, width=240)

    predict_scene(warm, scene, tmp_path / "out.tif")

    wanted = expected_scores(warm, scene, 1200)
    np.testing.assert_allclose(read(tmp_path / "out.tif"), wanted, atol=1e-4)
    assert np.abs(wanted - expected_scores(model, scene, 1200)).max() > 1e-3


# Reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1200, 600, 60])
def test_every_row_of_pixels_is_read_once(model, stride, tmp_path):
    scene = scene_of(height=306, width=120)

    predict_scene(model, scene, tmp_path / "out.tif", stride=stride)

    rows = [row for top, height in scene.reads for row in range(top, top + height)]
    assert sorted(rows) == list(range(covered(306, stride // 10)))
    assert max(height for _, height in scene.reads) <= 120


def test_a_scene_that_was_open_stays_open(model, tmp_path):
    scene = scene_of(120, 120)

    predict_scene(model, scene, tmp_path / "out.tif")

    assert not scene.is_closed


# Masks -------------------------------------------------------------------------------------------


def test_windows_with_more_bad_pixels_than_stated_are_left_out(model, tmp_path):
    mask = np.zeros((240, 360), np.uint8)
    mask[:30, :120] = 1  # a quarter of the first window
    mask[:30, 120:240] = 2
    mask[30, 120] = 2  # and one pixel more
    scene = scene_of(240, 360, mask=mask)

    found = predict_scene(model, scene, tmp_path / "out.tif")

    is_masked = np.isnan(read(tmp_path / "out.tif"))
    assert found.num_masked == 1
    assert np.argwhere(is_masked[0]).tolist() == [[0, 1]]
    assert (is_masked == is_masked[0]).all()


def test_clouds_leave_the_rest_of_a_scene_as_it_is(model, tmp_path):
    mask = np.zeros((240, 360), np.uint8)
    mask[:, 200:] = 2
    scene = scene_of(240, 360, mask=mask)

    predict_scene(model, scene, tmp_path / "out.tif", max_bad=0.4)

    found, wanted = read(tmp_path / "out.tif"), expected_scores(model, scene, 1200)
    np.testing.assert_allclose(found[..., :2], wanted[..., :2], atol=1e-4)
    assert np.isnan(found[..., 2]).all()


def test_with_overlap_a_cell_of_clouds_is_masked_though_windows_around_it_are_not(model, tmp_path):
    mask = np.zeros((240, 240), np.uint8)
    mask[120:144, 60:84] = 2
    scene = scene_of(240, 240, mask=mask)

    found = predict_scene(model, scene, tmp_path / "out.tif", stride=240)

    assert found.num_masked == 0
    assert np.argwhere(np.isnan(read(tmp_path / "out.tif")[0])).tolist() == [[5, 2], [5, 3]]


def test_a_scene_of_clouds_alone_gives_a_raster_of_no_data(model, tmp_path):
    scene = scene_of(240, 120, mask=np.full((240, 120), 2, np.uint8))

    found = predict_scene(model, scene, tmp_path / "out.tif")

    assert np.isnan(read(tmp_path / "out.tif")).all()
    assert (found.num_masked, found.num_windows, found.shares) == (2, 2, {})


def test_pixels_that_are_not_a_number_count_as_bad_and_are_filled_with_the_mean(tmp_path):
    model = Classifier("test_resnet", "all", labels=LABELS)
    scene = scene_of(120, 240)
    scene.arrays["VH"][:, 110:150] = np.nan
    filled = scene_of(120, 240)
    filled.arrays["VH"][:, 110:150] = model.preprocess.statistics.mean["VH"]

    predict_scene(model, scene, tmp_path / "out.tif")
    predict_scene(model, scene, tmp_path / "strict.tif", max_bad=0.1)

    wanted = expected_scores(model, filled, 1200)
    np.testing.assert_allclose(read(tmp_path / "out.tif"), wanted, atol=1e-4)
    assert np.isnan(read(tmp_path / "strict.tif")[0]).tolist() == [[False, True]]


@pytest.mark.parametrize("value", [-9999, 1e15, np.nan])
def test_values_that_are_no_measurement_are_masked_and_never_scored(model, value, tmp_path):
    scene = scene_of(120, 360)
    scene.arrays["B04"] = scene.arrays["B04"].astype(np.float32)
    scene.arrays["B04"][:, :60] = value

    found = predict_scene(model, scene, tmp_path / "out.tif")

    assert np.isnan(read(tmp_path / "out.tif")[0, 0]).tolist() == [True, False, False]
    assert (found.num_masked, found.num_no_data) == (1, 1)


def test_outputs_say_why_windows_were_left_out(model, tmp_path):
    mask = np.zeros((120, 600), np.uint8)
    mask[:40, :120] = 1
    mask[:40, 120:240] = 2
    mask[:20, 240:360] = 1
    mask[20:40, 240:360] = 2

    found = predict_scene(model, scene_of(120, 600, mask=mask), tmp_path / "out.tif")

    assert (found.num_masked, found.num_no_data) == (3, 1)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.tags()["num_masked"] == "3"
        assert file.tags()["num_no_data"] == "1"
    assert found.to_dict()["about"]["boa_offset"] == "-1000"


# What is refused ---------------------------------------------------------------------------------


def test_a_product_without_the_bands_of_the_model_is_refused(tmp_path):
    model = Classifier("test_resnet", "all", labels=LABELS)
    with pytest.raises(BandsMismatchError, match=r"needs VV, VH; .*sentinel1"):
        predict_scene(model, scene_of(120, 120, tuple(S2)), tmp_path / "out.tif")


def test_reflectances_are_refused(model, tmp_path):
    scene = scene_of(120, 120)
    scene.arrays = {name: (a / 10_000).astype(np.float32) for name, a in scene.arrays.items()}
    with pytest.raises(PixelValueError, match="multiply by 10000"):
        predict_scene(model, scene, tmp_path / "out.tif")


def test_a_scene_that_is_too_small_is_refused(model, tmp_path):
    with pytest.raises(ProductError, match="114 x 240"):
        predict_scene(model, scene_of(240, 114), tmp_path / "out.tif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"stride": 500}, "500 m"),
        ({"max_bad": 1.5}, "1.5"),
        ({"dtype": "int16"}, "int16"),
        ({"batch_size": 0}, "at least 1, not 0"),
        ({"boa_offset": -1000}, "boa_offset belongs to opening"),
    ],
)
def test_settings_that_cannot_be_are_refused(model, setting, reason, tmp_path):
    with pytest.raises(ConfigError, match=reason):
        predict_scene(model, scene_of(120, 120), tmp_path / "out.tif", **setting)


def test_an_output_that_is_there_is_refused_and_replaced_if_that_is_asked_for(model, tmp_path):
    out = tmp_path / "out.tif"
    out.write_text("mine")

    with pytest.raises(OutputError, match=r"out\.tif is there already"):
        predict_scene(model, scene_of(120, 120), out)
    assert out.read_text() == "mine"
    predict_scene(model, scene_of(120, 120), out, overwrite=True)
    assert read(out).shape == (3, 1, 1)


# Warnings ----------------------------------------------------------------------------------------


def test_a_forgotten_offset_is_said_once(model, tmp_path):
    scene = scene_of(600, 600)
    for name in scene.arrays:
        scene.arrays[name] = scene.arrays[name] + 1000

    with pytest.warns(UserWarning, match="BOA offset") as told:
        predict_scene(model, scene, tmp_path / "out.tif", stride=600)

    assert len(told) == 1


def test_a_few_windows_of_snow_are_no_reason_to_warn(model, tmp_path):
    scene = scene_of(240, 360)
    for name in ("B02", "B03", "B04"):
        scene.arrays[name][:120] += 7000

    predict_scene(model, scene, tmp_path / "out.tif")


def test_swapped_polarisations_are_said(tmp_path):
    scene = scene_of(120, 240, ("VV", "VH"))
    scene.arrays["VV"], scene.arrays["VH"] = scene.arrays["VH"], scene.arrays["VV"]

    with pytest.warns(UserWarning, match="VV is weaker than VH"):
        predict_scene(Classifier("test_resnet", "s1", labels=LABELS), scene, tmp_path / "out.tif")


# Going on ----------------------------------------------------------------------------------------


class Killed(Exception):
    pass


class BreakingScene(ArrayScene):
    """A scene that cannot be read from some row on."""

    def read(self, bands, top, height):
        if top >= 240:
            raise Killed
        return super().read(bands, top, height)


def broken_off(model, out, **settings):
    whole = scene_of(480, 240)
    with pytest.raises(Killed):
        predict_scene(model, BreakingScene(whole.arrays, whole.grid), out, **settings)
    return whole


def test_a_run_that_was_broken_off_goes_on_where_it_was(model, tmp_path):
    out = tmp_path / "out.tif"
    scene = broken_off(model, out)
    assert not out.exists()
    seen = []

    found = predict_scene(model, scene, out, progress=lambda done, total: seen.append(done))

    assert (found.num_resumed, found.num_windows) == (4, 8)
    assert scene.reads == [(240, 120), (360, 120)]
    assert seen == [4, 6, 8]
    np.testing.assert_allclose(read(out), expected_scores(model, scene, 1200), atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["out.tif"]


def test_the_map_says_which_engine_computed_it_and_going_on_keeps_that(model, tmp_path):
    out = tmp_path / "out.tif"
    scene = broken_off(model, out, engine="eager")
    predict_scene(model, scene, out)
    with rasterio.open(out) as file:
        assert file.tags()["engine"] == "eager"
    predict_scene(model, scene, out, overwrite=True)
    with rasterio.open(out) as file:
        assert file.tags()["engine"] == "optimised"


def test_going_on_with_other_settings_is_refused_and_the_difference_is_said(model, tmp_path):
    out = tmp_path / "out.tif"
    scene = broken_off(model, out)

    with pytest.raises(ConfigError, match=r"settings: max_bad was 0\.25, now 0\.5\."):
        predict_scene(model, scene, out, max_bad=0.5)
    found = predict_scene(model, scene, out, max_bad=0.5, overwrite=True)
    assert found.num_resumed == 0


def test_going_on_with_another_model_is_refused(model, tmp_path):
    scene = broken_off(model, tmp_path / "out.tif")
    other = Classifier("test_resnet", "s2", labels=LABELS)

    with pytest.raises(ConfigError, match="settings: model was"):
        predict_scene(other, scene, tmp_path / "out.tif")


def test_two_runs_to_one_output_at_once_are_refused(model, tmp_path):
    out = tmp_path / "out.tif"
    other = scene_of(240, 120)

    class Both(ArrayScene):
        """A scene in the middle of which another run begins."""

        def read(self, bands, top, height):
            with pytest.raises(OutputError, match=r"Another run is writing .*out\.tif.*Wait"):
                predict_scene(model, other, out, overwrite=True)
            return super().read(bands, top, height)

    scene = Both(other.arrays, other.grid)
    predict_scene(model, scene, out)

    assert len(scene.reads) == 2
    assert not other.reads
    assert [path.name for path in tmp_path.iterdir()] == ["out.tif"]


def test_a_part_that_was_cut_off_is_done_again(model, tmp_path):
    out = tmp_path / "out.tif"
    scene = broken_off(model, out)
    part = SceneProgress(out).folder / "row-0001.npz"
    part.write_bytes(part.read_bytes()[:-200])

    assert predict_scene(model, scene, out).num_resumed == 2
    np.testing.assert_allclose(read(out), expected_scores(model, scene, 1200), atol=1e-4)


def test_a_run_that_was_killed_between_its_outputs_ends_them(model, tmp_path, monkeypatch):
    out = tmp_path / "out.tif"
    scene = scene_of(240, 120)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(OSError("killed")))
        patched.setattr("pathlib.Path.unlink", lambda *_, **__: None)
        with pytest.raises(OutputError):
            predict_scene(model, scene, out)
    assert out.exists()
    assert SceneProgress(out).exists

    found = predict_scene(model, scene, out)

    assert found.num_resumed == found.num_windows
    assert not SceneProgress(out).folder.exists()


def test_a_scorer_takes_a_model_that_is_optimised_already(model):
    from reben.model.inference import optimise_for_inference

    fast = optimise_for_inference(model)
    scene = scene_of(120, 240)

    scores, _ = Scorer(fast, 32).score(scene.arrays, [6, 120])

    wanted = model.predict(patch_at(scene, 0, 6)).values
    np.testing.assert_allclose(scores[0], wanted, atol=1e-4)


# What is told ------------------------------------------------------------------------------------


def test_the_result_can_be_written_as_json(model, tmp_path):
    found = predict_scene(model, scene_of(120, 246), tmp_path / "out.tif")

    told = json.loads(json.dumps(found.to_dict()))
    assert told["out"] == str(tmp_path / "out.tif")
    assert told["table"] is None
    assert sum(told["shares"].values()) == pytest.approx(1)


def test_the_raster_lies_where_the_scene_lies(model, tmp_path):
    grid = grid_of(240, 126, left=399_960, top=9_100_000, crs="EPSG:32733")
    scene = ArrayScene(scene_of(240, 126).arrays, grid)

    predict_scene(model, scene, tmp_path / "out.tif")

    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.crs.to_epsg() == 32733
        assert file.transform == rasterio.Affine(1200, 0, 399_960, 0, -1200, 9_100_000)
        assert file.descriptions == LABELS
        assert file.tags()["product"] == scene.name
        assert file.tags()["boa_offset"] == "-1000"
