"""Recard: a published model gets a config that names its bands and a card with measured figures."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from reben.data.dataset import Dataset
from reben.errors import ConfigError
from reben.model.folder import fetch_model
from reben.model.hub import is_hub_id, split_revision
from reben.publish.card import write_card
from reben.publish.cards.origin import card_on_hub, licence_stated
from reben.publish.cards.stated import read_stated
from reben.spec.bands import BandSet


def recard(  # noqa: PLR0913 - all after the third are named
    name: str,
    dataset: Dataset,
    out: str | Path,
    /,
    *,
    revision: str | None = None,
    bands: BandSet | str | None = None,
    split: str = "test",
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
    **card: Any,  # noqa: ANN401 - passed on
) -> Path:
    """Write a corrected card folder for a model on the Hub, and return its path.

    The weights are the published ones. The config is rewritten with bands, statistics and labels
    by name, the figures are measured on the patches of ``dataset``, and the card states the
    repository and commit that the weights come from. The licence is theirs; what their old card
    states of the training is told as its statement.

    Args:
        name: The model, ``owner/name`` or ``owner/name@revision``.
        dataset: The patches to measure on.
        out: The folder to write; its name is the model's name on the card.
        revision: Branch, tag or commit on the Hub.
        bands: Bands in channel order, if the name of the model does not imply them.
        split: The split to measure on.
        cache_dir: Cache of the Hub client, if not the default one.
        token: Token for the Hub, if not the default one.
        local_files_only: Whether to use only the Hub's cache, without network access.
        batch_size: Patches per batch.
        progress: Called as ``progress(done, total)`` after each batch, counted in patches.
        **card: Further settings of `write_card`, such as ``licence`` or ``hub_id``.

    Raises:
        ConfigError: If ``name`` is not an id on the Hub.
        EmptySplitError: If the split has no patches.
        RebenError: As `Classifier.from_pretrained`, `evaluate` and `write_card` do.

    Example:
        >>> recard(
        ...     "BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.2.0", data, "resnet50-s2"
        ... )  # doctest: +SKIP
        PosixPath('resnet50-s2')
    """
    name, revision = split_revision(name, revision)
    if not is_hub_id(name):
        raise ConfigError(
            f"{name} is not the id of a model on the Hugging Face Hub, such as owner/name. For a "
            "model folder, use write_card."
        )
    hub = {
        "revision": revision,
        "cache_dir": cache_dir,
        "token": token,
        "local_files_only": local_files_only,
    }
    fetched = fetch_model(name, hub)
    # Not before: they import what takes seconds.
    from reben.learn.evaluate import evaluate
    from reben.model.classifier import Classifier

    model = Classifier.from_pretrained(fetched, bands=bands)
    origin = f"{name}@{fetched.name}"
    old = card_on_hub(origin, hub)
    settings = {"origin": origin, "stated": read_stated(old), **card}
    if not {"licence", "license"}.intersection(card) and licence_stated(old) is not None:
        settings["licence"] = licence_stated(old)
    with tempfile.TemporaryDirectory() as scratch:
        folder = model.save_pretrained(Path(scratch) / Path(out).absolute().name)
        report = evaluate(folder, dataset[split], batch_size=batch_size, progress=progress)
        named = replace(report, name=name)
        return write_card(folder, named, out, dataset=dataset, **settings)
