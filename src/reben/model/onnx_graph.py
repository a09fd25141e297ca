"""The network as ONNX sees it: raw bands by name in, scores and logits out.

Axes: B patches, h rows, w columns of a band at native size, K labels.
"""

import copy

import torch
from torch import Tensor, nn

from reben.model.classifier import Classifier
from reben.spec.bands import native_size, sensor

SCORES = "scores"
LOGITS = "logits"


class RawBandsToScores(nn.Module):
    """A classifier that takes raw bands one by one, in the order of its channels.

    Preprocessing is inside, and scores are those at the temperature of the model, as in
    `Classifier.predict`. The classifier itself is copied, to the CPU and into eval mode.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.bands = classifier.bands
        self.temperature = classifier.config.temperature
        self.network = copy.deepcopy(classifier.model).cpu().eval()
        self.preprocess = copy.deepcopy(classifier.preprocess).cpu()
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, *bands_Bhw: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and logits, [B, K] each, of one tensor [B, h, w] a band."""
        named = dict(zip(self.bands, bands_Bhw, strict=True))
        logits_BK = self.network(self.preprocess(named))
        sharp_BK = logits_BK if self.temperature == 1 else logits_BK / self.temperature
        return sharp_BK.sigmoid(), logits_BK

    def random_bands(
        self, num_patches: int, sentinel2_dtype: torch.dtype, seed: int = 0
    ) -> dict[str, Tensor]:
        """Return made-up raw values, within about two standard deviations of the means.

        Args:
            num_patches: How many patches.
            sentinel2_dtype: What Sentinel-2 bands are of; their values are whole numbers.
            seed: What they follow from.
        """
        generator = torch.Generator().manual_seed(seed)
        statistics, bands = self.preprocess.statistics, {}
        for name in self.bands:
            side = native_size(name)
            noise = 4 * torch.rand((num_patches, side, side), generator=generator) - 2
            values = statistics.mean[name] + statistics.std[name] * noise
            if sensor(name) == "Sentinel-2":
                values = values.clamp(0, 65535).round().to(sentinel2_dtype)
            bands[name] = values
        return bands
