import functools
import http.server
import json
import threading
import zipfile

import numpy as np
import pytest
import xarray
import zarr

from reben.errors import (
    GridError,
    MissingBandError,
    OffsetConflictError,
    ProductError,
    ProductLevelError,
    UnknownOffsetError,
)
from reben.scene.product import open_scene
from scene.made_up_product import BANDS, PIXEL_METRES
from scene.made_up_zarr import NAME, make_zarr, zip_zarr

pytestmark = [
    pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part"),
    pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_zarr(tmp_path_factory.mktemp("zarr"))


def check(scene, made, scale=0.0001, offset=-0.1, bands=BANDS):
    """Hold a scene against xarray's own decoding: reflectance = number * scale + offset."""
    strip = scene.read(bands, 60, 60)
    for band in bands:
        path = f"measurements/reflectance/r{PIXEL_METRES[band]}m"
        with xarray.open_zarr(
            made.path, group=path, mask_and_scale=False, consolidated=False
        ) as group:
            stored = group[band.lower()].values.astype(float)
        first = 600 // PIXEL_METRES[band]
        reflectance = stored[first : 2 * first] * scale + offset
        np.testing.assert_allclose(strip[band], reflectance * 10_000, rtol=1e-6, err_msg=band)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
def test_bands_are_reflectance_times_ten_thousand_and_lie_in_their_place(
    tmp_path, zarr_format, consolidated
):
    made = make_zarr(tmp_path, zarr_format=zarr_format, consolidated=consolidated)
    with open_scene(made.path) as scene:
        check(scene, made)
        assert scene.grid.transform == (10, 0, 300_000, 0, -10, 5_900_040)
        assert scene.grid.crs == "EPSG:32633"
        assert scene.name == NAME
        assert scene.about["boa_offset"] == "-1000"
        assert scene.about["boa_offset_source"] == (
            "eopf:baseline is 05.11; scale_factor is 0.0001 and add_offset is -0.1"
        )
        assert scene.about["processing_baseline"] == "05.11"
        assert scene.about["sensing_time"].startswith("2023-08-21")
        mask = scene.read_mask(0, 180)
        part = scene.read(["B02", "B09"], 0, 180)
    assert (mask[:, -60:] == 2).all()
    assert not mask[:, :-60].any()
    for band, pixels in part.items():
        np.testing.assert_array_equal(pixels, made.stored[band].astype(int) - 1000)


def test_a_rectangle_of_it_is_read(made):
    with open_scene(made.path) as scene:
        part = scene.cut(60, 60, 60, 120).read(["B02", "B11"], 0, 60)
    np.testing.assert_array_equal(
        part["B02"], made.stored["B02"][60:120, 60:180].astype(int) - 1000
    )
    np.testing.assert_array_equal(part["B11"], made.stored["B11"][30:60, 30:90].astype(int) - 1000)


def test_attributes_of_the_framework_alone_state_scale_and_place(tmp_path):
    scale = {"_eopf_attrs": {"scale_factor": 0.0002, "add_offset": -0.1}}
    made = make_zarr(tmp_path, scale=None, offset=None, baseline="", attributes=scale)
    root = zarr.open_group(str(made.path), mode="r+", use_consolidated=False)
    root.attrs["other_metadata"] = {}
    zarr.consolidate_metadata(str(made.path))
    with open_scene(made.path) as scene:
        check(scene, made, 0.0002, -0.1)
        assert scene.grid.crs == "EPSG:32633"


def test_products_that_state_no_offset_are_not_guessed(tmp_path):
    bare = make_zarr(tmp_path / "bare", bands=["B02"], scale=None, offset=None, baseline="")
    with pytest.raises(UnknownOffsetError, match="--boa-offset"):
        open_scene(bare.path)
    with open_scene(bare.path, boa_offset=0) as scene:
        check(scene, bare, 0.0001, 0, ["B02"])
    half = make_zarr(tmp_path / "half", bands=["B02"], offset=None)
    with pytest.raises(OffsetConflictError, match=r"eopf:baseline is 05\.11.*scale_factor is"):
        open_scene(half.path)
    by_baseline = make_zarr(tmp_path / "baseline", bands=["B02"], scale=None, offset=None)
    with open_scene(by_baseline.path) as scene:
        check(scene, by_baseline, bands=["B02"])


def test_chunks_are_decoded_once_when_strips_go_down(tmp_path, monkeypatch):
    made = make_zarr(tmp_path, bands=("B02",), height=1200, chunks=(600, 240), cloudy_columns=0)
    reads = []
    with open_scene(made.path) as scene:
        source = scene._found.sources["B02"]
        monkeypatch.setattr(
            source._blocks, "_read",
            lambda block, columns: reads.append(block) or source._read_block(block, columns),
        )  # fmt: skip
        for top in range(0, 1200, 120):
            scene.read(["B02"], top, 120)
    assert reads == [0, 1]


@pytest.mark.parametrize("inside", [True, False])
def test_a_zip_is_read_in_place(tmp_path, made, inside):
    path = zip_zarr(made, tmp_path / f"{NAME}.zarr.zip", inside)
    with open_scene(path) as scene:
        check(scene, made)
        assert scene.name == NAME


def test_the_only_product_in_a_folder_is_opened(made):
    with open_scene(made.path.parent) as scene:
        check(scene, made)


@pytest.fixture
def address(made):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=made.path.parent)
    handler.func.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_product_on_the_web_is_read(made, address):
    with open_scene(f"{address}/{made.path.name}") as scene:
        check(scene, made)
        assert (scene.read_mask(0, 60)[:, -60:] == 2).all()
    with pytest.raises(ProductError, match=r"nothing\.zarr cannot be opened") as caught:
        open_scene(f"{address}/nothing.zarr?sig=secret")
    assert "secret" not in str(caught.value)


