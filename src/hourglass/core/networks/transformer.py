"""A transformer over patches; one trained to fill hidden patches in does not encode them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hourglass.core.networks.network import Network
from hourglass.core.networks.patches import patch_places, patch_side, place_in_patches
from hourglass.data.samples import Layout
from hourglass.errors import UsageError
from hourglass.settings import option


@dataclass(frozen=True)
class PatchTransformer(Network):
    """Patches of the sample attend to each other, make the code together, and are made of it again by such blocks.

    Where the network is told what is hidden, patches that are hidden whole are left out of the encoder, which makes
    training cheaper (He et al. 2022, masked autoencoders); of others it is told which numbers are hidden or missing.
    """

    name = "patch-transformer"
    takes = (2, 3)
    patch: int | None = option(
        None, "steps, or pixels a side, of a patch (default: 16 patches a series, 64 a picture)", low=1
    )
    width: int = option(64, "numbers a patch is described by; a multiple of the heads", low=1)
    depth: int = option(2, "blocks in the encoder", low=1)
    decoder_depth: int = option(1, "blocks in the decoder", low=0)
    heads: int = option(4, "what a patch attends to at a time", low=1)
    positions: str = option("learned", "how a patch's place is told", choices=("learned", "sinusoidal"))

    def build(self, layout: Layout, hidden: int, code: int, told: bool) -> tuple[nn.Module, nn.Module]:
        self.check(layout)
        if self.width % self.heads:
            how = f"for example {self.heads * math.ceil(self.width / self.heads)}"
            what = f"got {self.width}, wanted a multiple of the {self.heads} heads"
            raise UsageError(what, where="network.width", how=how)
        places = patch_places(layout, patch_side(layout, self.patch, "network.patch"))
        return _Encoder(self, places, hidden, told), _Decoder(self, places, layout, code)

    def code_size(self, layout: Layout) -> int | None:
        return None

    def blocks(self, depth: int) -> nn.ModuleList:
        return nn.ModuleList(_Block(self.width, self.heads) for _ in range(depth))


class _Encoder(nn.Module):
    places: Tensor

    def __init__(self, settings: PatchTransformer, places: np.ndarray, hidden: int, told: bool) -> None:
        super().__init__()
        count, numbers = places.shape
        self.told = told
        self.register_buffer("places", torch.from_numpy(places), persistent=False)
        self.embed = nn.Linear(numbers * (2 if told else 1), settings.width)
        if settings.positions == "learned":
            self.positions: Tensor = nn.Parameter(0.02 * torch.randn(count, settings.width))
        else:
            self.register_buffer("positions", sinusoids(count, settings.width), persistent=False)
        self.start = nn.Parameter(0.02 * torch.randn(settings.width))
        """A token that is always there, for a sample of which nothing else is."""
        self.blocks, self.norm = settings.blocks(settings.depth), nn.LayerNorm(settings.width)
        # each patch adds to the code through weights of its own
        self.head = nn.Linear((count + 1) * settings.width, hidden)

    def forward(self, seen: Tensor, mask: Tensor | None) -> Tensor:
        patches = self._cut(seen, 0.0)
        if not self.told:
            return self._code(self._tokens(patches), None)
        masked = torch.zeros_like(patches, dtype=torch.bool) if mask is None else self._cut(mask, True)
        tokens = self._tokens(torch.cat([patches.masked_fill(masked, 0.0), masked.to(patches.dtype)], dim=2))
        hidden = None if mask is None else functional.pad(masked.all(2), (1, 0))
        return self._code(tokens, hidden)

    def _cut(self, x: Tensor, beyond: float) -> Tensor:
        """(n, patches, numbers)."""
        return torch.cat([x.flatten(1), x.new_full((x.shape[0], 1), beyond)], dim=1)[:, self.places]

    def _tokens(self, patches: Tensor) -> Tensor:
        """(n, 1 + patches, width)."""
        start = self.start.expand(patches.shape[0], 1, -1)
        return torch.cat([start, self.embed(patches) + self.positions], dim=1)

    def _code(self, tokens: Tensor, hidden: Tensor | None) -> Tensor:
        # while training only, where it saves time: rows are filled up to the longest, which depends on the batch
        if hidden is not None and self.training:
            described = self._without_hidden(tokens, hidden)
        else:
            described = self._described(tokens, hidden)
        return self.head(described.flatten(1))  # type: ignore[no-any-return]

    def _described(self, tokens: Tensor, hidden: Tensor | None) -> Tensor:
        """Tokens after they have attended to each other; 0 where hidden."""
        for block in self.blocks:
            tokens = block(tokens, hidden)
        tokens = self.norm(tokens)
        return tokens if hidden is None else tokens.masked_fill(hidden[:, :, None], 0.0)

    def _without_hidden(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """The same, the hidden ones left out: whole samples by themselves, the others filled up to the longest."""
        some = hidden.any(1)
        order = hidden[some].to(torch.uint8).argsort(dim=1, stable=True)
        order = order[:, : int((~hidden[some]).sum(1).max()) if len(order) else 0]
        places = order[:, :, None].expand(-1, -1, tokens.shape[2])
        visible = self._described(tokens[some].gather(1, places), hidden[some].gather(1, order))
        parts = [self._described(tokens[~some], None), torch.zeros_like(tokens[some]).scatter(1, places, visible)]
        # the whole samples come first in `parts`; each goes back to its place
        return torch.cat(parts)[some.to(torch.uint8).argsort(stable=True).argsort()]


class _Decoder(nn.Module):
    place_in_patches: Tensor

    def __init__(self, settings: PatchTransformer, places: np.ndarray, layout: Layout, code: int) -> None:
        super().__init__()
        count, numbers = places.shape
        self.shape, self.count = layout.shape, count
        self.register_buffer(
            "place_in_patches", torch.from_numpy(place_in_patches(places, layout.size)), persistent=False
        )
        # each patch reads the code through weights of its own, and so knows its place
        self.spread = nn.Linear(code, count * settings.width)
        self.blocks = settings.blocks(settings.decoder_depth)
        self.head = nn.Sequential(nn.LayerNorm(settings.width), nn.Linear(settings.width, numbers))

    def forward(self, code: Tensor) -> Tensor:
        tokens = self.spread(code).unflatten(1, (self.count, -1))
        for block in self.blocks:
            tokens = block(tokens, None)
        return self.head(tokens).flatten(1)[:, self.place_in_patches].reshape(-1, *self.shape)  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Attention among patches, then two layers on each, both added to what came in and normalised before.

    softmax(q k' / sqrt(width of a head)) v (Vaswani et al. 2017; normalised before: Xiong et al. 2020). Written out,
    since torch's fused attention has no second derivative, which the contraction penalty takes.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.mix, self.join = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.each = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor, hidden: Tensor | None) -> Tensor:
        tokens = tokens + self.join(self._attended(self.norm(tokens), hidden))
        return tokens + self.each(tokens)  # type: ignore[no-any-return]

    def _attended(self, tokens: Tensor, hidden: Tensor | None) -> Tensor:
        n, count, width = tokens.shape
        split = self.mix(tokens).reshape(n, count, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        weights = query @ key.transpose(2, 3) / math.sqrt(width // self.heads)
        if hidden is not None:
            weights = weights.masked_fill(hidden[:, None, None], -torch.inf)
        attended: Tensor = weights.softmax(3) @ value
        return attended.transpose(1, 2).reshape(n, count, width)


def sinusoids(count: int, width: int) -> Tensor:
    """A vector a place: sine and cosine of place / 10000^(2i / width), i from 0 (Vaswani et al. 2017)."""
    column = torch.arange(width)
    angle = torch.arange(count)[:, None] / 10_000.0 ** (2 * (column // 2) / width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos())
