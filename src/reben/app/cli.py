"""The command ``reben``: its verbs, and how errors, warnings and interruptions are said.

Exit codes: 0 done; 1 the machine or the network refused (disk full, download, training broke
down) or something unforeseen happened; 2 what was asked cannot be done as asked; 130
interrupted; 141 whoever read stdout went away.
"""

import os
import sys
from collections.abc import Callable, Sequence

from cyclopts import App, CycloptsError

import reben
from reben.app.terminal import one_line_warnings, talk
from reben.app.verbs import benchmark, data, demo, evaluate, predict, publish, scene, train
from reben.errors import RebenError

app = App(
    name="reben",
    help=(
        "BigEarthNet v2.0 (reBEN) from download to a published model, and published models to "
        "answers."
    ),
    help_epilogue=(
        "Every verb has --help, and --json for data on stdout; talk goes to stderr. "
        "--debug, anywhere, shows the traceback of an error."
    ),
    version=lambda: f"reben {reben.__version__}",
    help_format="plaintext",
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
    train.train,
    evaluate.evaluate,
    evaluate.calibrate,
    evaluate.compare,
    benchmark.benchmark,
    publish.card,
    publish.push,
    publish.hub,
    publish.export,
    predict.predict,
    predict.embed,
    scene.predict_scene,
    demo.demo,
)
for _position, _verb in enumerate(_VERBS):
    app.command(sort_key=_position)(_verb)


def run(tokens: Sequence[str]) -> int:
    """Carry out one command line and return its exit code.

    Args:
        tokens: The words after ``reben``. The flag ``--debug`` may stand anywhere before a ``--``.
    """
    words = list(tokens)
    end = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:end]
    words = [word for word in words[:end] if word != "--debug"] + words[end:]
    try:
        with one_line_warnings():
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
    except RebenError as error:
        code = 2 if isinstance(error, ValueError | ImportError) else 1
        return _say(error, type(error).__name__, str(error), debug=debug, code=code)
    except KeyboardInterrupt:
        talk("Interrupted.")
        return 130
    return 0


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))


def _say(error: Exception, name: str, message: str, *, debug: bool, code: int) -> int:
    """Write an error to stderr as one paragraph and return its exit code."""
    if debug:
        import traceback

        talk("".join(traceback.format_exception(error)).rstrip())
    else:
        talk(f"{name}: {' '.join(message.split())}")
    return code


def _usage(error: CycloptsError) -> str:
    """Return what is wrong with a command line, and where the right one is shown."""
    verb = " ".join(error.command_chain or ())
    return f"{error} See: {' '.join(filter(None, ('reben', verb, '--help')))}"


def _close_stdout() -> None:
    """Make the interpreter's last flush write into nothing instead of into a closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
