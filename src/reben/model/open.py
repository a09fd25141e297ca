"""Open a model, whatever names it: a classifier, a run, a folder, an id on the Hugging Face Hub.

Every function and verb that takes a model calls `open_model`, so that all of them take the same.
What a model is called and where it computes is decided here too, once.
"""

import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, cast

from reben.errors import AmbiguousBandsError, ConfigError, first_line
from reben.model.checkpoint import SUFFIXES, backbone_of_name, open_checkpoint
from reben.model.folder import (
    FoundModel,
    RunLike,
    find_model,
    is_folder,
    place_of,
    require_told,
    run_folder,
)
from reben.model.published import (
    config_of_published,
    describe_orders,
    published_name,
    require_bands,
)
from reben.model.weights import digest_weights, open_weights
from reben.spec.bands import BandSet
from reben.spec.labels import LABELS
from reben.support.collector import uncollected

if TYPE_CHECKING:
    import torch

    from reben.model.classifier import Classifier

_Named = FoundModel | RunLike | str | Path
ModelLike = Union["Classifier", FoundModel, RunLike, str, Path]
"""A classifier, a run, the folder of either, or an id on the Hub: ``owner/name[@revision]``."""
_DEVICES = (
    "cpu", "cuda", "mps", "xpu", "xla", "hpu", "mtia", "maia", "ipu", "meta", "vulkan",
)  # fmt: skip
"""Kinds of devices of torch itself. Source: `torch.device`."""


def open_model(
    model: ModelLike,
    device: "str | torch.device" = "auto",
    revision: str | None = None,
    *,
    bands: BandSet | str | None = None,
) -> "Classifier":
    """Return the classifier that ``model`` is or names.

    Args:
        model: A classifier; a run, of which the best model is meant; the folder of either; or
            the id of a model on the Hugging Face Hub, ``owner/name`` or ``owner/name@revision``.
        device: Where to compute, for example ``cpu``, ``cuda:1``, ``mps``. ``auto`` is an
            accelerator if there is one, else the CPU; a classifier that is open already stays
            where it is. Any other device moves that classifier.
        revision: Branch, tag or commit on the Hub, if the id does not name it.
        bands: Bands of the model in their order, for a published one whose name does not say.

    Raises:
        ConfigError: If the device cannot be used, or a folder or classifier gets a revision.
        BandsMismatchError: If ``bands`` are not the bands of the model.
        RunError: If a run holds no model yet, or another one than its summary tells of.
        ModelError: If the model cannot be loaded.
        HubError: If the Hub refuses, or cannot be reached and its cache lacks the model.

    Example:
        >>> from reben import Classifier
        >>> model = open_model(Classifier("test_resnet", "rgb"))
        >>> open_model("runs/r50-s2")  # doctest: +SKIP
        >>> open_model("BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.2.0", "cuda:1")  # doctest: +SKIP
    """
    require_device_name(device)
    own = as_classifier(model)
    if own is None:
        found = find_model(cast("_Named", model), bands=bands, hub={"revision": revision})
        with uncollected():
            from reben.model.classifier import Classifier
        chosen = pick_device(device)
        with open_weights(found.folder, found.name) as weights:
            opened = Classifier.from_weights(found.config, weights, found.name).to(chosen)
        run = run_folder(found.name)
        if run is not None:
            require_told(run, digest_weights(opened.state_dict()))
        return opened
    if revision is not None:
        raise ConfigError(
            f"A classifier that is open has no revision {revision}. Leave revision out, or give "
            "the id of a model on the Hub."
        )
    require_bands(own.config, None if bands is None else BandSet.parse(bands), name_of(own))
    return own if device == "auto" else own.to(pick_device(device))


