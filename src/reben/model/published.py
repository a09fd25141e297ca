"""Configs of reben, and of classifiers that were published before it.

The older ``config.json`` has a number of channels and neither bands, statistics nor label names.
The order of the channels depends on the version, which only the name tells
(``<timm name>-<band config>-<version>``, for example ``resnet50-s2-v0.1.1``), and only that of a
repository of BIFOLD-BigEarthNetv2-0, or of a folder that came from one: others name theirs the same
way and feed another order. A wrong order gives confident nonsense and no error, so elsewhere reben
asks.

Source: the BIFOLD-BigEarthNetv2-0 collection on the Hugging Face Hub; band orders of ConfigILM
0.6.9 (for v0.1.1, July 2024) and 0.7.1 (for v0.2.0 and later, October 2024 on).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reben.errors import (
    AmbiguousBandsError,
    BandsMismatchError,
    ConfigError,
    ModelFolderError,
    UnknownBandError,
)
from reben.model.config import CURE, ModelConfig, Share, Side
from reben.spec.bands import ALL, S1, S2, BandSet
from reben.spec.labels import LABELS
from reben.spec.statistics import published_statistics
from reben.support.bounds import MAX_CARD_BYTES, read_text
from reben.support.json_files import Count, check_values, read_json

_OLD_S1 = BandSet(("VH", "VV"))
_OLD_S2 = BandSet(("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B11", "B12", "B8A"))
_OLD = {"s1": _OLD_S1, "s2": _OLD_S2, "all": BandSet((*_OLD_S2, *_OLD_S1))}
_NEW = {"s1": S1, "s2": S2, "all": ALL}

_NAME = re.compile(
    r"(?P<backbone>.+)-(?P<bands>s1|s2|all)-v(?P<version>\d+\.\d+\.\d+)", re.ASCII | re.IGNORECASE
)
_CACHE_FOLDER = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")
PUBLISHER = "BIFOLD-BigEarthNetv2-0/"
"""How the ids of the repositories begin whose names tell the order of the bands."""
_CARD_FILE = "README.md"


@dataclass(frozen=True)
class _PublishedFile:
    """The keys of a published ``config.json`` that a model follows from."""

    timm_model_name: str
    channels: Count
    classes: Count
    image_size: Side
    drop_rate: Share
    drop_path_rate: Share


def is_published_config(values: Mapping[str, Any]) -> bool:
    """Tell whether a config is of the older kind, which does not name its bands."""
    return "bands" not in values and "timm_model_name" in values


def published_name(folder: Path) -> str:
    """Return the name of a model folder; in the Hub's cache, the name of the repository."""
    repository = _cached_repository(folder)
    return folder.absolute().name if repository is None else repository.partition("/")[2]


def published_id(folder: Path) -> str:
    """Return the id of the repository that a folder came from, if that is known, else its name.

    The Hub's cache tells it; the card in the folder does if it names a repository of `PUBLISHER`
    called as the folder is. The version is that of the folder: their cards show that of the first.
    """
    name = folder.absolute().name
    match = _NAME.fullmatch(name)
    try:
        card = read_text(folder / _CARD_FILE, MAX_CARD_BYTES) if match else ""
    except OSError:
        card = ""
    is_theirs = match is not None and f"{PUBLISHER}{name[: match.start('version') - 1]}" in card
    return _cached_repository(folder) or (f"{PUBLISHER}{name}" if is_theirs else name)


def _cached_repository(folder: Path) -> str | None:
    """Return the id of the repository whose snapshot in the Hub's cache a folder is."""
    snapshots = folder.absolute().parent
    match = _CACHE_FOLDER.fullmatch(snapshots.parent.name)
    return f"{match['owner']}/{match['name']}" if match and snapshots.name == "snapshots" else None


