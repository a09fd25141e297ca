"""Damaged metadata of products give what they state, or an error that names the file and a cure."""

import json
import zipfile

import pytest

from fuzzing import NUM_CASES, ODD, damage, distort, randoms, try_cases
from reben.errors import ProductError
from reben.scene.band_source import Placement
from reben.scene.readers.safe import BAND_IDS, Safe
from reben.scene.readers.safe_files import METADATA_FILE, SafeFiles
from reben.scene.readers.stac import open_item, read_stac
from reben.scene.search import only_item
from scene.made_up_product import BANDS, product_metadata

LISTED = [f"GRANULE/L2A_T/IMG_DATA/R10m/T_{band}_10m" for band in ("B02", "B03", "B04", "B08")]
METADATA = product_metadata("S2A_X", "05.09", "2A", LISTED, 10_000, dict.fromkeys(BANDS, -1000))
ITEM = {
    "type": "Feature",
    "id": "S2A_X",
    "collection": "sentinel-2-l2a",
    "properties": {
        "platform": "sentinel-2a",
        "s2:processing_baseline": "05.09",
        "s2:product_type": "S2MSI2A",
        "processing:level": "L2A",
        "earthsearch:boa_offset_applied": False,
        "datetime": "2023-08-21T10:10:31Z",
    },
    "links": [{"rel": "self", "href": "https://some.host/item.json"}],
    "assets": {
        "blue": {
            "href": "https://some.host/B02.tif",
            "type": "image/tiff",
            "gsd": 10,
            "eo:bands": [{"name": "B02", "common_name": "blue"}],
            "raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}],
        },
        "B04_10m": {
            "href": "https://some.host/B04.jp2",
            "bands": [{"name": "B04", "eo:common_name": "red"}],
        },
        "scl": {"href": "s3://some/SCL.tif"},
    },
}


class Source:
    """A band of an item, which is not opened."""

    statements = ()
    placement = Placement("EPSG:32633", (10, 0, 0, 0, -10, 0), 120, 120)

    def __init__(self, path, name):
        self.name = name

    def close(self):
        pass


@pytest.fixture
def unopened(monkeypatch):
    monkeypatch.setattr("reben.scene.readers.stac.BandFile", Source)


def read_metadata(content):
    safe = Safe.parse(content, "MTD_MSIL2A.xml")
    for band in BAND_IDS:
        if band != "B10":
            safe.scaling_of(band, None)
            safe.image_of(band)


def test_product_metadata():
    cases = (damage(METADATA.encode(), random) for random in randoms())
    assert try_cases(read_metadata, cases)


def test_numbers_of_product_metadata():
    def cases():
        for random in randoms(NUM_CASES):
            old = str(random.choice([">10000<", ">-1000<", '"3"', ">05.09<", "UTF-8", LISTED[1]]))
            new = str(ODD[random.integers(len(ODD))]).replace("<", "")
            yield METADATA.replace(old, old[0] + new + old[-1]).encode("utf-8", "replace")

    try_cases(read_metadata, cases())


def test_items(unopened):
    def read(item):
        read_stac(open_item(item))

    cases = (distort(ITEM, random) for random in randoms())
    assert try_cases(read, (case for case in cases if isinstance(case, dict)))


def test_items_as_text(unopened, tmp_path):
    path = tmp_path / "item.json"

    def read(content):
        path.write_bytes(content)
        read_stac(open_item(only_item(path)))

    cases = (damage(json.dumps(ITEM).encode(), random) for random in randoms(NUM_CASES))
    assert try_cases(read, cases)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zips(tmp_path, method):
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr(f"S2A_X.SAFE/{METADATA_FILE}", METADATA)
        for name in LISTED:
            file.writestr(f"S2A_X.SAFE/{name}.jp2", b"x" * 100)
    whole = path.read_bytes()

    def read(content):
        path.write_bytes(content)
        files = SafeFiles.open(path)
        read_metadata(files.read(METADATA_FILE))
        for name in LISTED:
            if files.has(f"{name}.jp2"):
                files.raster_path(f"{name}.jp2")

    assert try_cases(read, (damage(whole, random) for random in randoms(NUM_CASES)))
    with pytest.raises(ProductError, match=r"p\.zip cannot be read as a zip file"):
        read(b"")
