"""Synthetic images: what Sentinel-2 and Sentinel-1 measure of a landscape on one date.

The mixture of materials varies between regions, fields and places. Season, sun, haze, wind and
soil moisture depend on the date, speckle and noise on the patch. Bands of 20 m and 60 m are means
of the 10 m field.
"""

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reben.data.synthetic.ground import Biome, Ground, Hills
from reben.data.synthetic.surfaces import CLOUD, LOOKS, MATERIALS, SNOW
from reben.spec.bands import S2_FULL, native_size
from reben.spec.patches import PATCH_PIXELS

Weather = Literal["clear", "snow", "cloud"]

_NAMES = tuple(MATERIALS)
_TREES = [_NAMES.index(name) for name in ("needles", "broad leaves")]
_WATERS = [_NAMES.index(name) for name in ("clear water", "murky water")]
_FIELD_PIXELS = (19, 8)
"""Length and width of a field."""
_NUM_FIELDS = 1024
_TEXTURES: tuple[dict[float, float], ...] = ({2.2: 1}, {3: 0.6, 7: 0.8}, {5: 1})
_SHADOW = (9, -13)
"""From a shadow to its cloud, in pixels: the sun is in the south-east."""
_LOOKS_OF_SPECKLE = 5
_ABSENT = -30.0
_ZERO = np.zeros((), np.float32)
_HAZE = np.array([1.3, 1, 0.75, 0.55, 0.4, 0.25, 0.2, 0.15, 0.12, 0.1, 0.03, 0.02], np.float32)

_POSITIONS = np.full(1000, -1, np.int64)
_POSITIONS[list(LOOKS)] = np.arange(len(LOOKS))
_SHARES = np.full((len(LOOKS), len(_NAMES)), _ABSENT, np.float32)
for _position, _look in enumerate(LOOKS.values()):
    for _name, _share in _look.materials.items():
        _SHARES[_position, _NAMES.index(_name)] = math.log(_share)
_FIELD_SPREAD, _REGION_SPREAD, _TEXTURE, _VV_DB, _VH_DB = (
    np.array([getattr(look, name) for look in LOOKS.values()], np.float32)
    for name in ("fields", "regions", "texture", "vv_db", "vh_db")
)
_TEXTURE_OF_MATERIAL = np.zeros((3, len(_NAMES)), np.float32)
for _position in range(len(_NAMES)):
    _TEXTURE_OF_MATERIAL[_position % 3, _position] = 1 if _position % 2 else -1
_IS_WATER = np.array([code >= 511 for code in LOOKS])


