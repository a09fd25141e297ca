"""Synthetic surfaces: the spectra of materials, and the materials of each CORINE class.

Every class is a mixture of a few materials. Forest types look alike to radar, and towns look like
bare soil in the optical bands, so both sensors together tell more than either alone.

The figures are invented, within the range of such surfaces. Their mixture is close to the
published means over the data set.
"""

from typing import NamedTuple

MATERIALS: dict[str, tuple[int, ...]] = {
    "clear water": (260, 235, 180, 95, 85, 75, 70, 62, 58, 55, 35, 25),
    "murky water": (330, 350, 450, 320, 290, 220, 215, 180, 160, 150, 80, 55),
    "dry soil": (560, 720, 1010, 1320, 1560, 1720, 1870, 2000, 2120, 2150, 2850, 2380),
    "wet soil": (260, 320, 430, 510, 650, 850, 960, 1050, 1150, 1200, 1450, 1020),
    "crop": (240, 270, 590, 300, 930, 2900, 3750, 3950, 4100, 4150, 1850, 880),
    "grass": (280, 330, 650, 430, 1080, 2600, 3200, 3350, 3500, 3550, 2100, 1100),
    "dry grass": (430, 540, 830, 990, 1430, 1950, 2150, 2350, 2450, 2500, 2800, 1850),
    "broad leaves": (190, 210, 430, 230, 680, 2350, 3050, 3150, 3350, 3400, 1600, 700),
    "bare branches": (260, 310, 440, 520, 800, 1150, 1300, 1400, 1500, 1550, 1800, 1150),
    "needles": (150, 170, 300, 180, 430, 1200, 1450, 1550, 1650, 1700, 780, 350),
    "shrub": (230, 290, 470, 480, 800, 1450, 1650, 1750, 1900, 1950, 1900, 1150),
    "moss": (270, 330, 500, 520, 900, 1450, 1650, 1750, 1900, 1950, 1500, 800),
    "town": (760, 880, 1040, 1120, 1250, 1480, 1600, 1700, 1780, 1820, 1850, 1600),
    "roofs": (1300, 1500, 1650, 1750, 1850, 1950, 2050, 2150, 2200, 2250, 2300, 2100),
    "sand": (1050, 1350, 1800, 2150, 2350, 2500, 2600, 2750, 2800, 2850, 3300, 3000),
    "rock": (850, 950, 1080, 1180, 1280, 1380, 1450, 1520, 1600, 1650, 1850, 1700),
}
"""Material -> digital numbers (reflectance x 10000) in the order of `reben.spec.bands.S2_FULL`."""

SNOW = (7600, 7700, 7500, 7400, 7300, 7100, 6900, 6800, 6500, 4600, 1000, 850)
CLOUD = (5400, 5300, 5200, 5300, 5400, 5600, 5700, 5800, 5800, 3200, 3900, 3000)


class Look(NamedTuple):
    """What a class looks like.

    Args:
        materials: Material -> share.
        vv_db: Mean backscatter in VV, in dB.
        vh_db: Mean backscatter in VH, in dB.
        fields: How much the mixture differs from field to field.
        regions: How much it differs from region to region, and how much radar varies.
        texture: How much it differs from place to place within a field.
    """

    materials: dict[str, float]
    vv_db: float
    vh_db: float
    fields: float = 0
    regions: float = 0.3
    texture: float = 0.5