def test_an_item_whose_assets_lie_in_a_store_opens_it(made, address):
    store = f"{address}/{made.path.name}"
    hrefs = {
        "product": store,
        "SR_10m": f"{store}/measurements/reflectance/r10m",
        "B02_10m": f"{store}/measurements/reflectance/r10m/b02",
    }
    item = {
        "type": "Feature", "id": NAME, "links": [], "geometry": None,
        "properties": {"platform": "sentinel-2a"},
        "assets": {key: {"href": href} for key, href in hrefs.items()},
    }  # fmt: skip
    with open_scene(item) as scene:
        check(scene, made)
        assert scene.about["source"] == "EOPF Zarr"


# What is refused ----------------------------------------------------------------------------------


def test_level_1c_is_refused(tmp_path):
    with pytest.raises(ProductLevelError, match="level-1C"):
        open_scene(make_zarr(tmp_path, level="L1C", bands=("B02",)).path)


def test_other_satellites_and_other_stores_are_refused(tmp_path):
    made = make_zarr(tmp_path, bands=("B02",), platform="sentinel-3a", constellation="sentinel-3")
    with pytest.raises(ProductError, match="another satellite"):
        open_scene(made.path)
    zarr.open_group(str(tmp_path / "other.zarr"), mode="w")
    with pytest.raises(MissingBandError, match=r"r10m/b02.*xarray"):
        open_scene(tmp_path / "other.zarr")


def test_missing_bands_are_named(tmp_path):
    with (
        open_scene(make_zarr(tmp_path, bands=("B02", "B05")).path) as scene,
        pytest.raises(MissingBandError, match=r"lacks B8A; it has B02, B05\. B8A should be at"),
    ):
        scene.read(["B8A"], 0, 60)


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def test_a_codec_that_runs_what_it_finds_is_not_run(tmp_path):
    import pickle

    made = make_zarr(tmp_path, bands=("B02",), consolidated=False)
    for name in ("x", "b02"):
        array = made.path / "measurements/reflectance/r10m" / name
        told = json.loads((array / ".zarray").read_text())
        told |= {"filters": [{"id": "pickle"}], "compressor": None}
        (array / ".zarray").write_text(json.dumps(told))
        for chunk in array.glob("[0-9]*"):
            chunk.write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(ProductError, match="pickle"):
            open_scene(made.path)
        # Then the band itself, with coordinates that are right.
        make_zarr(tmp_path, bands=("B02",), consolidated=False)


def change(path, **values):
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shape": [10**9, 10**9], "chunks": [1, 1]}, "claims 1000000000 x 1000000000 pixels"),
        ({"chunks": [180, 10**9]}, "has chunks of"),
        ({"dtype": "|b1", "fill_value": False}, "no array of numbers"),
        ({"shape": [180, 240, 2], "chunks": [9, 9, 1]}, "no array of numbers with 2 axes"),
        ({"shape": [180, 200]}, "200 pixels along x, not 240"),
        ({"shape": "x"}, "cannot be read"),
        (
            {"filters": [{"id": "fixedscaleoffset", "offset": 9, "scale": 1, "dtype": "<u2"}]},
            "is stored with fixedscaleoffset",
        ),
        ({"zarr_format": 9}, "cannot be"),
    ],
)
def test_arrays_that_cannot_be_are_named(tmp_path, values, message):
    made = make_zarr(tmp_path, bands=("B02",), consolidated=False)
    change(made.path / "measurements/reflectance/r10m/b02/.zarray", **values)
    with pytest.raises((ProductError, GridError), match=message):
        open_scene(made.path).read(["B02"], 0, 60)


def test_rows_from_south_to_north_are_refused(tmp_path):
    made = make_zarr(tmp_path, bands=("B02",), consolidated=False)
    root = zarr.open_group(str(made.path), mode="r+")
    y = root["measurements/reflectance/r10m/y"]
    y[:] = y[:][::-1]
    with pytest.raises(GridError, match="not north-up"):
        open_scene(made.path)


def test_a_damaged_chunk_is_named(tmp_path):
    made = make_zarr(tmp_path, bands=("B02",))
    (made.path / "measurements/reflectance/r10m/b02/0.0").write_bytes(b"damaged")
    with (
        open_scene(made.path, trust_offset=True) as scene,
        pytest.raises(ProductError, match=r"chunk .*r10m/b02/0\.0 is damaged"),
    ):
        scene.read(["B02"], 0, 60)


def test_zips_that_hold_no_store_or_claim_too_much_are_refused(tmp_path):
    empty, huge, damaged = (tmp_path / f"{name}.zarr.zip" for name in ("empty", "huge", "damaged"))
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("readme.txt", "x")
    with zipfile.ZipFile(huge, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(".zgroup", '{"zarr_format": 2}')
        archive.writestr(".zattrs", bytes(40 * 2**20))
    damaged.write_bytes(b"PK\x03\x04")
    messages = {empty: "without a Zarr store", huge: "bytes in .zattrs", damaged: "cannot be"}
    for path, message in messages.items():
        with pytest.raises(ProductError, match=message):
            open_scene(path)
