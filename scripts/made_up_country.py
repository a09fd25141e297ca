"""Makes small products like those of a country: four tiles in two UTM zones, on three days.

    python scripts/made_up_country.py FOLDER [--side PIXELS] [--days N]

Each product is a folder with a GeoTIFF for each band and a scene classification, named like a
product of ESA; numbers have the offset of processing baseline 04.00 (--boa-offset -1000). Tiles
overlap by 600 m, begin at multiples of 60 m, and the zones meet at 12 degrees east. The ground is
one landscape of longitude and latitude, so that all tiles agree on it. Clouds of a day hide other
places, and their shadows lie beside them.
"""

import argparse
from pathlib import Path

import numpy as np
import pyproj
import rasterio

OFFSET = 1000
TILES = {  # name -> (EPSG code, left, top), in metres
    "T32UQU": (32632, 717_600, 5_324_040),
    "T32UQT": (32632, 717_600, 5_318_040),
    "T33UTP": (32633, 275_820, 5_324_040),
    "T33UTN": (32633, 275_820, 5_318_040),
}
DAYS = ("20230607", "20230622", "20230712")
METRES = {
    **dict.fromkeys(("B02", "B03", "B04", "B08"), 10),
    **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 20),
    **dict.fromkeys(("B01", "B09"), 60),
}
GROUND = {  # reflectance x 10000 of B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B11 B12
    "water": (450, 400, 420, 250, 230, 180, 180, 160, 150, 140, 90, 70),
    "forest": (200, 230, 420, 250, 650, 2000, 2500, 2700, 2850, 2800, 1300, 600),
    "field": (450, 550, 850, 800, 1300, 2400, 2900, 3100, 3250, 3200, 2300, 1500),
    "town": (900, 1050, 1250, 1400, 1600, 1750, 1850, 1950, 2050, 2050, 2200, 1950),
}
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
CLOUDS_A_DAY = 5


def main() -> None:
    """Write the products and say where they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=660, help="pixels along a tile; 660 is 6.6 km")
    parser.add_argument("--days", type=int, default=len(DAYS))
    arguments = parser.parse_args()
    for number, day in enumerate(DAYS[: arguments.days]):
        for tile in TILES:
            print(write_product(arguments.folder, tile, day, number, arguments.side))


def write_product(
    folder: Path,
    tile: str,
    day: str,
    number: int,
    side: int = 660,
    bands: tuple[str, ...] = BANDS,
) -> Path:
    """Write one product, and return its folder."""
    epsg, left, top = TILES[tile]
    name = f"S2A_MSIL2A_{day}T101031_N0509_R022_{tile}_{day}T161030"
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    for band in bands:
        metres = METRES[band]
        x, y = positions(epsg, left, top, side * 10 // metres, metres)
        bright, cloud, shadow = sky(x, y, number)
        values = ground(x, y, band) * bright * np.where(shadow, 0.4, 1)
        values = np.where(cloud, 7000 + 300 * np.sin(x / 90), values) + OFFSET
        write(place / f"{band}.tif", values.astype(np.uint16), epsg, left, top, metres)
    x, y = positions(epsg, left, top, side // 2, 20)
    _, cloud, shadow = sky(x, y, number)
    classes = np.where(cloud, 9, np.where(shadow, 3, 4)).astype(np.uint8)
    write(place / "SCL.tif", classes, epsg, left, top, 20)
    return place


def positions(
    epsg: int, left: int, top: int, side: int, metres: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return metres to the east of 12 E and to the north of 48 N, of the middles of pixels."""
    steps = (np.arange(side) + 0.5) * metres
    eastings, northings = np.meshgrid(left + steps, top - steps)
    to_degrees = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
    longitudes, latitudes = to_degrees.transform(eastings, northings)
    return (longitudes - 12) * 74_500, (latitudes - 48) * 111_200


def ground(x: np.ndarray, y: np.ndarray, band: str) -> np.ndarray:
    """Return the reflectance x 10000 of the ground."""
    index = BANDS.index(band)
    hills = np.sin(x / 1900) + np.cos(y / 1300) + 0.7 * np.sin((x + 2 * y) / 2700)
    river = np.abs(x - 900 * np.sin(y / 2100) + 1200) < 260
    town = np.hypot(x - 2600, y - 3000) < 1300
    kind = np.where(hills > 0.4, 1, 2)
    kind = np.where(town, 3, kind)
    kind = np.where(river, 0, kind)
    values = np.array([GROUND[name][index] for name in GROUND], np.float64)[kind]
    fields = 1 + 0.25 * np.sin(np.floor(x / 240) * 1.7 + np.floor(y / 180) * 2.3)
    speckle = 1 + 0.05 * np.sin(x * 12.9898 + y * 78.233)  # the same on all days and tiles
    return values * np.where(kind == 2, fields, 1) * speckle


def sky(x: np.ndarray, y: np.ndarray, number: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the light of a day, where its clouds are, and where their shadows are."""
    random = np.random.default_rng(number)
    places = random.uniform((-6500, -500), (6500, 12500), (CLOUDS_A_DAY, 2))
    sizes = random.uniform(700, 1700, CLOUDS_A_DAY)
    cloud, shadow = np.zeros(x.shape, bool), np.zeros(x.shape, bool)
    for (east, north), size in zip(places, sizes, strict=True):
        cloud |= np.hypot(x - east, y - north) < size
        shadow |= np.hypot(x - east + 500, y - north - 500) < size
    return 1 + 0.04 * number, cloud, shadow & ~cloud


def write(path: Path, values: np.ndarray, epsg: int, left: int, top: int, metres: int) -> None:
    """Write a band."""
    profile = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "compress": "deflate"}
    profile |= {"height": values.shape[0], "width": values.shape[1], "crs": f"EPSG:{epsg}"}
    profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    transform = rasterio.Affine(metres, 0, left, 0, -metres, top)
    with rasterio.open(path, "w", transform=transform, **profile) as file:
        file.write(values, 1)


if __name__ == "__main__":
    main()
