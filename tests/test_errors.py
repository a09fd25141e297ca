import re
from pathlib import Path

import pytest

from reben.errors import first_line

SOURCE = Path(__file__).parents[1] / "src"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("  cannot open it.\nlong story"), "cannot open it"),
        (ValueError(), "ValueError"),
        (OSError(28, "No space left"), "No space left"),
    ],
)
def test_the_first_line_of_an_error_has_no_full_stop_and_is_never_empty(error, said):
    assert first_line(error) == said


def test_only_errors_cuts_other_errors_to_their_first_line():
    cuts = re.compile(r"str\((error|said)\)(\.\w+\(\))*\.splitlines")
    found = [path.name for path in SOURCE.rglob("*.py") if cuts.search(path.read_text())]
    assert found == ["errors.py"]
