"""What light or radar waves each band measures, in the words that catalogues use.

Source: Sentinel-2A MSI, centre and width of each band: ESA, Sentinel-2 user guide, table
"Radiometric resolutions" (spectral response functions COPE-GSEG-EOPG-TN-15-0007, version 3);
Sentinel-2B is within 4 nm but for B12 (2185.7 nm). Common names: STAC extension eo 2.0.0. C-SAR
of Sentinel-1: ESA, Sentinel-1 user guide, 5.405 GHz.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Polarisation = Literal["VV", "VH"]


@dataclass(frozen=True)
class Spectrum:
    """The part of the spectrum that an optical band measures.

    Args:
        common_name: Its name across sensors, as the STAC extension eo lists them.
        centre_micrometres: Its centre.
        width_micrometres: Its full width at half maximum.
    """

    common_name: str
    centre_micrometres: float
    width_micrometres: float


SPECTRUM: Mapping[str, Spectrum] = MappingProxyType(
    {
        "B01": Spectrum("coastal", 0.4427, 0.021),
        "B02": Spectrum("blue", 0.4924, 0.066),
        "B03": Spectrum("green", 0.5598, 0.036),
        "B04": Spectrum("red", 0.6646, 0.031),
        "B05": Spectrum("rededge071", 0.7041, 0.015),
        "B06": Spectrum("rededge075", 0.7405, 0.015),
        "B07": Spectrum("rededge078", 0.7828, 0.020),
        "B08": Spectrum("nir", 0.8328, 0.106),
        "B8A": Spectrum("nir08", 0.8647, 0.021),
        "B09": Spectrum("nir09", 0.9451, 0.020),
        "B11": Spectrum("swir16", 1.6137, 0.091),
        "B12": Spectrum("swir22", 2.2024, 0.175),
    }
)
"""Sentinel-2 band -> what it measures, on Sentinel-2A."""

POLARISATION: Mapping[str, Polarisation] = MappingProxyType({"VV": "VV", "VH": "VH"})
"""Sentinel-1 band -> polarisation: sent (first letter) and received (second)."""
RADAR_BAND = "C"
"""The letter of the frequencies that Sentinel-1 uses."""
RADAR_GIGAHERTZ = 5.405
"""Centre frequency of Sentinel-1's radar."""
