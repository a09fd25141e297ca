"""The verb that makes a model folder of what others wrote: import."""

from pathlib import Path

from reben.app.flags import AsJson
from reben.app.terminal import print_place, talk
from reben.errors import ConfigError


def import_(
    model: str,
    /,
    *,
    out: Path,
    bands: str | None = None,
    backbone: str | None = None,
    as_json: AsJson = False,
) -> None:
    """Make a model folder, which names its bands, of a checkpoint or an older model.

    A checkpoint (.ckpt) of the original training scripts is taken, and any model that reben opens.
    Nothing is unpickled; weights have to fit to the last key.

    Args:
        model: The checkpoint, a model folder, or the name of a model on the Hub.
        out: The folder to write, new or empty.
        bands: Bands in the order of the training: s2, or B04,B03,B02. A checkpoint does not tell
            them.
        backbone: The timm architecture of a checkpoint, if its hyper parameters do not name it.
        as_json: Write the result as JSON.
    """
    from reben.model.open import import_model

    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise ConfigError(f"{out} is there already. Name a new or empty folder with --out.")
    found = import_model(model, bands=bands, backbone=backbone)
    found.save_pretrained(out)
    config = found.config
    talk(
        f"{config.backbone}, {config.channels} channels: {', '.join(config.bands)}; "
        f"{config.classes} labels in alphabetical order, {config.image_size} pixels; statistics: "
        f"{config.statistics.source}."
    )
    print_place("model", out, as_json=as_json)
