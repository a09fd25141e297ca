import numpy as np
import pytest
import rasterio
import rioxarray
import xarray

from reben.errors import (
    GridError,
    MissingBandError,
    OffsetConflictError,
    PixelValueError,
    ProductError,
    UnknownOffsetError,
)
from reben.scene.product import open_scene
from scene.made_up_product import BANDS, PIXEL_METRES, make_band_folder, numbers, scene_classes

pytestmark = pytest.mark.filterwarnings(  # rioxarray's own
    "ignore:Use `@` matmul:PendingDeprecationWarning"
)


def array(values, metres=10, left=300_000, top=5_900_040, crs="EPSG:32633", **attrs):
    height, width = values.shape
    x = left + metres * (np.arange(width) + 0.5)
    y = top - metres * (np.arange(height) + 0.5)
    made = xarray.DataArray(values, dims=("y", "x"), coords={"y": y, "x": x}, attrs=attrs)
    return made.rio.write_crs(crs) if crs else made


def ten_metres(band):
    factor = PIXEL_METRES[band] // 10
    return numbers(band, 240, 180).repeat(factor, axis=0).repeat(factor, axis=1)


@pytest.fixture
def dataset():
    """All bands at 10 m, coarser ones by repeated pixels, as stacking programs make them."""
    return xarray.Dataset({band: array(ten_metres(band)) for band in BANDS})


def check(scene, offset):
    strip = scene.read(BANDS, 60, 60)
    for band in BANDS:
        first = 600 // PIXEL_METRES[band]
        expected = numbers(band, 240, 180)[first : 2 * first].astype(int) + offset
        np.testing.assert_array_equal(strip[band], expected, err_msg=band)


def test_variables_of_a_dataset_are_bands_at_their_native_size(dataset):
    with open_scene(dataset, boa_offset=-1000) as scene:
        check(scene, -1000)

    assert scene.grid.bounds == (300_000, 5_898_240, 302_400, 5_900_040)
    assert scene.grid.crs == "EPSG:32633"


def test_a_dimension_of_band_names_does_as_well(dataset):
    stacked = dataset.to_dataarray("band")

    with open_scene(stacked, boa_offset=0) as scene:
        check(scene, 0)
    with open_scene(stacked.to_dataset(name="values"), boa_offset=0) as scene:
        check(scene, 0)


def test_a_mapping_gives_each_band_at_its_own_size():
    bands = {band: array(numbers(band, 240, 180), PIXEL_METRES[band]) for band in BANDS}

    with open_scene(dict(reversed(bands.items())), boa_offset=-1000) as scene:
        check(scene, -1000)


def test_common_names_are_understood(dataset):
    named = dataset[["B04", "B8A"]].rename({"B04": "red", "B8A": "nir08"})

    with open_scene(named, boa_offset=0) as scene:
        assert scene.bands == ("B04", "B8A")


def test_files_opened_by_rioxarray_are_read_lazily_and_alike(tmp_path):
    made = make_band_folder(tmp_path, scl=True)
    opened = {
        path.stem: rioxarray.open_rasterio(path, chunks={"y": 30})
        for path in sorted(tmp_path.glob("*.tif"))
    }

    with open_scene(opened, boa_offset=-1000) as scene:
        check(scene, -1000)
        mask = scene.read_mask(0, 180)
    for item in opened.values():
        item.close()

    assert (mask[:, -60:] == 2).all()
    assert not mask[:, :-60].any()
    assert made.scl is not None


def test_a_lazy_array_is_computed_strip_by_strip():
    rows = []

    def compute(block, block_info=None):
        if block_info:
            rows.append(block_info[0]["array-location"][0])
        return block

    lazy = array(numbers("B02", 240, 180)).chunk({"y": 30})
    lazy = lazy.copy(data=lazy.data.map_blocks(compute, dtype=np.uint16))
    rows.clear()

    with open_scene({"B02": lazy}, boa_offset=0) as scene:
        scene.read(["B02"], 60, 30)

    assert rows == [(60, 90)]


def test_masked_values_are_without_data():
    values = numbers("B02", 240, 180).astype(np.float32)
    values[:, :11] = np.nan

    with open_scene({"B02": array(values)}, boa_offset=-1000) as scene:
        strip, mask = scene.read(["B02"], 0, 6)["B02"], scene.read_mask(0, 6)

    np.testing.assert_array_equal(strip[:, 11:], values[:6, 11:] - 1000)
    assert not strip[:, :11].any()
    assert mask[0].tolist() == [1] * 11 + [0] * 229


