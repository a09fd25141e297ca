"""The verb that opens a page to try a model on: demo."""

import sys
from pathlib import Path

from reben.app.flags import AsJson
from reben.app.terminal import print_json, print_text, talk
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
    """Open a page in which a model can be tried on patches and scenes, or write it as a Space.

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
        _write_space(space, chosen, data, bands, other=(scene, product, port), as_json=as_json)
        return

    def on_start(address: str) -> None:
        if as_json:
            print_json({"address": address})
        else:
            print_text(address)
        sys.stdout.flush()  # whoever reads a pipe waits for this line, not for the end
        talk("Ctrl-C stops it.")
        if host not in LOOPBACK:
            talk(f"It listens on {host}: whoever reaches this machine can use it.")

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


def _write_space(
    space: Path,
    model: str,
    data: Path | None,
    bands: str | None,
    *,
    other: tuple[object, ...],
    as_json: bool,
) -> None:
    from reben.app.demo.space import write_space

    if any(value is not None for value in other):
        raise ConfigError(
            "--space writes a folder and opens nothing, so --scene, --product and --port have no "
            "place beside it. Leave them out."
        )
    folder = write_space(space, model, bands=bands, data=data)
    talk("Upload the folder as a Space; try it first with: python app.py")
    if as_json:
        print_json({"folder": str(folder)})
    else:
        print_text(str(folder))
