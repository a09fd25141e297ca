"""Where and when BigEarthNet v2.0 was acquired.

Source: countries and months: arXiv:2407.03653, section 2. Bounds, first and last second: the STAC
collection ``bigearthnet_v1_source`` of Radiant MLHub, which describes v1.0. The tiles of v2.0 are
among those of v1.0, so the bounds hold, but may be wider than necessary.
"""

COUNTRIES: tuple[str, ...] = (
    "Austria",
    "Belgium",
    "Finland",
    "Ireland",
    "Kosovo",
    "Lithuania",
    "Luxembourg",
    "Portugal",
    "Serbia",
    "Switzerland",
)
"""The countries, in alphabetical order."""

BOUNDS: tuple[float, float, float, float] = (
    -9.00023345437725,
    36.956956702083396,
    31.598439091981028,
    68.02168200047284,
)
"""West, south, east, north in degrees (WGS 84)."""

FIRST_SECOND = "2017-06-13T10:10:31Z"
"""Acquisition of the first Sentinel-2 patch, UTC."""
LAST_SECOND = "2018-05-29T11:54:01Z"
"""Acquisition of the last Sentinel-2 patch, UTC."""