# Places -------------------------------------------------------------------------------------------


PLACE = (10, 0, 300_000, 0, -10, 5_900_040)


def corners(item, transform=PLACE):
    """An array as stackstac makes it: coordinates are the upper left corners of pixels."""
    step = float(item.x[1] - item.x[0])
    moved = item.assign_coords(x=item.x - step / 2, y=item.y + step / 2)
    return moved if transform is None else moved.assign_attrs(transform=transform)


class Spec:
    transform = rasterio.Affine(*PLACE)


@pytest.mark.parametrize(
    "transform",
    [
        PLACE,
        [*PLACE, 0, 0, 1],
        np.array(PLACE),
        rasterio.Affine(*PLACE),
        str(rasterio.Affine(*PLACE)),
    ],
)
def test_corners_of_pixels_are_told_by_the_transform(transform):
    with open_scene(
        {"B02": corners(array(numbers("B02", 240, 180)), transform)}, boa_offset=0
    ) as it:
        assert it.grid.transform == PLACE


def test_corners_of_pixels_are_told_by_what_a_program_specified():
    stacked = corners(array(numbers("B02", 240, 180)), None)
    with open_scene({"B02": stacked.assign_attrs(spec=Spec())}, boa_offset=0) as scene:
        assert scene.grid.transform == PLACE


@pytest.mark.parametrize(
    "make", [corners, lambda item, transform: item.assign_attrs(transform=transform)]
)
@pytest.mark.parametrize("metres", [10, 20, 60])
def test_arrays_of_one_size_alone_are_not_shifted(make, metres):
    band = {10: "B02", 20: "B05", 60: "B01"}[metres]
    place = (metres, 0, 300_000, 0, -metres, 5_900_040)
    item = make(array(numbers(band, 240, 180), metres), place)
    with open_scene(item.to_dataset(name=band), boa_offset=0) as scene:
        assert scene.grid.transform == PLACE
        first = 600 // metres
        np.testing.assert_array_equal(
            scene.read([band], 60, 60)[band], numbers(band, 240, 180)[first : 2 * first]
        )


def test_a_part_of_an_image_keeps_its_place_by_the_lines_of_the_whole():
    whole = array(numbers("B02", 240, 180))
    for item in (corners(whole), whole.assign_attrs(transform=PLACE)):
        with open_scene({"B02": item[30:, 60:]}, boa_offset=0) as scene:
            assert scene.grid.transform == (10, 0, 300_600, 0, -10, 5_899_740)
            np.testing.assert_array_equal(
                scene.read(["B02"], 0, 60)["B02"], numbers("B02", 240, 180)[30:90, 60:240]
            )


@pytest.mark.parametrize("metres", [10, 20, 60])
def test_coordinates_that_may_be_corners_are_not_guessed(metres):
    band = {10: "B02", 20: "B05", 60: "B01"}[metres]
    item = corners(array(numbers(band, 240, 180), metres), None)
    message = rf"shift it by {metres // 2} m.*xy_coords='center'"
    with pytest.raises(GridError, match=message) as caught:
        open_scene({band: item}, boa_offset=0)
    cure = str(caught.value).partition("centres: ")[2].partition(", or")[0]
    cured = item.assign_coords(x=item.x + metres / 2, y=item.y - metres / 2)
    assert cure == f"array.assign_coords(x=array.x + {metres // 2}, y=array.y - {metres // 2})"
    for right in (cured, cured.rio.write_transform()):
        with open_scene({band: right}, boa_offset=0) as scene:
            assert scene.grid.transform == PLACE


def test_centres_on_whole_multiples_are_read_where_a_transform_says_so():
    item = array(numbers("B02", 240, 180), left=299_995, top=5_900_045).rio.write_transform()
    with open_scene({"B02": item}, boa_offset=0) as scene:
        assert scene.grid.transform == (10, 0, 299_995, 0, -10, 5_900_045)


@pytest.mark.parametrize(
    "transform", [(10, 0, 300_003, 0, -10, 5_900_040), (20, 0, 300_000, 0, -20, 5_900_040),
                  (10, 0, 300_005, 0, -10, 5_900_040), (10, 1, 300_000, 1, -10, 5_900_040)],
)  # fmt: skip
def test_a_transform_that_does_not_fit_the_coordinates_is_refused(transform):
    item = array(numbers("B02", 240, 180)).assign_attrs(transform=transform)
    with pytest.raises(GridError, match=r"does not fit its coordinates.*write_transform\(\)"):
        open_scene({"B02": item}, boa_offset=0)


