"""The command ``reben``: its verbs, its help, and how it reports errors and interruptions.

Exit codes: 0 done; 1 the machine or the network failed (disk full, download, training), or an
unforeseen error; 2 the request itself cannot be carried out; 130 interrupted by Ctrl-C; 143, 138
and 129 by SIGTERM, SIGUSR1 and SIGHUP; 141 broken pipe.
"""

import gc
import os
import re
import sys
from collections.abc import Callable, Sequence

from cyclopts import App, CycloptsError
from cyclopts.help import DefaultFormatter, HelpEntry, HelpPanel, InlineText
from rich.console import Console, ConsoleOptions
from rich.text import Text

import reben
from reben.app.terminal import one_line_warnings, talk
from reben.app.verbs import (
    benchmark,
    compare,
    cut,
    data,
    demo,
    evaluate,
    export,
    hub,
    imports,
    predict,
    publish,
    scene,
    statistics,
    train,
)
from reben.app.verbs import map as map_verb
from reben.errors import RebenError, first_line
from reben.support.signals import exit_code, signals_interrupt


class HelpFormatter(DefaultFormatter):
    """Fills lines to the terminal's width, and shows one name and no idle default of each flag."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print one panel of flags or verbs."""
        super().__call__(console, options, panel.copy(entries=[*map(_tidy, panel.entries)]))

    def render_description(
        self, console: Console, options: ConsoleOptions, description: object
    ) -> None:
        """Print what a verb does."""
        super().render_description(console, options, _fill(description))


def _tidy(entry: HelpEntry) -> HelpEntry:
    is_idle = entry.default in ("False", "()")
    return entry.copy(
        positive_names=entry.positive_names[:1],  # the others are old ones: see flags.formerly
        negative_names=tuple(n for n in entry.negative_names if not n.startswith("--empty-")),
        description=_fill(entry.description),
        default=None if is_idle else entry.default,
    )


def _fill(description: object) -> object:
    """Join the lines of each paragraph of a docstring, in place."""
    if isinstance(description, InlineText) and isinstance(description.primary_renderable, Text):
        text = description.primary_renderable
        text.plain = re.sub(r"(?<!\n)\n[ ]*(?!\n)", " ", text.plain)
    return description


app = App(
    name="reben",
    help=(
        "Take BigEarthNet v2.0 (reBEN) from download to a published model, and run published ones "
        "on patches and scenes."
    ),
    help_epilogue=(
        "Every verb has --help, and --json, which writes its result to stdout as JSON. Messages "
        "go to stderr. --debug anywhere shows the traceback of an error."
    ),
    version=lambda: f"reben {reben.__version__}",
    help_format="plaintext",
    help_formatter=HelpFormatter(),
    version_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    exit_on_error=False,
    print_error=False,
)
_VERBS: tuple[Callable[..., None], ...] = (
    data.sample,
    data.download,
    data.synthesize,
    data.encode,
    data.inspect,
    statistics.statistics,
    train.train,
    evaluate.evaluate,
    evaluate.calibrate,
    compare.compare,
    benchmark.benchmark,
    publish.card,
    hub.push,
    hub.hub,
    export.export,
    imports.import_,
    predict.predict,
    predict.embed,
    scene.predict_scene,
    map_verb.predict_map,
    cut.cut,
    demo.demo,
)
for _position, _verb in enumerate(_VERBS):
    app.command(sort_key=_position)(_verb)


def run(tokens: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    Args:
        tokens: The words after ``reben``; ``--debug`` is taken from anywhere before a ``--``.
    """
    words = list(tokens)
    end = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:end]
    words = [word for word in words[:end] if word != "--debug"] + words[end:]
    try:
        with one_line_warnings(), signals_interrupt():
            app(words)
            sys.stdout.flush()
    except CycloptsError as error:
        return _say(error, "UsageError", _usage(error), debug=debug, code=2)
    except BrokenPipeError:
        _close_stdout()
        return 141
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich makes it an exit
            return 141
        raise
    except (RebenError, OSError) as error:
        code = 2 if isinstance(error, ValueError | ImportError) else 1
        return _say(error, type(error).__name__, _message(error), debug=debug, code=code)
    except KeyboardInterrupt as error:
        talk(" by ".join(("Interrupted", *error.args)) + ".")
        return exit_code(error)
    return 0


def main() -> None:
    """Run the command line of this process."""
    try:
        sys.exit(run(sys.argv[1:]))
    finally:
        gc.freeze()  # what is left goes with the process; looking for garbage in it takes a second


def _message(error: Exception) -> str:
    """Return what an error says; a path that cannot even be looked at is an error of the system."""
    if isinstance(error, RebenError) or not isinstance(error, OSError):
        return str(error)
    where = "a file" if error.filename is None else error.filename
    return f"Cannot access {where}: {first_line(error)}. Check the path and its permissions."


def _say(error: Exception, name: str, message: str, *, debug: bool, code: int) -> int:
    """Write an error to stderr as one paragraph and return its exit code."""
    if debug:
        import traceback

        talk("".join(traceback.format_exception(error)).rstrip())
    else:
        talk(f"{name}: {' '.join(message.split())}")
    return code


def _usage(error: CycloptsError) -> str:
    """Return what is wrong with a command line, and where to look it up."""
    verb = " ".join(error.command_chain or ())
    return f"{error} See: {' '.join(filter(None, ('reben', verb, '--help')))}"


def _close_stdout() -> None:
    """Point stdout at nothing, so that the last flush at exit does not fail on the closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
