"""From a product as it is distributed to a map: bands, offset and mask come from its own files."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import torch
from rasterio.warp import transform

from reben.errors import ConfigError, OutputError, PixelValueError
from reben.model.classifier import Classifier
from reben.predict.resume import SceneProgress
from reben.predict.scene import predict_scene
from reben.scene.band_scene import NO_CLASSES
from reben.scene.product import open_scene
from reben.spec.bands import PIXEL_METRES
from scene.made_up_product import make_band_folder, make_safe, numbers, write_tiff

HEIGHT, WIDTH = 180, 240


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(6)
    return Classifier("test_resnet", "B05,B08,B11,B12", labels=("A", "B", "C"))


def predict(model, made, path, **settings):
    predict_scene(model, made.path, path, **settings)
    with rasterio.open(path) as file:
        return file.read(), file.tags()


def scores_at(model, made, offset, top, left):
    """A window cut out of what was put into the product, with the offset applied by hand."""
    cut = {}
    for name in model.bands:
        step = PIXEL_METRES[name] // 10
        rows = slice(top // step, (top + 120) // step)
        pixels = made.stored[name][rows, left // step : (left + 120) // step].astype(int)
        cut[name] = np.where(pixels == 0, 0, np.clip(pixels + offset, 0, None)).astype(np.uint16)
    return model.predict(cut).values


@pytest.mark.parametrize(("baseline", "offset"), [("02.12", 0), ("04.00", -1000), ("05.09", -1000)])
def test_the_offset_of_every_baseline_reaches_the_model(model, baseline, offset, tmp_path):
    made = make_safe(tmp_path, baseline=baseline, width=WIDTH, height=HEIGHT)

    found, tags = predict(model, made, tmp_path / "out.tif")

    for row, column, top, left in ((0, 0, 0, 0), (0, 1, 0, 120), (1, 1, 60, 120)):
        wanted = scores_at(model, made, offset, top, left)
        np.testing.assert_allclose(found[:, row, column], wanted, atol=1e-4)
    assert float(tags["boa_offset"]) == offset


def test_clouds_and_missing_data_of_the_classification_are_masked(model, tmp_path):
    made = make_safe(
        tmp_path, width=360, height=120, nodata_columns=36, cloudy_columns=24, epsg=32733
    )

    found, _ = predict(model, made, tmp_path / "out.tif")

    assert np.isnan(found[0]).tolist() == [[True, False, False]]
    np.testing.assert_allclose(found[:, 0, 2], scores_at(model, made, -1000, 0, 240), atol=1e-4)


def test_the_map_and_the_table_lie_where_pixels_of_almost_ten_metres_lie(model, tmp_path):
    for name in model.bands:
        pixels = numbers(name, WIDTH, HEIGHT)
        metres = 0.998 * PIXEL_METRES[name]
        write_tiff(tmp_path / "s" / f"{name}.tif", pixels, left=300_003, metres=metres)
    table = tmp_path / "t.geojson"

    predict_scene(model, tmp_path / "s", tmp_path / "out.tif", boa_offset=0, table=table)

    with rasterio.open(tmp_path / "out.tif") as file:
        wanted = rasterio.Affine(1197.6, 0, 300_003, 0, -1197.6, 5_900_040)
        assert file.transform.almost_equals(wanted)
    window = json.loads(table.read_text())["features"][3]  # of 2 x 2, the last moved inwards
    x, y = zip(*window["geometry"]["coordinates"][0], strict=True)
    x, y = transform("EPSG:4326", "EPSG:32633", x, y)
    wanted = (300_003 + 9.98 * 120, 5_900_040 - 9.98 * 180, 300_003 + 9.98 * 240)
    assert (min(x), min(y), max(x)) == pytest.approx(wanted, abs=0.1)


def test_outputs_record_where_offset_and_mask_come_from(model, tmp_path):
    for scl, wanted in ((True, "scene classification"), (False, "no scene classification")):
        made = make_safe(tmp_path / str(scl), width=120, height=120, scl=scl)
        _, tags = predict(model, made, tmp_path / f"{scl}.tif")
        assert tags["mask"].startswith(wanted)
        assert tags["boa_offset_source"] == "BOA_ADD_OFFSET in MTD_MSIL2A.xml"
        assert tags["pixel_metres_on_ground"] == "10.00 x 10.00"


def make_radar(folder, quantity, unit, metres):
    random = np.random.default_rng(2)
    name = "S1A_IW_GRDH_1SDV_20220821T165043_20220821T165108_044660_055500_1234"
    for band, level_db in (("VV", -12), ("VH", -19)):
        side = 3600 // metres
        pixels = level_db + random.normal(size=(side, side))
        pixels = pixels if unit == "db" else 10 ** (pixels / 10)
        path = folder / name / f"{quantity}_{unit}_{band}.tif"
        write_tiff(path, pixels.astype(np.float32), metres=metres)
    return folder / name


@pytest.mark.parametrize(
    ("radar", "scl", "offset", "expected"),
    [
        (None, True, None, {"boa_offset_source": "BOA_ADD_OFFSET in MTD_MSIL2A.xml"}),
        (None, False, -1000, {"mask": NO_CLASSES, "boa_offset": "-1000"}),
        (
            ("sigma0", "db", 10),
            True,
            None,
            {"sentinel1_quantity": "sigma0", "sentinel1_pixel_metres": "10.00 x 10.00"},
        ),
        (
            ("gamma0", "linear", 30),
            False,
            None,
            {
                "sentinel1_quantity": "gamma0",
                "sentinel1_unit": "linear",
                "sentinel1_pixel_metres": "30.00 x 30.00",
            },
        ),
    ],
)
def test_raster_table_and_json_say_the_same_of_the_product(tmp_path, radar, scl, offset, expected):
    model = Classifier("test_resnet", "VV,VH,B08" if radar else "B08")
    made = make_safe(tmp_path, width=240, height=180, scl=scl, top=5_900_040)
    given = {}
    if radar is not None:
        given = {"sentinel1": make_radar(tmp_path, *radar), "sentinel1_unit": radar[1]}

    found = predict_scene(
        model,
        made.path,
        tmp_path / "map.tif",
        table=tmp_path / "windows.parquet",
        boa_offset=offset,
        measures=["gap"],
        **given,
    )

    with rasterio.open(found.out) as file, rasterio.open(found.beside[0]) as certainty:
        tags, others = file.tags(), certainty.tags()
    about = json.loads(pq.read_metadata(found.table).metadata[b"reben"])
    told = found.to_dict()["about"]
    asked = {"boa_offset", "boa_offset_source", "mask", "pixel_metres_on_ground", "attribution"}
    if radar is not None:
        asked |= {"sentinel1_quantity", "sentinel1_unit", "sentinel1_pixel_metres"}
        asked.add("sentinel1_quantity_source")
    assert asked <= told.keys()
    for key, text in told.items():
        assert tags[key] == about[key] == others[key] == text
    assert tags["TIFFTAG_COPYRIGHT"] == tags["attribution"]
    years = "2023" if radar is None else "2022, 2023"
    expected = {"attribution": f"Contains modified Copernicus Sentinel data {years}"} | expected
    assert {key: told[key] for key in expected} == expected


class Broken:
    """Reads of a scene that end after its first strip."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch

    def __enter__(self):
        from reben.scene.band_scene import Scene

        read = Scene.read

        def once(scene, bands, top, height, needed=None):
            if top >= 120:
                raise KeyboardInterrupt
            return read(scene, bands, top, height, needed)

        self.patched = self.monkeypatch.context()
        self.patched.__enter__().setattr(Scene, "read", once)

    def __exit__(self, *error):
        self.patched.__exit__(None, None, None)
        return error[0] is KeyboardInterrupt