def test_a_file_of_several_bands_opened_by_rioxarray_lies_and_reads_as_in_rasterio(tmp_path):
    path = tmp_path / "bands.tif"
    bands = ("B03", "B02", "B8A")
    with rasterio.open(
        path, "w", driver="GTiff", width=240, height=180, count=3, dtype="uint16",
        crs="EPSG:32633", transform=rasterio.Affine(*PLACE),
    ) as file:  # fmt: skip
        for place, band in enumerate(bands, start=1):
            file.write(ten_metres(band), place)
            file.set_band_description(place, band)
    with rasterio.open(path) as file:
        transform, stored = file.transform, dict(zip(bands, file.read(), strict=True))
    for how in ({}, {"band_as_variable": True}, {"chunks": {"y": 60}}):
        opened = rioxarray.open_rasterio(path, **how)
        with open_scene(opened, boa_offset=0) as scene:
            assert scene.grid.transform == tuple(transform)[:6]
            strip = scene.read(bands, 60, 60)
        opened.close()
        for band in bands:
            step = PIXEL_METRES[band] // 10
            np.testing.assert_array_equal(strip[band], stored[band][60:120:step, ::step])


def test_rows_from_south_to_north_and_columns_from_east_are_turned_without_loading():
    item = array(numbers("B02", 240, 180)).isel(y=slice(None, None, -1), x=slice(None, None, -1))
    item = item.chunk({"y": 60}).assign_attrs(transform=PLACE)
    for turned in (item, corners(item.isel(x=slice(None, None, -1)))):
        with open_scene({"B02": turned}, boa_offset=0) as scene:
            assert scene.grid.transform == PLACE
            np.testing.assert_array_equal(
                scene.read(["B02"], 60, 60)["B02"], numbers("B02", 240, 180)[60:120]
            )


WKT = rasterio.crs.CRS.from_epsg(32733).to_wkt()


@pytest.mark.parametrize(
    "state",
    [
        lambda item: item.assign_coords(spatial_ref=((), 0, {"spatial_ref": WKT})),
        lambda item: item.assign_coords(spatial_ref=((), 0, {"crs_wkt": WKT})),
        lambda item: item.assign_coords(spatial_ref=32733),
        lambda item: item.assign_coords({"proj:epsg": 32733}),
        lambda item: item.assign_coords({"proj:code": "EPSG:32733"}),
        lambda item: item.assign_coords({"proj:wkt2": WKT}),
        lambda item: item.assign_coords({"epsg": ("time", [32733])}),
        lambda item: item.assign(crs=((), b"", {"crs_wkt": WKT})),
        lambda item: item.assign(crs=((), b"", {"spatial_ref": WKT})),
        # As dataset.where leaves it.
        lambda item: item.assign(crs=("x", np.zeros(item.sizes["x"]), {"crs_wkt": WKT})),
        lambda item: item.assign_attrs(crs="EPSG:32733"),
        lambda item: item.assign_attrs(crs="+init=epsg:32733"),
        lambda item: item.assign_attrs(crs="epsg:32733"),
        lambda item: item.assign_attrs(crs=WKT),
        lambda item: item.assign_attrs(crs=32733),
        lambda item: item.assign_attrs(crs=rasterio.crs.CRS.from_epsg(32733)),
        lambda item: item.assign_attrs({"proj:epsg": 32733}),
        lambda item: item.assign(B02=item["B02"].assign_attrs({"proj:wkt2": WKT})),
        # What stands in coordinates is left over when an array is reprojected.
        lambda item: item.rio.write_crs("EPSG:32733").assign_coords({"proj:epsg": 32633}),
    ],
)
def test_every_statement_of_a_reference_system_is_read(state):
    item = array(numbers("B02", 240, 180), crs=None).to_dataset(name="B02").expand_dims(time=[0])
    with open_scene(state(item), boa_offset=0) as scene:
        assert scene.grid.crs == "EPSG:32733"


