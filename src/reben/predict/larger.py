"""An image that is larger than a patch: which command predicts it as a scene."""

import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from reben.data.patch_folders.multiband import usual_names
from reben.data.tiff.with_rasterio import open_with_rasterio
from reben.errors import (
    GridError,
    MissingBandError,
    OffsetConflictError,
    PatchShapeError,
    ProductError,
    TiffError,
    UnknownOffsetError,
    UnknownUnitError,
)
from reben.model.open import open_model
from reben.scene.offset import OFFSET_OF_LATER_BASELINES
from reben.scene.product import open_scene
from reben.scene.readers.stac import shown
from reben.scene.search import is_stac
from reben.spec.band_names import TIFF_ENDINGS
from reben.spec.bands import BandSet
from reben.spec.patches import PATCH_PIXELS
from reben.support.quiet import quieter

_NOTES = {
    "band_names": "The file does not name its bands: below, --band-names has them in the usual "
    "order; correct it. ",
    "boa_offset": "Nothing says the offset of the numbers: below, --boa-offset is what they look "
    "like; it is -1000 for ESA's numbers of processing baseline 04.00 and later, 0 for reflectance "
    "x 10000, such as Earth Engine's S2_SR_HARMONIZED. ",
    "sentinel1_unit": "Nothing says the unit of the backscatter: below, --sentinel1-unit is "
    "what the numbers look like; it is db or linear. ",
    "reproject": "Its pixels do not measure 10 m on the ground, so it is warped while it is read. ",
}

_CURABLE = (
    MissingBandError, UnknownOffsetError, UnknownUnitError, OffsetConflictError, GridError,
)  # fmt: skip


def lead_to_scene(
    model: str, path: Path, *, bands: str | None = None, names: Sequence[str] | None = None
) -> None:
    """Raise a PatchShapeError, with a command, if a file is a STAC item or larger than a patch.

    The command predicts it as a scene; one that lacks bands of the model is a MissingBandError, one
    that cannot be read a ProductError. Model, its bands and those of the file (``names``) are as
    the user gives them.
    """
    # A path has one slash where an address has two.
    source = re.sub(r"^(https?):/+", r"\1://", str(path))
    place = PurePosixPath(shown(source))
    if is_stac(source) and place.suffix.lower() not in TIFF_ENDINGS:
        out = f"{place.stem}_scores.tif"
        command = shlex.join(["reben", "predict-scene", model, shown(source), "--out", out])
        raise PatchShapeError(
            f"{shown(source)} is of STAC, whose items are scenes, not patches. Type: {command}"
        )
    if path.suffix.lower() not in TIFF_ENDINGS or not path.is_file():
        return
    try:
        with open_with_rasterio(path, path, f"Reading {path}") as image:
            width, height, count = image.width, image.height, image.count
    except TiffError:  # a patch that cannot be used, which is said of patches
        return
    if max(width, height) <= PATCH_PIXELS or (count < 2 and names is None):
        return
    options = _opening(path, count, names, open_model(model, "cpu", bands=bands).bands)
    known = {"band_names"} if names is not None else set()
    notes = [
        _NOTES[flag] for flag, value in options.items() if value is not None and flag not in known
    ]
    if options["band_names"] is not None:
        options["band_names"] = ",".join(options["band_names"])
    words = ["reben", "predict-scene", model, str(path), "--out", f"{path.stem}_scores.tif"]
    for flag, value in ({"bands": bands} | options).items():
        if value is not None:
            words += [f"--{flag.replace('_', '-')}", *([] if value is True else [f"{value}"])]
    raise PatchShapeError(
        f"{path} has {width} x {height} pixels, a patch {PATCH_PIXELS} x {PATCH_PIXELS} of 10 m. "
        f"Predict it as a scene. {''.join(notes)}Type: {shlex.join(words)}"
    )


def _opening(path: Path, count: int, names: Sequence[str] | None, bands: BandSet) -> dict[str, Any]:
    """Return flags with which a file can be opened as a scene that has bands."""
    options: dict[str, Any] = {"band_names": names}
    # What is said of a scene is said when it is predicted.
    with quieter("reben.scene", logging.ERROR):
        while True:
            try:
                scene = open_scene(path, **options)
                break
            except _CURABLE as error:
                more = _cure(error, options, count)
                if not more:
                    raise
                options |= more
    with scene:
        scene.require(bands)
    return options


def _cure(error: ProductError, options: Mapping[str, Any], count: int) -> dict[str, Any]:
    if isinstance(error, MissingBandError) and options["band_names"] is None:
        return {"band_names": usual_names(count).split(",")}
    if isinstance(error, UnknownOffsetError):
        return {"boa_offset": OFFSET_OF_LATER_BASELINES}
    if isinstance(error, UnknownUnitError):
        units: dict[object, str] = {None: "db", "db": "linear"}
        unit = units.get(options.get("sentinel1_unit"))
        return {"sentinel1_unit": unit} if unit else {}
    later = options.get("boa_offset") == OFFSET_OF_LATER_BASELINES
    if isinstance(error, OffsetConflictError) and later:
        return {"boa_offset": 0}
    return {"reproject": True} if type(error) is GridError and "reproject" not in options else {}
