"""The options of commands that run many specs. They change no number and no run id."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DriveOptions:
    """Where runs are computed and recorded, in how many processes, and what is shown."""

    device: str = "auto"
    uri: str | None = None  # of the ledger
    storage: str | None = None  # of a sweep's study
    workers: int = 1
    cotrain: str = "auto"
    force: bool = False
    quiet: bool = False
    json: bool = False

    @property
    def silent(self) -> bool:
        """Whether progress is hidden."""
        return self.quiet or self.json