def test_bands_of_coarser_pixels_alone_have_the_cure_that_helps():
    product = xarray.Dataset({band: array(numbers("B05", 240, 180), 20) for band in ("B02", "B05")})
    with pytest.raises(
        GridError, match=r"B02 is used at 10 m.*Load B02 at 10 m.*stackstac"
    ) as caught:
        open_scene(product, boa_offset=0)
    assert "gdalwarp" not in str(caught.value)
    with open_scene(product[["B05"]], boa_offset=0) as scene:
        assert scene.bands == ("B05",)


def test_degrees_are_refused_with_a_cure_for_arrays():
    item = array(numbers("B02", 240, 180), 0.0001, 15, 53, crs="EPSG:4326")
    item = item.rename(x="longitude", y="latitude").to_dataset(name="B02")
    cure = "array.rio.reproject('EPSG:32633', resolution=10)"
    with pytest.raises(GridError) as caught:
        open_scene(item, boa_offset=0)
    assert str(caught.value).endswith(f"or warp it first: {cure}.")
    with open_scene(item.rio.reproject("EPSG:32633", resolution=10), boa_offset=0) as scene:
        assert scene.grid.crs == "EPSG:32633"


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "coordinates",
    [
        {"band": ["B02", "B8A", "SCL"]},
        {"band": ["b2", "B8A_20m", "scl"]},
        {"band": ["blue", "nir08", "scl"]},
        {"band": [1, 2, 3], "common_name": ["blue", "nir08", "scl"]},
        {"band": ["x", "nir08", "scl"], "eo:common_name": ["blue", "", ""]},
        {"title": ["Band 2 - Blue - 10m", "Band 8A - Vegetation red edge 4 - 20m", "SCL"]},
    ],
)
@pytest.mark.parametrize("dimension", ["band", "bands"])
def test_coordinates_along_the_bands_name_them(coordinates, dimension):
    parts = [array(ten_metres(band)) for band in ("B02", "B8A")]
    parts.append(array(scene_classes(240, 180).repeat(2, 0).repeat(2, 1)))
    item = xarray.concat(parts, dimension)
    named = {dimension if key == "band" else key: text for key, text in coordinates.items()}
    item = item.assign_coords({key: (dimension, text) for key, text in named.items()})
    with open_scene(item, boa_offset=0) as scene:
        assert scene.bands == ("B02", "B8A")
        strip = scene.read(["B02", "B8A"], 60, 60)
        assert scene.about["mask"].startswith("scene classification")
    np.testing.assert_array_equal(strip["B02"], numbers("B02", 240, 180)[60:120])
    np.testing.assert_array_equal(strip["B8A"], numbers("B8A", 240, 180)[30:60])


def test_of_several_sizes_of_a_band_by_their_names_its_own_is_taken():
    item = array(ten_metres("B05"))
    with open_scene(
        xarray.Dataset({"B05_60m": item * 0, "B05_20m": item, "B05_10m": item * 0}), boa_offset=0
    ) as scene:
        np.testing.assert_array_equal(
            scene.read(["B05"], 0, 60)["B05"], numbers("B05", 240, 180)[:30]
        )


# Offset -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attrs", "offset"),
    [
        ({"boa_offset": -1000}, -1000),
        ({"boa_offset": 0}, 0),
        ({"s2:processing_baseline": "05.09"}, -1000),
        ({"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"}, 0),
    ],
)
def test_attributes_say_the_offset(dataset, attrs, offset):
    with open_scene(dataset.assign_attrs(attrs)) as scene:
        check(scene, offset)
    with open_scene(dataset.assign_coords(attrs)) as scene:
        assert scene.about["boa_offset"] == f"{offset}"


def test_attributes_of_a_band_say_the_offset():
    scaled = array(numbers("B02", 240, 180), scale_factor=0.0001, add_offset=-0.1)

    with open_scene({"B02": scaled}) as scene:
        assert scene.about["boa_offset"] == "-1000"


def test_an_offset_that_nothing_says_is_not_guessed(dataset):
    with pytest.raises(UnknownOffsetError, match="Nothing in the Dataset says"):
        open_scene(dataset)


def test_attributes_that_contradict_each_other_are_refused(dataset):
    with pytest.raises(OffsetConflictError, match="contradicts itself"):
        open_scene(dataset.assign_attrs({"boa_offset": 0, "s2:processing_baseline": "05.09"}))


def test_reflectances_are_refused_before_the_offset_hides_them():
    reflectance = numbers("B02", 240, 180).astype(np.float32) / 10_000

    with (
        open_scene({"B02": array(reflectance)}, boa_offset=-1000) as scene,
        pytest.raises(PixelValueError, match=r"looks like reflectances of 0\.\.1"),
    ):
        scene.read(["B02"], 0, 60)


