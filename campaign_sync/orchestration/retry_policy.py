"""How often an asset is tried again within its run, and after how long."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """Retries of one asset in one run, for errors after which a retry can help."""

    retries: int = 3
    seconds_unattended: float = 60
    """Pause before a retry in a run that a schedule or a sensor started."""
    seconds_by_hand: float = 5
    """Pause before a retry in a run that a person started and waits for."""

    def pause(self, *, unattended: bool) -> float:
        """Return the seconds before a retry."""
        return self.seconds_unattended if unattended else self.seconds_by_hand


DEFAULT_RETRY_POLICY = RetryPolicy()
NO_RETRIES = RetryPolicy(retries=0)
