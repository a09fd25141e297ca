"""From stored digital numbers to those that the models know: reflectance x 10000, no offset.

What a product says about the offset of its numbers is gathered as statements. Where they agree,
they count; where they contradict each other or there is none, nothing is guessed.

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

from reben.errors import OffsetConflictError, PixelValueError, ProductError, UnknownOffsetError

logger = logging.getLogger(__name__)

MODEL_QUANTIFICATION = 10_000
"""Digital numbers of the models are reflectance times this."""
OFFSET_SINCE = (4, 0)
"""The first processing baseline whose digital numbers carry an offset."""
OFFSET_OF_LATER_BASELINES = -1000
"""The offset of every band in products from that baseline on.

Source: BOA_ADD_OFFSET in the metadata of products of baselines 04.00 and 05.09.
"""
_OWN_PROCESSING = 99
_LARGEST_REFLECTANCE = 10.0
_LARGEST = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class ScaleStatement:
    """What one source says about the digital numbers.

    Args:
        said: Its own words.
        offset: What is to be added to them; None if it says nothing about that.
        quantification: What they are to be divided by then.
    """

    said: str
    offset: float | None
    quantification: float = MODEL_QUANTIFICATION


@dataclass(frozen=True)
class OffsetAndScale:
    """How stored numbers become reflectance x 10000.

    Args:
        offset: What is added to a stored number, such as -1000.
        quantification: What the sum is divided by to get a reflectance.
        source: Who says so.
    """

    offset: float
    quantification: float
    source: str

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be."""
        if not math.isfinite(self.offset) or not 0 < self.quantification < math.inf:
            raise ProductError(
                f"The offset {self.offset} and quantification value {self.quantification} "
                f"({self.source}) cannot be: the first must be finite, the second above 0."
            )

    def apply(self, stored: NDArray[Any], name: str) -> NDArray[Any]:
        """Return reflectance x 10000, [h, w], in a new array.

        It is uint16 where whole numbers stay whole, else float32. 0 stays 0, which is no data;
        NaN becomes 0; nothing gets below 0.

        Args:
            stored: Digital numbers as the file has them, [h, w].
            name: What they are called in error messages.

        Raises:
            PixelValueError: If they are reflectances of 0..1 and not digital numbers.

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
    """Refuse an offset that a user can only have meant otherwise.

    Raises:
        OffsetConflictError: If it is positive, a fraction, or not a number.
    """
    if boa_offset is None:
        return
    if not math.isfinite(boa_offset) or boa_offset > 0 or -1 < boa_offset < 0:
        raise OffsetConflictError(
            f"boa_offset is {boa_offset}; it is what is added to a digital number: 0, or "
            f"{OFFSET_OF_LATER_BASELINES} for products of processing baseline 04.00 and later."
        )


def parse_baseline(text: str) -> tuple[int, int]:
    """Return a processing baseline as two numbers.

    Raises:
        ProductError: If the text is no baseline.

    Example:
        >>> parse_baseline("05.09") >= OFFSET_SINCE, parse_baseline("02.12") >= OFFSET_SINCE
        (True, False)
    """
    match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})", text.strip())
    if match is None:
        raise ProductError(f"{text!r} is no processing baseline. It should look like 05.09.")
    return int(match[1]), int(match[2])


def offset_of_baseline(text: str) -> float | None:
    """Return the offset that ESA's products of a baseline carry.

    None for 99.99, which is what a product says that was processed by its owner.
    """
    baseline = parse_baseline(text)
    if baseline[0] == _OWN_PROCESSING:
        return None
    return OFFSET_OF_LATER_BASELINES if baseline >= OFFSET_SINCE else 0


def statements_in(properties: Mapping[str, Any]) -> list[ScaleStatement]:
    """Return what the properties of a STAC item, or attributes like them, say about the offset."""
    baseline = _baseline_in(properties)
    by_baseline = offset_of_baseline(baseline[1]) if baseline else None
    for key in ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"):
        if key not in properties:
            continue
        applied = properties[key]
        if not isinstance(applied, bool | np.bool_):
            raise ProductError(f"{key} is {applied!r}; it should be true or false.")
        if applied:
            return [ScaleStatement(f"{key} is true", 0)]
        if by_baseline is not None and baseline:
            said = f"{key} is false and {baseline[0]} is {baseline[1]}"
            return [ScaleStatement(said, by_baseline)]
        return []
    if by_baseline is None or not baseline:
        return []
    return [ScaleStatement(f"{baseline[0]} is {baseline[1]}", by_baseline)]


def _baseline_in(properties: Mapping[str, Any]) -> tuple[str, str] | None:
    for key in ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version"):
        text = str(properties.get(key, ""))
        # The last key holds baselines in one catalogue and versions of programs in others.
        if text and (key != "processing:version" or re.fullmatch(r"\d\d\.\d\d", text)):
            return key, text
    return None


def statement_of_scale(said: str, scale: float, offset: float | None) -> ScaleStatement:
    """Return the statement ``reflectance = DN * scale + offset`` in digital numbers.

    A scale alone, without an offset, says how numbers are divided and nothing more.

    Raises:
        ProductError: If the scale is not above 0.
    """
    if not 0 < scale < math.inf or not math.isfinite(offset or 0):
        raise ProductError(f"{said}: a scale must be above 0 and an offset finite.")
    # Rounded, because -0.1 / 0.0001 is not quite -1000.
    in_numbers = None if offset is None else round(offset / scale, 6) + 0.0
    return ScaleStatement(said, in_numbers, round(1 / scale, 6))


def decide(
    band: str, product: str, statements: Sequence[ScaleStatement], boa_offset: float | None
) -> OffsetAndScale:
    """Return the calibration of one band from what is said about it.

    Args:
        band: The band's name.
        product: What the product is called in error messages.
        statements: What its metadata say.
        boa_offset: What the user says. It decides also where metadata contradict each other or
            themselves are wrong, as those of public catalogues sometimes are; then a warning is
            logged.

    Raises:
        UnknownOffsetError: If nobody says anything.
        OffsetConflictError: If metadata contradict each other and the user does not decide.
    """
    quantification = _agreed(band, product, statements)
    offsets = {item.offset for item in statements if item.offset is not None}
    said = "; ".join(item.said for item in statements if item.offset is not None)
    if boa_offset is not None:
        if offsets - {boa_offset}:
            logger.warning(
                "%s: the offset %s was given and counts, though for %s the metadata say: %s",
                product, boa_offset, band, said,
            )  # fmt: skip
        return OffsetAndScale(boa_offset, quantification, "given as boa_offset")
    if not offsets:
        raise UnknownOffsetError(
            f"Nothing in {product} says which offset the digital numbers of {band} carry. Products "
            "of processing baseline 04.00 and later (January 2022 on) are 1000 too high unless "
            "somebody took it off, older ones are not, and the values cannot tell: a guess that "
            "is wrong gives confident nonsense. Say it: boa_offset=-1000 (--boa-offset -1000) if "
            "they are ESA's numbers of such a product, boa_offset=0 if they are reflectance x "
            "10000 as they stand."
        )
    if len(offsets) > 1:
        raise OffsetConflictError(
            f"What {product} says about the offset of {band} contradicts itself: {said}. Compare "
            "the values with those of the original product, then say which is right: "
            + " or ".join(f"boa_offset={offset:g}" for offset in sorted(offsets))
            + "."
        )
    return OffsetAndScale(offsets.pop(), quantification, said)


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
    if quantification >= 100 and 0 < largest <= _LARGEST_REFLECTANCE:
        raise PixelValueError(
            f"{name}: values reach {largest:.4g} only, which looks like reflectances of 0..1. "
            "Digital numbers are needed: open it without scaling, or multiply by 10000."
        )
