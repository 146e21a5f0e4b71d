"""What a refusal looks like over HTTP: `{"what", "where", "how"}` and a status that says which sort it is."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

from hourglass.errors import (
    DataError,
    HourglassError,
    MissingExtraError,
    ModelFileError,
    UnreadableError,
    UsageError,
)

_STATUS: tuple[tuple[type[HourglassError], int], ...] = (
    (UnreadableError, 400),
    (DataError, 422),
    (UsageError, 422),
    (MissingExtraError, 501),
    (ModelFileError, 503),
)
_WORDS = {
    404: "there is nothing at this path",
    405: "the path has no such method",
}


class Refusal(HourglassError):  # noqa: N818  # it is the client's fault as often as ours
    """A request that is not answered as it wished, with the status that says why."""

    def __init__(
        self, what: str, *, where: str = "", how: str = "", status: int = 400, retry_after: int | None = None
    ) -> None:
        super().__init__(what, where=where, how=how)
        self.status, self.retry_after = status, retry_after


def status_of(error: HourglassError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, Refusal):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def fault(error: HourglassError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that an error is."""
    status, retry_after = status_of(error), getattr(error, "retry_after", None)
    more = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if status == 401:
        more["WWW-Authenticate"] = "Bearer"
    document = {"what": error.what, "where": error.where, "how": error.how}
    return Response(json.dumps(document), status, {**(headers or {}), **more}, "application/json")


def plain_fault(status: int, what: str, where: str, how: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to what the router or the form's parser refused, with the headers that it would send."""
    return fault(Refusal(_WORDS.get(status, what), where=where, how=how, status=status), headers)


def renamed(text: str, places: Mapping[str, str]) -> str:
    """A text with every path of ours replaced by the client's word for it."""
    for path, name in places.items():
        text = text.replace(path, name)
    return text


def retold(error: HourglassError, places: Mapping[str, str]) -> HourglassError:
    """The same error in the client's words."""
    what, where, how = (renamed(text, places) for text in (error.what, error.where, error.how))
    return type(error)(what, where=where, how=how)
