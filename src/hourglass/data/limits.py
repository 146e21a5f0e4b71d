"""How large a compressed file may become: a few kilobytes must not be able to fill the memory."""

from __future__ import annotations

from hourglass.errors import UnreadableError

MOST_BYTES = 8 << 30
"""A compressed file may never hold more than this."""
SUSPECT_BYTES = 512 << 20
SUSPECT_RATIO = 1000
"""More than `SUSPECT_BYTES` from a file this many times smaller is a trap, not data."""


def check_size(claimed: int, stored: int, source: str) -> None:
    """Refuse `stored` bytes on disk that claim to be (or became) `claimed` bytes, if that is beyond the limits."""
    too_dense = claimed > SUSPECT_BYTES and claimed > SUSPECT_RATIO * stored
    if claimed > MOST_BYTES or too_dense:
        raise UnreadableError(
            f"its {stored:,} bytes unpack to {claimed:,} or more, wanted at most "
            f"{SUSPECT_BYTES if too_dense else MOST_BYTES:,}",
            where=source,
            how="if the file is meant to be that large, unpack it yourself or split it",
        )
