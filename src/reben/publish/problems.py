"""What is wrong with a card folder, one finding each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or that cannot be verified.

    Args:
        where: The file, with the table, field or line in it.
        what: What is there, and what should be.
    """

    where: str
    what: str

    def __str__(self) -> str:
        """Return both as one line."""
        return f"{self.where}: {self.what}"
