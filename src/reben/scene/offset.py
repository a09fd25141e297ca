"""From stored digital numbers to those of the models: reflectance x 10000, no offset.

Everything that a product states about the offset of its numbers is collected. If the statements
agree, they are used; if they contradict each other or none exists, nothing is guessed.

Source: Sentinel-2 Products Specification Document, level 2A from processing baseline 04.00 on:
``reflectance = (DN + BOA_ADD_OFFSET) / BOA_QUANTIFICATION_VALUE``, DN 0 is no data.
"""

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.errors import (
    OffsetConflictError,
    PixelValueError,
    ProductError,
    UnknownOffsetError,
    cut,
)

logger = logging.getLogger(__name__)

MODEL_QUANTIFICATION = 10_000
"""The models' digital numbers are reflectance times this."""
OFFSET_SINCE = (4, 0)
"""The first processing baseline whose digital numbers carry an offset."""
OFFSET_OF_LATER_BASELINES = -1000
"""The offset of every band in products from that baseline on.

Source: BOA_ADD_OFFSET in the metadata of products of baselines 04.00 and 05.09.
"""
QUANTIFICATIONS = (1.0, 1e6)
"""Divisors that can be: 1 for reflectances, and up to a hundred times the usual 10,000."""
GIVEN = "given as boa_offset"
"""The source of an offset that the user gives."""
_OWN_PROCESSING = 99
_BASELINE_KEYS = (
    "s2:processing_baseline",
    "sentinel:processing_baseline",
    "eopf:baseline",
    "processing:version",
)
LARGEST_REFLECTANCE = 10.0
_LARGEST = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class ScaleStatement:
    """What one source states about the digital numbers.

    Args:
        said: The statement in words.
        offset: To be added to the numbers; None if nothing is said about it.
        quantification: Divisor that then gives reflectances.
        decides: Whether it speaks of these very files, so that others about their origin yield.
    """

    said: str
    offset: float | None
    quantification: float = MODEL_QUANTIFICATION
    decides: bool = False


@dataclass(frozen=True)
class OffsetAndScale:
    """How stored numbers become reflectance x 10000.

    Args:
        offset: Added to a stored number, such as -1000.
        quantification: Divisor of the sum that gives a reflectance.
        source: Where this comes from.
        unused: Statements of other offsets, which did not decide.
    """

    offset: float
    quantification: float
    source: str
    unused: tuple[ScaleStatement, ...] = ()

    def __post_init__(self) -> None:
        if not math.isfinite(self.offset) or not 0 < self.quantification < math.inf:
            raise ProductError(
                f"The offset must be finite and the quantification value positive; they are "
                f"{self.offset} and {self.quantification} ({self.source})."
            )
        low, high = QUANTIFICATIONS
        if not low <= self.quantification <= high or abs(self.offset) > _LARGEST:
            raise ProductError(
                f"The offset is {self.offset:g} and the quantification value "
                f"{self.quantification:g} ({self.source}). Sentinel-2 has offsets of 0 or "
                f"{OFFSET_OF_LATER_BASELINES} and a quantification value of "
                f"{MODEL_QUANTIFICATION}; within {-_LARGEST} to {_LARGEST} and {low:g} to {high:g} "
                "others are read. Correct the metadata, or download the product again."
            )

    def apply(self, stored: NDArray[Any], name: str) -> NDArray[Any]:
        """Return reflectance x 10000, [h, w], in a new array.

        uint16 if whole numbers stay whole, else float32. 0 stays 0, which is no data; NaN becomes
        0; no value becomes negative.

        Args:
            stored: Digital numbers as stored, [h, w].
            name: Their name in error messages.

        Example:
            >>> stored = np.array([[0, 990, 1438]], np.uint16)
            >>> OffsetAndScale(-1000, 10_000, "").apply(stored, "B02")
            array([[  0,   0, 438]], dtype=uint16)
        """
        if stored.dtype.kind == "f":
            _refuse_reflectance(stored, self.quantification, name)
            stored = np.nan_to_num(stored, nan=0.0, posinf=0.0, neginf=0.0)
        whole = stored.dtype.kind == "u" and stored.dtype.itemsize <= 2
        if self.quantification == MODEL_QUANTIFICATION and whole and self.offset == 0:
            return stored.astype(np.uint16)
        if self.quantification == MODEL_QUANTIFICATION and whole and _is_small_whole(self.offset):
            # 0 stays 0: it is lifted to the subtrahend first.
            taken = np.uint16(-self.offset)
            numbers: NDArray[Any] = np.maximum(stored.astype(np.uint16, copy=False), taken)
            numbers -= taken
            return numbers
        factor = MODEL_QUANTIFICATION / self.quantification
        scaled = (stored.astype(np.float64) + self.offset) * factor
        return np.where(stored == 0, 0, np.clip(scaled, 0, _LARGEST)).astype(np.float32)


