"""Model folders and run folders here, and models on the Hub: found, read and written.

A model is ``config.json`` and ``model.safetensors``; a run holds its best one in ``best/``.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reben.errors import (
    ConfigError,
    ModelFolderError,
    RunError,
    UnsafeWeightsError,
    WeightsMismatchError,
)
from reben.model.config import ModelConfig
from reben.model.hub import fetch_file, is_hub_id, list_files, split_revision
from reben.model.published import published_name, read_config
from reben.spec.bands import BandSet
from reben.support.atomic import atomic_file

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
SUMMARY_FILE = "summary.json"
"""The file that a folder is known as a run by."""
BEST_FOLDER = "best"
"""The folder of a run that holds its best model."""
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class RunLike(Protocol):
    """A training run, of which the best model is meant; see `reben.Run`."""

    @property
    def best(self) -> Path:
        """The folder of its best model."""


def place_of(model: RunLike | str | Path) -> str:
    """Return the folder or the id on the Hub that a model is read from."""
    place = model if isinstance(model, str | Path) else getattr(model, "best", None)
    if not isinstance(place, str | Path):
        raise ConfigError(
            f"{type(model).__name__} does not name a model. Pass a run, a folder, or the id of a "
            "model on the Hugging Face Hub; save a classifier first: save_pretrained(folder)."
        )
    return str(place)


def run_folder(path: str | Path) -> Path | None:
    """Return the run folder that ``path`` is, or is the folder ``best`` of; None if neither."""
    folder = Path(path)
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
            f"The run {run} (status {status}) holds no model, since no epoch was finished; its "
            "train.log may tell why. Train again."
        )
    return folder


def read_model(
    name: str | Path, *, hub: Mapping[str, Any], bands: BandSet | None = None
) -> "tuple[ModelConfig, dict[str, Tensor]]":
    """Return config and weights of a model.

    Args:
        name: A model folder, a run folder, or ``owner/name[@revision]``.
        hub: ``revision``, ``cache_dir``, ``token``, ``local_files_only`` for the Hub client.
        bands: The bands in the order of the channels, for an older config that does not tell.
    """
    folder, called = _find_model(name, hub)
    if not (folder / CONFIG_FILE).is_file():
        raise ModelFolderError(f"{name} holds no {CONFIG_FILE}, so it is no model.")
    config = read_config(folder / CONFIG_FILE, name=called, bands=bands)
    return config, _read_weights(folder, name)


def _find_model(name: str | Path, hub: Mapping[str, Any]) -> tuple[Path, str]:
    """Return the folder of a model, fetched if need be, and the name that it was published by."""
    if not Path(name).is_dir():
        repository = split_revision(str(name))[0]
        return fetch_model(str(name), hub), repository.rpartition("/")[-1]
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
    return folder, published_name(folder)


def fetch_model(name: str, hub: Mapping[str, Any]) -> Path:
    """Return the local folder of a model on the Hub, its config and weights fetched into it."""
    name, revision = split_revision(name, hub.get("revision"))
    if not is_hub_id(name):
        raise ModelFolderError(
            f"There is no folder {name}, and it is not the id of a model on the Hugging Face Hub, "
            "which has the form owner/name."
        )
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
        _refuse_pickled(name, [path.name for path in folder.iterdir()])
        raise
    if weights is None:
        _refuse_pickled(name, list_files(name, folder.name, hub.get("token")))
        raise ModelFolderError(
            f"{name} on the Hub holds no {WEIGHTS_FILE}, so it is no model that reben can open."
        )
    return folder


def _read_weights(folder: Path, name: str | Path) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS_FILE
    if not path.is_file():
        _refuse_pickled(name, [file.name for file in folder.iterdir()])
        raise ModelFolderError(f"{name} holds no {WEIGHTS_FILE}, so it is no model.")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        with path.open("rb") as file:
            start = file.read(2)
        if start == b"PK" or start[:1] == b"\x80":
            raise _unsafe(name, f"{WEIGHTS_FILE}, which is a pickle under a wrong name") from None
        raise ModelFolderError(f"{path} is damaged: {error}. Fetch it again.") from None


def _refuse_pickled(name: str | Path, files: Iterable[str]) -> None:
    """Say so if the weights are among ``files`` as a pickle."""
    pickled = sorted(file for file in files if file.endswith(_PICKLED))
    if pickled:
        raise _unsafe(name, _listed(pickled))


def _unsafe(name: str | Path, what: str) -> UnsafeWeightsError:
    return UnsafeWeightsError(
        f"{name} holds only pickled weights ({what}). Opening a pickle can run any code, so reben "
        f"does not. Ask the authors for {WEIGHTS_FILE}, or convert it where you trust it."
    )


def load_weights(model: "nn.Module", weights: "Mapping[str, Tensor]", source: str | Path) -> None:
    """Put weights into ``model``: all of them, and nothing else."""
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in weights]
    extra = [name for name in weights if name not in wanted]
    reshaped = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in weights and weights[name].shape != wanted[name].shape
    ]
    if missing or extra or reshaped:
        raise WeightsMismatchError(
            f"The weights in {source} do not fit the model that its config describes. Missing: "
            f"{_listed(missing)}. Left over: {_listed(extra)}. Of another shape: "
            f"{_listed(reshaped)}. Nothing was loaded."
        )
    model.load_state_dict(dict(weights), strict=True)


def write_model(folder: Path, config: ModelConfig, weights: "Mapping[str, Tensor]") -> Path:
    """Write config and weights into ``folder``, each whole or not at all, and return it."""
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in weights.items()}
    with (
        atomic_file(folder / WEIGHTS_FILE) as weights_path,
        atomic_file(folder / CONFIG_FILE) as config_path,
    ):
        weights_path.write_bytes(save(tensors, {"format": "pt"}))
        config_path.write_text(config.to_json(), encoding="utf-8")
    return folder


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return (f"{shown} and {len(names) - most} more" if len(names) > most else shown) or "none"
