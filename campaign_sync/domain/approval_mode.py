"""Which replacements of a list need the approval of a plan."""

from typing import Literal

ApprovalMode = Literal["first", "always", "never"]
"""Those of a list that was never proven and that others have filled; all; none."""