def check_given_offset(boa_offset: float | None) -> None:
    """Raise an OffsetConflictError if an offset is positive, a fraction, or not a number."""
    if boa_offset is None:
        return
    try:
        is_offset = math.isfinite(boa_offset) and not (boa_offset > 0 or -1 < boa_offset < 0)
    except (TypeError, OverflowError):
        is_offset = False
    if not is_offset:
        raise OffsetConflictError(
            f"boa_offset is {cut(str(boa_offset))}. It is added to digital numbers: pass 0, or "
            f"{OFFSET_OF_LATER_BASELINES} for products of processing baseline 04.00 and later."
        )


def parse_baseline(text: str) -> tuple[int, int]:
    """Return a processing baseline as two numbers; raise a ProductError if it is none.

    Example:
        >>> parse_baseline("05.09") >= OFFSET_SINCE, parse_baseline("02.12") >= OFFSET_SINCE
        (True, False)
    """
    match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})", text.strip())
    if match is None:
        raise ProductError(
            f"{cut(text)!r} is not a processing baseline, which looks like 05.09. Correct the "
            "metadata, or download the product again."
        )
    return int(match[1]), int(match[2])


def offset_of_baseline(text: str) -> float | None:
    """Return the offset of ESA's products of a baseline; None for 99.99, a custom processing."""
    baseline = parse_baseline(text)
    if baseline[0] == _OWN_PROCESSING:
        return None
    return OFFSET_OF_LATER_BASELINES if baseline >= OFFSET_SINCE else 0


def statements_in(properties: Mapping[str, Any]) -> list[ScaleStatement]:
    """Return what the properties of a STAC item, or similar attributes, state about the offset."""
    baseline = _baseline_in(properties)
    by_baseline = offset_of_baseline(baseline[1]) if baseline else None
    for key in ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"):
        if key not in properties:
            continue
        applied = properties[key]
        if not isinstance(applied, bool | np.bool_):
            raise ProductError(f"{key} is {cut(repr(applied))}; it should be true or false.")
        if applied:
            return [ScaleStatement(f"{key} is true", 0, decides=True)]
        if by_baseline is not None and baseline:
            said = f"{key} is false and {baseline[0]} is {baseline[1]}"
            return [ScaleStatement(said, by_baseline)]
        return []
    if by_baseline is None or not baseline:
        return []
    return [ScaleStatement(f"{baseline[0]} is {baseline[1]}", by_baseline)]


def _baseline_in(properties: Mapping[str, Any]) -> tuple[str, str] | None:
    for key in _BASELINE_KEYS:
        text = str(properties.get(key, ""))
        # The last key holds baselines in one catalogue and versions of programs in others.
        if text and (key != "processing:version" or re.fullmatch(r"\d\d\.\d\d", text)):
            return key, text
    return None


def statement_of_scale(said: str, scale: float, offset: float | None) -> ScaleStatement:
    """Return the statement ``reflectance = DN * scale + offset`` in digital numbers.

    A scale without an offset states the divisor only.
    """
    if not 0 < scale < math.inf or not math.isfinite(offset or 0):
        raise ProductError(f"{said}: the scale must be positive and the offset finite.")
    # Rounded, because -0.1 / 0.0001 is not quite -1000.
    in_numbers = None if offset is None else round(offset / scale, 6) + 0.0
    return ScaleStatement(said, in_numbers, round(1 / scale, 6))


