"""The page from beginning to end: open model, samples and scene, and serve until stopped."""

import signal
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, cast

from reben.app.demo.server import launch, private_folder, require_port
from reben.app.models import open_run
from reben.app.terminal import progress_bar, talk
from reben.data.store import is_store
from reben.errors import ConfigError, ProductError, RebenError
from reben.support.extras import optional
from reben.support.signals import handled_by

if TYPE_CHECKING:
    from reben.data.dataset import Dataset
    from reben.model.classifier import Classifier
    from reben.model.open import ModelLike

DEFAULT_MODEL = "BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.2.0"
"""The model of the page where none is named; it is fetched from the Hub."""
DEFAULT_STORE = Path("~/.cache/reben/sample")
"""Where the real sample is looked for where no store is named."""


def serve(  # noqa: PLR0913 - all after the first are named
    model: "ModelLike",
    *,
    bands: str | None = None,
    device: str = "auto",
    data: Path | None = None,
    scene: Path | None = None,
    product: Path | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    on_start: Callable[[str], None],
    stop: Event | None = None,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        model: Whatever `reben.open_model` takes.
        bands: Bands of the model in their order, for a published model whose name does not say.
        device: Where to compute, as for `reben.open_model`.
        data: Store whose patches can be chosen; by default the real sample, if it is there.
        scene: The result of `reben predict-scene` to begin with: ``scores.tif``, or its folder.
        product: The Sentinel-2 product to predict first, and to begin with.
        host: Address to listen on.
        port: Port to listen on.
        on_start: Called with the address of the page as soon as it answers.
        stop: Ends serving when it is set, as an interruption does.

    Raises:
        MissingExtraError: If Gradio is not installed.
        ConfigError: If both a scene and a product are named, or the port is taken.
        RebenError: If the model, the store, the scene or the product cannot be opened.
    """
    from reben.model.folder import find_model, place_of
    from reben.model.open import (
        as_classifier,
        name_of,
        open_model,
        pick_device,
        require_device_name,
    )

    if scene is not None and product is not None:
        raise ConfigError(
            f"--scene {scene} and --product {product} are two scenes. Name one: a result of "
            "reben predict-scene, or a product to predict now."
        )
    # What a user may have got wrong is said before a model is loaded, which takes a while.
    require_port(host, port)
    require_device_name(device)
    if product is not None and not product.exists():
        raise ProductError(f"There is no product {product}. Check --product.")
    own = as_classifier(model)
    if own is None:
        model = find_model(cast("str", model), bands=bands)
    from reben.app.demo.handlers import PageState
    from reben.app.demo.patches import Samples
    from reben.app.demo.scenes import open_scene_result
    from reben.publish.stated import stated_facts

    pick_device(device)
    stop = stop or Event()
    with private_folder() as root:
        optional("gradio", "demo", "The demo page")
        shown = None if scene is None else open_scene_result(scene)
        name, found = name_of(model), open_samples(model, data)
        classifier = open_model(model, device, bands=bands)
        samples = None if found is None else Samples(found, classifier.labels)
        if product is not None:
            shown = open_scene_result(predict_product(classifier, name, product, root))
        stated = None if own is not None else stated_facts(place_of(cast("str", model)))
        state = PageState(classifier, name, root, samples, shown, stated)
        page, address = launch(state, host=host, port=port)
        try:
            # A termination must not leave the private folder behind.
            with handled_by(lambda *_: stop.set(), (signal.SIGTERM,)):
                on_start(address)
                stop.wait()
        finally:
            # Visitors who leave the page open are not waited for.
            page.server.force_exit = True
            page.close(verbose=False)


def open_samples(model: "ModelLike", data: Path | None) -> "Dataset | None":
    """Return the patches to choose from: of the store named, else of the run's, else the sample.

    Args:
        model: The model; a run remembers the store and the labels that it was trained on.
        data: The store that was named.
    """
    from reben.data.opening import open_dataset
    from reben.model.classifier import Classifier
    from reben.model.folder import place_of

    run = None if isinstance(model, Classifier) else open_run(place_of(model))
    if run is not None:
        try:
            return run.dataset(data)
        except RebenError as error:
            if data is None:
                talk(f"The patches that {run.name} was trained on are not shown. {error}")
    store = find_store(data)
    return None if store is None else open_dataset(store, snow=None, cloud=None, labels=None)


def find_store(data: Path | None) -> Path | None:
    """Return the store to choose patches from: the one named, else the real sample if there."""
    sample = DEFAULT_STORE.expanduser()
    return data or (sample if is_store(sample) else None)


def predict_product(classifier: "Classifier", name: str, product: Path, root: Path) -> Path:
    """Predict a product with the model called ``name`` into a new folder in ``root``; return it."""
    from reben.app.demo.scenes import QUICKLOOK
    from reben.predict.scene import predict_scene

    folder = root / "scene"
    folder.mkdir()
    with progress_bar("windows") as progress:
        predict_scene(
            classifier,
            product,
            folder / "scores.tif",
            quicklook=folder / QUICKLOOK,
            model_name=name,
            progress=progress,
        )
    return folder
