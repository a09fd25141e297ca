"""BigEarthNet v2.0 (reBEN) from download to a published model, and published models to answers.

Public names are imported on first use, so ``import reben`` is quick and does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

    from reben.data.download import download
    from reben.data.loader import Batch, Dataset, Loader, open_dataset
    from reben.data.metadata import PatchTable
    from reben.data.patch_folder import read_patch_folder
    from reben.data.preprocess import Preprocess
    from reben.data.sample import fetch_sample
    from reben.data.store import Store, StoreWriter
    from reben.data.synthesize import synthesize
    from reben.errors import RebenError
    from reben.learn.config import TrainConfig
    from reben.learn.evaluate import Report, evaluate
    from reben.learn.train import Run, train
    from reben.model.classifier import Classifier
    from reben.model.config import ModelConfig
    from reben.model.scores import Scores
    from reben.publish.card import write_card
    from reben.spec.bands import BAND_SETS, BandSet
    from reben.spec.labels import LABELS, PAPER_LABELS, from_multi_hot, to_multi_hot
    from reben.spec.patches import Sentinel1Patch, Sentinel2Patch
    from reben.spec.statistics import Statistics, published_statistics

_HOMES = {
    "BAND_SETS": "reben.spec.bands",
    "Batch": "reben.data.loader",
    "BandSet": "reben.spec.bands",
    "Classifier": "reben.model.classifier",
    "Dataset": "reben.data.loader",
    "LABELS": "reben.spec.labels",
    "Loader": "reben.data.loader",
    "ModelConfig": "reben.model.config",
    "PAPER_LABELS": "reben.spec.labels",
    "PatchTable": "reben.data.metadata",
    "Preprocess": "reben.data.preprocess",
    "RebenError": "reben.errors",
    "Report": "reben.learn.evaluate",
    "Run": "reben.learn.train",
    "Scores": "reben.model.scores",
    "Sentinel1Patch": "reben.spec.patches",
    "Sentinel2Patch": "reben.spec.patches",
    "Statistics": "reben.spec.statistics",
    "Store": "reben.data.store",
    "StoreWriter": "reben.data.store",
    "TrainConfig": "reben.learn.config",
    "download": "reben.data.download",
    "evaluate": "reben.learn.evaluate",
    "fetch_sample": "reben.data.sample",
    "from_multi_hot": "reben.spec.labels",
    "open_dataset": "reben.data.loader",
    "published_statistics": "reben.spec.statistics",
    "read_patch_folder": "reben.data.patch_folder",
    "synthesize": "reben.data.synthesize",
    "to_multi_hot": "reben.spec.labels",
    "train": "reben.learn.train",
    "write_card": "reben.publish.card",
}

__all__ = [
    "BAND_SETS",
    "LABELS",
    "PAPER_LABELS",
    "BandSet",
    "Batch",
    "Classifier",
    "Dataset",
    "Loader",
    "ModelConfig",
    "PatchTable",
    "Preprocess",
    "RebenError",
    "Report",
    "Run",
    "Scores",
    "Sentinel1Patch",
    "Sentinel2Patch",
    "Statistics",
    "Store",
    "StoreWriter",
    "TrainConfig",
    "__version__",
    "download",
    "evaluate",
    "fetch_sample",
    "from_multi_hot",
    "open_dataset",
    "published_statistics",
    "read_patch_folder",
    "synthesize",
    "to_multi_hot",
    "train",
    "write_card",
]


def __getattr__(name: str) -> object:
    """Import the home of public name ``name`` on its first use."""
    if name == "__version__":
        from importlib.metadata import version

        return version("reben")
    if name in _HOMES:
        value: object = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'reben' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