def test_a_product_that_was_refused_may_be_corrected(model, tmp_path):
    made = make_band_folder(tmp_path / "scene", bands=tuple(model.bands), width=240, height=180)
    out, file = tmp_path / "out.tif", made.path / "B08.tif"
    right = file.read_bytes()
    write_tiff(file, (made.stored["B08"] / 1e4).astype(np.float32), metres=10)
    with pytest.raises(PixelValueError, match="multiply by 10000"):
        predict_scene(model, made.path, out, boa_offset=0)
    file.write_bytes(right)
    assert predict_scene(model, made.path, out, boa_offset=0).num_windows == 4


@pytest.mark.parametrize("change", ["model", "offset", "pixels", "classes", "stride"])
def test_an_unfinished_run_never_mixes_with_another_model_offset_or_product(
    model, tmp_path, monkeypatch, change
):
    bands = tuple(model.bands)
    made = make_band_folder(tmp_path / "a" / "scene", bands=bands, width=240, height=360)
    out, settings = tmp_path / "out.tif", {"boa_offset": -1000}
    with Broken(monkeypatch):
        predict_scene(model, made.path, out, **settings)
    assert SceneProgress(out).finished(3) == [0]

    other, product, now = model, made.path, dict(settings)
    if change == "model":
        other = Classifier("test_resnet", model.bands, labels=("A", "B", "C"))
    elif change == "offset":
        now["boa_offset"] = 0
    elif change == "stride":
        now["stride"] = 600
    else:
        again = make_band_folder(tmp_path / "b" / "scene", bands=bands, width=240, height=360)
        band, metres = ("SCL", 20) if change == "classes" else ("B08", 10)
        pixels = again.scl if change == "classes" else again.stored["B08"]
        write_tiff(again.path / f"{band}.tif", pixels[::-1], metres=metres)
        product = again.path

    with pytest.raises(ConfigError, match=r"An unfinished run of .* used other settings"):
        predict_scene(other, product, out, **now)
    mixed = predict_scene(other, product, out, **now, overwrite=True)
    fresh = predict_scene(other, product, tmp_path / "fresh.tif", **now)

    assert mixed.num_resumed == 0
    with rasterio.open(out) as one, rasterio.open(fresh.out) as two:
        np.testing.assert_array_equal(one.read(), two.read())


