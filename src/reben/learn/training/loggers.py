"""Loggers of figures beside the run's own CSV file; each is imported only if it is asked for."""

import os
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from reben.learn.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Mapping


def tensorboard_logger(out: Path) -> list[Logger]:
    """Return the logger of TensorBoard, where it is installed."""
    if find_spec("tensorboard") is None:
        return []
    from lightning.pytorch.loggers import TensorBoardLogger

    return [TensorBoardLogger(out, name="tensorboard", version="")]


def make_logger(name: str, out: Path, config: TrainConfig) -> Logger:
    """Return the logger of that name, told the settings.

    Args:
        name: wandb, mlflow or trackio, whose package is installed.
        out: The run folder, where it keeps its files.
        config: The settings.
    """
    if name == "trackio":
        return TrackioLogger(out, config)
    logger: Logger
    if name == "wandb":
        from lightning.pytorch.loggers import WandbLogger

        # Online only for who says so, since that needs an account.
        offline = os.environ.get("WANDB_MODE", "offline") != "online"
        logger = WandbLogger(name=out.name, save_dir=out, project="reben", offline=offline)
    else:
        from lightning.pytorch.loggers import MLFlowLogger

        uri = os.environ.get("MLFLOW_TRACKING_URI") or (out / "mlflow").resolve().as_uri()
        logger = MLFlowLogger("reben", run_name=out.name, tracking_uri=uri)
    logger.log_hyperparams(_settings(config))
    return logger


class TrackioLogger(Logger):
    """Figures in trackio's local database.

    Args:
        out: The run folder, which gives the name of the run.
        config: The settings.
    """

    def __init__(self, out: Path, config: TrainConfig) -> None:
        super().__init__()
        self._out = out
        self._config = config
        self._run: Any = None

    @property
    def name(self) -> str:
        """Name of the project."""
        return "reben"

    @property
    def version(self) -> str:
        """Name of the run."""
        return self._out.name

    @rank_zero_only
    def log_metrics(self, metrics: "Mapping[str, float]", step: int | None = None) -> None:
        """Keep the figures of a step."""
        import trackio  # type: ignore[import-not-found]

        if self._run is None:
            self._run = trackio.init(
                project=self.name, name=self.version, config=_settings(self._config)
            )
        trackio.log(dict(metrics), step=step)

    @rank_zero_only
    def log_hyperparams(
        self,
        params: dict[str, Any] | Namespace,
        *args: Any,  # noqa: ANN401 - Lightning's
        **kwargs: Any,  # noqa: ANN401 - Lightning's
    ) -> None:
        """Do nothing: the run is told its settings when it begins."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run."""
        if self._run is not None:
            import trackio

            trackio.finish()
            self._run = None


def _settings(config: TrainConfig) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(config)
