"""The verb that sets reports side by side: compare."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from reben.app.data_verbs import AsJson
from reben.app.terminal import print_json, print_table, print_text, progress_bar, talk

_Figure = Literal["average_precision", "f1", "precision", "recall", "accuracy"]

_SHORT = {"average_precision": "AP", "f1": "F1"}


def compare(  # noqa: PLR0913 - all but the first are flags
    *reports: Path,
    out: Path | None = None,
    split: str = "test",
    figure: _Figure = "average_precision",
    mean: Literal["macro", "micro"] = "macro",
    together: Annotated[bool, Parameter(negative="")] = False,
    rounds: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 1000,
    seed: int = 0,
    figures: bool = True,
    as_json: AsJson = False,
) -> None:
    """Rank models by their reports, and say which differences are real.

    Reports of different patches are ranked in lists of their own.

    Args:
        reports: For each model its report, the folder of its report, or its run. Differences are
            shown for those in whose folders predictions.parquet lies.
        out: Write leaderboard.md, .csv, .html and .png into this folder.
        split: Which report of a run to take.
        figure: The figure to rank by.
        mean: Its mean over the labels.
        together: Rank reports of different patches in one list all the same.
        rounds: Bootstrap resamples for each pair of models; 0 leaves the differences out.
        seed: What the resamples follow from.
        figures: Draw leaderboard.png.
        as_json: Write the leaderboard as JSON.
    """
    from reben.learn.plain import to_plain
    from reben.publish import leaderboard
    from reben.publish.compare import compare as rank
    from reben.publish.leaderboard_picture import heading, shown_bands

    with progress_bar("resamples") as progress:
        board = rank(
            reports,
            split=split,
            mean=mean,
            figure=figure,
            together=together,
            rounds=rounds,
            seed=seed,
            progress=progress,
        )
    if out is not None:
        leaderboard.write_leaderboard(board, out, picture=figures)
        talk(f"The leaderboard is in {out}.")
    if as_json:
        print_json(to_plain(leaderboard.summarise(board)))
        return
    for note in board.notes:
        talk(note)
    for group in board.groups:
        rows = [
            (
                place,
                entry.name,
                shown_bands(entry),
                *(f"{entry.figure(*column):.4f}" for column in leaderboard.COLUMNS),
            )
            for place, entry in enumerate(group.entries, start=1)
        ]
        heads = [f"{mean} {_SHORT.get(name, name)}>" for mean, name in leaderboard.COLUMNS]
        print_text(heading(group))
        print_table(("#>", "model", "bands", *heads), rows)
        if group.comparisons:
            print_text(leaderboard.difference_heading(board))
            head, *lines = leaderboard.matrix(board, group)
            print_table(head, lines)
