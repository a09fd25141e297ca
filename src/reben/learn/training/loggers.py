"""Loggers in addition to ``metrics.csv``.

None needs an account: wandb is offline, mlflow writes into the run and trackio onto this machine,
unless their own environment variables say otherwise.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reben.errors import ConfigError, MissingExtraError
from reben.learn.config import TrainConfig
from reben.learn.training.record import MONITORED, Logger
from reben.support.extras import optional

LOGGERS = ("wandb", "mlflow", "trackio")
"""Loggers on request; each has a package and an extra of the same name."""


def require_loggers(names: Sequence[str]) -> None:
    """Check that loggers are known and installed."""
    unknown = [name for name in names if name not in LOGGERS]
    if unknown:
        raise ConfigError(f"Unknown logger {', '.join(unknown)}. Loggers: {', '.join(LOGGERS)}.")
    for name in names:
        if find_spec(name) is None:
            raise MissingExtraError(
                f"The logger {name} needs the package {name}, which is not installed. "
                f'Install it with: pip install "reben[{name}]"'
            )


def build_loggers(names: Sequence[str], out: Path, config: TrainConfig) -> list[Logger]:
    """Return the loggers ``names`` and, where it is installed, TensorBoard, told the settings."""
    makers: dict[str, Callable[[Path, dict[str, Any]], Logger]] = {
        "tensorboard": _tensorboard,
        "wandb": _wandb,
        "mlflow": _mlflow,
        "trackio": TrackioLogger,
    }
    boards = ["tensorboard"] if find_spec("tensorboard") else []
    return [makers[name](out, dataclasses.asdict(config)) for name in (*boards, *names)]


def _tensorboard(out: Path, settings: dict[str, Any]) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger

    # Its table of runs shows settings beside a figure, which is 0 before the first epoch.
    figure = None if (out / "tensorboard").is_dir() else {MONITORED: 0.0}
    logger = TensorBoardLogger(out, name="tensorboard", version="", default_hp_metric=False)
    logger.log_hyperparams(settings, figure)
    return logger


def _wandb(out: Path, settings: dict[str, Any]) -> Logger:
    from lightning.pytorch.loggers import WandbLogger

    offline = os.environ.get("WANDB_MODE", "offline") != "online"
    logger = WandbLogger(name=out.name, save_dir=out, project="reben", offline=offline)
    logger.log_hyperparams(settings)
    return logger


def _mlflow(out: Path, settings: dict[str, Any]) -> Logger:
    from lightning.pytorch.loggers import MLFlowLogger

    uri = os.environ.get("MLFLOW_TRACKING_URI") or (out / "mlflow").resolve().as_uri()
    logger = MLFlowLogger("reben", run_name=out.name, tracking_uri=uri)
    logger.log_hyperparams(settings)
    return logger


class TrackioLogger:
    """Logs to trackio's local database."""

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        self._trackio = optional("trackio", "trackio", "The logger trackio")
        self._trackio.init(project="reben", name=out.name, config=settings)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log the figures of a step, by name."""
        self._trackio.log(metrics, step=step)

    def finalize(self, _status: str) -> None:
        """End the run."""
        self._trackio.finish()