def decide(
    band: str, product: str, statements: Sequence[ScaleStatement], boa_offset: float | None
) -> OffsetAndScale:
    """Return offset and scale of one band from all statements about them.

    Args:
        band: The band's name.
        product: The product's name in error messages.
        statements: The statements of its metadata.
        boa_offset: The user's offset. It also decides if metadata contradict each other or are
            wrong, as those of public catalogues sometimes are.
    """
    quantification = _agreed(band, product, statements)
    with_offset = [item for item in statements if item.offset is not None]
    deciding = [item for item in with_offset if item.decides] or with_offset
    if boa_offset is not None:
        deciding = [ScaleStatement(GIVEN, boa_offset)]
    offsets = {item.offset for item in deciding if item.offset is not None}
    said = "; ".join(item.said for item in deciding)
    if not offsets:
        raise UnknownOffsetError(
            f"Nothing in {product} says which offset the digital numbers of {band} have. Products "
            "of processing baseline 04.00 and later (January 2022 on) are 1000 too high unless "
            "somebody removed the offset, older ones are not, and the values cannot tell: a wrong "
            "guess gives confident nonsense. Pass boa_offset=-1000 (--boa-offset -1000) for ESA's "
            "numbers of such a product, or boa_offset=0 for numbers that already are reflectance x "
            "10000."
        )
    if len(offsets) > 1:
        raise OffsetConflictError(
            f"{product} contradicts itself about the offset of {band}: {said}. Compare the values "
            "with those of the original product, then pass the right one: "
            + " or ".join(f"boa_offset={offset:g}" for offset in sorted(offsets))
            + "."
        )
    offset = offsets.pop()
    unused = tuple(item for item in with_offset if item.offset != offset)
    return OffsetAndScale(offset, quantification, said, unused)


def log_unused(product: str, scaling: Mapping[str, OffsetAndScale]) -> str:
    """Log once which stated offsets were not used, and return that; empty if there are none."""
    unused = {
        f"{item.said} ({item.offset:g})": scale
        for scale in scaling.values()
        for item in scale.unused
    }
    if not unused:
        return ""
    first, scale = next(iter(unused.items()))
    said = first + (f", and {len(unused) - 1} like it" if len(unused) > 1 else "")
    given = "given " if scale.source == GIVEN else ""
    logger.warning(
        "%s: using the %soffset %g (%s), not that of the metadata: %s.",
        product, given, scale.offset, scale.source, said,
    )  # fmt: skip
    return said


def _agreed(band: str, product: str, statements: Iterable[ScaleStatement]) -> float:
    values = {statement.quantification for statement in statements}
    # Words about the offset alone mean the usual factor.
    other = values - {MODEL_QUANTIFICATION}
    if len(other) > 1:
        listed = ", ".join(f"{value:g}" for value in sorted(other))
        raise OffsetConflictError(
            f"{product} gives several quantification values for {band}: {listed}."
        )
    return other.pop() if other else MODEL_QUANTIFICATION


def _is_small_whole(offset: float) -> bool:
    return -_LARGEST <= offset <= 0 and float(offset).is_integer()


def _refuse_reflectance(stored: NDArray[Any], quantification: float, name: str) -> None:
    largest = float(np.nanmax(stored, initial=0))
    if quantification >= 100 and 0 < largest <= LARGEST_REFLECTANCE:
        raise PixelValueError(
            f"{name}: the largest value is {largest:.4g}, which looks like reflectances of 0..1. "
            "Pass digital numbers: open the file without scaling, or multiply by 10000: of a file, "
            "gdal_translate -ot Float32 -scale 0 1 0 10000 IN.tif OUT.tif"
        )


def facts_of_scaling(scaling: Mapping[str, OffsetAndScale]) -> dict[str, str]:
    """Return the offset, the quantification value and their source, as outputs say them."""
    facts = {}
    for key in ("offset", "quantification", "source"):
        values = {band: _text(getattr(item, key)) for band, item in scaling.items()}
        same = len(set(values.values())) == 1
        listed = "; ".join(f"{band}: {value}" for band, value in values.items())
        facts[key] = next(iter(values.values())) if same else listed
    return {
        "boa_offset": facts["offset"],
        "quantification": facts["quantification"],
        "boa_offset_source": facts["source"],
    }


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
