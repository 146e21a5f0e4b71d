"""Every error that Hourglass raises.

    HourglassError                 exit code 1   something of ours failed
    ├── UsageError                 exit code 2   an option or parameter that cannot be what it is
    ├── DataError                  exit code 3   the data cannot be used as they are
    │   ├── UnreadableError                      a file is not what it claims to be, or is cut short
    │   ├── SchemaError                          columns or shapes differ from those the model was fitted on
    │   └── TimeError                            times are missing, unsorted, duplicated or uneven beyond repair
    ├── StoreError                 exit code 3   an object store cannot be reached, or does not let one in
    ├── ModelFileError             exit code 3   a model file is damaged, edited, or from a newer Hourglass
    ├── TrainingError              exit code 1   training could not produce a finite model
    └── MissingExtraError          exit code 1   an optional dependency is not installed

Each says what was got and wanted (`what`), where (`where`: file, row, column), and how to mend it (`how`).
"""

from __future__ import annotations


class HourglassError(Exception):
    """Something went wrong; the message says what, where and how to mend it."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", how: str = "") -> None:
        self.what, self.where, self.how = what, where, how
        super().__init__(what, where, how)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}" + (f"\nhint: {self.how}" if self.how else "")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.how)


def _rebuild(kind: type[HourglassError], what: str, where: str, how: str) -> HourglassError:
    return kind(what, where=where, how=how)


class UsageError(HourglassError, ValueError):
    """An option or parameter has a value that it cannot have."""

    exit_code = 2


class DataError(HourglassError, ValueError):
    """The data cannot be used as they are."""

    exit_code = 3


class UnreadableError(DataError):
    """A file is not what it claims to be, or is cut short."""


class SchemaError(DataError):
    """Columns or shapes differ from those that the model was fitted on."""


class TimeError(DataError):
    """The times of a series are missing, unsorted, duplicated or uneven beyond repair."""


class StoreError(HourglassError):
    """An object store cannot be reached, or does not let one in: no fault of what lies there."""

    exit_code = 3


class ModelFileError(HourglassError, ValueError):
    """A model file is damaged, was edited, or comes from a newer Hourglass."""

    exit_code = 3


class TrainingError(HourglassError, RuntimeError):
    """Training could not produce a finite model."""


class MissingExtraError(HourglassError, ImportError):
    """An optional dependency is not installed; the message gives the exact pip line."""


def missing_extra(extra: str, package: str, purpose: str) -> MissingExtraError:
    """The error for a package that only an extra brings."""
    return MissingExtraError(
        f"{purpose} needs the package {package!r}, which is not installed",
        how=f"pip install 'hourglass-autoencoder[{extra}]'",
    )
