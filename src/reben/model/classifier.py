"""The classifier: a timm network that owns its bands, statistics and labels by name.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reben.data.preprocess import NamedBands, Preprocess, examine_bands
from reben.errors import ConfigError, PatchShapeError
from reben.model.backbone import build_backbone, pooled_features
from reben.model.config import ModelConfig
from reben.model.folder import find_model, write_model
from reben.model.network import VisionModel, evaluation_mode, named_as_published, scores_of
from reben.model.scores import Scores, require_finite
from reben.model.weights import digest_weights, load_weights, open_weights, require_fit
from reben.spec.bands import BandSet
from reben.spec.labels import LABELS
from reben.spec.statistics import Statistics, Upsampling, published_statistics
from reben.support.numbers import require_whole


class Classifier(nn.Module):
    """A multi-label classifier of patches.

    Args:
        backbone: Name of any timm architecture, for example ``resnet50``.
        bands: The bands, in the order of the channels: a band set, its word (``s2``), or names
            separated by commas.
        pretrained: Whether to start from ImageNet weights, which timm adapts to the channels.
        labels: Names of the outputs, in order.
        image_size: Side length of the images in pixels.
        upsampling: How bands of 20 m and 60 m are brought to that size.
        statistics: Mean and standard deviation of the bands; by default the published ones for
            this size and upsampling.
        drop_rate: Dropout before the head, 0 to 1.
        drop_path_rate: Stochastic depth, 0 to 1.

    Raises:
        BackboneError: If timm does not know the architecture or cannot build it.
        BandsError: If a band is unknown or repeated.
        ConfigError: If another value is invalid.

    Example:
        >>> model = Classifier("test_resnet", "rgb")
        >>> model.bands.names, model.labels[0]
        (('B04', 'B03', 'B02'), 'Agro-forestry areas')
        >>> model(torch.zeros(2, 3, 120, 120)).shape
        torch.Size([2, 19])
    """

    def __init__(  # noqa: PLR0913 - all after the second are named
        self,
        backbone: str,
        bands: BandSet | str | Sequence[str],
        *,
        pretrained: bool = False,
        labels: Sequence[str] = LABELS,
        image_size: int = 120,
        upsampling: Upsampling = "nearest",
        statistics: Statistics | None = None,
        drop_rate: float = 0.15,
        drop_path_rate: float = 0.15,
    ) -> None:
        config = ModelConfig(
            backbone=backbone,
            bands=BandSet.parse(bands),
            labels=labels if isinstance(labels, str) else tuple(labels),  # type: ignore[arg-type]
            statistics=statistics or published_statistics(image_size, upsampling),
            image_size=image_size,
            drop_rate=drop_rate,
            drop_path_rate=drop_path_rate,
        )
        self._build(config, pretrained=pretrained)

    @classmethod
    def from_config(cls, config: ModelConfig, *, pretrained: bool = False) -> Self:
        """Return a new classifier, in train mode, as ``config`` describes it."""
        model = cls.__new__(cls)
        model._build(config, pretrained=pretrained)
        return model

    def _build(
        self,
        config: ModelConfig,
        *,
        pretrained: bool,
        check: Callable[[nn.Module], None] | None = None,
    ) -> None:
        nn.Module.__init__(self)
        backbone = build_backbone(
            config.backbone,
            num_channels=config.channels,
            num_classes=config.classes,
            image_size=config.image_size,
            drop_rate=config.drop_rate,
            drop_path_rate=config.drop_path_rate,
            pretrained=pretrained,
            check=check,
        )
        self.config = config
        self.not_applied = backbone.not_applied
        """Settings that the architecture does not take, such as ``drop_path_rate``."""
        self.model = VisionModel(backbone.network)
        self.preprocess = Preprocess(config.bands, config.statistics, config.image_size)

    @property
    def bands(self) -> BandSet:
        """The bands, in the order of the channels."""
        return self.config.bands

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return self.config.labels

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.preprocess.mean.device

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits.

        Args:
            x_BCHW: Normalised images, float32 [B, C, H, W], channels in the order of `bands`, as
                `Preprocess` makes them. For raw values use `predict`.

        Returns:
            Logits, [B, K], in the order of `labels`. Scores are the sigmoid of these, divided by
            the temperature of the model first if it was calibrated.
        """
        return cast("Tensor", self.model(x_BCHW))

    def predict(self, bands: NamedBands) -> Scores:
        """Return the scores of one patch or of several, from raw values.

        Dropout and the like are off, whatever mode the model is in. Scores are at the model's
        temperature, which is 1 until it is calibrated; logits are never divided by it.

        Args:
            bands: Band -> raw values, array or tensor at native size, [h, w] for one patch or
                [B, h, w] for several: digital numbers without BOA offset (Sentinel-2), dB
                (Sentinel-1). Any key order; bands that the model does not take are ignored. Pixels
                that are masked, not finite or out of range are filled if they are few.

        Raises:
            BandsError: If bands are not named, unknown or missing.
            PatchShapeError: If a band is not of its native size.
            PixelValueError: If values are of a wrong dtype, in a wrong unit, or if more than 5 % of
                a band hold no data.

        Warns:
            SuspiciousInputWarning: If pixels were filled, if values look like a forgotten BOA
                offset, or like VV and VH swapped, if a band is constant or equal to another.
        """
        scores = self.score_images(self._images_of(bands))
        return scores[0] if self._is_one(bands) else scores

    def predict_many(self, patches: Iterable[NamedBands], batch_size: int = 32) -> Iterator[Scores]:
        """Yield the scores of each patch, in order; patches are taken as they are needed.

        Args:
            patches: Each the bands of one patch, as for `predict`.
            batch_size: Patches that go through the network together. It affects time and memory,
                and the scores only by rounding.

        Raises:
            RebenError: As `predict` does, when the faulty patch is reached.

        Example:
            >>> model = Classifier("test_resnet", "rgb")
            >>> ramp = np.arange(120.0 * 120).reshape(120, 120)
            >>> patch = {"B02": ramp, "B03": ramp + 1, "B04": ramp + 2}
            >>> [len(scores) for scores in model.predict_many([patch, patch])]
            [1, 1]
        """
        for images_BCHW in self._batches_of(patches, batch_size):
            scores = self.score_images(images_BCHW)
            yield from (scores[row] for row in range(len(scores)))

    def embed(self, bands: NamedBands) -> NDArray[np.float32]:
        """Return the embedding of a patch, for example for similarity search.

        It is what the network computes before its head: similar patches have embeddings of
        similar direction.

        Args:
            bands: As `predict` takes them.

        Returns:
            Pooled features, float32 [D] for one patch, or [B, D] for several.

        Raises:
            RebenError: As `predict` does.
            ConfigError: If the architecture does not expose the features before its head.
        """
        features_BD = self.embed_images(self._images_of(bands))
        return features_BD[0] if self._is_one(bands) else features_BD

    def embed_many(
        self, patches: Iterable[NamedBands], batch_size: int = 32
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the embedding of each patch, float32 [D], in order; see `predict_many`."""
        for images_BCHW in self._batches_of(patches, batch_size):
            yield from self.embed_images(images_BCHW)

    def score_images(self, images_BCHW: Tensor) -> Scores:
        """Return the scores of normalised images, as `Preprocess` and loaders make them.

        Args:
            images_BCHW: As for `forward`; moved to where the weights are.
        """
        with evaluation_mode(self), torch.inference_mode():
            logits_BK = self(self._checked(images_BCHW)).float()
            scores_BK = scores_of(logits_BK, self.config.temperature)
        logits, scores = logits_BK.cpu().numpy(), scores_BK.cpu().numpy()
        return Scores(scores, logits, self.labels, self.config.thresholds)

    def embed_images(self, images_BCHW: Tensor) -> NDArray[np.float32]:
        """Return the embeddings of normalised images, float32 [B, D]; see `embed`."""
        with evaluation_mode(self), torch.inference_mode():
            images_BCHW = self._checked(images_BCHW)
            features_BD = pooled_features(self.model.vision_encoder, images_BCHW)
        if features_BD is None:
            raise ConfigError(
                f"{self.config.backbone} does not expose the features before its head. Choose "
                "another architecture to embed patches with."
            )
        return require_finite(np.asarray(features_BD.float().cpu().numpy()))

    def _checked(self, images_BCHW: Tensor) -> Tensor:
        """Return images where the weights are, if they can go through the network."""
        if images_BCHW.ndim != 4 or images_BCHW.shape[1] != len(self.bands):
            raise PatchShapeError(
                f"Images of shape {tuple(images_BCHW.shape)} are not [patches, {len(self.bands)}, "
                f"rows, columns], one channel for each of {self.bands}. Pass raw values by name to "
                "predict, which makes them."
            )
        dtype = self.preprocess.mean.dtype
        if dtype != torch.float32:
            raise ConfigError(
                f"The model was turned into {dtype}, its statistics too, which that rounds. Open "
                "it again, and predict within torch.autocast if it shall be faster."
            )
        return images_BCHW.to(self.device)

    def _images_of(self, bands: NamedBands) -> Tensor:
        tensors, suspicious = examine_bands(bands, self.bands, self.config.image_size)
        suspicious.warn(stacklevel=3)
        return cast("Tensor", self.preprocess(tensors))

    def _is_one(self, bands: NamedBands) -> bool:
        return np.ndim(bands[self.bands.names[0]]) == 2

    def _batches_of(self, patches: Iterable[NamedBands], batch_size: int) -> Iterator[Tensor]:
        batch_size = require_whole("batch_size", batch_size)
        coming = iter(patches)
        while images := [self._images_of(bands) for bands in islice(coming, batch_size)]:
            several = next((len(one) for one in images if len(one) != 1), None)
            if several is not None:
                raise PatchShapeError(
                    f"Got {several} patches instead of one. Yield them one by one, [h, w] each, "
                    "or pass the batch to predict or embed."
                )
            yield torch.cat(images)

    def fingerprint(self) -> str:
        """Return the SHA-256 of config and weights, as 64 hexadecimal digits."""
        return digest_weights(self.state_dict(), self.config.to_json().encode())

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors`` into ``folder`` and return it.

        The reference stack (ConfigILM) loads the folder too and gives the same logits. If the
        folder holds an ONNX file of another model, the log says so.

        Raises:
            OutputError: If the folder cannot be written; files that were there are unchanged.
        """
        return write_model(Path(folder), self.config, self.state_dict())

    @classmethod
    def from_pretrained(  # noqa: PLR0913 - all after the first are named
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        bands: BandSet | str | Sequence[str] | None = None,
        device: str | torch.device | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> Self:
        """Return a trained classifier, in eval mode.

        Args:
            name: A model folder, a run folder, or the id of a model on the Hugging Face Hub,
                ``owner/name`` or ``owner/name@revision``.
            revision: Branch, tag or commit on the Hub, if the id does not name it.
            bands: The bands in the order of the channels, for an older config that does not say.
            device: Where to put the weights; the CPU by default. See `reben.open_model`, which
                puts them on an accelerator.
            cache_dir: Cache of the Hub client, if not the usual one.
            token: Token for the Hub, if not the usual one.
            local_files_only: Whether to use the Hub's cache only, without the network.
            force_download: Whether to fetch the files again that the cache holds.

        Raises:
            ModelFolderError: If there is no such folder or repository, or it holds no model.
            HubAuthError: If the Hub wants a token, or another one: the model may be private.
            HubConnectionError: If the Hub cannot be reached, and its cache lacks the model.
            AmbiguousBandsError: If nothing says the order of the bands.
            BandsMismatchError: If ``bands`` are not the bands of the model.
            WeightsMismatchError: If weights are missing, left over, or of another shape.
            UnsafeWeightsError: If there are only pickled weights.
        """
        found = find_model(
            name,
            bands=None if bands is None else BandSet.parse(bands),
            hub={
                "revision": revision,
                "cache_dir": cache_dir,
                "token": token,
                "local_files_only": local_files_only,
                "force_download": force_download,
            },
        )
        with open_weights(found.folder, found.name) as weights:
            return cls.from_weights(found.config, weights, found.name).to(device or "cpu")

    @classmethod
    def from_weights(cls, config: ModelConfig, weights: Any, source: str | Path) -> Self:  # noqa: ANN401 - of safetensors
        """Return a classifier in eval mode of weights that fit ``config``; see `open_weights`."""
        model = cls.__new__(cls)
        model._build(
            config,
            pretrained=False,
            check=lambda network: require_fit(named_as_published(network), weights, source),
        )
        load_weights(model, weights, source)
        return model.eval()
