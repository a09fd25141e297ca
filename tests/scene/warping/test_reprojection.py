import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from rasterio.transform import Affine

from reben.errors import GridError
from reben.scene.band_source import BandFile
from reben.scene.product import open_scene
from reben.scene.warping import reprojection
from scene.made_up_product import PIXEL_METRES, Made, make_item, write_item, write_tiff

MERCATOR = "EPSG:3857", Affine(20, 0, 2_777_000, 0, -20, 8_400_000)  # 10 m on the ground at 60 N
DEGREES = "EPSG:4326", Affine(0.00018, 0, 24.9, 0, -0.00009, 60.2)
UTM = "EPSG:32635"
BANDS = ("B02", "B05", "B01", "SCL")
WIDTH, HEIGHT = 240, 300


def plane(band, x, y):
    """Digital numbers of a band at points of the UTM zone: a plane, unlike that of any other."""
    number = BANDS.index(band)
    return 4000 + 700 * number + (x - 390_000) / (5 + number) + (y - 6_650_000) / (7 - number)


def pixels_of(band, crs, transform, height, width, dtype=np.uint16):
    """A band as an image in another reference system shows it; of SCL, clouds in the west."""
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = transform @ (columns, rows)
    x, y = pyproj.Transformer.from_crs(crs, UTM, always_xy=True).transform(x, y)
    if band == "SCL":
        return np.where(x < x.mean(), 9, 4).astype(np.uint8)
    values = plane(band, x, y)
    assert values.min() > 0
    return np.round(values).astype(dtype) if dtype == np.uint16 else values.astype(dtype)


def expected(band, scene):
    metres = 10 if band == "SCL" else PIXEL_METRES[band]
    left, bottom, right, top = scene.grid.bounds
    x = np.arange(left + metres / 2, right, metres)
    y = np.arange(top - metres / 2, bottom, -metres)
    return plane(band, *np.meshgrid(x, y))


def write_multiband(path, crs, transform, *, bands=BANDS[:3], nodata=None, change=None):
    layers = {band: pixels_of(band, crs, transform, HEIGHT, WIDTH) for band in bands}
    if change is not None:
        change(layers)
    with rasterio.open(
        path, "w", driver="GTiff", width=WIDTH, height=HEIGHT, count=len(bands), dtype="uint16",
        crs=crs, transform=transform, nodata=nodata,
    ) as file:  # fmt: skip
        file.write(np.stack(list(layers.values())).astype(np.uint16))
        file.descriptions = bands
    return path


