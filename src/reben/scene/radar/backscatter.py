"""What a Sentinel-1 product holds, by its names and metadata: quantity, unit, filter.

The Sentinel-1 patches of BigEarthNet are sigma0 in dB at 10 m, without a speckle filter. What is
distributed today is mostly gamma0, which is stronger, or coarser, which is smoother.

Source: naming of ASF HyP3 (letters ``gpuned`` and the like), OPERA RTC-S1, Planetary Computer
sentinel-1-rtc, SNAP; STAC extension card4l.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from reben.errors import UnknownUnitError
from reben.support.times import time_in

logger = logging.getLogger(__name__)

Unit = Literal["db", "linear"]
UNITS: tuple[Unit, ...] = ("db", "linear")
Quantity = Literal["sigma0", "gamma0", "beta0"]
QUANTITIES: tuple[Quantity, ...] = ("sigma0", "gamma0", "beta0")
NOT_STATED = "not stated"

MOST_TYPICAL_VH = -12.5
"""A median of VH in dB that hardly any scene reaches; amplitude taken for power does."""
TRAINING_METRES = 10
MOST_DAYS = 30
"""Days between the products of both sensors above which it is said."""
MOST_METRES = 15
"""Pixels above it are said to be smoother than those of the training data."""

_UNIT_WORDS: Mapping[str, re.Pattern[str]] = {
    "db": re.compile(r"(?<![a-z])(db|decibels?)(?![a-z])", re.IGNORECASE),
    "linear": re.compile(r"(?<![a-z])(linear|power|intensity)(?![a-z])", re.IGNORECASE),
    "amplitude": re.compile(r"(?<![a-z])amplitude(?![a-z])", re.IGNORECASE),
}
_QUANTITY_WORDS: Mapping[str, re.Pattern[str]] = {
    quantity: re.compile(
        rf"(?<![a-z])({name}|{sign})[\s_-]*(0|o|nought|naught|zero)(?!(?!v[vh])[a-z\d])",
        re.IGNORECASE,
    )
    for quantity, name, sign in (
        ("sigma0", "sigma", "\N{GREEK SMALL LETTER SIGMA}"),
        ("gamma0", "gamma", "\N{GREEK SMALL LETTER GAMMA}"),
        ("beta0", "beta", "\N{GREEK SMALL LETTER BETA}"),
    )
}
_EFFECTS: Mapping[str, str] = {
    "gamma0": "0.6 to 1.6 dB above sigma0 on level ground (30 to 46 degrees of incidence)",
    "beta0": "1.4 to 3.0 dB above sigma0 on level ground (46 to 30 degrees of incidence)",
}
_HYP3 = re.compile(
    r"_RTC(?P<metres>\d\d)_[A-Z]_(?P<quantity>[gs])(?P<unit>[pda])[uw](?P<filter>[nf])[ec][dm]_",
    re.IGNORECASE,
)
_HYP3_UNITS = {"p": "linear power", "d": "dB", "a": "amplitude"}
_OPERA = re.compile(r"OPERA_L2_RTC-S1(?!-STATIC)", re.IGNORECASE)
_PLANETARY = re.compile(r"sentinel-1-rtc|\.rtc\.tiff?$|^S1[A-D]_.._GRD.*_rtc$", re.IGNORECASE)
_EARTH_ENGINE = re.compile(r"COPERNICUS/S1_GRD(?P<linear>_FLOAT)?", re.IGNORECASE)
_IN_DB = re.compile(r"_db(?![a-z\d])", re.IGNORECASE)
_UNIT_NAMES: Mapping[str, re.Pattern[str]] = {
    "dB": re.compile(r"(?<![a-z])v[vh][^a-z\d]+db(?![a-z\d])", re.IGNORECASE),
    "linear": re.compile(r"(?<![a-z])v[vh][^a-z\d]+lin(ear)?(?![a-z\d])", re.IGNORECASE),
    "amplitude": re.compile(r"(?<![a-z])amplitude[^a-z\d]+v[vh](?![a-z\d])", re.IGNORECASE),
}
_FILTERED = re.compile(
    r"(?<![a-z])(spk(?![a-z])|speckle[-_ ]?filter|refined[-_ ]?lee|lee[-_ ]?(sigma|filter))",
    re.IGNORECASE,
)
_NOT_FILTERED = re.compile(r"(?<![a-z])(no|not|without|un)(?![a-z])", re.IGNORECASE)


def words_of_names(names: Iterable[str]) -> dict[str, str]:
    """Return what the names of a product and its files mean, as key and text.

    Example:
        >>> words_of_names(["S1A_IW_20180128T161201_DVP_RTC30_G_gpuned_FD6A_VV.tif"])
        {'the name (HyP3)': 'gamma0, linear power'}
        >>> words_of_names(["Sigma0_VV_db.tif"])
        {'the name': 'sigma0, dB'}
    """
    words: dict[str, str] = {}
    for name in names:
        if match := _HYP3.search(name):
            quantity = {"g": "gamma0", "s": "sigma0"}[match["quantity"].lower()]
            filtered = ", speckle filter" if match["filter"].lower() == "f" else ""
            unit = _HYP3_UNITS[match["unit"].lower()]
            words["the name (HyP3)"] = f"{quantity}, {unit}{filtered}"
        elif _OPERA.search(name):
            words["the name (OPERA RTC-S1)"] = "gamma0, linear power"
        elif _PLANETARY.search(name):
            words["the name (RTC of the Planetary Computer)"] = "gamma0, linear power"
        elif match := _EARTH_ENGINE.search(name):
            unit = "linear power" if match["linear"] else "dB"
            words["the name (Earth Engine)"] = f"sigma0, {unit}"
        elif said := _said_by(name):
            key = "the name" if words.get("the name") in (None, said) else f"the name {name}"
            words[key] = said
        if match := _FILTERED.search(name):
            words["the name (filter)"] = f"{match[0]}: a speckle filter"
    return words


def _said_by(name: str) -> str:
    quantities = [one for one, text in _QUANTITY_WORDS.items() if text.search(name)]
    units = [one for one, text in _UNIT_NAMES.items() if text.search(name)]
    if quantities and not units and _IN_DB.search(name):
        units = ["dB"]
    return ", ".join((*quantities, *units))


def unit_of(
    name: str, words: Mapping[str, str], given: Unit | None, named: Mapping[str, str] | None = None
) -> Unit:
    """Return the unit of backscatter by its metadata or by the user.

    Args:
        name: Its name in error messages.
        words: Key -> text of metadata: units, descriptions, tags.
        given: The user's unit.
        named: What names mean, as `words_of_names` returns it. A user who converted the values
            knows better than they.

    Example:
        >>> unit_of("VV.tif", {"description": "sigma0 VV [dB]"}, None)
        'db'
    """
    said = _said(_UNIT_WORDS, words)
    by_name = _said(_UNIT_WORDS, named or {})
    if "amplitude" in said or ("amplitude" in by_name and given != "db"):
        reason = said.get("amplitude") or by_name["amplitude"]
        raise UnknownUnitError(
            f"{name} holds amplitude ({reason}); the models need power in dB. Square it "
            "first, and pass sentinel1_unit='linear', with files named otherwise."
        )
    if given is not None:
        other = [text for unit, text in said.items() if unit != given]
        if other and given not in said:
            raise UnknownUnitError(
                f"sentinel1_unit is {given!r}, but {name} says otherwise: {other[0]}. Leave it "
                "out, or correct the metadata of the file."
            )
        return given
    said = said or by_name
    if len(said) != 1:
        reason = "; ".join(said.values()) if said else "no unit, description, tag or name says so"
        raise UnknownUnitError(
            f"It is not clear whether {name} is in dB or linear power: {reason}. Pass "
            "sentinel1_unit='db' or sentinel1_unit='linear' (--sentinel1-unit)."
        )
    return "db" if "db" in said else "linear"


@dataclass(frozen=True)
class Backscatter:
    """What is known of a Sentinel-1 product.

    Args:
        quantity: What was measured; None if nothing says so.
        source: What says so.
        pixel_metres: Width and height of its pixels on the ground.
        speckle_filter: What says that speckle was filtered; empty if nothing does.
        sensed: When it was acquired, if that is known.
    """

    quantity: Quantity | None
    source: str
    pixel_metres: tuple[float, float]
    speckle_filter: str
    sensed: datetime | None = None

    @classmethod
    def of(
        cls,
        name: str,
        words: Mapping[str, str],
        given: Quantity | None,
        metres: tuple[float, float],
    ) -> "Backscatter":
        """Return what metadata and the user say.

        Args:
            name: What the product is called in error messages.
            words: Key -> text of metadata, as for `unit_of`.
            given: The user's quantity.
            metres: Width and height of its pixels on the ground.
        """
        said = _said(_QUANTITY_WORDS, words)
        filtered = next(
            (
                f"{key} is {text!r}"
                for key, text in words.items()
                if _FILTERED.search(text) and not _NOT_FILTERED.search(text)
            ),
            "",
        )
        if given is not None:
            if said and given not in said:
                raise UnknownUnitError(
                    f"sentinel1_quantity is {given!r}, but {name} says otherwise: "
                    f"{next(iter(said.values()))}. Leave it out, or correct the metadata."
                )
            return cls(given, "given as sentinel1_quantity", metres, filtered)
        if len(said) > 1:
            raise UnknownUnitError(
                f"It is not clear what {name} holds: {'; '.join(said.values())}. Pass "
                "sentinel1_quantity='sigma0' or 'gamma0' (--sentinel1-quantity)."
            )
        quantity = next((one for one in QUANTITIES if one in said), None)
        return cls(quantity, next(iter(said.values()), ""), metres, filtered)

    @property
    def about(self) -> dict[str, str]:
        """What outputs say of it."""
        facts = {
            "sentinel1_quantity": self.quantity or NOT_STATED,
            "sentinel1_quantity_source": self.source,
            "sentinel1_pixel_metres": " x ".join(f"{metres:.2f}" for metres in self.pixel_metres),
            "sentinel1_speckle_filter": self.speckle_filter,
            "sentinel1_sensing_time": "" if self.sensed is None else self.sensed.isoformat(),
        }
        return {key: text for key, text in facts.items() if text}

    def days_from(self, scene: str, sensed: str) -> dict[str, str]:
        """Return how many days lie between it and a scene, and log it if they are many.

        Args:
            scene: The name of the scene.
            sensed: When it was acquired; if that is empty, its name may tell.
        """
        when = time_in((sensed, scene))
        if when is None or self.sensed is None:
            return {}
        days = abs(when - self.sensed).days
        if days > MOST_DAYS:
            logger.warning(
                "The Sentinel-1 product is of %s, %s of %s: %d days apart, while those of the "
                "training data are of the same days. What grew or was built between them differs.",
                self.sensed.date(),
                scene,
                when.date(),
                days,
            )
        return {"sentinel1_days_apart": str(days)}

    def differences(self) -> list[str]:
        """Return in which ways it differs from the training data, and by how much."""
        found = []
        if self.quantity is not None and self.quantity in _EFFECTS:
            found.append(f"it is {self.quantity} ({self.source}), {_EFFECTS[self.quantity]}")
        largest = max(self.pixel_metres)
        if largest > MOST_METRES:
            found.append(
                f"its pixels are {largest:.0f} m on the ground, smoother than those of "
                f"{TRAINING_METRES} m (at 30 m by half: they vary by 1.2 instead of 2.3 dB)"
            )
        if self.speckle_filter:
            found.append(
                f"its speckle was filtered ({self.speckle_filter}), so that it is smoother"
            )
        return found

    def log(self, name: str, typical_vh: float) -> None:
        """Log once how the product differs from the training data, and what nothing states.

        Args:
            name: What the product is called.
            typical_vh: The median of some of its VH, in dB.
        """
        if typical_vh > MOST_TYPICAL_VH:
            logger.warning(
                "VH of %s is %.1f dB in the median, that of the training data about -19. Amplitude "
                "that is taken for power is 5 dB and more too strong; if these are amplitudes, "
                "square them first.",
                name,
                typical_vh,
            )
        if self.quantity is None:
            logger.warning(
                "Nothing says whether %s is sigma0, as in the training data, or gamma0, 0.6 to 1.6 "
                "dB above it. Say it with sentinel1_quantity (--sentinel1-quantity).",
                name,
            )
        differences = self.differences()
        if differences:
            logger.warning(
                "%s differs from the training data, which are sigma0 at %d m without a speckle "
                "filter: %s. Scores may suffer; the documentation of scenes says how to make the "
                "same.",
                name,
                TRAINING_METRES,
                "; ".join(differences),
            )


def _said(patterns: Mapping[str, re.Pattern[str]], words: Mapping[str, str]) -> dict[str, str]:
    return {
        meaning: f"{key} is {text!r}"
        for meaning, pattern in patterns.items()
        for key, text in words.items()
        if pattern.search(text)
    }
