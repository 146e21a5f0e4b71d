"""Names of the numbers of a sample on a grid, made when asked for: a sample may have a hundred thousand."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload


class GridNames(Sequence[str]):
    """The names of numbers (parts, rows, columns), in the order of the flattened sample. Final classes give `name`."""

    def __init__(self, parts: tuple[str, ...], rows: int, columns: int) -> None:
        self.parts, self.rows, self.columns = parts, rows, columns

    def __len__(self) -> int:
        return len(self.parts) * self.rows * self.columns

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        part, rest = divmod(range(len(self))[place], self.rows * self.columns)
        return self.name(self.parts[part], *divmod(rest, self.columns))

    @abstractmethod
    def name(self, part: str, row: int, column: int) -> str:
        """The name of one number."""
