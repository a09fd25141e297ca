"""The verb that opens a page to try a model on: demo."""

import sys
from pathlib import Path

from reben.app.flags import AsJson
from reben.app.terminal import print_place, talk
from reben.errors import ConfigError


def demo(  # noqa: PLR0913 - all but the first are flags
    model: str | None = None,
    /,
    *,
    data: Path | None = None,
    scene: Path | None = None,
    product: Path | None = None,
    bands: str | None = None,
    device: str = "auto",
    host: str = "127.0.0.1",
    port: int | None = None,
    space: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Open a page to try a model on patches and scenes, or write it as a Space.

    The page needs no network. It answers on this machine only, unless --host says otherwise.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub. Default:
            BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.2.0.
        data: Store whose patches can be chosen. Default: ~/.cache/reben/sample, if it is there.
        scene: Begin with this result of reben predict-scene: scores.tif, or its folder.
        product: Predict this Sentinel-2 product first, and begin with it.
        bands: Bands of the model in their order, for a published model whose name does not say.
        device: Where to compute: auto (an accelerator if there is one, else the CPU), cpu, cuda,
            cuda:1, mps.
        host: Address to listen on; 0.0.0.0 lets the whole network in.
        port: Port to listen on. Default: the first free one from 7860 on.
        space: Write a folder for a Space on the Hugging Face Hub instead, and open nothing.
        as_json: Write the address, or the folder, as JSON.
    """
    from reben.app.demo.server import LOOPBACK
    from reben.app.demo.serving import DEFAULT_MODEL, serve

    chosen = model or DEFAULT_MODEL
    if space is not None:
        from reben.app.demo.space import write_space

        if any(given is not None for given in (scene, product, port)):
            raise ConfigError(
                "--space writes a folder and opens no page. Leave --scene, --product and --port "
                "out."
            )
        folder = write_space(space, chosen, bands=bands, data=data)
        talk("Upload the folder as a Space; try it first with: python app.py")
        print_place("folder", folder, as_json=as_json)
        return

    def on_start(address: str) -> None:
        print_place("address", address, as_json=as_json)
        sys.stdout.flush()  # a reader of a pipe waits for this line, not for the end
        talk("Ctrl-C stops it.")
        if host not in LOOPBACK:
            talk(f"It listens on {host}: everyone who can reach this machine can use it.")

    serve(
        chosen,
        bands=bands,
        device=device,
        data=data,
        scene=scene,
        product=product,
        host=host,
        port=port,
        on_start=on_start,
    )
