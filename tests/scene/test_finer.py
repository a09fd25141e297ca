import logging

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from reben.errors import ConfigError, GridError
from reben.scene.product import open_scene
from scene.made_up_product import PIXEL_METRES, from_origin, numbers

BANDS = ("B02", "B05", "B12", "B01")
SIZE = (180, 240)


def write(path, *, smooth=(), holes=()):
    """Bands in one file of 10 m: coarser ones repeated, or with finer pixels of their own."""
    layers = []
    for band in BANDS:
        step = PIXEL_METRES[band] // 10
        layer = numbers(band, SIZE[1], SIZE[0]).repeat(step, 0).repeat(step, 1)
        if band in smooth:
            layer = layer + np.arange(SIZE[1], dtype=np.uint16)
        if band in holes:
            layer[61, 20:25] = 0
        layers.append(layer)
    with rasterio.open(
        path, "w", driver="GTiff", width=SIZE[1], height=SIZE[0], count=len(BANDS),
        dtype="uint16", crs="EPSG:32633", transform=from_origin(300_000, 5_900_040, 10),
    ) as file:  # fmt: skip
        file.write(np.stack(layers))
        file.descriptions = BANDS
    return path, dict(zip(BANDS, layers, strict=True))


def test_repeated_pixels_are_taken_back_and_interpolated_ones_averaged_aloud(tmp_path, caplog):
    path, layers = write(tmp_path / "s.tif", smooth=["B12", "B01"], holes=["B05"])

    with caplog.at_level(logging.WARNING), open_scene(path, boa_offset=0) as scene:
        strip = scene.read(BANDS, 0, 180)

    said = [r.getMessage() for r in caplog.records if "mean of" in r.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("s: the pixels of B01, B12 are finer")
    assert scene.about["resampled"] == (
        "B01, B12: mean of finer pixels; B05: repeated pixels taken back"
    )
    np.testing.assert_array_equal(strip["B05"], numbers("B05", 240, 180))
    for band, step in (("B12", 2), ("B01", 6)):
        means = layers[band].reshape(180 // step, step, 240 // step, step).mean((1, 3))
        np.testing.assert_allclose(strip[band], means, rtol=1e-7)


@pytest.mark.parametrize(("row", "column"), [(1, 0), (5, 3), (4, 2)])
@pytest.mark.parametrize("resample", ["auto", "exact"])
def test_an_image_cut_within_coarser_pixels_begins_behind_them(
    tmp_path, caplog, row, column, resample
):
    path, _ = write(tmp_path / "whole.tif", holes=["B05"])
    with rasterio.open(path) as file:
        window = Window(column, row, 240 - column, 180 - row)
        profile = file.profile | {"width": 240 - column, "height": 180 - row}
        profile["transform"] = from_origin(300_000 + 10 * column, 5_900_040 - 10 * row, 10)
        with rasterio.open(tmp_path / "s.tif", "w", **profile) as part:
            part.write(file.read(window=window))
            part.descriptions = BANDS

    with open_scene(tmp_path / "s.tif", boa_offset=0, resample=resample) as scene:
        strip, mask = scene.read(BANDS, 0, scene.grid.height), scene.read_mask(0, 120)

    first_row, first_column = (6 if row else 0), (6 if column else 0)
    assert scene.grid.point(0, 0) == (300_000 + 10 * first_column, 5_900_040 - 10 * first_row)
    assert f"{first_row - row} rows at its upper edge" in caplog.text
    assert "mean" not in scene.about["resampled"]
    for band in BANDS:
        step = PIXEL_METRES[band] // 10
        native = numbers(band, 240, 180)[first_row // step :, first_column // step :]
        height, width = strip[band].shape
        np.testing.assert_array_equal(strip[band], native[:height, :width])
    assert mask.shape == (120, scene.grid.width)


def test_what_the_sample_does_not_show_is_said_when_it_is_read(tmp_path, caplog):
    path, layers = write(tmp_path / "s.tif")
    with rasterio.open(path, "r+") as file:
        layers["B05"][2, 7] += 9  # between the strips that are looked at first
        file.write(layers["B05"], 2)

    with caplog.at_level(logging.WARNING), open_scene(path, boa_offset=0) as scene:
        assert "mean" not in scene.about["resampled"]
        strip = scene.read(["B05"], 0, 60)["B05"]
        assert "; B05: mean of finer pixels" in scene.about["resampled"]

    assert "s: the pixels of B05 are" in caplog.text
    assert strip[1, 3] == numbers("B05", 240, 180)[1, 3] + 9 / 4


def test_how_finer_pixels_are_brought_back_can_be_chosen(tmp_path):
    path, layers = write(tmp_path / "s.tif", smooth=["B12"])

    with pytest.raises(GridError, match=r"B12 of s .* at 20 m, or take means: --resample mean"):
        open_scene(path, boa_offset=0, resample="exact")
    with open_scene(path, boa_offset=0, resample="centre") as scene:
        np.testing.assert_array_equal(scene.read(["B12"], 0, 180)["B12"], layers["B12"][1::2, 1::2])
        assert scene.about["resampled"] == "B01, B05, B12: centre of finer pixels"
    with open_scene(path, boa_offset=0, resample="mean") as scene:
        assert scene.about["resampled"] == "B01, B05, B12: mean of finer pixels"
    with pytest.raises(ConfigError, match="'cubic'"):
        open_scene(path, boa_offset=0, resample="cubic")
