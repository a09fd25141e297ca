"""What every test can ask for: the real sample, the golden files, a world without a network."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from hub_state import FakeHub

# Before anything imports huggingface_hub, which reads these once. A run of the network tests may
# set them otherwise.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Networks of the size of these tests are quickest on one thread, above all on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts what runs in the background deaf to Ctrl-C, which some tests are about.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine pauses whenever it likes, so an example that took long is not a finding.
settings.register_profile("reben", deadline=None)
settings.load_profile("reben")

DEFAULT_SAMPLE = Path.home() / ".cache" / "reben" / "sample"
FETCH_COMMAND = 'reben sample "{folder}"'


@pytest.fixture(scope="session")
def real_store() -> Path:
    """The store folder of the 24 real patch pairs; do not write into it.

    It is the folder that the environment variable REBEN_SAMPLE names, else the one in the user's
    cache. Without it a test is skipped, or fails if REBEN_REQUIRE_SAMPLE is set.
    """
    folder = Path(os.environ.get("REBEN_SAMPLE") or DEFAULT_SAMPLE)
    if (folder / "data.mdb").is_file():
        return folder
    reason = f"no real sample in {folder}; fetch it with: {FETCH_COMMAND.format(folder=folder)}"
    if os.environ.get("REBEN_REQUIRE_SAMPLE"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden files; its README says what produced each."""
    return Path(__file__).parent / "golden"


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator["FakeHub"]:
    """A Hugging Face Hub on loopback that the real client talks to, with a home of its own."""
    from hub_server import pointed_at, serve
    from hub_state import FakeHub

    home = tmp_path_factory.mktemp("hf-home")
    with serve(FakeHub()) as served, pointed_at(served, home):
        yield served
