import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.warp import transform

from reben.errors import ConfigError, GridError, ProductLevelError
from reben.scene.product import open_scene
from scene.made_up_product import make_band_folder, write_tiff

SHAPE = (300, 420)


def power(band, shape=SHAPE):
    """Linear power [h, w], VV about ten times VH, growing down and right."""
    rng = np.random.default_rng({"VV": 1, "VH": 2}[band])
    ramp = 1 + np.add.outer(np.arange(shape[0]) / 300, np.arange(shape[1]) / 90)
    return ({"VV": 0.06, "VH": 0.006}[band] * ramp * rng.gamma(4, 0.25, shape)).astype(np.float32)


def write_pair(folder, *, empty=0, **place):
    for band in ("VV", "VH"):
        pixels = power(band)
        pixels[:empty] = np.nan
        write_tiff(folder / f"S1A_20230821T101031_gamma0_{band}.tif", pixels, **place)
    return folder


def opened(product, **more):
    return open_scene(product, sentinel1_unit="linear", **more)


@pytest.mark.parametrize("place", [{}, {"left": 300_003.7, "top": 5_900_041.26}])
def test_a_product_on_a_grid_of_10_m_is_read_as_it_is_wherever_its_corner_lies(tmp_path, place):
    with opened(write_pair(tmp_path / "s1", **place)) as scene:
        strips = [scene.read(["VH", "VV"], top, 60) for top in range(0, 300, 60)]

    assert scene.bands == ("VV", "VH")
    assert scene.name == "s1"
    assert (scene.grid.width, scene.grid.height) == (420, 300)
    assert scene.grid.left == place.get("left", 300_000)
    for band in ("VV", "VH"):
        found = np.concatenate([strip[band] for strip in strips])
        np.testing.assert_array_equal(found, 10 * np.log10(power(band)))
    assert scene.about["sentinel1_grid"] == "its own: nothing resampled"
    assert scene.about["sentinel1_quantity"] == "gamma0"
    assert "clouds do not hide" in scene.about["mask"]
    assert not {"boa_offset", "sentinel1", "sentinel1_days_apart"} & scene.about.keys()


@pytest.mark.parametrize(
    "place",
    [
        {"left": 12.0, "top": 53.22, "epsg": 4326, "metres": 0.00016},
        {"left": 1_336_000, "top": 7_030_000, "epsg": 3857, "metres": 18},
        {"left": 300_000, "top": 5_900_040, "metres": 20},
    ],
)
def test_another_grid_is_warped_to_the_zone_on_multiples_of_60_m(tmp_path, place):
    with opened(write_pair(tmp_path / "s1", **place)) as scene:
        grid = scene.grid
        found = np.concatenate([scene.read(["VV"], top, 60)["VV"] for top in (60, 120, 180)])

    assert grid.crs == "EPSG:32633"
    assert grid.left % 60 == grid.top % 60 == 0
    assert grid.width % 6 == grid.height % 6 == 0
    with rasterio.open(tmp_path / "s1" / "S1A_20230821T101031_gamma0_VV.tif") as file:
        expected = interpolated(file, grid)[60:240]
        # All of the product lies in the scene.
        left, bottom, right, top = rasterio.warp.transform_bounds(file.crs, grid.crs, *file.bounds)
    there = np.isfinite(expected)
    assert there.mean() > 0.8
    # Half a pixel off would be 0.8 dB on average in this speckle; GDAL is within an eighth of one.
    difference = np.abs(found - expected)[there]
    assert difference.mean() < 0.12
    assert np.quantile(difference, 0.99) < 0.5
    edges = grid.bounds
    assert edges[0] <= left < edges[0] + 60
    assert edges[3] - 60 < top <= edges[3]
    assert edges[1] <= bottom < edges[1] + 60
    assert edges[2] - 60 < right <= edges[2]
    assert "EPSG:32633" in scene.about["sentinel1_grid"]
    assert "warped bilinearly" in scene.about["sentinel1_grid"]


def test_every_form_of_a_product_is_the_same_scene(tmp_path):
    folder = write_pair(tmp_path / "s1", left=300_003)
    paths = {band: folder / f"S1A_20230821T101031_gamma0_{band}.tif" for band in ("VV", "VH")}
    assets = {band.lower(): {"href": str(path)} for band, path in paths.items()}
    item = {"type": "Feature", "id": "S1A", "properties": {}, "assets": assets}
    x, y = 300_008 + 10 * np.arange(SHAPE[1]), 5_900_035 - 10 * np.arange(SHAPE[0])
    arrays = {f"gamma0_{band.lower()}": (("y", "x"), power(band)) for band in paths}
    dataset = xr.Dataset(arrays, {"x": x, "y": y}, {"crs": "EPSG:32633"})
    with rasterio.open(paths["VV"]) as file:
        profile = file.profile | {"count": 2}
    with rasterio.open(tmp_path / "both.tif", "w", **profile) as file:
        file.write(np.stack([power("VH"), power("VV")]))
        file.descriptions = ("Gamma0_VH", "Gamma0_VV")

    for product in (folder, paths, item, dataset, tmp_path / "both.tif"):
        with opened(product) as scene:
            strip = scene.read(["VV", "VH"], 60, 60)
        assert scene.grid.left == 300_003
        assert scene.about["sentinel1_quantity"] == "gamma0"
        for band, pixels in strip.items():
            np.testing.assert_array_equal(pixels, 10 * np.log10(power(band)[60:120]))


