"""The verb that turns band files into a store: encode."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.markup import escape

from reben.app.data_verbs import AsJson
from reben.app.terminal import format_bytes, print_json, print_table, talk
from reben.errors import EncodeError

if TYPE_CHECKING:
    from reben.data.encode import Progress
    from reben.data.encode_report import EncodeReport

Input = Annotated[Path | None, Parameter(allow_leading_hyphen=True)]
Files = Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative="")]
Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")]
_SHOWN = 10


def encode(  # noqa: PLR0913 - one for each flag
    *,
    out: Path,
    s1: Input = None,
    s2: Input = None,
    reference_maps: Input = None,
    metadata: Files = (),
    workers: int | None = None,
    split: str | None = None,
    country: Names = (),
    limit: int | None = None,
    strict: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> None:
    """Write patches from folders or archives into a store.

    An input is an unpacked folder, or an archive as published (.tar, .tar.gz, .tar.zst), or the
    first of the parts that one was split into, or - for an archive on stdin. Archives are read as
    streams. The store is valid at every moment; the same command goes on where an earlier one
    was stopped, and a second one may add other inputs to the same store.

    Args:
        out: Folder of the store.
        s1: Sentinel-1 patches.
        s2: Sentinel-2 patches.
        reference_maps: Reference maps.
        metadata: Metadata tables (parquet), which are kept in the store.
        workers: Processes; by default as many as there are processors.
        split: Encode only this split, by the metadata: train, validation or test.
        country: Encode only patches of these countries.
        limit: Encode only this many patches, the first ones of the metadata.
        strict: Stop at the first patch that has to be left out.
        as_json: Write the report as JSON.
    """
    from reben.data.encode import encode as make

    try:
        with _encode_bar() as progress:
            report = make(
                out,
                s1=s1,
                s2=s2,
                reference_maps=reference_maps,
                metadata=metadata,
                workers=workers,
                split=split,
                countries=country or None,
                limit=limit,
                strict=strict,
                progress=progress,
            )
    except EncodeError as error:
        if error.report is not None:
            _print_report(error.report, as_json=as_json)
        raise
    _print_report(report, as_json=as_json)


def _print_report(report: "EncodeReport", *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
        return
    rows = [
        (kind, count, report.there[kind], report.same[kind], report.failed[kind])
        for kind, count in report.new.items()
    ]
    columns = ("kind", "new>", "there before>", "twice, the same>", "left out>")
    print_table(columns, rows, title=f"Store {report.store}")
    rate = sum(report.new.values()) / max(report.seconds, 1e-9)
    talk(f"{format_bytes(report.num_bytes)} in {report.seconds:.1f} s, {rate:.0f} patches/s.")
    for kind, count in report.absent.items():
        if count:
            talk(f"Asked for by the metadata but not in the input, {kind}: {count}")
    for failure in report.failures[:_SHOWN]:
        talk(f"Left out: {failure.kind} {failure.name}: {failure.reason}.")
    num_failed = sum(report.failed.values())
    if num_failed > _SHOWN:
        talk(f"... and {num_failed - _SHOWN} more.")


@contextmanager
def _encode_bar() -> Iterator["Progress | None"]:
    """Yield a function that shows patches, rate and time left, or None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape("patches"), total=None, rate="")

        def move(done: int, total: int | None, num_bytes: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0
            rate = (
                f"{done / elapsed:.0f}/s {format_bytes(num_bytes / elapsed)}/s" if elapsed else ""
            )
            bar.update(task, completed=done, total=total, rate=rate)

        yield move
