import numpy as np
import pytest

from reben.errors import GridError, MissingBandError, ProductError, UnknownOffsetError
from reben.scene.band_names import band_files
from reben.scene.product import open_scene
from scene.made_up_product import (
    BANDS,
    PIXEL_METRES,
    make_band_folder,
    numbers,
    scene_classes,
    write_tiff,
)


@pytest.mark.parametrize("name", ["{band}.tif", "T33UUP_20230821T1010_{band}.tif", "a-{band}.TIF"])
def test_bands_are_told_by_the_names_of_their_files(tmp_path, name):
    made = make_band_folder(tmp_path / "folder", name=name)

    with open_scene(made.path, boa_offset=-1000) as scene:
        strip = scene.read(BANDS, 60, 60)

    assert scene.name == "folder"
    assert scene.about["boa_offset_source"] == "given as boa_offset"
    for band in BANDS:
        first = 600 // PIXEL_METRES[band]
        expected = made.stored[band][first : 2 * first].astype(int) - 1000
        np.testing.assert_array_equal(strip[band], expected, err_msg=band)


def test_other_files_are_left_alone_and_the_native_size_is_taken(tmp_path):
    names = ["x_B02_20m.tif", "x_B02_10m.jp2", "B8A.tif", "x_SCL_20m.tif", "x_TCI.tif", "B02.txt"]
    for name in [*names, "._B03.tif", "xB04.tif", "B10.tif", "x_B05_20m_cog.tif"]:
        (tmp_path / name).touch()

    found = band_files(tmp_path, [*BANDS, "SCL"])

    assert {band: path.name for band, path in found.items()} == {
        "B02": "x_B02_10m.jp2", "B8A": "B8A.tif", "SCL": "x_SCL_20m.tif",
    }  # fmt: skip


def test_two_files_of_one_band_are_refused(tmp_path):
    make_band_folder(tmp_path, bands=("B02", "B03"))
    write_tiff(tmp_path / "other_B02.tif", numbers("B02", 240, 180))

    with pytest.raises(ProductError, match=r"named by band B02: B02\.tif, other_B02\.tif"):
        open_scene(tmp_path, boa_offset=0)


def test_the_offset_of_plain_files_must_be_said(tmp_path):
    make_band_folder(tmp_path, bands=("B02",))

    with pytest.raises(UnknownOffsetError, match=r"Nothing in .* says which offset"):
        open_scene(tmp_path)


@pytest.mark.parametrize(("names", "what"), [((), "empty"), (("a.txt",), "It holds: a.txt")])
def test_a_folder_without_bands_says_what_it_holds(tmp_path, names, what):
    for name in names:
        (tmp_path / name).touch()

    with pytest.raises(MissingBandError, match=f"no file named by a band.*{what}"):
        open_scene(tmp_path, boa_offset=0)


def test_finer_pixels_are_averaged_down_to_the_native_size(tmp_path):
    native = numbers("B11", 240, 180)
    native[3, 5] = 0
    write_tiff(tmp_path / "B11.tif", native.repeat(2, axis=0).repeat(2, axis=1))
    fine = numbers("B01", 1440, 1080)[:180, :240].copy()
    fine[:6, :3] = 0
    write_tiff(tmp_path / "B01.tif", fine)

    with open_scene(tmp_path, boa_offset=-1000) as scene:
        strip = scene.read(["B11", "B01"], 0, 180)

    expected = np.where(native == 0, 0, native.astype(int) - 1000)
    np.testing.assert_array_equal(strip["B11"], expected)
    means = fine.reshape(30, 6, 40, 6).mean(axis=(1, 3))
    means[0, 0] = fine[:6, 3:6].mean()
    np.testing.assert_allclose(strip["B01"], means - 1000, rtol=1e-6)


def test_a_declared_value_without_data_becomes_zero(tmp_path):
    pixels = numbers("B02", 240, 180)
    pixels[:, :7] = 65535
    write_tiff(tmp_path / "B02.tif", pixels, nodata=65535)

    with open_scene(tmp_path, boa_offset=-1000) as scene:
        strip, mask = scene.read(["B02"], 0, 6)["B02"], scene.read_mask(0, 6)

    assert not strip[:, :7].any()
    assert strip[0, 7] == pixels[0, 7] - 1000
    assert mask[0].tolist() == [1] * 7 + [0] * 233


def test_a_classification_with_other_classes_is_refused(tmp_path):
    make_band_folder(tmp_path, bands=("B02",))
    classes = scene_classes(240, 180)
    classes[2, 2] = 12
    write_tiff(tmp_path / "SCL.tif", classes, metres=20)

    with open_scene(tmp_path, boa_offset=0) as scene, pytest.raises(ProductError, match="value 12"):
        scene.read_mask(0, 6)


