"""How large a compressed file may become: a few kilobytes must not be able to fill the memory."""

from __future__ import annotations

from hourglass.errors import UnreadableError

MOST_BYTES = 8 << 30
"""A compressed file may never hold more than this."""
MOST_PIXELS = 100_000_000
"""A picture may never have more than this."""
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


def check_pixels(width: int, height: int, source: str) -> None:
    """Refuse a picture whose header claims more pixels than any camera makes, before they are decoded."""
    if width * height > MOST_PIXELS:
        raise too_many_pixels(f"{width:,} x {height:,}", source)


def too_many_pixels(claimed: str, source: str) -> UnreadableError:
    """The error for a picture of so many pixels."""
    how = "if the picture is meant to be that large, cut it into several"
    return UnreadableError(f"claims {claimed} pixels, wanted at most {MOST_PIXELS:,} in all", where=source, how=how)


def check_memory(claimed: int, source: str) -> None:
    """Refuse pictures that together take more memory than a file may unpack to."""
    if claimed > MOST_BYTES:
        raise UnreadableError(
            f"its pictures take more than {MOST_BYTES:,} bytes when decoded",
            where=source,
            how="make them smaller, or give fewer",
        )
