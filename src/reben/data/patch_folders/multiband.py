"""One patch in one TIFF: its bands, by the names in the file, brought back to their native sizes.

Such a file has one pixel size for all bands, mostly 10 m, while models want each band at its own
size. A band that was brought to 10 m by repeating pixels is brought back without loss; for any
other, the user chooses how.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from reben.data.places import require_north_up, require_patch_size
from reben.data.tiff.with_rasterio import apply_mask, open_with_rasterio
from reben.data.values import SuspiciousInputWarning, mask_declared, require_plain
from reben.errors import (
    BandsMismatchError,
    ConfigError,
    PatchShapeError,
    UnknownBandError,
)
from reben.spec.band_names import band_described
from reben.spec.bands import PIXEL_METRES, S1, S2, S2_FULL, TEN_METRES, BandSet, native_size
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS, Bounds
from reben.spec.statistics import LARGEST_SIDE

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

Resample = Literal["auto", "exact", "mean", "centre"]
"""How pixels of 10 m become one of 20 m or 60 m: ``exact`` only if all are the same, by their
``mean``, or by the one at their ``centre`` (the lower right one of the four in the middle).
``auto`` is exact where it can be, else the mean, with a warning that names the band."""
RESAMPLES: tuple[Resample, ...] = get_args(Resample)
LEFT_OUT = "-"
"""Stands for a band of the file that is not one of a patch."""


def read_multiband(
    path: str | Path,
    bands: BandSet,
    *,
    names: Sequence[str] | None = None,
    resample: Resample = "exact",
    size: int = PATCH_PIXELS,
) -> dict[str, NDArray[Any]]:
    """Return bands of a patch that is one TIFF: name -> [h, w] at native size.

    Pixels with the value that the file declares to be no data are masked.

    Args:
        path: The file: 120 x 120 pixels of 10 m, or fewer if only coarser bands are wanted.
        bands: The bands to return.
        names: Name of each band in the file, in its order, ``-`` for one to skip. By default the
            descriptions in the file; ``B2`` counts as ``B02``. Names are never guessed from
            positions.
        resample: How bands of 20 m and 60 m are brought back to their size; see `Resample`.
        size: Side length in pixels of 10 m that the patch may have beside the usual 120.

    Warns:
        SuspiciousInputWarning: If ``auto`` takes means, since pixels are no repeats.
    """
    if resample not in RESAMPLES:
        raise ConfigError(f"Unknown resampling {resample!r}. Choose {', '.join(RESAMPLES)}.")
    pixels, place = read_layers(path, names, bands)
    height, width = next(iter(pixels.values())).shape
    usual = _usual_size(path, width, height, size)
    if place is not None:
        require_patch_size(str(path), place.bounds, place.crs, width, usual)
    return to_native(path, pixels, resample, usual)


class LayerPlace(NamedTuple):
    """Where a file of several bands lies."""

    bounds: Bounds
    crs: int | str
    """Its reference system: an EPSG code, or WKT."""


def read_layers(
    path: str | Path, names: Sequence[str] | None, bands: BandSet | None = None
) -> tuple[dict[str, NDArray[Any]], LayerPlace | None]:
    """Return bands of a TIFF of several, all of its own size, and where it lies if it says so.

    Args:
        path: The file, of any size.
        names: As for `read_multiband`.
        bands: The bands to return; by default all that it has.
    """
    with open_with_rasterio(path, path, f"Reading {path}, a TIFF of several bands,") as image:
        if max(image.width, image.height) > LARGEST_SIDE:
            raise PatchShapeError(
                f"{path} has {image.width} x {image.height} pixels, and a patch {LARGEST_SIDE} a "
                "side at most. Predict it as a scene: reben predict-scene MODEL "
                f"{path} --out scores.tif"
            )
        pixels: dict[str, NDArray[Any]] = {}
        for name, number in _places(path, image, bands, names).items():
            require_plain(
                f"Band {name} of {path}", image.scales[number - 1], image.offsets[number - 1]
            )
            band = mask_declared(name, image.read(number), image.nodatavals[number - 1])
            pixels[name] = apply_mask(band, image, number)
        if image.crs is None or image.transform.is_identity:
            return pixels, None
        require_north_up(path, image.transform)
        code = image.crs.to_epsg()
        return pixels, LayerPlace(Bounds(code or 0, *image.bounds), code or image.crs.to_wkt())


def to_native(
    path: str | Path, pixels: dict[str, NDArray[Any]], resample: Resample, size: int = PATCH_PIXELS
) -> dict[str, NDArray[Any]]:
    """Return bands with pixels of 10 m, or their own, at their native sizes.

    Args:
        path: What they are of, for messages.
        pixels: Band -> [h, w].
        resample: How bands of 20 m and 60 m are brought back to their size; see `Resample`.
        size: Side length of the patch in pixels of 10 m.

    Warns:
        SuspiciousInputWarning: If ``auto`` takes means, since pixels are no repeats.
    """
    how = dict.fromkeys(pixels, resample)
    if resample == "auto":
        repeats = {name: _is_repeated(name, band, size) for name, band in pixels.items()}
        how = {name: "exact" if repeats[name] else "mean" for name in pixels}
    averaged = [name for name in pixels if resample == "auto" and how[name] == "mean"]
    if averaged:
        warnings.warn(
            f"{', '.join(averaged)} had been interpolated to 10 m, no pixels repeated: the model "
            "gets the mean of those that make up one of its own (--resample auto).",
            SuspiciousInputWarning,
            stacklevel=3,
        )
    return {name: _to_native(path, name, band, how[name], size) for name, band in pixels.items()}


def _usual_size(path: str | Path, width: int, height: int, size: int) -> int:
    """Return the side length of a patch in pixels of 10 m: 120, or ``size``."""
    sizes = {native_size(name, one): one for one in (PATCH_PIXELS, size) for name in PIXEL_METRES}
    if width == height and width in sizes:
        return sizes[width]
    if width > PATCH_PIXELS or height > PATCH_PIXELS:
        raise PatchShapeError(
            f"{path} has {width} x {height} pixels; a patch has {PATCH_PIXELS} x {PATCH_PIXELS} "
            f"of 10 m. Predict it as a scene: reben predict-scene MODEL {path} --out scores.tif"
        )
    raise PatchShapeError(
        f"{path} has {width} x {height} pixels; a patch is a square of {PATCH_METRES} m, "
        f"which has {PATCH_PIXELS} x {PATCH_PIXELS} pixels of 10 m. Cut it to that."
    )


def _places(
    path: str | Path, image: "DatasetReader", bands: BandSet | None, names: Sequence[str] | None
) -> dict[str, int]:
    """Return wanted band -> its number in the file, counted from 1."""
    found = name_bands(path, image.descriptions, names)
    if bands is None and found:
        return found
    bands = bands or BandSet.parse("rgb")
    missing = bands.missing_from(found)
    if missing:
        shown = ", ".join(text or "(no name)" for text in names or image.descriptions)
        example = ",".join(bands) if len(bands) == image.count else usual_names(image.count)
        raise BandsMismatchError(
            f"The model needs {', '.join(missing)}; the bands of {path} are called {shown}. If it "
            "has them, name all in the order of the file, - for one to skip, for example "
            f"--band-names {example}"
        )
    return {name: found[name] for name in bands}


def name_bands(
    path: str | Path,
    descriptions: Sequence[str | None],
    names: Sequence[str] | None,
    also: Sequence[str] = (),
) -> dict[str, int]:
    """Return the bands of a file of several bands -> their number in it, counted from 1.

    Args:
        path: The file, for error messages.
        descriptions: What the file calls its bands.
        names: What the user calls them, `LEFT_OUT` for one to skip.
        also: Other names than those of bands of a patch.
    """
    given = [text or "" for text in descriptions] if names is None else list(names)
    if len(given) != len(descriptions):
        raise BandsMismatchError(
            f"{path} has {len(descriptions)} bands, but {len(given)} names were given: "
            f"{', '.join(given)}. Name each, or write - for one to skip."
        )
    found: dict[str, int] = {}
    for place, text in enumerate(given, start=1):
        name = band_described(text)
        if name not in (*PIXEL_METRES, *also):
            if names is not None and text != LEFT_OUT:
                raise UnknownBandError(
                    f"No band {text!r} in a patch. Bands: {', '.join((*PIXEL_METRES, *also))}; "
                    f"{LEFT_OUT} for one to skip."
                )
            continue
        if name in found:
            raise BandsMismatchError(
                f"{path} has two bands called {name}, number {found[name]} and {place}. Name them "
                "with --band-names."
            )
        found[name] = place
    return found


def usual_names(count: int) -> str:
    """Return names as ``--band-names`` takes them for files of so many bands, in the usual order.

    They are an example: only who made the file knows what its bands are.

    Example:
        >>> usual_names(2), usual_names(4)
        ('VV,VH', 'B02,B03,B04,B08')
        >>> usual_names(10)
        'B02,B03,B04,B05,B06,B07,B08,B8A,B11,B12'
        >>> usual_names(13)  # of level 1C, with B10
        'B01,B02,B03,B04,B05,B06,B07,B08,B8A,B09,-,B11,B12'
    """
    full = list(S2_FULL)
    if count > len(full):
        full.insert(full.index("B11"), LEFT_OUT)
    usual = {len(bands): list(bands) for bands in (S1, TEN_METRES, S2)}.get(count, full[:count])
    return ",".join(usual + [LEFT_OUT] * (count - len(usual)))


def _is_repeated(name: str, pixels: NDArray[Any], size: int) -> bool:
    """Tell whether pixels are those of the size of a band, repeated or as they are."""
    step, rest = divmod(len(pixels), native_size(name, size))
    if rest or not step:
        return True  # no size of a patch, which is said elsewhere
    plain = np.ma.getdata(pixels)
    own = plain[step // 2 :: step, step // 2 :: step]
    return bool((plain == own.repeat(step, axis=0).repeat(step, axis=1)).all())


def _to_native(
    path: str | Path, name: str, pixels: NDArray[Any], resample: Resample, size: int
) -> NDArray[Any]:
    side, found = native_size(name, size), len(pixels)
    if found == side:
        return pixels
    if isinstance(pixels, np.ma.MaskedArray):
        native = _to_native(path, name, pixels.data, resample, size)
        step = found // side
        return np.ma.masked_array(native, pixels.mask.reshape(side, step, side, step).any((1, 3)))
    if found < side or found != size:
        raise PatchShapeError(
            f"{path} has {found} x {found} pixels, but band {name} needs {side} x {side}. Pass a "
            "file with pixels of 10 m."
        )
    step = found // side
    blocks = pixels.reshape(side, step, side, step)
    if resample == "mean":
        return np.asarray(blocks.mean((1, 3), dtype=np.float64), np.float32)
    chosen: NDArray[Any] = np.ascontiguousarray(blocks[:, step // 2, :, step // 2])
    if resample == "exact" and not _is_repeated(name, pixels, size):
        raise PatchShapeError(
            f"Band {name} of {path} has {found} x {found} pixels that are not {side} x {side} ones "
            f"repeated {step} x {step} times, so its pixels of {PIXEL_METRES[name]} m are unknown. "
            "Pass it at that size, or choose how to resample it: --resample mean, --resample auto "
            "(the mean of such bands only, with a warning), or --resample centre"
        )
    return chosen
