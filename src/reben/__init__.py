"""BigEarthNet v2.0 (reBEN) from download to a published model, and published models to answers.

Public names are imported on first use, so ``import reben`` is quick and does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

    from reben.data.download import download
    from reben.data.encode import encode
    from reben.data.encode_report import EncodeReport
    from reben.data.loader import (
        Batch,
        Dataset,
        Loader,
        RawBatch,
        RawLoader,
        open_dataset,
    )
    from reben.data.metadata import PatchTable
    from reben.data.patch_folder import read_patch_folder
    from reben.data.preprocess import Preprocess
    from reben.data.sample import fetch_sample
    from reben.data.store import Store, StoreWriter
    from reben.data.synthesize import synthesize
    from reben.data.torch_dataset import TorchDataset
    from reben.errors import RebenError
    from reben.learn.calibrate import apply_calibration
    from reben.learn.config import TrainConfig
    from reben.learn.evaluate import Report, calibrate, evaluate, measure, predict_dataset
    from reben.learn.predictions import Predictions
    from reben.learn.train import Run, train
    from reben.model.classifier import Classifier
    from reben.model.config import ModelConfig
    from reben.model.export import OnnxFile, export_onnx
    from reben.model.scores import Scores
    from reben.publish.branding import Branding
    from reben.publish.card import write_card
    from reben.publish.catalogue import list_models
    from reben.publish.check import check_card
    from reben.publish.hub import push
    from reben.publish.recard import recard
    from reben.publish.report_page import write_report
    from reben.scene.many import predict_scenes
    from reben.scene.patch_options import PredictOptions, PredictOutcome
    from reben.scene.patches import embed_patches, find_patches, predict_patches
    from reben.scene.predict import predict_scene
    from reben.scene.product import open_scene
    from reben.scene.scene_settings import ScenePrediction, SceneSettings
    from reben.scene.tasks import SceneOptions, SceneOutcome
    from reben.spec.bands import BAND_SETS, BandSet
    from reben.spec.labels import LABELS, PAPER_LABELS, from_multi_hot, to_multi_hot
    from reben.spec.patches import Sentinel1Patch, Sentinel2Patch
    from reben.spec.statistics import Statistics, published_statistics

_HOMES = {
    "BAND_SETS": "reben.spec.bands",
    "BandSet": "reben.spec.bands",
    "Batch": "reben.data.loader",
    "Branding": "reben.publish.branding",
    "Classifier": "reben.model.classifier",
    "Dataset": "reben.data.loader",
    "EncodeReport": "reben.data.encode_report",
    "LABELS": "reben.spec.labels",
    "Loader": "reben.data.loader",
    "ModelConfig": "reben.model.config",
    "OnnxFile": "reben.model.export",
    "PAPER_LABELS": "reben.spec.labels",
    "PatchTable": "reben.data.metadata",
    "PredictOptions": "reben.scene.patch_options",
    "PredictOutcome": "reben.scene.patch_options",
    "Predictions": "reben.learn.predictions",
    "Preprocess": "reben.data.preprocess",
    "RawBatch": "reben.data.loader",
    "RawLoader": "reben.data.loader",
    "RebenError": "reben.errors",
    "Report": "reben.learn.evaluate",
    "Run": "reben.learn.train",
    "SceneOptions": "reben.scene.tasks",
    "SceneOutcome": "reben.scene.tasks",
    "ScenePrediction": "reben.scene.scene_settings",
    "SceneSettings": "reben.scene.scene_settings",
    "Scores": "reben.model.scores",
    "Sentinel1Patch": "reben.spec.patches",
    "Sentinel2Patch": "reben.spec.patches",
    "Statistics": "reben.spec.statistics",
    "Store": "reben.data.store",
    "StoreWriter": "reben.data.store",
    "TorchDataset": "reben.data.torch_dataset",
    "TrainConfig": "reben.learn.config",
    "apply_calibration": "reben.learn.calibrate",
    "calibrate": "reben.learn.evaluate",
    "check_card": "reben.publish.check",
    "download": "reben.data.download",
    "embed_patches": "reben.scene.patches",
    "encode": "reben.data.encode",
    "evaluate": "reben.learn.evaluate",
    "export_onnx": "reben.model.export",
    "fetch_sample": "reben.data.sample",
    "find_patches": "reben.scene.patches",
    "from_multi_hot": "reben.spec.labels",
    "list_models": "reben.publish.catalogue",
    "measure": "reben.learn.evaluate",
    "open_dataset": "reben.data.loader",
    "open_scene": "reben.scene.product",
    "predict_dataset": "reben.learn.evaluate",
    "predict_patches": "reben.scene.patches",
    "predict_scene": "reben.scene.predict",
    "predict_scenes": "reben.scene.many",
    "published_statistics": "reben.spec.statistics",
    "push": "reben.publish.hub",
    "read_patch_folder": "reben.data.patch_folder",
    "recard": "reben.publish.recard",
    "synthesize": "reben.data.synthesize",
    "to_multi_hot": "reben.spec.labels",
    "train": "reben.learn.train",
    "write_card": "reben.publish.card",
    "write_report": "reben.publish.report_page",
}

__all__ = [
    "BAND_SETS",
    "LABELS",
    "PAPER_LABELS",
    "BandSet",
    "Batch",
    "Branding",
    "Classifier",
    "Dataset",
    "EncodeReport",
    "Loader",
    "ModelConfig",
    "OnnxFile",
    "PatchTable",
    "PredictOptions",
    "PredictOutcome",
    "Predictions",
    "Preprocess",
    "RawBatch",
    "RawLoader",
    "RebenError",
    "Report",
    "Run",
    "SceneOptions",
    "SceneOutcome",
    "ScenePrediction",
    "SceneSettings",
    "Scores",
    "Sentinel1Patch",
    "Sentinel2Patch",
    "Statistics",
    "Store",
    "StoreWriter",
    "TorchDataset",
    "TrainConfig",
    "__version__",
    "apply_calibration",
    "calibrate",
    "check_card",
    "download",
    "embed_patches",
    "encode",
    "evaluate",
    "export_onnx",
    "fetch_sample",
    "find_patches",
    "from_multi_hot",
    "list_models",
    "measure",
    "open_dataset",
    "open_scene",
    "predict_dataset",
    "predict_patches",
    "predict_scene",
    "predict_scenes",
    "published_statistics",
    "push",
    "read_patch_folder",
    "recard",
    "synthesize",
    "to_multi_hot",
    "train",
    "write_card",
    "write_report",
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
