"""``python -m reben`` is the command ``reben``."""

from reben.app.cli import main

main()