def write_folder(folder, crs, transform):
    for band in BANDS:
        step = {"B02": 1, "B05": 2, "B01": 6, "SCL": 2}[band]
        place = transform @ Affine.scale(step)
        pixels = pixels_of(band, crs, place, HEIGHT // step, WIDTH // step)
        write_tiff(folder / f"{band}.tif", pixels, crs=crs, transform=place)
    return folder


def require_planes(scene, bands=BANDS[:3]):
    """Pixels have the value of their place to an eighth of a pixel, at the edges to a half."""
    strip = scene.read(bands, 0, scene.grid.height)
    for number, band in enumerate(bands):
        there = strip[band] > 0
        assert there.mean() > 0.8
        slope = PIXEL_METRES[band] * (1 / (5 + number) + 1 / (7 - number))
        off = np.abs(strip[band] - expected(band, scene))[there]
        assert off.max() < 0.5 + slope / 2
        assert np.quantile(off, 0.9) < 0.5 + slope / 8


@pytest.mark.parametrize(
    ("crs", "transform", "metres"),
    [(*MERCATOR, "10.03 x 10.01"), (*DEGREES, "9.99 x 10.03")],
)
def test_an_image_is_warped_to_the_zone_of_its_place(tmp_path, crs, transform, metres):
    path = write_multiband(tmp_path / "s.tif", crs, transform)

    with open_scene(path, boa_offset=0, reproject=True) as scene:
        require_planes(scene)
        mask = scene.read_mask(0, scene.grid.height)
        strip = scene.read(["B02"], 0, scene.grid.height)["B02"]

    assert scene.grid.crs == UTM
    assert scene.grid.left % 60 == scene.grid.top % 60 == 0
    assert scene.about["pixel_metres_on_ground"] == "10.00 x 10.00"
    assert scene.about["reprojected"].startswith(f"from {crs} (B02: pixels of {metres} m")
    assert mask[0, 0] == 1  # the image is turned in the zone, so its corners have no data
    assert (mask[strip == 0] == 1).all()
    assert (mask == 1).mean() < 0.2


def test_an_image_that_is_turned_is_read_in_narrow_strips(tmp_path, monkeypatch):
    polar = (
        "EPSG:3413",
        Affine(10, 0, 2_880_000, 0, -10, -1_060_000),
    )  # turned by 67 degrees
    path = write_multiband(tmp_path / "s.tif", *polar)
    reads = []
    read_rows = BandFile.read_rows

    def counted(self, top, height, columns=None):
        reads.append(height)
        return read_rows(self, top, height, columns)

    with open_scene(path, boa_offset=0, reproject=True) as scene:
        whole = scene.read(["B02"], 120, 60)["B02"]
        off = np.abs(whole - expected("B02", scene)[120:180])[whole > 0]
        assert np.quantile(off, 0.9) < 1
    monkeypatch.setattr(reprojection, "_MOST_PIXELS", 10_000)
    monkeypatch.setattr(BandFile, "read_rows", counted)
    with open_scene(path, boa_offset=0, reproject=True) as scene:
        reads.clear()
        strip = scene.read(["B02"], 120, 60)["B02"]

    assert len(reads) > 1
    assert max(reads) < 200
    np.testing.assert_allclose(strip, whole, atol=0.5)
    assert (strip > 0).mean() > 0.5


def test_a_folder_keeps_its_sizes_and_the_classes_of_the_nearest_pixels(tmp_path, caplog):
    folder = write_folder(tmp_path / "s", *MERCATOR)

    with (
        caplog.at_level(logging.WARNING),
        open_scene(folder, boa_offset=0, reproject=True) as scene,
    ):
        require_planes(scene)
        mask = scene.read_mask(0, scene.grid.height)

    assert "s is warped to EPSG:32635 while it is read" in caplog.text
    assert scene.about["reprojected"].endswith("bilinear, classification nearest")
    middle = mask[scene.grid.height // 2]
    assert set(middle[20:100].tolist()) == {2}
    assert set(middle[140:220].tolist()) == {0}


def test_items_and_lazy_arrays_are_warped_too(tmp_path):
    xarray, dask = pytest.importorskip("xarray"), pytest.importorskip("dask.array")
    folder = write_folder(tmp_path / "s", *DEGREES)
    item = write_item(folder / "item.json", make_item(Made(folder)))
    with open_scene(item, boa_offset=0, reproject=True) as scene:
        require_planes(scene)

    crs, transform = DEGREES
    pixels = pixels_of("B02", crs, transform, HEIGHT, WIDTH, np.float32)
    x = transform.c + transform.a * (np.arange(WIDTH) + 0.5)
    y = transform.f + transform.e * (np.arange(HEIGHT) + 0.5)
    array = xarray.DataArray(
        dask.from_array(pixels, chunks=(50, 60)), dims=("y", "x"), coords={"x": x, "y": y}
    )
    with pytest.raises(GridError, match=r"Pass --reproject \(reproject=True\), and it is warped"):
        open_scene({"B02": array.assign_attrs(crs=crs)}, boa_offset=0)
    with open_scene({"B02": array.assign_attrs(crs=crs)}, boa_offset=0, reproject=True) as scene:
        require_planes(scene, ["B02"])


@pytest.mark.parametrize("nodata", [None, 0, 9999])
def test_nothing_is_interpolated_from_pixels_without_data_or_saturated(tmp_path, nodata):
    def change(layers):
        for layer in layers.values():
            layer[100:130, 80:110] = nodata or 0
        layers["B02"][200:203, 50:53] = 65535

    path = write_multiband(tmp_path / "s.tif", *MERCATOR, nodata=nodata, change=change)
    with open_scene(path, boa_offset=0, reproject=True) as scene:
        strip = scene.read(["B02"], 0, scene.grid.height)["B02"]
        mask = scene.read_mask(0, scene.grid.height)
        right = np.abs(strip - expected("B02", scene)) < 2.3

    assert set(strip[~right].tolist()) == {0, 65535}
    assert (mask[strip == 65535] == 2).all()
    assert 4 <= (strip == 65535).sum() <= 16
    hole = (mask == 1)[20:-20, 20:-20].sum()
    assert 25**2 < hole < 35**2


def test_what_lies_right_is_not_warped(tmp_path):
    path = write_multiband(tmp_path / "s.tif", UTM, Affine(10, 0, 390_003, 0, -10, 6_660_001))

    with open_scene(path, boa_offset=0, reproject=True) as scene:
        assert "reprojected" not in scene.about
        assert scene.grid.left == 390_003


def test_pixels_that_are_much_too_coarse_are_refused_whatever_is_done(tmp_path):
    crs, transform = MERCATOR
    path = write_multiband(tmp_path / "s.tif", crs, transform @ Affine.scale(3))

    for reproject in (False, True):
        with pytest.raises(GridError, match=r"30\.\d+ x 30.*B02 is used at 10 m.*Load B02 at 10 m"):
            open_scene(path, boa_offset=0, reproject=reproject)
    coarse = write_multiband(tmp_path / "c.tif", crs, transform @ Affine.scale(2))
    with open_scene(coarse, boa_offset=0, reproject=True) as scene:
        assert scene.about["reprojected"].endswith(
            "coarser than the bands are by nature: B02 (20 m)"
        )


def run_cure(error, folder):
    """Run the commands of an error as they are printed, with a stand-in if there is no gdalwarp."""
    commands = str(error).partition("warp it first: ")[2]
    places = os.environ["PATH"]
    if shutil.which("gdalwarp") is None:
        program = folder / "bin" / "gdalwarp"
        program.parent.mkdir()
        text = (Path(__file__).parent / "gdalwarp.py").read_text()
        program.write_text(text.replace("#!/usr/bin/env python", f"#!{sys.executable}"))
        program.chmod(0o755)
        places = f"{program.parent}{os.pathsep}{places}"
    subprocess.run(["sh", "-ec", commands], check=True, env=os.environ | {"PATH": places})


@pytest.mark.parametrize("place", [MERCATOR, DEGREES])
def test_the_command_for_an_image_makes_one_that_is_read(tmp_path, place):
    path = write_multiband(tmp_path / "my scene.tif", *place)

    with pytest.raises(GridError, match=r"gdalwarp -t_srs EPSG:32635 -tr 10 10 -tap ") as caught:
        open_scene(path, boa_offset=0)
    run_cure(caught.value, tmp_path)

    with open_scene(tmp_path / "my scene_utm.tif", boa_offset=0) as scene:
        strip = scene.read(["B02"], 0, scene.grid.height)["B02"]
        inside = strip[60:-60, 60:-60]
        wanted = expected("B02", scene)[60:-60, 60:-60]
        assert np.abs(inside - wanted).max() < 2


def test_the_commands_for_a_folder_make_one_that_is_read(tmp_path):
    folder = write_folder(tmp_path / "it's here", *MERCATOR)

    with pytest.raises(GridError, match=r"EPSG:32635.*-te [\d ]+ -tr 60 60") as caught:
        open_scene(folder, boa_offset=0)
    run_cure(caught.value, tmp_path)

    with open_scene(tmp_path / "it's here_utm", boa_offset=0) as scene:
        strip = scene.read(BANDS[:3], 0, scene.grid.height)
        mask = scene.read_mask(0, scene.grid.height)
        for band, step in (("B02", 1), ("B05", 2), ("B01", 6)):
            edge = 60 // step
            off = np.abs(strip[band] - expected(band, scene))[edge:-edge, edge:-edge]
            assert off.max() < 8
    assert set(np.unique(mask[60:-60, 60:-60])) == {0, 2}
