"""Learning from samples that have anomalies among them: those that are explained worst do not count."""

from __future__ import annotations

from torch import Tensor, nn

SHARE = 0.1
"""The part of the samples that is not trusted, as scikit-learn's detectors assume where they are told nothing."""


class Trimming(nn.Module):
    """The mean of samples' losses but for the tenth that is largest, once training has warmed up.

    Before, rare but normal samples are explained as badly as anomalies are. Trimmed samples have no gradient, so that
    the network need not learn to give anomalies back (trimmed loss, Rousseeuw 1984; with networks Shen and Sanghavi
    2019): of losses l_1 <= ... <= l_n, the mean of the first n - round(n / 10).
    """

    warm_up = 0.2
    progress = 0.0

    def forward(self, losses: Tensor) -> Tensor:
        """One loss from those of a batch (n,)."""
        trimmed = round(SHARE * len(losses)) if self.progress >= self.warm_up else 0
        return losses.topk(len(losses) - trimmed, largest=False).values.mean()