class SyntheticImages:
    """The images of one tile on one date in a month (1 to 12); the biome tells when it is green."""

    def __init__(
        self, random: np.random.Generator, num_regions: int, month: int, biome: Biome
    ) -> None:
        count = len(_NAMES)
        self._materials = _materials_in(month, biome)
        self._crop_shift = 1.4 * (_greenness(month) - 0.5) - (1.0 if 8 <= month <= 10 else 0)
        self._sun = np.float32((0.86 + 0.14 * _greenness(month)) * math.exp(random.normal(0, 0.05)))
        self._haze = np.float32(abs(random.normal(0, 50))) * _HAZE
        self._wind_db, self._moisture_db = random.normal(0, 1.2), random.normal(0, 0.5)
        # Two more columns than materials: how VV and VH differ.
        self._of_regions = random.standard_normal((num_regions, count + 2), np.float32)
        self._of_fields = random.standard_normal((_NUM_FIELDS, count + 2), np.float32)
        self._texture = [Hills(random, octaves) for octaves in _TEXTURES]
        self._veil = Hills(random, {70: 0.8, 22: 0.5, 7: 0.25})

    def measure(
        self,
        ground: Ground,
        column: int,
        row: int,
        random: np.random.Generator,
        weather: Weather = "clear",
    ) -> dict[str, NDArray[Any]]:
        """Return all bands of the patch at ``column``, ``row`` of the tile, at native size.

        Sentinel-2 is uint16 [h, w], VV and VH float32 in dB. ``random`` gives noise and speckle.
        """
        rows = (row * PATCH_PIXELS + np.arange(PATCH_PIXELS)).astype(np.float32)
        columns = (column * PATCH_PIXELS + np.arange(PATCH_PIXELS)).astype(np.float32)
        looks = _POSITIONS[ground.codes]
        # take() is several times faster than an index in brackets.
        regions = self._of_regions.take(ground.regions, axis=0)
        fields = self._of_fields.take(_fields(ground.regions, rows, columns), axis=0)
        texture = np.stack([hills.at(rows, columns) for hills in self._texture], axis=-1)
        shares = self._shares(looks, regions, fields, texture)
        optical = self._optical(shares, ground.slope, texture[..., 1])
        if weather == "snow":
            _cover_with_snow(optical, shares, self._veil.at(rows, columns))
        elif weather == "cloud":
            shade = self._veil.at(rows + _SHADOW[0], columns + _SHADOW[1])
            _cover_with_clouds(optical, self._veil.at(rows, columns), shade)
        bands = {
            name: _sample(field, native_size(name), random)
            for name, field in zip(S2_FULL, np.moveaxis(optical, -1, 0).copy(), strict=True)
        }
        radar = self._radar(looks, regions, fields)
        common = 0.7 * _TEXTURE.take(looks) * texture[..., 0] + 1.5 * ground.slope
        for name, mean_db in radar.items():
            speckle = random.standard_gamma(_LOOKS_OF_SPECKLE, looks.shape, np.float32)
            np.maximum(speckle / np.float32(_LOOKS_OF_SPECKLE), 0.01, out=speckle)
            bands[name] = (mean_db + common + 10 * np.log10(speckle)).astype(np.float32)
        return bands

    def _radar(
        self,
        looks: NDArray[np.int64],
        regions: NDArray[np.float32],
        fields: NDArray[np.float32],
    ) -> dict[str, NDArray[np.float32]]:
        """Return mean backscatter in dB, [H, W] for each polarisation."""
        by_region, by_field = 0.9 * _REGION_SPREAD.take(looks), 0.6 * _FIELD_SPREAD.take(looks)
        first, second = (by_region * regions[..., i] + by_field * fields[..., i] for i in (-2, -1))
        shift = np.where(_IS_WATER, self._wind_db, self._moisture_db).astype(np.float32)
        # VH follows VV in part.
        return {
            "VV": (_VV_DB + shift).take(looks) + first,
            "VH": (_VH_DB + shift).take(looks) + 0.7 * first + 0.6 * second,
        }

    def _shares(
        self,
        looks: NDArray[np.int64],
        regions: NDArray[np.float32],
        fields: NDArray[np.float32],
        texture: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return the share of each material in each pixel, [H, W, materials]."""
        count = len(_NAMES)
        shares = _SHARES.take(looks, axis=0)
        shares += _REGION_SPREAD.take(looks)[..., None] * regions[..., :count]
        shares += _FIELD_SPREAD.take(looks)[..., None] * fields[..., :count]
        shares += (_TEXTURE.take(looks)[..., None] * texture) @ _TEXTURE_OF_MATERIAL
        shares[..., _NAMES.index("crop")] += self._crop_shift
        np.exp(shares, out=shares)
        shares /= (shares @ np.ones(count, np.float32))[..., None]
        return shares

    def _optical(
        self,
        shares: NDArray[np.float32],
        slope: NDArray[np.float32],
        texture: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return digital numbers of all Sentinel-2 bands at 10 m, [H, W, 12]."""
        light = self._sun * (1 + np.clip(0.3 * slope, -0.4, 0.3) + 0.04 * texture)
        optical: NDArray[np.float32] = shares @ self._materials
        optical *= light[..., None]
        optical += self._haze
        return optical


def _greenness(month: int) -> float:
    """Return 0 in mid-winter to 1 in mid-summer."""
    return 0.5 + 0.5 * math.cos(2 * math.pi * (month - 6.5) / 12)


def _materials_in(month: int, biome: Biome) -> NDArray[np.float32]:
    """Return the spectra of the materials in a month, [materials, 12]."""
    spectra = {name: np.array(values, np.float32) for name, values in MATERIALS.items()}
    leafy = min(1.0, max(0.3, (_greenness(month) + 0.05) / 0.6))
    lush = 0.6 + 0.4 * _greenness(month)
    if biome == "mediterranean":
        leafy, lush = max(leafy, 0.7), 0.5 + 0.5 * math.cos(2 * math.pi * (month - 3) / 12)
    leaves, bare = spectra["broad leaves"], spectra["bare branches"]
    spectra["broad leaves"] = leafy * leaves + (1 - leafy) * bare
    spectra["grass"] = lush * spectra["grass"] + (1 - lush) * spectra["dry grass"]
    return np.stack(list(spectra.values()))


def _fields(
    regions: NDArray[np.int64], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return the number of the field of each pixel; each region turns its fields."""
    angle = np.float32(2.4) * (regions % 977).astype(np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    length, width = _FIELD_PIXELS
    along = np.floor((columns * cos + rows[:, None] * sin) / length).astype(np.int64)
    across = np.floor((rows[:, None] * cos - columns * sin) / width).astype(np.int64)
    mixed = along * 73_856_093 ^ across * 19_349_663 ^ regions * 83_492_791
    numbers: NDArray[np.int64] = (mixed ^ mixed >> 13) % _NUM_FIELDS
    return numbers


def _cover_with_snow(
    optical: NDArray[np.float32], shares: NDArray[np.float32], veil: NDArray[np.float32]
) -> None:
    cover = np.clip(0.85 + 0.3 * veil, 0, 1)
    cover *= 1 - 0.55 * shares[..., _TREES].sum(axis=-1)
    cover *= 1 - shares[..., _WATERS].sum(axis=-1)
    _blend(optical, np.array(SNOW, np.float32), cover)


def _cover_with_clouds(
    optical: NDArray[np.float32], veil: NDArray[np.float32], shade: NDArray[np.float32]
) -> None:
    # Clouds continue from patch to patch, unless a patch would have next to none.
    least = min(0.1, float(np.quantile(veil, 0.85)))
    optical[shade > least + 0.1] *= np.float32(0.55)
    _blend(optical, np.array(CLOUD, np.float32), np.clip(1.6 * (veil - least), 0, 0.95))


def _blend(
    optical: NDArray[np.float32], colour: NDArray[np.float32], cover: NDArray[np.float32]
) -> None:
    optical += cover[..., None] * (colour - optical)


def _sample(
    field: NDArray[np.float32], side: int, random: np.random.Generator
) -> NDArray[np.uint16]:
    """Return the means over the pixels of a band, with the sensor's noise."""
    step = PATCH_PIXELS // side
    # Adding slices is much faster than averaging short axes.
    means = sum((field[i::step, j::step] for i in range(step) for j in range(step)), start=_ZERO)
    means = means / np.float32(step * step)
    noise = random.standard_normal((side, side), np.float32)
    noisy = means + noise * (8 + np.float32(0.02) * means)
    return np.clip(np.rint(noisy), 1, 0xFFFF).astype(np.uint16)
