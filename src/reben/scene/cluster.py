"""Tasks done by a Dask cluster: one scene is one task, wherever a worker is free."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

from reben.errors import MissingExtraError, SceneError
from reben.scene.tasks import SceneOutcome, SceneTask

_CONNECT_SECONDS = 20


def do_on_cluster(
    do: Callable[[SceneTask], SceneOutcome], tasks: Sequence[SceneTask], address: str
) -> Iterator[SceneOutcome]:
    """Yield the outcomes of tasks as they come. Tasks that are left when this ends are cancelled.

    The workers need reben, the model, the products and the folder of the outputs under the same
    names. A task whose worker is lost goes on where it was on another one, a few times.

    Args:
        do: Does one task; a function of a module, since workers have to find it.
        tasks: What there is to do.
        address: Of the scheduler, for example ``tcp://10.0.0.1:8786``.

    Raises:
        MissingExtraError: If Dask is not installed.
        SceneError: If there is no scheduler at that address.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise MissingExtraError(
            "A cluster needs Dask, which is not installed. Run: pip install "
            '"reben[dask]", here and on the workers.'
        ) from error
    try:
        client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SceneError(
            f"There is no Dask scheduler at {address}: {error}. Start one with `dask scheduler`, "
            "workers with `dask worker`, and give its address."
        ) from error
    with client:
        futures = {client.submit(do, task, pure=False): task for task in tasks}
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                yield _outcome(future, futures[future])
        finally:
            client.cancel(list(futures))


def _outcome(future: Any, task: SceneTask) -> SceneOutcome:  # noqa: ANN401 - Dask is optional
    error = future.exception()
    if error is not None:  # the worker was lost, or cannot do such a task at all
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return SceneOutcome(task.product, task.out, "failed", reason)
    outcome: SceneOutcome = future.result()
    return outcome
