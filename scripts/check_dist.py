"""Checks what `make dist` built: the wheel runs the README's Python in a clean environment.

Run it as ``python scripts/check_dist.py DIST SAMPLE``. The environment is new and holds nothing
but the wheel; the packages that it needs are taken from the environment that runs this script.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_BYTES = 2_000_000
"""Largest sdist: the weights of the golden models are not in it."""
FENCE = re.compile(r"(<!-- not run: .*-->\n)?^```python *\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHECK = """
import sys
from importlib.metadata import version
import reben
assert reben.__file__.startswith(sys.prefix), f"{reben.__file__} is not the wheel's"
assert version("reben") == reben.__version__
print("reben", reben.__version__, "in", reben.__file__)
"""


def the_one(folder: Path, pattern: str) -> Path:
    """Return the one file in ``folder`` that ``pattern`` names."""
    found = list(folder.glob(pattern))
    if len(found) != 1:
        sys.exit(f"{folder} should hold one {pattern}, not {len(found)}.")
    return found[0]


def check_sdist(sdist: Path) -> None:
    """Stop if an sdist is large, holds weights, or lacks the tests."""
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    weights = [name for name in names if name.endswith(".safetensors")]
    if sdist.stat().st_size > MOST_BYTES or weights:
        sys.exit(f"{sdist} has {sdist.stat().st_size} bytes, with weights: {weights}")
    if not any(name.endswith("tests/conftest.py") for name in names):
        sys.exit(f"{sdist} lacks the tests.")
    print(f"{sdist.name}: {sdist.stat().st_size:,} bytes, {len(names)} files")


def check_wheel(wheel: Path) -> None:
    """Stop if a wheel lacks a file of src/, such as a template."""
    with zipfile.ZipFile(wheel) as archive:
        lacking = {
            path.relative_to(ROOT / "src").as_posix()
            for path in (ROOT / "src").rglob("*")
            if path.is_file() and not {"__pycache__", ".DS_Store"} & set(path.parts)
        }.difference(archive.namelist())
    if lacking:
        sys.exit(f"{wheel} lacks {', '.join(sorted(lacking))}.")


def run_snippet(wheel: Path, sample: Path, place: Path) -> None:
    """Install a wheel into a new environment in ``place``, and run the README's Python there."""
    venv.create(place / "venv", with_pip=False)
    python = place / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "--quiet"]
    install += ["--disable-pip-version-check", "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True)
    packages = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    # Behind the wheel on the path, and without the .pth files there, so not the working tree.
    borrowed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (Path(packages.strip()) / "borrowed.pth").write_text("\n".join(borrowed) + "\n")

    work = place / "work"
    work.mkdir()
    shutil.copytree(sample, work / "sample")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = [code for left_out, code in FENCE.findall(text) if not left_out]
    if not blocks:
        sys.exit("README.md holds no Python that runs.")
    (work / "snippet.py").write_text("\n".join([CHECK, *blocks, CHECK]), encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([python, "snippet.py"], cwd=work, env=clean, check=True)
    help_text = subprocess.check_output([python.with_name("reben"), "--help"], env=clean, text=True)
    if "predict-scene" not in help_text:
        sys.exit("The wheel's command shows no help.")


def main() -> None:
    """Check the sdist and the wheel in a folder."""
    dist, sample = map(Path, sys.argv[1:])
    check_sdist(the_one(dist, "*.tar.gz"))
    wheel = the_one(dist, "*.whl").resolve()
    check_wheel(wheel)
    with tempfile.TemporaryDirectory(prefix="reben-dist-") as name:
        run_snippet(wheel, sample.resolve(), Path(name))
    print("The wheel runs the README's Python in an environment of its own.")


if __name__ == "__main__":
    main()
