"""Model folders and run folders here, and models on the Hub: found, read and written.

A model is ``config.json`` and ``model.safetensors``; a run holds its best one in ``best/``.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from reben.errors import AmbiguousBandsError, ConfigError, ModelError, ModelFolderError, RunError
from reben.model.checkpoint import backbone_of_name, open_checkpoint
from reben.model.config import ModelConfig
from reben.model.hub import fetch_file, is_hub_id, list_files, split_revision
from reben.model.published import describe_orders, published_id, read_config, require_bands
from reben.model.weights import (
    PICKLED,
    WEIGHTS_FILE,
    digest_weights,
    open_weights,
    refuse_pickled,
    stale_exports,
    unsafe,
    weights_as_bytes,
)
from reben.spec.bands import BandSet
from reben.support.atomic import atomic_file
from reben.support.json_files import read_json

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_FILE = "config.json"
SUMMARY_FILE = "summary.json"
"""The file that a folder is known as a run by."""
_SHOWN = 200
BEST_FOLDER = "best"
"""The folder of a run that holds its best model."""


_logger = logging.getLogger(__name__)


class RunLike(Protocol):
    """A training run, of which the best model is meant; see `reben.Run`."""

    @property
    def best(self) -> Path:
        """The folder of its best model."""


def place_of(model: "FoundModel | RunLike | str | Path") -> str:
    """Return the folder or the id on the Hub that a model is read from."""
    if isinstance(model, FoundModel):
        return model.name
    place = model if isinstance(model, str | Path) else getattr(model, "best", None)
    if not isinstance(place, str | Path):
        raise ConfigError(
            f"{type(model).__name__} does not name a model. Pass a run, a folder, or the id of a "
            "model on the Hugging Face Hub; save a classifier first: save_pretrained(folder)."
        )
    return str(place)


def is_folder(place: str | Path) -> bool:
    """Tell whether a text names a folder; a text that cannot be a path does not."""
    return str(place) != "" and os.path.isdir(place)  # noqa: PTH112 - Path.is_dir raises


def run_folder(path: str | Path) -> Path | None:
    """Return the run folder that ``path`` is, or is the folder ``best`` of; None if neither."""
    folder = Path(path)
    if not is_folder(path):
        return None
    if (folder / SUMMARY_FILE).is_file():
        return folder
    resolved = folder.resolve()
    if resolved.name == BEST_FOLDER and (resolved.parent / SUMMARY_FILE).is_file():
        return folder.parent if folder.name == BEST_FOLDER else resolved.parent
    return None


def require_best(run: Path, status: str = "unknown") -> Path:
    """Return the folder of the best model of a run, or raise a RunError if it has none yet."""
    folder = run / BEST_FOLDER
    if not (folder / CONFIG_FILE).is_file():
        raise RunError(
            f"The run {run} (status {status}) holds no model, since no epoch was finished or "
            f"{BEST_FOLDER}/ was removed; its train.log may tell why. Resume it: "
            f"reben train --resume {run}"
        )
    return folder


def another_best(run: Path) -> RunError:
    """Return the error that the summary of a run tells of other weights than those in ``best/``."""
    return RunError(
        f"The summary of {run} speaks of another model than its {BEST_FOLDER}/ holds: the training "
        "is writing it, or was ended while it did, or the files there were damaged or replaced. "
        f"Try again in a moment, or let it be put right: reben train --resume {run}"
    )


def require_told(run: Path, weights: str) -> None:
    """Raise `another_best` unless the summary tells of the weights that have this digest."""
    cure = f"Let it be put right: reben train --resume {run}"
    told = read_json(run / SUMMARY_FILE, dict[str, Any], RunError, cure).get("best_weights_sha256")
    if told not in (None, weights):  # an older version told of none
        raise another_best(run)


@dataclass(frozen=True)
class FoundModel:
    """A model that is here, looked at and not loaded; `reben.open_model` opens it.

    Args:
        name: What it was named by: its folder, its run, or its id on the Hub.
        folder: The folder that holds its config and weights.
        config: Its config.
    """

    name: str
    folder: Path
    config: ModelConfig


def find_model(
    model: "FoundModel | RunLike | str | Path",
    *,
    bands: BandSet | str | None = None,
    hub: Mapping[str, Any] = MappingProxyType({}),
) -> FoundModel:
    """Return a model that can be opened, as far as its config and the header of its weights tell.

    It takes no torch, and so little time that it comes before anything else.

    Args:
        model: A run, a model folder, a run folder, or ``owner/name[@revision]``.
        bands: The bands in the order of the channels, for an older config that does not tell.
        hub: ``revision``, ``cache_dir``, ``token``, ``local_files_only`` for the Hub client.

    Raises:
        RebenError: As `reben.open_model` does.
    """
    if isinstance(model, FoundModel):
        require_bands(model.config, None if bands is None else BandSet.parse(bands), model.name)
        return model
    name = place_of(model)
    config, folder = _read_model(
        name, hub=hub, bands=None if bands is None else BandSet.parse(bands)
    )
    with open_weights(folder, name, "numpy"):
        return FoundModel(name, folder, config)


def _read_model(
    name: str, *, hub: Mapping[str, Any], bands: BandSet | None = None
) -> tuple[ModelConfig, Path]:
    """Return the config of a model, and the folder that holds its weights."""
    folder, called = _find_model(name, hub)
    if not (folder / CONFIG_FILE).is_file():
        raise ModelFolderError(_why_no_model(folder, name))
    try:
        return read_config(folder / CONFIG_FILE, name=called, bands=bands), folder
    except AmbiguousBandsError as error:
        raise AmbiguousBandsError(
            f"{error} A copy that names its bands is made once for all with: reben import "
            f"{quote(str(name))} --bands BANDS --out FOLDER"
        ) from None


def _find_model(name: str | Path, hub: Mapping[str, Any]) -> tuple[Path, str]:
    """Return the folder of a model, fetched if need be, and its name; see `published_id`."""
    if not is_folder(name):
        repository = split_revision(str(name))[0]
        return fetch_model(str(name), hub), repository
    if hub.get("revision") is not None:
        raise ConfigError(
            f"{name} is a folder, which has no revision {hub['revision']}. Leave revision "
            "out, or give the id of a model on the Hub."
        )
    folder, run = Path(name), run_folder(name)
    if run is not None:
        folder = require_best(run)
    elif not (folder / CONFIG_FILE).is_file() and (folder / BEST_FOLDER / CONFIG_FILE).is_file():
        folder /= BEST_FOLDER  # of a run whose summary was left behind
    return folder, published_id(folder)


def _why_no_model(folder: Path, name: str | Path) -> str:
    """Return why a folder without a config is no model, and which folder may have been meant."""
    inside = sorted(path.parent for path in folder.glob(f"*/{CONFIG_FILE}"))
    runs = sorted(path.parent for path in folder.glob(f"*/{SUMMARY_FILE}"))
    found = [str(path) for path in (*runs, *inside)][:3]
    meant = f" Did you mean {' or '.join(found)}?" if found else ""
    return (
        f"{name} holds no {CONFIG_FILE}, so it is no model.{meant} A model is a run folder, a "
        f"folder with {CONFIG_FILE} and {WEIGHTS_FILE}, or an id on the Hub: owner/name."
    )


def _no_folder(name: str) -> ModelError:
    """Return the error about a name that is neither a folder nor an id on the Hub."""
    shown = repr(name) if len(name) <= _SHOWN else f"{name[:_SHOWN]!r}..."
    path = Path(name)
    if name.startswith(("http://", "https://")):
        return ModelFolderError(
            f"{shown} is an address, not a model. Name a model on the Hub as owner/name[@revision]."
        )
    if not os.path.isfile(name):  # noqa: PTH113 - Path.is_file raises
        plain = name if name.isprintable() and name.strip() and len(name) <= _SHOWN else shown
        return ModelFolderError(
            f"There is no folder {plain}, and it is not the id of a model on the Hugging Face Hub, "
            "which has the form owner/name."
        )
    run = run_folder(path.absolute().parent.parent)
    if run is not None:
        return ModelFolderError(f"{name} is a file of a run. Name the run folder: {run}")
    if path.suffix in PICKLED:
        return _no_checkpoint(path) or unsafe(name, "it is a pickle itself")
    if (path.parent / CONFIG_FILE).is_file():
        return ModelFolderError(f"{name} is a file. Name the folder that it is in: {path.parent}")
    return ModelFolderError(
        f"{name} is a file, not a model. Name a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, a "
        "run folder, or an id on the Hub: owner/name."
    )


def _no_checkpoint(path: Path) -> ModelError | None:
    """Return the error about a checkpoint, with the command that makes a model folder of it."""
    try:
        with open_checkpoint(path) as checkpoint:
            channels, stated = checkpoint.channels, checkpoint.stated.get("timm_model_name")
    except ModelFolderError:
        return None
    known = backbone_of_name(path) or "BACKBONE"
    backbone = "" if stated else f" --backbone {known}"
    word = {2: "s1", 10: "s2", 12: "all"}.get(channels or 0)
    orders = describe_orders(channels or 0) + (f"; {word} is the latter" if word else "")
    return ModelFolderError(
        f"{path} is a checkpoint, not a model: it does not name its bands. Make a model folder of "
        f"it, with the bands in the order of its training: reben import {quote(str(path))} --bands "
        f"{word or 'BANDS'}{backbone} --out {quote(str(path.with_suffix('')))} ({orders})."
    )


def fetch_model(name: str, hub: Mapping[str, Any]) -> Path:
    """Return the local folder of a model on the Hub, its config and weights fetched into it."""
    name, revision = split_revision(name, hub.get("revision"))
    if not is_hub_id(name) or os.path.isfile(name):  # noqa: PTH113 - as below
        raise _no_folder(name)
    config = fetch_file(name, CONFIG_FILE, {**hub, "revision": revision})
    if config is None:
        raise ModelFolderError(
            f"{name} on the Hub holds no {CONFIG_FILE}, so it is no model that reben can open."
        )
    folder = config.parent
    at_commit = {**hub, "revision": folder.name}  # the same one, whatever is pushed meanwhile
    try:
        weights = fetch_file(name, WEIGHTS_FILE, at_commit)
    except ModelFolderError:
        refuse_pickled(name, [path.name for path in folder.iterdir()])
        raise
    if weights is None:
        refuse_pickled(name, list_files(name, folder.name, hub.get("token")))
        raise ModelFolderError(
            f"{name} on the Hub holds no {WEIGHTS_FILE}, so it is no model that reben can open."
        )
    return folder


def write_model(folder: Path, config: ModelConfig, weights: "Mapping[str, Tensor]") -> Path:
    """Write config and weights into ``folder``, each whole or not at all, and return it."""
    content = weights_as_bytes(weights, folder)
    with (
        atomic_file(folder / CONFIG_FILE) as config_path,  # in place last: it makes it a model
        atomic_file(folder / WEIGHTS_FILE) as weights_path,
    ):
        weights_path.write_bytes(content)
        config_path.write_text(config.to_json(), encoding="utf-8")
    for path in stale_exports(folder, digest_weights(weights, config.to_json().encode())):
        _logger.warning(
            "%s was made of other weights or settings than those that were saved beside it now. "
            "Remove it, or write it again: reben export %s %s",
            *(path, folder, path),
        )
    return folder
