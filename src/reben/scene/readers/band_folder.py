"""Bands together in one GeoTIFF."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from reben.data.patch_folders.multiband import name_bands, usual_names
from reben.errors import MissingBandError, cut
from reben.scene.band_names import CLASSIFICATION
from reben.scene.band_source import BandFile
from reben.scene.offset import check_given_offset
from reben.scene.sources import BandSources, closed_on_error
from reben.spec.bands import S1, S2_FULL

_OTHER_POLARISATION = re.compile(r"(?<![A-Za-z])H[HV](?![A-Za-z])", re.IGNORECASE)


def read_multiband(
    path: Path, boa_offset: float | None = None, names: Sequence[str] | None = None
) -> BandSources:
    """Return the Sentinel-2 bands of a GeoTIFF; for the errors see `open_scene`.

    Args:
        path: The file.
        boa_offset: The offset that the user gives.
        names: Name of each band of the file in its order, ``-`` for one to skip. By default the
            descriptions in the file; bands are never told apart by their position.
    """
    check_given_offset(boa_offset)
    first = BandFile(str(path))
    descriptions = first.descriptions
    first.close()
    places = name_bands(path, descriptions, names, (CLASSIFICATION,))
    wanted = {band: place for band, place in places.items() if band in (*S2_FULL, CLASSIFICATION)}
    if not set(wanted) - {CLASSIFICATION}:
        called = cut(", ".join(text or "(no name)" for text in descriptions), 200)
        if any(_OTHER_POLARISATION.search(text or "") for text in descriptions):
            raise MissingBandError(
                f"The bands of {path} are called {called}. Models with Sentinel-1 use VV and VH, "
                "and HH and HV are other measurements. Use a product of VV and VH of that place."
            )
        usual = usual_names(len(descriptions))
        more = ""
        if usual == ",".join(S1):
            more = (
                ", as in: reben predict-scene MODEL "
                f"{shlex.quote(str(path))} --out map.tif --band-names {usual} --sentinel1-unit db "
                "--sentinel1-quantity sigma0 (unit: db or linear; quantity: sigma0 or gamma0)"
            )
        elif boa_offset is None:
            more = (
                ", and if no tag states their offset: --boa-offset -1000 for ESA's numbers since "
                "processing baseline 04.00, --boa-offset 0 for reflectance x 10000"
            )
        raise MissingBandError(
            f"{path} has no Sentinel-2 band by name; its {len(descriptions)} bands are called "
            f"{called}. Name all of them in their order, - for one to skip, for example "
            f"--band-names {usual}{more}"
        )
    last: BandFile | None = None
    with closed_on_error() as sources:
        for band, place in wanted.items():
            last = BandFile(str(path), f"{band} of {path}", place, beside=last)
            sources[band] = last
        return BandSources.decided(
            path.stem,
            sources,
            lambda band: sources[band].statements,
            boa_offset,
            where=f"a band {{band}} of {path.name}",
            about={"source": "one file of several bands"},
        )