def test_the_same_run_goes_on_and_ends_as_if_it_had_not_been_broken(model, tmp_path, monkeypatch):
    made = make_band_folder(tmp_path / "scene", bands=tuple(model.bands), width=240, height=360)
    out = tmp_path / "out.tif"
    with Broken(monkeypatch):
        predict_scene(model, made.path, out, boa_offset=-1000)

    found = predict_scene(model, made.path, out, boa_offset=-1000)
    fresh = predict_scene(model, made.path, tmp_path / "fresh.tif", boa_offset=-1000)

    assert found.num_resumed == 2
    with rasterio.open(out) as one, rasterio.open(fresh.out) as two:
        np.testing.assert_array_equal(one.read(), two.read())
        assert one.tags() == two.tags()


def test_an_output_is_never_a_file_of_the_product(model, tmp_path):
    made = make_band_folder(tmp_path / "scene", bands=tuple(model.bands), width=120, height=120)
    band = made.path / "B08.tif"
    before = band.read_bytes()

    with pytest.raises(ConfigError, match="is the product, or a file of it"):
        predict_scene(model, made.path, band, boa_offset=-1000, overwrite=True)

    assert band.read_bytes() == before


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_outputs_that_no_file_can_be_called_are_refused(model, tmp_path, name):
    made = make_band_folder(tmp_path / "scene", bands=tuple(model.bands), width=120, height=120)
    with pytest.raises(OutputError, match="Cannot write"):
        predict_scene(model, made.path, tmp_path / f"{name}.tif", boa_offset=-1000)


def test_a_model_without_radar_does_not_read_sentinel1(model, tmp_path, caplog):
    made = make_band_folder(tmp_path / "s2", width=WIDTH, height=HEIGHT)

    _, tags = predict(
        model, made, tmp_path / "out.tif", boa_offset=0, sentinel1=tmp_path / "nowhere"
    )

    assert "uses no Sentinel-1 band" in caplog.text
    assert not any(key.startswith("sentinel1") for key in tags)


def test_a_model_of_radar_ignores_clouds_and_one_of_optical_bands_gaps_of_the_radar(tmp_path):
    made = make_band_folder(tmp_path / "s2", width=WIDTH, height=120)
    for band, level in (("VV", -10), ("VH", -17)):
        pixels = np.full((120, WIDTH), level, np.float32) + np.arange(WIDTH, dtype=np.float32) / 99
        pixels[:, :120] = np.nan
        write_tiff(tmp_path / "s1" / f"Sigma0_{band}_db.tif", pixels)
    made.scl[:] = 4
    made.scl[:, 60:] = 9
    write_tiff(made.path / "SCL.tif", made.scl, metres=20)
    left_out = {}
    for bands in ("s1", "B05,B08", "VV,VH,B08"):
        torch.manual_seed(6)
        classifier = Classifier("test_resnet", bands, labels=("A", "B"))
        with open_scene(made.path, sentinel1=tmp_path / "s1", boa_offset=0) as scene:
            predict_scene(classifier, scene, tmp_path / f"{bands}.tif")
        with rasterio.open(tmp_path / f"{bands}.tif") as file:
            left_out[bands] = np.isnan(file.read(1)[0]).tolist()

    # The radar has a gap in the left window; clouds hide the right one.
    assert left_out == {
        "s1": [True, False],
        "B05,B08": [False, True],
        "VV,VH,B08": [True, True],
    }
