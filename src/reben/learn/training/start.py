"""The classifier that a training starts from: new, or with the weights of another model."""

import logging
from pathlib import Path
from typing import NamedTuple

from reben.data.dataset import Dataset
from reben.data.statistics import measure_statistics, read_statistics
from reben.errors import ConfigError
from reben.learn.config import AUTO, PUBLISHED, TrainConfig
from reben.learn.run_files import STATISTICS_FILE
from reben.learn.summary import InitialWeights
from reben.learn.training.optimiser import classification_head
from reben.model.classifier import Classifier
from reben.model.folder import fetch_model
from reben.model.hub import split_revision
from reben.model.open import name_of, open_model
from reben.model.weights import WEIGHTS_FILE
from reben.spec.statistics import Statistics, published_statistics

_logger = logging.getLogger(__name__)


class Start(NamedTuple):
    """What a training starts from."""

    classifier: Classifier
    weights: InitialWeights
    """Where its weights come from."""


def statistics_for(config: TrainConfig, dataset: Dataset, run: Path | None = None) -> Statistics:
    """Return the statistics that a training takes.

    Args:
        config: The settings.
        dataset: The patches; those of the train split are measured if the settings say so.
        run: The folder of the run to resume, which keeps those that it began with.

    Raises:
        ConfigError: If a file holds no statistics for bands, image size and upsampling.
    """
    bands, size, upsampling = config.band_set, config.image_size, config.upsampling
    kept = None if run is None else run / STATISTICS_FILE
    if config.statistics == PUBLISHED:
        if dataset.own is not None:
            _logger.warning(
                "The band statistics are those published for BigEarthNet v2.0, and the patches are "
                "of %s. To measure them on these patches: --statistics auto", dataset.identity.name,
            )  # fmt: skip
        found = published_statistics(size, upsampling)
    elif kept is not None and kept.is_file():
        found = read_statistics(kept)
    elif config.statistics == AUTO:
        patches = dataset["train"].with_bands(bands)
        _logger.info("Measuring the statistics of %d patches.", len(patches))
        found = measure_statistics(patches, size=size, upsampling=upsampling).statistics
    else:
        found = read_statistics(config.statistics)
    if (found.size, found.upsampling) != (size, upsampling):
        raise ConfigError(
            f"The statistics in {config.statistics} are for {found.size} pixels with "
            f"{found.upsampling} upsampling, and the images have {size} with {upsampling}. Measure "
            f"them for these: reben statistics {dataset.store.path} --image-size {size} "
            f"--upsampling {upsampling} --out FILE, or --statistics auto"
        )
    return found.select(bands)


def first_classifier(
    config: TrainConfig, *, load: bool = True, statistics: Statistics | None = None
) -> Start:
    """Return the classifier before the first step.

    Args:
        config: The settings.
        load: Whether to load the weights to start from; a checkpoint has all of them.
        statistics: Those of `statistics_for`; by default the published ones.
    """
    classifier = Classifier(
        config.backbone,
        config.band_set,
        pretrained=config.pretrained and load,
        labels=config.label_names,
        image_size=config.image_size,
        upsampling=config.upsampling,
        statistics=statistics,
        drop_rate=config.drop_rate,
        drop_path_rate=config.drop_path_rate,
    )
    if not load:
        return Start(classifier, InitialWeights())
    if config.init is not None:
        return Start(classifier, _take_weights(classifier, config))
    if config.pretrained:
        return Start(classifier, _timm_weights(classifier))
    return Start(classifier, InitialWeights(kind="random", new_head=True))


def _timm_weights(classifier: Classifier) -> InitialWeights:
    """Return what is known of the pretrained weights that timm loaded."""
    from huggingface_hub import try_to_load_from_cache

    known = getattr(classifier.model.vision_encoder, "pretrained_cfg", None) or {}
    name = ".".join(filter(None, (known.get("architecture"), known.get("tag"))))
    hub_id, revision = known.get("hf_hub_id") or None, None
    if hub_id is not None:
        file = try_to_load_from_cache(hub_id, WEIGHTS_FILE)
        revision = Path(file).parent.name if isinstance(file, str) else None
    return InitialWeights(
        kind="pretrained",
        name=name or classifier.config.backbone,
        hub_id=hub_id,
        revision=revision,
        new_head=True,
    )


def _take_weights(classifier: Classifier, config: TrainConfig) -> InitialWeights:
    """Load the weights of another model, but for the head if its labels are others."""
    name = str(config.init)
    hub_id = revision = None
    place = name
    if not Path(name).exists():
        hub_id, revision = split_revision(name)[0], fetch_model(name, {}).name
        place = f"{hub_id}@{revision}"  # the same one, whatever is pushed meanwhile
    given = open_model(place, "cpu")
    for setting in ("backbone", "image_size", "upsampling"):
        theirs, ours = getattr(given.config, setting), getattr(classifier.config, setting)
        if theirs != ours:
            raise ConfigError(
                f"init {name} has the {setting.replace('_', ' ')} {theirs}, and {setting} is "
                f"{ours}. Set {setting} to {theirs}, or start from another model."
            )
    if given.bands.names != classifier.bands.names:
        raise ConfigError(
            f"init {name} takes the bands {', '.join(given.bands)}, and bands are "
            f"{', '.join(classifier.bands)}. Set bands to {','.join(given.bands)}, or start from "
            "another model."
        )
    stats = given.config.statistics
    if config.statistics == PUBLISHED and stats != classifier.config.statistics:
        raise ConfigError(
            f"init {name} was trained with other statistics than the published ones: "
            f"{stats.source}. Name its config.json (--statistics), or have them measured: "
            "--statistics auto"
        )
    weights = given.state_dict()
    has_new_head = given.labels != classifier.labels
    if has_new_head:
        own, head = classifier.state_dict(), _head_names(classifier)
        if not head:
            raise ConfigError(
                f"init {name} has other labels, and {classifier.config.backbone} has no separate "
                "classification head to replace. Start from a model with these labels, or with "
                "another backbone."
            )
        weights = {key: own[key] if key in head else value for key, value in weights.items()}
    classifier.load_state_dict(weights, strict=True)
    return InitialWeights(
        kind="model",
        name=hub_id or name_of(name),
        hub_id=hub_id,
        revision=revision,
        sha256=given.fingerprint(),
        new_head=has_new_head,
    )


def _head_names(classifier: Classifier) -> set[str]:
    """Return the names that weights of the head have in the state of the whole."""
    head = classification_head(classifier)
    inside = {} if head is None else head.state_dict(keep_vars=True)
    found = {id(value) for value in inside.values()}
    whole = classifier.state_dict(keep_vars=True)
    return {name for name, value in whole.items() if id(value) in found}
