"""Open a model, whatever names it: a classifier, a run, a folder, an id on the Hugging Face Hub.

Every function and verb that takes a model calls `open_model`, so that all of them take the same.
What a model is called and where it computes is decided here too, once.
"""

import os
from pathlib import Path

import torch

from reben.errors import ConfigError, first_line
from reben.model.classifier import Classifier
from reben.model.folder import RunLike, is_folder, place_of, require_told, run_folder
from reben.model.published import published_name, require_bands
from reben.model.weights import digest_weights
from reben.spec.bands import BandSet

ModelLike = Classifier | RunLike | str | Path
"""A classifier, a run, the folder of either, or an id on the Hub: ``owner/name[@revision]``."""


def open_model(
    model: ModelLike,
    device: str | torch.device = "auto",
    revision: str | None = None,
    *,
    bands: BandSet | str | None = None,
) -> Classifier:
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
        >>> model = open_model(Classifier("test_resnet", "rgb"))
        >>> open_model("runs/r50-s2")  # doctest: +SKIP
        >>> open_model("BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.2.0", "cuda:1")  # doctest: +SKIP
    """
    if not isinstance(model, Classifier):
        place = place_of(model)
        opened = Classifier.from_pretrained(
            place, revision=revision, bands=bands, device=pick_device(device)
        )
        run = run_folder(place)
        if run is not None:
            require_told(run, digest_weights(opened.state_dict()))
        return opened
    if revision is not None:
        raise ConfigError(
            f"A classifier that is open has no revision {revision}. Leave revision out, or give "
            "the id of a model on the Hub."
        )
    require_bands(model.config, None if bands is None else BandSet.parse(bands), name_of(model))
    return model if device == "auto" else model.to(pick_device(device))


def name_of(model: ModelLike) -> str:
    """Return what to call a model: its run, folder or id on the Hub, else what it is made of.

    Example:
        >>> name_of("BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.2.0"), name_of("/home/me/runs/toy")
        ('BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.2.0', 'toy')
        >>> name_of(Classifier("test_resnet", "s2"))
        'test_resnet-s2'
    """
    if isinstance(model, Classifier):
        return f"{model.config.backbone}-{model.bands.word}"
    place = place_of(model)
    folder = run_folder(place) or Path(place)
    is_local = is_folder(folder) or place.partition("@")[0].count("/") > 1
    return published_name(folder.resolve()) if is_local else place


def pick_device(device: str | torch.device = "auto", *, rank: int | None = None) -> torch.device:
    """Return the device to compute on.

    Args:
        device: ``auto`` is an accelerator if there is one, else the CPU.
        rank: Number of this process among those that share the work of a machine, so that each
            takes an accelerator of its own; by default what torchrun says, if it runs.
    """
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
