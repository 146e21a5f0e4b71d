"""How large a compressed file may become: a few kilobytes must not be able to fill the memory."""

from __future__ import annotations

from hourglass.errors import UnreadableError

MOST_BYTES = 8 << 30
"""A compressed file may never hold more than this."""
MOST_PIXELS = 100_000_000
"""A picture may never have more than this."""
RATES = (100, 1_000_000)
"""Frames a second that a recording may have: from what seismometers give to what ultrasound takes."""
MOST_COLUMNS = 1_000_000
"""A table may never have more than this: each column takes a kilobyte of its own, however short it is."""
MOST_CHANNELS = 64
"""A recording may never have more than this."""
SUSPECT_BYTES = 512 << 20
SUSPECT_RATIO = 1000
"""More than `SUSPECT_BYTES` from a file this many times smaller is a trap, not data."""
DENSE_BYTES, DENSE_RATIO = 128 << 20, 500
"""So much where only unpacking shows how much there is, so that it must be held meanwhile."""


def check_size(claimed: int, stored: int, source: str) -> None:
    """Refuse `stored` bytes on disk that claim to be (or became) `claimed` bytes, if that is beyond the limits."""
    check_density(claimed, stored, source)
    if claimed > MOST_BYTES:
        raise _too_large(claimed, stored, MOST_BYTES, source)


def check_density(claimed: int, stored: int, source: str) -> None:
    """Refuse a file that claims to be so many times larger than it is that it must be a trap, even taken bit by bit."""
    if claimed > SUSPECT_BYTES and claimed > SUSPECT_RATIO * stored:
        raise _too_large(claimed, stored, SUSPECT_BYTES, source)


def check_dense(dense: int, stored: int, source: str) -> None:
    """Refuse a file of which so many bytes came from stretches packed more densely than `DENSE_RATIO`."""
    if dense > DENSE_BYTES:
        raise _too_large(dense, stored, DENSE_BYTES, source)


def _too_large(claimed: int, stored: int, most: int, source: str) -> UnreadableError:
    return UnreadableError(
        f"its {stored:,} bytes unpack to {claimed:,} or more, wanted at most {most:,}",
        where=source,
        how="if the file is meant to be that large, unpack it yourself or split it",
    )


def check_columns(count: int, source: str) -> None:
    """Refuse a table of more columns than there is use for, before they are made."""
    if count > MOST_COLUMNS:
        how = "give samples as rows: array.T; of pictures and series, an array of 3 dimensions"
        raise UnreadableError(f"has {count:,} columns, wanted at most {MOST_COLUMNS:,}", where=source, how=how)


def check_pixels(width: int, height: int, source: str) -> None:
    """Refuse a picture whose header claims more pixels than any camera makes, before they are decoded."""
    if width * height > MOST_PIXELS:
        raise too_many_pixels(f"{width:,} x {height:,}", source)


def check_sound(rate: int, channels: int, source: str) -> None:
    """Refuse a recording whose header claims what no recorder makes."""
    slowest, fastest = RATES
    if not slowest <= rate <= fastest:
        claim, wanted = f"{rate:,} frames a second", f"{slowest:,} to {fastest:,}"
    elif channels > MOST_CHANNELS:
        claim, wanted = f"{channels:,} channels", f"at most {MOST_CHANNELS}"
    else:
        return
    how = "its header is damaged, or it is no recording: take it from a copy, or save it again"
    raise UnreadableError(f"claims {claim}, wanted {wanted}", where=source, how=how)


def too_many_pixels(claimed: str, source: str) -> UnreadableError:
    """The error for a picture of so many pixels."""
    how = "if the picture is meant to be that large, cut it into several"
    return UnreadableError(f"claims {claimed} pixels, wanted at most {MOST_PIXELS:,} in all", where=source, how=how)


def check_memory(claimed: int, nouns: str, source: str) -> None:
    """Refuse pictures or recordings that together take more memory than a file may unpack to."""
    if claimed > MOST_BYTES:
        raise UnreadableError(
            f"its {nouns} take more than {MOST_BYTES:,} bytes when decoded",
            where=source,
            how="make them smaller, or give fewer",
        )
