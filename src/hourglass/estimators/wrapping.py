"""What estimators that wrap an autoencoder for a task have in common: how it is set, checked and cloned."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import clone

from hourglass.errors import UsageError
from hourglass.estimators.base import BaseAutoencoder, Saved
from hourglass.estimators.modalities import TableAutoencoder


class Wrapper(Saved):
    """An estimator around `autoencoder`; where none was given it is a `TableAutoencoder`."""

    autoencoder: Any

    def set_params(self, **params: Any) -> Self:
        """Set parameters; `autoencoder__latent=8` sets one of the autoencoder's, also where none was given."""
        if self.autoencoder is None and any(key.startswith("autoencoder__") for key in params):
            self.autoencoder = TableAutoencoder()
        return super().set_params(**params)  # type: ignore[misc, no-any-return]

    def _unfitted(self, alternative: str = "") -> BaseAutoencoder:
        """A clone of the autoencoder, to be fitted. `alternative`: what else may be given, in words."""
        if not isinstance(self.autoencoder, BaseAutoencoder | None):
            how = f"for example {type(self).__name__}(TableAutoencoder()){alternative}"
            raise UsageError(f"got {self.autoencoder!r}, wanted an autoencoder", where="autoencoder", how=how)
        return clone(self.autoencoder) if self.autoencoder is not None else TableAutoencoder()
