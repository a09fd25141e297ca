"""What tasks in other processes and on a cluster share: the model, the cores, the scheduler."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from reben.errors import SceneError
from reben.model.engines.names import Engine
from reben.model.folder import FoundModel, RunLike, place_of
from reben.model.open import ModelLike, as_classifier, name_of, open_model
from reben.support.extras import optional
from reben.support.processes import usable_cores

if TYPE_CHECKING:
    from reben.model.classifier import Classifier
    from reben.model.inference import InferenceClassifier

_CONNECT_SECONDS = 20


@contextmanager
def shared_model(model: ModelLike, out_dir: Path, *, alone: bool) -> "Iterator[str | Classifier]":
    """Yield what tasks name the model by; other processes find a classifier in a folder."""
    own = as_classifier(model)
    if own is None:
        yield place_of(cast("FoundModel | RunLike | str | Path", model))
    elif alone:
        yield own
    else:
        out_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".model-", dir=out_dir) as folder:
            yield str(own.save_pretrained(Path(folder) / name_of(own)))


@lru_cache(maxsize=1)
def load_model(model: "str | Classifier", device: str | None) -> "tuple[Classifier, str]":
    """Return a model, once for each process, and its fingerprint."""
    classifier = open_model(model, device or "auto")
    return classifier, classifier.fingerprint()


def fast_model(
    model: "Classifier", engine: Engine, num_patches: int, batch_size: int
) -> "InferenceClassifier":
    """Return a copy of a model that predicts so many patches fast; see `optimise_for_inference`."""
    from reben.model.inference import InferenceClassifier, optimise_for_inference

    if isinstance(model, InferenceClassifier):
        return model
    return optimise_for_inference(
        model, engine=engine, num_patches=num_patches, batch_size=batch_size
    )


def begin_on_engine(
    begin: Callable[[Mapping[str, Any]], dict[str, Any]],
    manifest: Mapping[str, Any],
    make: "Callable[[Engine], InferenceClassifier]",
    engine: Engine,
) -> "tuple[dict[str, Any], InferenceClassifier]":
    """Return the manifest of some work, and the model on the engine that the work began with.

    Args:
        begin: Begins or goes on, and returns the manifest in effect, which keeps ``engine``.
        manifest: What the work depends on, but for the engine.
        make: Returns the model on an engine.
        engine: The engine to begin with.
    """
    fast = make(engine)
    begun = begin({**manifest, "engine": fast.engine})
    return begun, fast if begun["engine"] == fast.engine else make(begun["engine"])


def share_cores(num_processes: int) -> None:
    """Leave to this process its share of the cores."""
    import torch

    torch.set_num_threads(max(1, usable_cores() // num_processes))


@contextmanager
def cluster_of(address: str) -> Iterator[Executor]:
    """Yield the executor of a Dask cluster. A task whose worker is lost goes on on another one."""
    distributed = optional("distributed", "dask", "A cluster")
    try:
        client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SceneError(
            f"There is no Dask scheduler at {address}: {error}. Start one with `dask scheduler`, "
            "workers with `dask worker`, and give its address."
        ) from error
    with client:
        yield client.get_executor(pure=False)
