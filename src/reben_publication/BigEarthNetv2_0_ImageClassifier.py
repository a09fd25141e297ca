"""The classifier under the name, and with the arguments, that published cards and scripts use."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from reben.errors import CardError, ConfigError
from reben.model.classifier import Classifier
from reben.model.weights import WEIGHTS_FILE, digest_of_folder, digest_weights
from reben.spec.bands import BandSet

if TYPE_CHECKING:
    from reben.publish.push_plan import PushPlan

__all__ = ["BigEarthNetv2_0_ImageClassifier"]
_SHARED = ("timm_model_name", "channels", "classes", "image_size")
"""What a config of ConfigILM says of a model, and one of reben too."""


class BigEarthNetv2_0_ImageClassifier(Classifier):
    """A `reben.Classifier`; see there."""

    _folder: Path | None = None
    """The folder that it was read from or saved to last."""

    @classmethod
    def from_pretrained(  # noqa: PLR0913 - all after the first are named
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        bands: BandSet | str | Sequence[str] | None = None,
        device: str | torch.device | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        map_location: str | torch.device | None = None,
        strict: bool = True,
    ) -> Self:
        """Return a trained classifier, in eval mode; see `reben.Classifier.from_pretrained`.

        Args:
            name: As there, like all up to ``force_download``.
            revision: Branch, tag or commit on the Hub.
            bands: The bands in the order of the channels, for a config that does not say.
            device: Where to put the weights.
            cache_dir: Cache of the Hub client.
            token: Token for the Hub.
            local_files_only: Whether to use the cache only.
            force_download: Whether to fetch files again.
            map_location: Another name of ``device``.
            strict: Weights have to fit to the last key, whatever this says.
        """
        del strict
        if None not in (device, map_location) and str(device) != str(map_location):
            raise ConfigError(f"device is {device}, map_location {map_location}. Pass one of them.")
        model = super().from_pretrained(
            name,
            revision=revision,
            bands=bands,
            device=device if map_location is None else map_location,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
            force_download=force_download,
        )
        model._folder = Path(name) if Path(name).is_dir() else None
        return model

    def save_pretrained(self, folder: str | Path, *, config: object = None) -> Path:
        """Write the model into ``folder`` and return it; see `reben.Classifier.save_pretrained`.

        Args:
            folder: The folder.
            config: What the model was made by, a mapping or object. The model's own config is
                written; this one may only agree with it.

        Raises:
            ConfigError: If ``config`` is of another model.
        """
        for key in _SHARED if config is not None else ():
            given = config.get(key) if isinstance(config, Mapping) else getattr(config, key, None)
            own = getattr(self.config, key)
            if given not in (None, own):
                raise ConfigError(
                    f"config says {key} {given}, and the model has {own}. Leave config out: the "
                    "model knows its own."
                )
        self._folder = super().save_pretrained(folder)
        return self._folder

    def push_to_hub(  # noqa: PLR0913 - all after the first are named
        self,
        repo_id: str,
        *,
        config: object = None,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
        confirm: "Callable[[PushPlan], bool] | None" = None,
    ) -> str:
        """Push the card folder of the model by `reben.push` and return where it is.

        Args:
            repo_id: Where to, ``owner/name``.
            config: As for `save_pretrained`; not needed.
            commit_message: The message of the commit.
            private: Whether to make a new repository private.
            token: A token with write access.
            branch: The branch to commit to.
            create_pr: Whether to open a pull request.
            confirm: As for `reben.push`, for a repository that holds other content.

        Raises:
            CardError: If the model was not read from or saved to a folder that holds its card.
            RebenError: As `reben.push` does.
        """
        from reben.publish.hub import push

        del config
        folder = self._folder
        if folder is None or not (folder / "README.md").is_file():
            place = folder or "FOLDER"
            raise CardError(
                f"Nothing was pushed: a model goes to the Hub with its card, and {place} holds "
                f"none. Save the model (save_pretrained), then: reben evaluate {place} --data "
                f"STORE --out REPORT; reben card {place} --report REPORT --data STORE --out CARD; "
                f"reben push CARD {repo_id}"
            )
        if digest_of_folder(folder) != digest_weights(self.state_dict()):
            raise CardError(
                f"Nothing was pushed: the {WEIGHTS_FILE} in {folder}, which its card is about, is "
                "not what the model has now. Save the model to a folder of its own, and write its "
                "card: reben card"
            )
        options: dict[str, Any] = {"message": commit_message, "token": token, "revision": branch}
        pushed = push(
            folder,
            repo_id,
            private=bool(private),
            create_pr=bool(create_pr),
            confirm=confirm,
            **options,
        )
        return pushed.url
