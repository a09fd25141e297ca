"""TIFFs that claim more than they hold, or hold what no band is: an error, in little memory."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio

from reben.data.tiff.places import read_bounds, read_header
from reben.data.tiff.read import parse_tiff, read_tiff
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.errors import TiffError

CASES = Path(os.environ.get("REBEN_TEST_DATA") or "/nowhere") / "cases" / "hostile"
SHORT, LONG, ASCII = 3, 4, 2


def tiff(tags, content=b""):
    """A little-endian TIFF of some tags, (tag, kind, values); %-offsets point behind them."""
    end = 8 + 2 + 12 * len(tags) + 4
    directory, far = [struct.pack("<2sHIH", b"II", 42, 8, len(tags))], b""
    for tag, kind, values in tags:
        packed = struct.pack(f"<{len(values)}{'HI'[kind - 3] if kind > 2 else 'B'}", *values)
        place = packed.ljust(4, b"\0")
        if len(packed) > 4:
            place = struct.pack("<I", end + len(content) + len(far))
            far += packed
        directory.append(struct.pack("<HHI", tag, kind, len(values)) + place)
    return b"".join([*directory, bytes(4), content, far])


def image(width, height, *more, strips=(1,), rows=None, compression=1, content=b"", changes=()):
    start = 8 + 2 + 12 * (10 + len(more)) + 4
    tags = {
        256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, [16]),
        259: (SHORT, [compression]),
        262: (SHORT, [1]), 273: (LONG, [start] * len(strips)), 277: (SHORT, [1]),
        278: (LONG, [rows or height]), 279: (LONG, strips), 339: (SHORT, [1]), **dict(changes),
    }  # fmt: skip
    entries = [(tag, kind, values) for tag, (kind, values) in sorted(tags.items())]
    return tiff(sorted([*entries, *more], key=lambda entry: entry[0]), content)


BOMB = zlib.compress(bytes(64 << 20), 9)
HOSTILE = {
    "more pixels than any patch": image(2**32 - 1, 2**32 - 1),
    "a whole scene": image(10_980, 10_980),
    "65,536 strips at one place": image(
        120, 65_536 * 273, strips=[120 * 273 * 2] * 65_536, rows=273, content=bytes(120 * 273 * 2)
    ),
    "a bomb": image(10_000, 10_000, strips=[len(BOMB)], compression=8, content=BOMB),
    "its width twice": image(
        120, 120, (256, LONG, [60_000]), strips=[28_800], content=bytes(28_800)
    ),
    "its width as text": image(120, 120, changes={256: (ASCII, [120])}.items(), content=bytes(99)),
    "a giant tile": image(
        100, 100, (322, LONG, [65_536]), (323, LONG, [65_536]), (324, LONG, [200]),
        (325, LONG, [5000]), compression=5, content=bytes(9999),
    ),
    "a list of strips beyond the file": image(120, 120, changes={273: (LONG, [9] * 99)}.items()),
}  # fmt: skip


pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.mark.parametrize("kind", HOSTILE)
def test_it_is_refused_by_name(kind, tmp_path):
    with pytest.raises(TiffError, match=r"^B02\.tif "):
        parse_tiff(HOSTILE[kind], "B02.tif")


def test_a_strip_that_holds_more_than_the_image_is_read_as_far_as_the_image_goes():
    content = image(120, 120, strips=[len(BOMB)], compression=8, content=BOMB)
    assert parse_tiff(content, "B02.tif").shape == (120, 120)


def test_pixels_are_bounded_whoever_decodes_them():
    with rasterio.MemoryFile() as memory:
        profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "compress": "zstd"}
        with memory.open(width=9000, height=9000, sparse_ok=True, tiled=True, **profile):
            pass
        sparse = bytes(memory.getbuffer())
    with pytest.raises(TiffError, match="9000 x 9000 pixels of uint16, which are 154 MiB"):
        parse_tiff(sparse, "B02.tif")


@pytest.mark.parametrize("dtype", ["complex_int16", "complex64", "complex128"])
def test_complex_numbers_are_no_band(dtype):
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", count=1, width=9, height=9, dtype=dtype):
            pass
        content = bytes(memory.getbuffer())
    with pytest.raises(TiffError, match=f"pixels of {dtype}, which is no kind of number"):
        parse_tiff(content, "B02.tif")


def test_of_two_widths_none_is_believed():
    with pytest.raises(TiffError, match="its tag 256 twice"):
        read_header(HOSTILE["its width twice"], "B02.tif")
    with pytest.raises(TiffError, match="no whole number"):
        read_header(HOSTILE["its width as text"], "B02.tif")


def test_a_place_is_finite_or_unknown(tmp_path):
    path = tmp_path / "x.tif"
    pixels = np.zeros((20, 20), np.uint16)
    for metres in (float("nan"), float("inf"), 1e308):
        path.write_bytes(encode_geotiff(pixels, GeoTransform(300_000, 5_400_000, metres, 32633)))
        found = read_bounds(path)
        assert found is None or (np.isfinite(found).all() and found.right > found.left)


def test_pipes_and_devices_are_no_bands(tmp_path):
    os.mkfifo(tmp_path / "x_B02.tif")
    for read in (read_tiff, read_bounds):
        with pytest.raises(TiffError, match=r"x_B02\.tif: it is a pipe"):
            read(tmp_path / "x_B02.tif")
        with pytest.raises(TiffError, match="/dev/zero: it is a device"):
            read("/dev/zero")


READ_ALL = """
import resource, sys
from pathlib import Path
from reben.data.tiff.read import read_tiff
from reben.data.tiff.places import read_bounds, read_header
import rasterio, rasterio.crs
from reben.errors import TiffError

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

before = peak()
for path in sorted(Path(sys.argv[1]).glob("*.tif")):
    for read in (read_tiff, read_bounds, lambda path: read_header(path.read_bytes(), str(path))):
        try:
            read(path)
        except TiffError as error:
            assert path.name in str(error), error
        else:
            assert read is not read_tiff, f"{path} was read"
        assert peak() < before + 200, f"{path.name} takes {peak() - before} MiB"
"""


def test_none_of_them_takes_much_memory(tmp_path):
    for number, content in enumerate(HOSTILE.values()):
        (tmp_path / f"{number}.tif").write_bytes(content)
    subprocess.run([sys.executable, "-c", READ_ALL, tmp_path], check=True, timeout=60)


def test_no_known_case_takes_much_memory():
    if not CASES.is_dir():
        pytest.skip("no cases")
    subprocess.run([sys.executable, "-c", READ_ALL, CASES], check=True, timeout=60)
