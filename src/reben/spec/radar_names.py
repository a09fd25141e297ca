"""What the polarisations of Sentinel-1 are called by others: one matcher for all forms."""

import re

_BEHIND = r"db|decibels?|lin(?:ear)?|power|amplitude|intensity|(?:sigma|gamma|beta)_?0|rtc|\d+m"
_POLARISATION = re.compile(
    rf"(?:(?P<before>.*?)(?:[^a-z\d]|(?<=a0)))?(?P<band>VV|VH)(?:[^a-z\d]+(?:{_BEHIND}))*[^a-z\d]*",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_BESIDE = re.compile(
    r"(?<![a-z])(vv|vh|schema|noise|calibration|annotation|metadata|mask|angle|std|ratio)(?![a-z])",
    re.IGNORECASE,
)
_LEVEL_1_IMAGE = re.compile(
    r"s1[a-d]-(?:iw|ew|wv|s\d)\d?-(?:grd|slc|raw)-(?P<band>vv|vh)-\d{8}t\d{6}-.*",
    re.IGNORECASE | re.ASCII,
)


def polarisation_named(text: str) -> str | None:
    """Return the polarisation, VV or VH, that a name means; None if it means none, or two.

    Args:
        text: What a variable, an asset or a band is called, or a file, without its ending.

    Example:
        >>> polarisation_named("Sigma0_VV_db"), polarisation_named("gamma0_vh")
        ('VV', 'VH')
        >>> polarisation_named("S1A_IW_20180128T161201_DVP_RTC30_G_gpuned_FD6A_VV")
        'VV'
        >>> polarisation_named("VV_VH"), polarisation_named("noise-vv"), polarisation_named("HV")
        (None, None, None)
    """
    match = _POLARISATION.fullmatch(text.strip())
    if match is None or _BESIDE.search(match["before"] or ""):
        match = _LEVEL_1_IMAGE.fullmatch(text.strip())
    return match["band"].upper() if match else None


def is_level_1_image(text: str) -> bool:
    """Tell whether a file is called as images in ESA's level-1 products of Sentinel-1 are.

    Example:
        >>> is_level_1_image("s1c-iw-grd-vv-20250101t053012-20250101t053037-001234-002345-001")
        True
    """
    return _LEVEL_1_IMAGE.fullmatch(text.strip()) is not None
