import struct

import numpy as np
import pytest
import rasterio

from fuzzing import NUMBERS, damage, randoms, try_cases
from reben.data.tiff.places import read_bounds, read_header
from reben.data.tiff.read import parse_tiff
from reben.data.tiff.write import GeoTransform, encode_geotiff

PLACE = GeoTransform(300_000, 5_400_000, 10, 32633)
PIXELS = np.arange(40 * 30, dtype=np.uint16).reshape(40, 30)
KINDS = {
    "plain": None,
    "deflate": {"compress": "deflate"},
    "tiled": {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "lzw"},
    "big": {"BIGTIFF": "YES", "ENDIANNESS": "BIG", "compress": "zstd"},
    "packbits": {"compress": "packbits", "blockysize": 1},
}


def written(options):
    if options is None:
        return encode_geotiff(PIXELS, PLACE)
    profile = {
        "driver": "GTiff", "width": 30, "height": 40, "count": 1, "dtype": "uint16",
        "crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 300_000, 0, -10, 5_400_000),
    }  # fmt: skip
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile, **options) as image:
            image.write(PIXELS, 1)
        return bytes(memory.getbuffer())


def with_odd_tags(content, random):
    """Change type, count or value of some entries of the directory, or repeat an entry."""
    content = bytearray(content)
    big = content[2:3] == b"+" or content[3:4] == b"+"
    order = "<" if content[:2] == b"II" else ">"
    head, entry = (struct.unpack_from(f"{order}Q", content, 8), 20) if big else (
        struct.unpack_from(f"{order}I", content, 4), 12
    )  # fmt: skip
    start = head[0] + (8 if big else 2)
    (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", content, head[0])
    word = "Q" if big else "I"
    for _ in range(random.integers(1, 4)):
        at = start + entry * int(random.integers(count))
        number = NUMBERS[random.integers(len(NUMBERS))]
        match int(random.integers(0, 5)):
            case 0:
                struct.pack_into(f"{order}H", content, at + 2, int(random.integers(0, 20)))
            case 1:
                size = struct.calcsize(word)
                struct.pack_into(f"{order}{word}", content, at + 4, number % (1 << 8 * size))
            case 2:
                other = start + entry * int(random.integers(count))
                content[at : at + 2] = content[other : other + 2]
            case _:
                size = struct.calcsize(word)
                place = at + entry - size
                struct.pack_into(f"{order}{word}", content, place, number % (1 << 8 * size))
    return bytes(content)


def cases(kind):
    content = written(KINDS[kind])
    for random in randoms():
        case = with_odd_tags(content, random) if random.random() < 0.6 else content
        yield damage(case, random) if random.random() < 0.5 or case == content else case


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_come_or_an_error(kind):
    def read(content):
        pixels = parse_tiff(content, "B02.tif")
        assert pixels.ndim == 2
        assert pixels.nbytes <= 1 << 24

    assert try_cases(read, cases(kind))


@pytest.mark.parametrize("kind", ["plain", "big"])
def test_headers_come_or_an_error(kind):
    assert try_cases(lambda content: read_header(content, "B02.tif"), cases(kind))


@pytest.mark.parametrize("kind", ["plain", "big"])
def test_places_come_or_an_error(kind, tmp_path):
    path = tmp_path / "B02.tif"

    def read(content):
        path.write_bytes(content)
        read_bounds(path)

    assert try_cases(read, cases(kind))
