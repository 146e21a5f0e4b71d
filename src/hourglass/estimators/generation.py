"""Any autoencoder as a generator: a wrapper, so that every modality and kind can be one."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import fit_model
from hourglass.core.priors import Prior
from hourglass.core.training import Report
from hourglass.estimators.base import BaseAutoencoder
from hourglass.estimators.inputs import as_data, like_input
from hourglass.estimators.modalities import MODALITIES
from hourglass.estimators.wrapping import Wrapper


class Generator(Wrapper, BaseEstimator):
    """Makes new samples like those that an autoencoder was fitted to, by decoding codes drawn from a prior.

    A sample is what the decoder expects of its code: a category is the likeliest one, a number carries no noise of its
    own.

    Parameters
    ----------
    autoencoder : an unfitted autoencoder such as `SeriesAutoencoder()`; default `TableAutoencoder()`.
    prior : where new codes come from: "normal" (N(0, I) where training pulls codes there, as variational kinds do,
        else with the mean and covariance of the training codes), "mixture", "empirical", "vamp", "flow", or one with
        its options, such as `GaussianMixture(components=5)`; default "normal". It stands before what the
        autoencoder's own `prior` says.

    Examples
    --------
    >>> import numpy as np
    >>> from hourglass import TableAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ np.ones((2, 6))
    >>> generator = Generator(TableAutoencoder(kind="plain", latent=1, epochs=60), prior="mixture").fit(X)
    >>> new = generator.sample(500)
    >>> new.shape, bool(abs(new.std() / X.std() - 1) < 0.2)
    ((500, 6), True)
    """

    task = "generator"

    def __init__(self, autoencoder: BaseAutoencoder | None = None, prior: Prior | Any = "normal") -> None:
        self.autoencoder, self.prior = autoencoder, prior

    def fit(self, X: Any, y: Any = None, *, report: Report | None = None) -> Self:
        """Train on `X`, then fit the prior to its codes. `y` is ignored; `report` is called after each epoch."""
        autoencoder = self._unfitted()
        plan = autoencoder.set_params(prior=self.prior).plan()
        data = as_data(self, X, fitting=True, modality=plan.modality)
        self._form = X[:0] if hasattr(X, "dtype") or hasattr(X, "columns") else None
        return self._adopt(fit_model(data, plan, calibrate=False, report=report))

    def sample(self, n: int = 1, seed: int = 0) -> Any:
        """`n` new samples, in the units and the form of the data; the same for the same seed."""
        check_is_fitted(self)
        return self._like_fitted(self.model_.generate(n, seed))

    def interpolate(self, X: Any, steps: int = 8) -> Any:
        """`steps` samples on the way from each sample of `X` to the next one, both ends as they are reconstructed."""
        check_is_fitted(self)
        return like_input(X, self.model_.interpolate(self._data(X), steps))

    def plane(self, side: int = 16) -> Any:
        """`side` x `side` samples over the plane of the codes, row by row; grid lines at quantiles of the prior."""
        check_is_fitted(self)
        return self._like_fitted(self.model_.latent_plane(side))

    def code_log_density(self, X: Any) -> np.ndarray:
        """Log density of each sample's code under the prior, in nats: how usual its code is.

        It is not the likelihood of the sample, for it does not ask how well the code describes it.
        """
        check_is_fitted(self)
        return self.model_.code_log_density(self._data(X))

    @classmethod
    def _of(cls, model: FittedModel, where: str) -> Self:
        plan = model.experiment
        return cls(MODALITIES[plan.modality].from_experiment(plan), plan.prior)._adopt(model)

    def _data(self, X: Any) -> Any:
        return as_data(self, X, fitting=False, modality=self.model_.experiment.modality)

    def _like_fitted(self, result: Any) -> Any:
        """A result in the container that the training data came in, which a model read from a file has forgotten."""
        form = getattr(self, "_form", None)
        return result if form is None else like_input(form, result)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
