"""The logits that the reference stack gives: ConfigILM on timm, ConfigILM's reader, no reben.

    PYTHON benchmarks/reference_predict.py STORE OUT.npz FOLDER...

with the interpreter of ``reference_venv.py --models``. Folders are loaded as the published class
loads them (huggingface_hub's mixin around ConfigILM), but strictly. Patches are read, ordered and
normalised by ConfigILM, for as many channels as a folder's config says.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from configilm.ConfigILM import ConfigILM, ILMConfiguration
from configilm.extra.BENv2_utils import STANDARD_BANDS, band_combi_to_mean_std
from huggingface_hub import PyTorchModelHubMixin
from reference_load import CHANNELS, open_dataset

BATCH = 8


class Reference(torch.nn.Module, PyTorchModelHubMixin):
    """What published folders hold, under their names: config.json, and weights from model. on."""

    def __init__(self, config: ILMConfiguration) -> None:
        super().__init__()
        self.config = config
        self.model = ConfigILM(config)


def load(folder: Path) -> Reference:
    """Return the network of a folder, all of its weights loaded and nothing else."""
    network = Reference.from_pretrained(str(folder), strict=True)
    if not isinstance(network.config, ILMConfiguration):
        raise TypeError(f"The config of {folder} was not taken for one: {network.config}")
    return network.eval()


def read(store: Path, channels: int) -> tuple[torch.Tensor, list[str]]:
    """Return normalised images of all patches of a store, [B, C, 120, 120], and their names."""
    dataset = open_dataset(store, channels)
    items = [dataset[position] for position in range(len(dataset))]
    mean, std = band_combi_to_mean_std(STANDARD_BANDS[CHANNELS[channels]], "120_nearest")
    images = torch.stack([image for image, _, _ in items])
    figures = (torch.tensor(figure, dtype=torch.float32) for figure in (mean, std))
    mean, std = (figure[:, None, None] for figure in figures)
    return (images - mean) / std, [name for _, _, name in items]


def main() -> None:
    """Write the logits of every folder by its name, and the names of the patches."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    arguments = parser.parse_args()
    found = {}
    for folder in arguments.folders:
        network = load(folder)
        images, names = read(arguments.store, network.config.channels)
        with torch.no_grad():
            parts = [network.model(part) for part in images.split(BATCH)]
        found[folder.name] = torch.cat(parts).numpy()
        encoder = type(network.model.vision_encoder)
        print(folder.name, encoder.__module__, *found[folder.name].shape)
    np.savez(arguments.out, patch_ids=np.array(names), **found)


if __name__ == "__main__":
    main()