# What is refused ----------------------------------------------------------------------------------


def test_bands_by_position_are_refused(dataset):
    stacked = dataset.to_dataarray("band").assign_coords(band=range(1, 13))

    with pytest.raises(MissingBandError, match="never identified by position"):
        open_scene(stacked, boa_offset=0)


def test_a_dataset_without_bands_says_what_it_has(dataset):
    with pytest.raises(MissingBandError, match="it has ndvi"):
        open_scene(dataset[["B02"]].rename({"B02": "ndvi"}), boa_offset=0)


def test_several_times_are_refused_and_one_is_taken(dataset):
    twice = xarray.concat([dataset, dataset], dim="time")

    with pytest.raises(ProductError, match=r"dataset\.isel\(time=0\)"):
        open_scene(twice, boa_offset=0)
    with open_scene(twice.isel(time=[1]), boa_offset=0) as scene:
        check(scene, 0)


def test_plain_arrays_have_no_place_and_are_refused():
    with pytest.raises(ProductError, match="no coordinates"):
        open_scene({"B02": np.ones((60, 60))}, boa_offset=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda item: item.drop_vars("spatial_ref"), "no coordinate reference system"),
        (
            lambda item: item.drop_vars("spatial_ref").assign_attrs(crs="EPSG:326x3"),
            "reference system that cannot be read",
        ),
        (lambda item: item.drop_vars("x"), "fewer than two coordinates along x"),
        (lambda item: item.isel(x=[*range(50), *range(60, 100)]), "not evenly spaced"),
        (lambda item: item.rename(x="column"), "called y and x"),
    ],
)
def test_arrays_that_are_no_north_up_grid_are_refused(change, message):
    with pytest.raises(GridError, match=message):
        open_scene({"B02": change(array(numbers("B02", 240, 180)))}, boa_offset=0)


def test_two_arrays_of_one_band_are_refused():
    blue = array(numbers("B02", 240, 180))

    with pytest.raises(ProductError, match="Two arrays are band B02"):
        open_scene({"B02": blue, "blue": blue}, boa_offset=0)


def test_other_types_are_refused():
    with pytest.raises(ProductError, match=r"must be a path.*not list"):
        open_scene(["B02.tif"])


def test_radar_arrays_are_warped_too(dataset):
    rng = np.random.default_rng(5)
    values = rng.uniform(-25, -5, (180, 240)).astype(np.float32)
    radar = xarray.Dataset({"vv": array(values), "VH": array(values - 7, units="dB")})
    optical = dataset[["B02"]].assign(SCL=array(scene_classes(480, 360)))

    with pytest.raises(ProductError, match="dB or linear"):
        open_scene(optical, boa_offset=0, sentinel1=radar)
    with open_scene(optical, boa_offset=0, sentinel1=radar, sentinel1_unit="db") as scene:
        strip = scene.read(["VV", "VH"], 60, 60)

    np.testing.assert_allclose(strip["VV"], values[60:120], atol=1e-4)
    np.testing.assert_allclose(strip["VH"], values[60:120] - 7, atol=1e-4)


@pytest.mark.parametrize("key", ["scale_factor", "add_offset", "_FillValue", "boa_offset"])
@pytest.mark.parametrize("value", ["x", [1, 2], {}, True, 10**400])
def test_attributes_that_are_no_numbers_are_named(key, value):
    band = array(numbers("B02", 240, 180))
    product = band.to_dataset(name="B02")
    (product if key == "boa_offset" else product["B02"]).attrs[key] = value
    with pytest.raises(ProductError, match=f"attribute {key} of .* no number"):
        open_scene(product, boa_offset=0).read(["B02"], 0, 6)


@pytest.mark.parametrize("value", [np.nan, "a", np.datetime64("2020-01-01")])
def test_coordinates_that_are_no_places_are_named(value):
    band = array(numbers("B02", 240, 180))
    with pytest.raises(GridError, match="not evenly spaced"):
        open_scene({"B02": band.assign_coords(x=[value] * 240)}, boa_offset=0)


def test_a_scale_of_nothing_is_refused():
    product = array(numbers("B02", 240, 180)).to_dataset(name="B02")
    product["B02"].attrs["scale_factor"] = 0.0
    with pytest.raises(ProductError, match="the scale must be positive"):
        open_scene(product, boa_offset=0)
