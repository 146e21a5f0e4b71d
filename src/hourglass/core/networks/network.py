"""What every network is: an encoder and a decoder, built together so that the one can mirror the other."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import Part

_DATA = {1: "a table", 2: "series", 3: "pictures"}
"""What data a sample of so many dimensions is cut from."""


@dataclass(frozen=True)
class Network(Part):
    """The encoder and the decoder."""

    slot = "network"
    takes: ClassVar[tuple[int, ...]] = (1, 2, 3)
    """Dimensions of the samples it can take: 1 for rows of a table, 2 for windows of a series, 3 for pictures."""
    skips: ClassVar[bool] = False
    """Whether what the encoder saw also goes past the code, so that a code alone says nothing to the decoder."""

    @abstractmethod
    def build(self, layout: Layout, hidden: int, code: int, told: bool) -> tuple[nn.Module, nn.Module]:
        """Encoder `(seen, mask) -> (n, hidden)` and decoder `(n, code) -> (n, *layout.shape)`.

        `told`: the encoder also takes the mask of hidden and missing numbers as inputs. An encoder with skips also has
        `with_skips(seen, mask) -> (n, hidden), (tensors...)`, which its decoder takes after the code.
        """

    @abstractmethod
    def code_size(self, layout: Layout) -> int | None:
        """Numbers in a code, where the network's own shape fixes them; None where it makes codes of any size."""

    def check(self, layout: Layout) -> None:
        """Refuse samples that the network cannot take, by the name of their modality."""
        dimensions = len(layout.shape)
        if dimensions not in self.takes:
            wanted = " or ".join(_DATA[each] for each in self.takes)
            reason = "; a table's columns have no order for it to use" if dimensions == 1 else ""
            what = f"the network {self.name!r} takes {wanted}, and the data are {_DATA[dimensions]}{reason}"
            raise UsageError(what, where="network", how="use a dense network: --set network=dense")