_FIELDS = {"crop": 0.5, "dry soil": 0.3, "grass": 0.1, "dry grass": 0.1}
LOOKS: dict[int, Look] = {
    111: Look({"town": 0.85, "roofs": 0.1, "broad leaves": 0.05}, -4.6, -12.8, texture=0.9),
    112: Look({"town": 0.5, "grass": 0.25, "broad leaves": 0.2, "dry soil": 0.05}, -7.4, -15.0,
              fields=0.9, texture=0.9),
    121: Look({"town": 0.55, "roofs": 0.3, "grass": 0.1, "dry soil": 0.05}, -4.9, -14.4,
              fields=1.0),
    124: Look({"grass": 0.6, "town": 0.4}, -13.0, -20.5, fields=0.6),
    131: Look({"rock": 0.5, "dry soil": 0.5}, -11.0, -19.0, fields=0.5),
    142: Look({"grass": 0.6, "broad leaves": 0.25, "town": 0.15}, -10.8, -17.3, fields=0.5),
    211: Look(_FIELDS, -11.6, -18.6, fields=1.5, texture=0.2),
    212: Look({"crop": 0.7, "dry soil": 0.3}, -11.0, -17.8, fields=1.2, texture=0.2),
    213: Look({"crop": 0.45, "murky water": 0.35, "wet soil": 0.2}, -15.0, -22.0, fields=0.9),
    221: Look({"dry soil": 0.5, "crop": 0.2, "dry grass": 0.3}, -8.0, -15.6, fields=0.5),
    222: Look({"broad leaves": 0.4, "grass": 0.35, "dry soil": 0.25}, -8.6, -14.6, fields=0.6),
    223: Look({"shrub": 0.45, "dry soil": 0.3, "dry grass": 0.25}, -8.4, -15.0, fields=0.4),
    231: Look({"grass": 0.8, "crop": 0.1, "dry grass": 0.1}, -12.6, -19.9, fields=0.6,
              texture=0.25),
    241: Look({"crop": 0.3, "shrub": 0.4, "dry soil": 0.3}, -8.6, -15.4, fields=0.8),
    242: Look({"crop": 0.35, "grass": 0.25, "dry soil": 0.2, "broad leaves": 0.12, "town": 0.08},
              -8.9, -17.6, fields=1.8, texture=0.5),
    243: Look({"crop": 0.25, "grass": 0.3, "broad leaves": 0.3, "shrub": 0.15}, -10.6, -17.0,
              fields=1.1, texture=0.9),
    244: Look({"dry grass": 0.55, "shrub": 0.2, "broad leaves": 0.25}, -10.9, -17.2, texture=1.2),
    311: Look({"broad leaves": 0.95, "shrub": 0.05}, -10.2, -15.6, texture=0.3),
    312: Look({"needles": 0.93, "shrub": 0.07}, -10.6, -16.2, texture=0.3),
    313: Look({"broad leaves": 0.5, "needles": 0.5}, -10.3, -15.8, regions=0.5, texture=0.8),
    321: Look({"grass": 0.25, "dry grass": 0.6, "rock": 0.15}, -13.2, -20.8, texture=0.6),
    322: Look({"shrub": 0.75, "moss": 0.25}, -12.6, -18.4, texture=0.6),
    323: Look({"shrub": 0.7, "dry soil": 0.15, "broad leaves": 0.15}, -10.8, -17.0, texture=0.8),
    324: Look({"shrub": 0.35, "grass": 0.2, "broad leaves": 0.25, "needles": 0.2}, -9.8, -17.2,
              regions=0.5, texture=0.9),
    331: Look({"sand": 0.9, "dry grass": 0.1}, -15.5, -24.5),
    332: Look({"rock": 0.9, "dry grass": 0.1}, -9.5, -18.5),
    333: Look({"rock": 0.45, "dry grass": 0.4, "shrub": 0.15}, -11.0, -18.9, texture=0.7),
    411: Look({"grass": 0.45, "wet soil": 0.3, "murky water": 0.25}, -9.0, -18.6, texture=0.8),
    412: Look({"moss": 0.65, "wet soil": 0.25, "needles": 0.1}, -13.8, -19.9, texture=0.6),
    421: Look({"grass": 0.35, "wet soil": 0.4, "moss": 0.25}, -11.0, -20.2, texture=0.7),
    422: Look({"murky water": 0.5, "sand": 0.3, "wet soil": 0.2}, -16.5, -25.0, fields=1.2),
    423: Look({"wet soil": 0.7, "murky water": 0.3}, -16.0, -24.5),
    511: Look({"murky water": 0.95, "wet soil": 0.05}, -17.5, -25.5),
    512: Look({"murky water": 0.4, "clear water": 0.6}, -19.0, -27.0, regions=0.2, texture=0.15),
    521: Look({"murky water": 0.7, "clear water": 0.3}, -18.5, -26.5, texture=0.15),
    522: Look({"murky water": 0.85, "clear water": 0.15}, -17.5, -26.0, texture=0.15),
    523: Look({"clear water": 0.93, "murky water": 0.07}, -17.2, -26.2, regions=0.05,
              texture=0.15),
}  # fmt: skip
"""CORINE code -> look."""
