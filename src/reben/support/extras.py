"""Optional packages: imported where they are used, or an error that says what to install."""

from importlib import import_module
from typing import Any

from reben.errors import MissingExtraError


def optional(module: str, extra: str, use: str) -> Any:  # noqa: ANN401 - a module
    """Return a module, such as ``matplotlib.figure``, that comes with an extra of reben.

    ``use`` is what needs it, as the beginning of a sentence: ``Reading scenes``.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        lacking = f" (it lacks {error.name})" if error.name not in (None, package, module) else ""
        raise MissingExtraError(
            f"{use} needs {package}, which is not installed{lacking}. "
            f'Run: pip install "reben[{extra}]"'
        ) from error
