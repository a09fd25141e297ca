"""BigEarthNet v2.0 (reBEN) from download to a published model, and models run on real scenes.

Public names are imported on first use, so ``import reben`` is quick and does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

    from reben.data.dataset import Dataset
    from reben.data.download import download
    from reben.data.encode import encode
    from reben.data.encoding.report import EncodeReport
    from reben.data.loader import Loader, RawLoader
    from reben.data.loading.batch import Batch, RawBatch
    from reben.data.metadata import PatchTable
    from reben.data.opening import open_dataset
    from reben.data.patch_folders.folder import read_patch_folder
    from reben.data.preprocess import Preprocess
    from reben.data.sample import fetch_sample
    from reben.data.store import Store, StoreWriter
    from reben.data.synthesize import synthesize
    from reben.data.torch_dataset import TorchDataset
    from reben.errors import RebenError
    from reben.learn.calibrate import apply_calibration
    from reben.learn.config import TrainConfig
    from reben.learn.evaluate import calibrate, evaluate, measure
    from reben.learn.metrics.bootstrap import paired_bootstrap
    from reben.learn.predict import predict_dataset
    from reben.learn.predictions import Predictions
    from reben.learn.report import Report
    from reben.learn.run import Run
    from reben.learn.speed import benchmark
    from reben.learn.train import train
    from reben.learn.training.data_module import BigEarthNetDataModule
    from reben.model.classifier import Classifier
    from reben.model.config import ModelConfig
    from reben.model.export import OnnxFile, export_onnx
    from reben.model.inference import optimise_for_inference, optimize_for_inference
    from reben.model.open import open_model
    from reben.model.scores import Scores
    from reben.predict.many import predict_scenes
    from reben.predict.map import predict_map
    from reben.predict.outputs.class_map import MapOptions
    from reben.predict.patch_options import PredictOptions, PredictOutcome
    from reben.predict.patches import embed_patches, find_patches, predict_patches
    from reben.predict.scene import predict_scene
    from reben.predict.scene_settings import (
        SceneOptions,
        SceneOutcome,
        ScenePrediction,
        SceneSettings,
    )
    from reben.publish.branding import Branding
    from reben.publish.card import write_card
    from reben.publish.check import check_card
    from reben.publish.compare import compare
    from reben.publish.hub import push
    from reben.publish.hub_models import list_models
    from reben.publish.mlm_check import check_mlm
    from reben.publish.recard import recard
    from reben.publish.report_page import write_report
    from reben.scene.product import open_scene
    from reben.spec.bands import BAND_SETS, BandSet
    from reben.spec.labels import LABELS, PAPER_LABELS, from_multi_hot, to_multi_hot
    from reben.spec.patches import Sentinel1Patch, Sentinel2Patch
    from reben.spec.statistics import Statistics, published_statistics

_HOMES = {
    "BAND_SETS": "reben.spec.bands",
    "BandSet": "reben.spec.bands",
    "Batch": "reben.data.loading.batch",
    "BigEarthNetDataModule": "reben.learn.training.data_module",
    "Branding": "reben.publish.branding",
    "Classifier": "reben.model.classifier",
    "Dataset": "reben.data.dataset",
    "EncodeReport": "reben.data.encoding.report",
    "LABELS": "reben.spec.labels",
    "Loader": "reben.data.loader",
    "MapOptions": "reben.predict.outputs.class_map",
    "ModelConfig": "reben.model.config",
    "OnnxFile": "reben.model.export",
    "PAPER_LABELS": "reben.spec.labels",
    "PatchTable": "reben.data.metadata",
    "PredictOptions": "reben.predict.patch_options",
    "PredictOutcome": "reben.predict.patch_options",
    "Predictions": "reben.learn.predictions",
    "Preprocess": "reben.data.preprocess",
    "RawBatch": "reben.data.loading.batch",
    "RawLoader": "reben.data.loader",
    "RebenError": "reben.errors",
    "Report": "reben.learn.report",
    "Run": "reben.learn.run",
    "SceneOptions": "reben.predict.scene_settings",
    "SceneOutcome": "reben.predict.scene_settings",
    "ScenePrediction": "reben.predict.scene_settings",
    "SceneSettings": "reben.predict.scene_settings",
    "Scores": "reben.model.scores",
    "Sentinel1Patch": "reben.spec.patches",
    "Sentinel2Patch": "reben.spec.patches",
    "Statistics": "reben.spec.statistics",
    "Store": "reben.data.store",
    "StoreWriter": "reben.data.store",
    "TorchDataset": "reben.data.torch_dataset",
    "TrainConfig": "reben.learn.config",
    "apply_calibration": "reben.learn.calibrate",
    "benchmark": "reben.learn.speed",
    "calibrate": "reben.learn.evaluate",
    "check_card": "reben.publish.check",
    "check_mlm": "reben.publish.mlm_check",
    "compare": "reben.publish.compare",
    "download": "reben.data.download",
    "embed_patches": "reben.predict.patches",
    "encode": "reben.data.encode",
    "evaluate": "reben.learn.evaluate",
    "export_onnx": "reben.model.export",
    "fetch_sample": "reben.data.sample",
    "find_patches": "reben.predict.patches",
    "from_multi_hot": "reben.spec.labels",
    "list_models": "reben.publish.hub_models",
    "measure": "reben.learn.evaluate",
    "open_dataset": "reben.data.opening",
    "open_model": "reben.model.open",
    "open_scene": "reben.scene.product",
    "optimise_for_inference": "reben.model.inference",
    "optimize_for_inference": "reben.model.inference",
    "paired_bootstrap": "reben.learn.metrics.bootstrap",
    "predict_dataset": "reben.learn.predict",
    "predict_patches": "reben.predict.patches",
    "predict_map": "reben.predict.map",
    "predict_scene": "reben.predict.scene",
    "predict_scenes": "reben.predict.many",
    "published_statistics": "reben.spec.statistics",
    "push": "reben.publish.hub",
    "read_patch_folder": "reben.data.patch_folders.folder",
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
    "BigEarthNetDataModule",
    "Branding",
    "Classifier",
    "Dataset",
    "EncodeReport",
    "Loader",
    "MapOptions",
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
    "benchmark",
    "calibrate",
    "check_card",
    "check_mlm",
    "compare",
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
    "open_model",
    "open_scene",
    "optimise_for_inference",
    "optimize_for_inference",
    "paired_bootstrap",
    "predict_dataset",
    "predict_map",
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
