import numpy as np
import pytest
import rasterio

from reben.errors import OutputError
from reben.predict.outputs.cog import read_tags, write_raster
from reben.scene.grid import Grid

LABELS = ("Pastures", "Mixed forest", "Land principally occupied by agriculture, with more")
GRID = Grid("EPSG:32633", 300_000, 5_000_040, width=1_200, height=600)


def scores(height=5, width=10):
    values = np.random.default_rng(1).random((height, width, 3), np.float32)
    values[1, 2] = np.nan
    return values


def write(path, values, dtype="float32", **options):
    options = {"grid": GRID, "stride_metres": 1200, "labels": LABELS, "tags": {"model": "me"}} | (
        options
    )
    write_raster(path, values, dtype=dtype, **options)
    return path


def test_each_label_is_a_band_named_by_it(tmp_path):
    values = scores()
    with rasterio.open(write(tmp_path / "a.tif", values)) as file:
        assert file.descriptions == LABELS
        np.testing.assert_array_equal(file.read(2), values[..., 1])
        assert np.isnan(file.nodata)
        assert file.read(3, masked=True).mask.sum() == 1
        assert file.bounds == (300_000, 5_000_040 - 6_000, 312_000, 5_000_040)


def test_bytes_are_scores_times_200(tmp_path):
    values = scores()
    values[0, 0] = (0, 0.5, 1)
    with rasterio.open(write(tmp_path / "a.tif", values, "uint8")) as file:
        assert file.dtypes == ("uint8",) * 3
        assert file.nodata == 255
        assert file.read()[:, 0, 0].tolist() == [0, 100, 200]
        assert file.read()[:, 1, 2].tolist() == [255] * 3
        known = ~np.isnan(values)
        decoded = np.moveaxis(file.read() * file.scales[0], 0, -1)
        np.testing.assert_allclose(decoded[known], values[known], atol=1 / 400 + 1e-6)


def test_tags_are_kept_and_can_be_read_again(tmp_path):
    path = write(tmp_path / "a.tif", scores(), tags={"model": "me", "labels": "a; b"})
    assert read_tags(path).items() >= {"model": "me", "labels": "a; b"}.items()


def test_a_file_that_is_no_raster_has_no_tags(tmp_path):
    (tmp_path / "a.tif").write_text("hello")
    assert read_tags(tmp_path / "a.tif") == {}


def test_the_file_is_cloud_optimised(tmp_path):
    path = write(tmp_path / "a.tif", scores(1_100, 700), stride_metres=60)
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.profile["tiled"]
        assert file.overviews(1) == [2, 4]
        offsets = [int(file.get_tag_item("IFD_OFFSET", "TIFF", bidx=1))]
        offsets += [int(file.get_tag_item("IFD_OFFSET", "TIFF", bidx=1, ovr=k)) for k in (0, 1)]
        data = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
        smallest = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=1))
    # All headers first, then the coarsest picture, and the finest at the end.
    assert max(offsets) < smallest < data
    assert offsets == sorted(offsets)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(OutputError):
        write(tmp_path / "folder" / "a.tif", scores())
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