def read_config(path: Path, *, name: str, bands: BandSet | None = None) -> ModelConfig:
    """Return the config in a file, of reben or older; see `config_of_published`."""
    values = read_json(path, dict[str, Any], ModelFolderError, CURE)
    try:
        config = parse_config(values, name=name, bands=bands)
    except (ConfigError, UnknownBandError) as error:
        raise type(error)(f"{path}: {error}") from None
    require_bands(config, bands, name)
    return config


def require_bands(config: ModelConfig, bands: BandSet | None, name: str) -> None:
    """Check that ``bands``, if given, are those of a model."""
    if bands is not None and bands.names != config.bands.names:
        raise BandsMismatchError(
            f"{name} was trained with {config.bands}; bands= says {bands}. Leave bands= out: "
            "the model knows its bands."
        )


def parse_config(
    values: Mapping[str, Any], *, name: str, bands: BandSet | None = None
) -> ModelConfig:
    """Return the config that ``values`` are, of reben or older; see `config_of_published`."""
    if "timm_model_name" not in values:
        kind = values.get("model_type") or values.get("architectures") or sorted(values)[:3]
        raise ConfigError(
            f"{name} is not a classifier of BigEarthNet: its config names no timm_model_name, as "
            f"those of reben and ConfigILM do; it is one of {str(kind)[:100]}. Name a model that "
            "reben wrote or that was published for BigEarthNet v2.0."
        )
    if is_published_config(values):
        return config_of_published(values, name=name, bands=bands)
    return ModelConfig.from_dict(values)


def config_of_published(
    values: Mapping[str, Any], *, name: str, bands: BandSet | None = None
) -> ModelConfig:
    """Return the config of a classifier that was published before reben, by its ``config.json``.

    ``name`` is the id of its repository, which tells the version and so the order of the bands if
    it is of `PUBLISHER`, or what messages call it; ``bands``, in the order of the channels, decide.
    """
    found = check_values(values, _PublishedFile, f"The config of {name}", ConfigError, CURE)
    if found.classes != len(LABELS):
        raise ConfigError(
            f"{name} has {found.classes} outputs and does not name them; BigEarthNet v2.0 has "
            f"{len(LABELS)} labels."
        )
    return ModelConfig(
        backbone=found.timm_model_name,
        bands=_bands(name, found.channels, bands),
        labels=LABELS,
        statistics=published_statistics(found.image_size, "nearest"),
        image_size=found.image_size,
        drop_rate=found.drop_rate,
        drop_path_rate=found.drop_path_rate,
    )


def _bands(name: str, channels: int, given: BandSet | None) -> BandSet:
    bands = given or _bands_of_name(name)
    if bands is None:
        raise AmbiguousBandsError(
            f"Nothing says in which order {name!r} takes its {channels} channels: its config names "
            f"no bands, and it is not known to be a model of {PUBLISHER.rstrip('/')}, where a name "
            f"such as resnet50-s2-v0.2.0 tells it. {describe_orders(channels)}. A wrong order "
            "gives confident nonsense and no error, so reben does not guess: pass bands= "
            '(--bands), for example bands="B04,B03,B02", in the order of the training.'
        )
    if len(bands) != channels:
        raise BandsMismatchError(
            f"{name} takes {channels} channels; {len(bands)} bands were named: {bands}. Name one "
            "band for each channel, in the order that the model was trained with."
        )
    return bands


def _bands_of_name(name: str) -> BandSet | None:
    match = _NAME.fullmatch(name.removeprefix(PUBLISHER))
    if match is None or not name.startswith(PUBLISHER):
        return None
    version = tuple(int(part) for part in match["version"].split("."))
    word = match["bands"].lower()
    if version >= (0, 2, 0):
        return _NEW[word]
    return _OLD[word] if version == (0, 1, 1) else None


def describe_orders(channels: int) -> str:
    """Return in which orders published models take so many channels, as a clause."""
    old, new = (
        next((bands for bands in orders.values() if len(bands) == channels), None)
        for orders in (_OLD, _NEW)
    )
    return (
        f"With {channels} channels, v0.1.1 of the published models has {old} and v0.2.0 has {new}"
        if old and new
        else f"No published model has {channels} channels"
    )
