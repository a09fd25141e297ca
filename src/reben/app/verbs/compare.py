"""The verb that ranks models: compare."""

from pathlib import Path
from typing import Literal

from reben.app.flags import AsJson, AtLeastZero, Switch
from reben.app.terminal import (
    format_figure,
    print_json,
    print_table,
    print_text,
    progress_bar,
    talk,
)

_Figure = Literal["average_precision", "f1", "precision", "recall", "accuracy"]
_SHORT = {"average_precision": "AP", "f1": "F1"}


def compare(  # noqa: PLR0913 - all but the first are flags
    *reports: Path,
    out: Path | None = None,
    split: str = "test",
    figure: _Figure = "average_precision",
    mean: Literal["macro", "micro"] = "macro",
    together: Switch = False,
    rounds: AtLeastZero = 1000,
    seed: int = 0,
    figures: bool = True,
    as_json: AsJson = False,
) -> None:
    """Rank models by their reports, and say which differences are real.

    Reports of different patches are ranked in separate lists.

    Args:
        reports: For each model its report, the folder of its report, or its run. Differences need
            predictions.parquet in that folder.
        out: Folder to write leaderboard.md, .csv, .html and .png into.
        split: Which report of a run to take.
        figure: The figure to rank by.
        mean: Its mean over the labels.
        together: Rank reports of different patches in one list anyway.
        rounds: Resamples for the differences; 0 leaves the differences out.
        seed: Seed of the resamples.
        figures: Draw leaderboard.png.
        as_json: Write the leaderboard as JSON.
    """
    from reben.publish.compare import compare as rank
    from reben.publish.leaderboard import files as leaderboard
    from reben.publish.leaderboard.picture import heading, shown_bands
    from reben.support.plain_json import to_plain

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
    shown = leaderboard.COLUMNS
    for group in board.groups:
        rows = [
            (place, row.name, shown_bands(row), *(format_figure(row.figure(*c)) for c in shown))
            for place, row in enumerate(group.entries, start=1)
        ]
        heads = [f"{mean} {_SHORT.get(name, name)}>" for mean, name in shown]
        print_text(heading(group))
        print_table(("#>", "model", "bands", *heads), rows)
        if group.comparisons:
            print_text(leaderboard.difference_heading(board))
            head, *lines = leaderboard.matrix(board, group)
            print_table(head, lines)
