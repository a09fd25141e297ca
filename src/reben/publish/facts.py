"""Everything that a card is made of, before any of it is put into words."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reben.learn.report import Report
from reben.publish.branding import Branding
from reben.publish.example import Example
from reben.publish.source import Source

DATASET = ("bigearthnet-v2.0", "BigEarthNet v2.0")
"""The data set's name for machines, and for people."""
MADE_UP = ("made-up", "made-up patches in the layout of BigEarthNet v2.0")
"""What takes its place where the patches of training or test are no measurements."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What stands on a card.

    Args:
        source: The model, with its run if that is at hand.
        report: What it reached.
        example: The patch that the card shows.
        caption: How the colours of the picture were made.
        name: The model's name.
        licence: Licence of the weights, as the Hub names it.
        seed: What the example was chosen by.
        dataset: The data set's name for machines, and for people.
        hub_id: The model's id on the Hub, if it is to have one.
        origin: Where the weights were published first, if this is a card for weights of others.
        stated: What others say of a training without a run, name -> value.
        branding: Names, links and pictures.
        figures: Names of the pictures of results that lie in the folder.
    """

    source: Source
    report: Report
    example: Example
    caption: str
    name: str
    licence: str
    seed: int = 0
    dataset: tuple[str, str] = DATASET
    hub_id: str | None = None
    origin: str | None = None
    stated: Mapping[str, str] = field(default_factory=dict)
    branding: Branding = field(default_factory=Branding)
    figures: tuple[str, ...] = ()

    @property
    def num_train(self) -> int | None:
        """How many patches the model was trained on; None if nobody recorded it."""
        run = self.source.run
        return None if run is None else int(run.summary["num_train"])
