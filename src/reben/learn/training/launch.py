"""The processes of a training: how they start, end together, and what their errors tell."""

import errno
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reben.errors import TrainingError, first_line
from reben.learn.distributed import num_ranks
from reben.support.atomic import output_error

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from reben.learn.training.state import Training

_END_SECONDS = 20.0
"""How long the first process waits for those that it started."""
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def launch(fabric: "Fabric", work: Callable[["Fabric"], None]) -> None:
    """Start the other processes, if there are any, and work in each."""
    from subprocess import TimeoutExpired

    from torch.distributed import DistNetworkError

    seconds = 0.0
    try:
        fabric.launch(work)
        seconds = _END_SECONDS
    except (KeyboardInterrupt, TrainingError):
        seconds = _END_SECONDS  # all of them know
        raise
    except DistNetworkError as error:
        raise TrainingError(
            f"The processes cannot reach each other: {first_line(error)}. If the port is in use, "
            "set MASTER_PORT to a free one, or leave it unset where one machine trains."
        ) from error
    finally:
        for process in getattr(fabric.strategy.launcher, "procs", ()):
            with suppress(TimeoutExpired):
                process.wait(seconds)
            process.kill()


def end_together(fabric: "Fabric") -> None:
    """Wait until the first rank has written how the training ended.

    Processes that Lightning started then end without an error, since it kills all others, and the
    first one with them, as soon as one of them ends with one. The first one tells what happened.
    """
    fabric.barrier()
    environment = getattr(fabric.strategy, "cluster_environment", None)
    if type(environment).__name__ == "LightningEnvironment" and fabric.local_rank > 0:
        raise SystemExit(0)


def told_as(error: Exception, training: "Training", folder: Path) -> Exception:
    """Return the error that users see."""
    import torch

    is_full = isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # on a CPU
    )
    if is_full:
        from reben.learn.training.hardware import out_of_memory

        return out_of_memory(error, training.config, training.most_patches, folder)
    if isinstance(error, RuntimeError) and num_ranks() > 1 and "peer" in str(error):
        return TrainingError(
            f"Another process of this training ended: {first_line(error)}. Its own message, above "
            "or in its log, tells why. Then resume the run."
        )
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        return output_error(folder, error)
    return error
