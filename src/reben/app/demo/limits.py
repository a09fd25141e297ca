"""How much the page takes and keeps; `docs/demo.md` has the same numbers in a table."""

from dataclasses import dataclass

from reben.support.bounds import MEBIBYTE

MOST_REQUEST_BYTES = 80 * MEBIBYTE
"""An upload, all its files together."""
MOST_MESSAGE_BYTES = MEBIBYTE
"""Any other request: a choice, a click."""
MOST_STORED_BYTES = 1024 * MEBIBYTE
"""Uploads and results of all visits in the private folder."""
MOST_KEPT_BYTES = 256 * MEBIBYTE
"""Patches and scenes of all visits in memory."""
KEPT_SECONDS = 3600
"""How long an upload is stored whose visit did not say that it ended."""
MOST_SCENE_BYTES = 64 * MEBIBYTE
"""A ``scores.tif``."""
MOST_QUICKLOOK_BYTES = 16 * MEBIBYTE
MOST_SCORES = 32 << 20
"""Scores in a raster: a whole scene in steps of 600 m has 0.7 million."""
WAITING, AT_ONCE = 16, 2
"""Events that wait, and that are worked on, of all visits."""


@dataclass(frozen=True)
class UploadLimits:
    """How much is taken as one patch; sizes are in bytes, those in a zip are unpacked."""

    files: int = 30
    file_bytes: int = 16 * MEBIBYTE
    files_bytes: int = 64 * MEBIBYTE
    """Of all files together."""
    pixels: int = 1 << 20
    """Of all bands together; a patch of 14 bands has 110,000."""
    members: int = 200
    """Files and folders in a zip."""
    member_bytes: int = 8 * MEBIBYTE
    total_bytes: int = 64 * MEBIBYTE
    """Of all that a zip holds."""
    ratio: int = 200
    """How many times smaller than unpacked a file in a zip may be."""