@pytest.mark.parametrize(
    ("other", "sensed"), [("20230821T101031", "2023-08-21T10:10:31Z"), ("20230822T101031", None)]
)
def test_names_of_files_that_agree_tell_when_they_were_sensed(tmp_path, other, sensed):
    make_band_folder(tmp_path, bands=("B02", "B03"))
    for band, time in (("B02", "20230821T101031"), ("B03", other)):
        (tmp_path / f"{band}.tif").rename(tmp_path / f"T33UUP_{time}_{band}_10m.tif")

    with open_scene(tmp_path, boa_offset=0) as scene:
        assert scene.about.get("sensing_time") == sensed


# Grids --------------------------------------------------------------------------------------------


def test_a_grid_that_is_no_multiple_of_six_is_cut_and_says_so(tmp_path):
    write_tiff(tmp_path / "B02.tif", numbers("B02", 250, 185))
    write_tiff(tmp_path / "B05.tif", numbers("B05", 250, 185), metres=20)

    with open_scene(tmp_path, boa_offset=0) as scene:
        strip = scene.read(["B02", "B05"], 174, 6)

    assert (scene.grid.width, scene.grid.height) == (246, 180)
    assert scene.about["cut"] == "4 columns at the right, 4 rows at the lower edge"
    assert strip["B02"].shape == (6, 246)
    assert strip["B05"].shape == (3, 123)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"epsg": 4326, "left": 12, "top": 53, "metres": 0.0001}, "unit is deg"),
        ({"epsg": 2264}, "unit is US survey foot"),
        ({"metres": 10.5}, "B02 is used at 10 m"),
        ({"transform": (10, 0.5, 300_000, 0.5, -10, 5_900_040)}, "is rotated"),
        ({"transform": (10, 0, 300_000, 0, 10, 5_900_040)}, "is not north-up"),
    ],
)
def test_a_grid_that_windows_cannot_be_cut_from_is_refused_with_the_cure(tmp_path, more, message):
    if "transform" in more:
        from rasterio import Affine

        more = {"transform": Affine(*more["transform"])}
    write_tiff(tmp_path / "B02.tif", numbers("B02", 240, 180), **more)

    with pytest.raises(GridError, match=f"{message}(.|\n)*gdalwarp"):
        open_scene(tmp_path, boa_offset=0)


def test_pixels_coarser_than_the_band_have_another_cure_than_warping(tmp_path):
    write_tiff(tmp_path / "B02.tif", numbers("B02", 240, 180), metres=20)

    with pytest.raises(GridError, match=r"B02 is used at 10 m.*Load B02 at 10 m") as caught:
        open_scene(tmp_path, boa_offset=0)
    assert "gdalwarp" not in str(caught.value)


def test_a_file_without_a_reference_system_is_refused(tmp_path):
    write_tiff(tmp_path / "B02.tif", numbers("B02", 240, 180), epsg=None)

    with pytest.raises(GridError, match=r"no coordinate reference system.*rio edit-info"):
        open_scene(tmp_path, boa_offset=0)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"left": 300_020}, "shifted against each other"),
        ({"epsg": 32634}, "All bands of a scene must have one"),
    ],
)
def test_bands_that_lie_differently_are_refused(tmp_path, more, message):
    write_tiff(tmp_path / "B02.tif", numbers("B02", 240, 180))
    write_tiff(tmp_path / "B05.tif", numbers("B05", 240, 180), metres=20, **more)

    with pytest.raises(GridError, match=message):
        open_scene(tmp_path, boa_offset=0)


def test_a_band_that_is_cut_off_is_refused_and_does_not_shrink_the_scene(tmp_path):
    write_tiff(tmp_path / "B02.tif", numbers("B02", 240, 180))
    write_tiff(tmp_path / "B05.tif", numbers("B05", 240, 90), metres=20)

    with pytest.raises(GridError, match=r"B05\.tif has a height of 900 m.*B02\.tif one of 1800 m"):
        open_scene(tmp_path, boa_offset=0)


def test_pixels_that_are_smaller_on_the_ground_are_refused(tmp_path):
    made = make_band_folder(tmp_path, scl=False, epsg=3857, left=1_500_000, top=8_400_000)

    with pytest.raises(GridError, match=r"5\.01 x 5\.00 m on the ground.*EPSG:3857.*gdalwarp"):
        open_scene(made.path, boa_offset=0)


def test_web_mercator_at_the_equator_measures_the_ground(tmp_path):
    made = make_band_folder(tmp_path, scl=False, epsg=3857, left=1_500_000, top=40_000)
    open_scene(made.path, boa_offset=0).close()


@pytest.mark.parametrize(
    ("epsg", "left", "top"), [(3035, 4_321_000, 3_210_000), (32733, 500_000, 9_000_000)]
)
def test_other_systems_that_measure_the_ground_pass(tmp_path, epsg, left, top):
    made = make_band_folder(tmp_path, scl=False, epsg=epsg, left=left, top=top)
    open_scene(made.path, boa_offset=0).close()