def import_model(
    source: str | Path, *, bands: BandSet | str | None = None, backbone: str | None = None
) -> "Classifier":
    """Return a classifier that names its bands, of a model or checkpoint that may not.

    Args:
        source: A checkpoint of the original training scripts (``.ckpt``), or what `open_model`
            takes. Nothing is unpickled.
        bands: The bands in the order of the training; a checkpoint never tells them.
        backbone: The timm architecture of a checkpoint, if its hyper parameters do not name it.

    Raises:
        AmbiguousBandsError: If nothing says the bands.
        ConfigError: If nothing says the architecture, or another than ``backbone``.
        WeightsMismatchError: If bands and architecture do not fit the weights, to the last key.
        ModelFolderError: If the file is no checkpoint.
    """
    path = Path(source)
    own = run_folder(path.absolute().parent.parent)
    if not path.is_file() or path.suffix not in SUFFIXES or own is not None:
        if backbone is not None:
            raise ConfigError(
                f"{source} is no checkpoint of other scripts: its config names the backbone. Leave "
                "--backbone out."
            )
        return open_model(str(source), "cpu", bands=bands)
    with open_checkpoint(path) as checkpoint:
        if bands is None:
            channels = checkpoint.channels or 0
            raise AmbiguousBandsError(
                f"Nothing in {path} says in which order it takes its {channels} channels, and a "
                f"wrong order gives confident nonsense and no error. {describe_orders(channels)}. "
                'Name them in the order of the training: bands= (--bands), for example "s2" or '
                '"B04,B03,B02".'
            )
        values: dict[str, Any] = {"drop_rate": 0.15, "drop_path_rate": 0.15, "image_size": 120}
        values |= {key: checkpoint.stated[key] for key in values if key in checkpoint.stated}
        values["timm_model_name"] = _backbone(
            path, checkpoint.stated.get("timm_model_name"), backbone
        )
        bands = BandSet.parse(bands)
        values |= {"channels": len(bands), "classes": len(LABELS)}
        config = config_of_published(values, name=str(path), bands=bands)
        with uncollected():
            from reben.model.classifier import Classifier
        return Classifier.from_weights(config, checkpoint, path)


def _backbone(path: Path, stated: str | None, given: str | None) -> str:
    """Return the architecture of a checkpoint."""
    if given not in (None, stated) and stated is not None:
        raise ConfigError(
            f"{path} says its backbone is {stated}, not {given}. Leave --backbone out."
        )
    found = given or stated
    if found is None:
        called = backbone_of_name(path)
        hint = f" Its name begins with {called}." if called else ""
        raise ConfigError(
            f"Nothing in {path} says which timm architecture its weights are of.{hint} Name it: "
            f"backbone= (--backbone), for example --backbone {called or 'resnet50'}"
        )
    return found


def name_of(model: ModelLike) -> str:
    """Return what to call a model: its run, folder or id on the Hub, else what it is made of.

    Example:
        >>> name_of("BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.2.0"), name_of("/home/me/runs/toy")
        ('BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.2.0', 'toy')
        >>> from reben import Classifier
        >>> name_of(Classifier("test_resnet", "s2"))
        'test_resnet-s2'
    """
    own = as_classifier(model)
    if own is not None:
        return f"{own.config.backbone}-{own.bands.word}"
    place = place_of(cast("_Named", model))
    folder = run_folder(place) or Path(place)
    is_local = is_folder(folder) or place.partition("@")[0].count("/") > 1
    return published_name(folder.resolve()) if is_local else place


def as_classifier(model: ModelLike) -> "Classifier | None":
    """Return a model that is open already; torch is not imported to tell that a name is none."""
    if isinstance(model, str | Path | FoundModel):
        return None
    from reben.model.classifier import Classifier

    return model if isinstance(model, Classifier) else None


def require_device_name(device: "str | torch.device") -> None:
    """Refuse what cannot be a device of any machine, without importing torch.

    Raises:
        ConfigError: If it is not ``auto`` or a kind of device, maybe with a number.
    """
    kind, colon, number = str(device).partition(":")
    is_known = kind in _DEVICES or bool(entry_points(group="torch.backends"))  # others may add one
    if device != "auto" and not (is_known and (number.isdecimal() or not colon)):
        raise ConfigError(
            f"The device {device} cannot be used: torch knows no such device. Choose auto, cpu, or "
            "one that this machine has, for example cuda:1."
        )


def pick_device(
    device: "str | torch.device" = "auto", *, rank: int | None = None
) -> "torch.device":
    """Return the device to compute on.

    Args:
        device: ``auto`` is an accelerator if there is one, else the CPU.
        rank: Number of this process among those that share the work of a machine, so that each
            takes an accelerator of its own; by default what torchrun says, if it runs.
    """
    import torch

    require_device_name(device)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    try:
        found = torch.device(device if device != "auto" else accelerator or "cpu")
        torch.zeros(1, device=found).cpu()
    except (RuntimeError, AssertionError) as error:  # torch raises both for a device it lacks
        raise ConfigError(
            f"The device {device} cannot be used: {first_line(error)}. Choose auto, cpu, or one "
            "that this machine has."
        ) from None
    if accelerator is None or found.type != accelerator.type or ":" in str(found):
        return found
    if rank is None and "LOCAL_RANK" in os.environ:
        rank = int(os.environ["LOCAL_RANK"])
    if rank is not None:
        torch.accelerator.set_device_index(rank % torch.accelerator.device_count())
    return torch.device(found.type, torch.accelerator.current_device_index())
