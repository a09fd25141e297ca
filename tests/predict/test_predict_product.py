"""From a product as it is distributed to a map: bands, offset and mask come from its own files."""

import numpy as np
import pytest
import rasterio
import torch

from reben.model.classifier import Classifier
from reben.predict.scene import predict_scene
from reben.spec.bands import PIXEL_METRES
from scene.made_up_product import make_safe

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


def test_outputs_record_where_offset_and_mask_come_from(model, tmp_path):
    for scl, wanted in ((True, "scene classification"), (False, "no scene classification")):
        made = make_safe(tmp_path / str(scl), width=120, height=120, scl=scl)
        _, tags = predict(model, made, tmp_path / f"{scl}.tif")
        assert tags["mask"].startswith(wanted)
        assert tags["boa_offset_source"] == "BOA_ADD_OFFSET in MTD_MSIL2A.xml"
        assert tags["pixel_metres_on_ground"] == "10.00 x 10.00"
