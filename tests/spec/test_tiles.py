"""Corners of tiles against real products, the projection itself, and real neighbouring patches."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reben.data.loader import open_dataset
from reben.data.synthetic.sites import TILES
from reben.errors import PatchNameError
from reben.spec.patches import Sentinel2Patch, tile_corner

# ULX, ULY and EPSG code of real products, as their MTD_TL.xml has them.
REAL = {
    "01KAB": (32701, 99_960, 8_200_000),
    "33XWJ": (32633, 499_980, 8_900_040),
    "01CCV": (32701, 300_000, 2_000_020),
}


@pytest.mark.parametrize("tile", REAL)
def test_corners_are_those_of_real_products(tile):
    assert tile_corner(tile) == REAL[tile]


def test_corners_are_those_that_metadata_of_real_products_say():
    folder = os.environ.get("REBEN_TEST_DATA")
    if not folder:
        pytest.skip("REBEN_TEST_DATA names no folder with scene-metadata")
    files = sorted(Path(folder).glob("scene-metadata/*/GRANULE/*/MTD_TL.xml"))
    assert files
    for file in files:
        text = file.read_text(encoding="utf-8")
        said = [int(re.search(pattern, text)[1]) for pattern in (r"EPSG:(\d+)", r"<ULX>(-?\d+)")]
        said.append(int(re.search(r"<ULY>(-?\d+)", text)[1]))
        tile = re.search(r"_T(\w{5})_", file.parents[2].name)[1]
        assert tile_corner(tile) == tuple(said)


# As they stood, worked out by hand, in the synthetic data sets before the grid was computed.
KNOWN = {
    "33UWP": (32633, 499_980, 5_400_000),
    "29SND": (32629, 499_980, 4_400_040),
    "34VEN": (32634, 499_980, 6_800_040),
    "29UPU": (32629, 600_000, 5_900_040),
    "34TDQ": (32634, 399_960, 5_000_040),
    "31UES": (32631, 499_980, 5_700_000),
    "32TMT": (32632, 399_960, 5_300_040),
    "34UEG": (32634, 499_980, 6_200_040),
    "34TEN": (32634, 499_980, 4_800_000),
    "31UGR": (32631, 699_960, 5_600_040),
    "33UUP": (32633, 300_000, 5_400_000),
    "29SPC": (32629, 600_000, 4_300_020),
}


def test_the_tiles_of_synthetic_data_sets_lie_where_they_always_did():
    assert {tile.name: tile_corner(tile.name) for tile in TILES} == KNOWN


# A band of latitude has 8 degrees, X has 12.
BANDS = "CDEFGHJKLMNPQRSTUVWX"


@given(zone=st.integers(1, 60), latitude=st.floats(-79.9, 83.9), offset=st.floats(-2.9, 2.9))
def test_the_projection_puts_a_point_into_the_square_of_its_name(zone, latitude, offset):
    pyproj = pytest.importorskip("pyproj")
    assume(abs(latitude) > 0.01)
    code = (32600 if latitude > 0 else 32700) + zone
    project = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{code}", always_xy=True)
    x, y = project.transform(6 * zone - 183 + offset, latitude)
    band = BANDS[min(int((latitude + 80) // 8), 19)]
    column = "ABCDEFGHJKLMNPQRSTUVWXYZ"[8 * ((zone - 1) % 3) + int(x // 100_000) - 1]
    row = "ABCDEFGHJKLMNPQRSTUV"[(int(y // 100_000) + (5 if zone % 2 == 0 else 0)) % 20]
    epsg, left, top = tile_corner(f"{zone:02d}{band}{column}{row}")
    assert epsg == code
    assert left <= x < left + 100_060
    assert top - 100_060 < y <= top


def test_bounds_count_columns_to_the_east_and_rows_to_the_south():
    name = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{}"
    first, other = (Sentinel2Patch.parse(name.format(place)).bounds for place in ("00_00", "03_90"))
    assert first == (32633, 300_000, 5_398_800, 301_200, 5_400_000)
    assert other == (32633, 303_600, 5_290_800, 304_800, 5_292_000)


def test_real_neighbours_go_on_where_bounds_say_that_they_meet(real_store):
    data = open_dataset(real_store, "B04", snow=None, cloud=None)
    patches = {Sentinel2Patch.parse(name).bounds: name for name in data.table.patch_ids}
    meetings = []
    for bounds, name in patches.items():
        for shift, edge in (((1200, 0), "east"), ((0, -1200), "south")):
            moved = bounds._replace(
                left=bounds.left + shift[0],
                right=bounds.right + shift[0],
                bottom=bounds.bottom + shift[1],
                top=bounds.top + shift[1],
            )
            if moved in patches:
                here = data.patch(name)["B04"].astype(float)
                there = data.patch(patches[moved])["B04"].astype(float)
                steps = {
                    "east": np.abs(here[:, -1] - there[:, 0]).mean(),
                    "west": np.abs(here[:, 0] - there[:, -1]).mean(),
                    "south": np.abs(here[-1] - there[0]).mean(),
                    "north": np.abs(here[0] - there[-1]).mean(),
                }
                meetings.append(min(steps, key=steps.get) == edge)
    assert len(meetings) > 15
    # One edge of the sample happens to run along the border of a field.
    assert sum(meetings) >= len(meetings) - 1


@pytest.mark.parametrize(
    "tile", ["33UUW", "33UIP", "61UUP", "00UUP", "33OUP", "33UAP", "33uup", ""]
)
def test_what_is_no_tile_is_refused_with_an_example(tile):
    with pytest.raises(PatchNameError, match=repr(tile)):
        tile_corner(tile)