def interpolated(file, grid):
    """dB of linear power at the centres of the grid's pixels, by formula; NaN near the edges."""
    x, y = np.meshgrid(
        grid.left + 10 * (np.arange(grid.width) + 0.5),
        grid.top - 10 * (np.arange(grid.height) + 0.5),
    )
    eastings, northings = transform(grid.crs, file.crs, x.ravel(), y.ravel())
    columns, rows = ~file.transform @ (np.array(eastings), np.array(northings))
    columns, rows = columns - 0.5, rows - 0.5
    inside = (columns > 0) & (rows > 0) & (columns < file.width - 2) & (rows < file.height - 2)
    rows, columns = np.where(inside, rows, 0), np.where(inside, columns, 0)
    pixels, i, j = file.read(1), rows.astype(int), columns.astype(int)
    down, right = rows - i, columns - j
    upper = pixels[i, j] * (1 - right) + pixels[i, j + 1] * right
    lower = pixels[i + 1, j] * (1 - right) + pixels[i + 1, j + 1] * right
    found = np.where(inside, 10 * np.log10(upper * (1 - down) + lower * down), np.nan)
    return found.reshape(grid.height, grid.width)


def test_pixels_without_data_are_the_mask_and_nothing_else(tmp_path):
    with opened(write_pair(tmp_path / "s1", empty=30)) as scene:
        mask = scene.read_mask(0, 60)
        part = scene.cut(24, 60, 120, 120)
        below = part.read_mask(0, 60)

    assert (mask[:30] == 1).all()
    assert (mask[30:] == 0).all()
    assert (below[:6] == 1).all()
    assert (below[6:] == 0).all()


def test_it_may_be_named_as_sentinel1_alone_and_not_twice(tmp_path):
    folder = write_pair(tmp_path / "s1")

    with opened(None, sentinel1=folder) as scene:
        assert scene.bands == ("VV", "VH")
    with pytest.raises(ConfigError, match="Name one"):
        opened(folder, sentinel1=folder)
    with pytest.raises(ConfigError, match="Name a product"):
        opened(None)
    with pytest.raises(ConfigError, match="boa_offset and trust_offset are of Sentinel-2"):
        opened(folder, boa_offset=0)


def test_a_level_1_product_as_the_scene_is_refused_with_the_reason(tmp_path):
    name = "S1A_IW_GRDH_1SDV_20230821T053012_20230821T053037_049980_0602F5_A1B2.SAFE"
    (tmp_path / name / "measurement").mkdir(parents=True)

    with pytest.raises(ProductLevelError, match="level-1 product of Sentinel-1"):
        opened(tmp_path / name)


def test_a_product_beyond_all_zones_is_refused(tmp_path):
    with pytest.raises(GridError, match="on the ground"):
        opened(write_pair(tmp_path / "s1", epsg=32633, left=9e7, top=9e7, metres=20))


# Masks of models ----------------------------------------------------------------------------------


@pytest.fixture
def both(tmp_path):
    optical = make_band_folder(tmp_path / "s2", bands=("B02", "B05"))
    for band in ("VV", "VH"):
        pixels = power(band, (180, 240))
        pixels[: {"VV": 12, "VH": 24}[band]] = np.nan
        write_tiff(tmp_path / "s1" / f"{band}.tif", pixels)
    with opened(optical.path, boa_offset=0, sentinel1=tmp_path / "s1") as scene:
        yield scene


def test_masks_follow_the_bands_that_a_model_uses(both):
    radar = both.for_bands(["VV", "VH"]).read_mask(0, 60)
    only_vv = both.for_bands(["VV"]).read_mask(0, 60)
    optical = both.for_bands(["B02"]).read_mask(0, 60)
    mixed = both.for_bands(["VV", "VH", "B02"]).read_mask(0, 60)

    # The scene classification has clouds in the 60 columns at the right.
    assert (radar[:24] == 1).all()
    assert (radar[24:] == 0).all()
    assert (only_vv[12:] == 0).all()
    assert (optical[:, :-60] == 0).all()
    assert (optical[:, -60:] == 2).all()
    assert (mixed[:24] == 1).all()
    assert (mixed[24:, -60:] == 2).all()
    np.testing.assert_array_equal(mixed, both.read_mask(0, 60))


def test_facts_and_fingerprints_follow_the_bands_too(both):
    radar, optical = both.for_bands(["VV", "VH"]), both.for_bands(["B02"])

    assert "clouds do not hide" in radar.about["mask"]
    assert "sentinel1_unit" in radar.about
    assert "scene classification" in optical.about["mask"]
    assert not any(key.startswith("sentinel1") for key in optical.about)
    prints = [both.fingerprint(bands) for bands in (["VV", "VH"], ["B02"], ["VV", "VH", "B02"])]
    assert len(set(prints)) == 3
