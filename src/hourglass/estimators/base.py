"""What every autoencoder estimator does: fit, transform (encode), inverse_transform (decode), reconstruct, save."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils.validation import check_array, check_is_fitted

from hourglass.core.checkpoints import load_model, model_bytes, model_from_bytes, save_model
from hourglass.core.fitted import AUTOENCODER, FittedModel
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import Experiment
from hourglass.core.training import Report
from hourglass.errors import ModelFileError, UsageError
from hourglass.estimators.inputs import as_data, like_input, like_numbers
from hourglass.estimators.planning import PARTS, change, plan, short_words
from hourglass.settings import did_you_mean


class Saved:
    """Estimators that hold one fitted model, and so can be written to one file and read back."""

    model_: FittedModel
    task: ClassVar[str]

    def save(self, path: str | Path) -> Path:
        """Write the fitted model to one `.safetensors` file, atomically; returns its path."""
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        self.model_.card |= {
            "task": self.task,
            "features": getattr(self, "n_features_in_", None),
            "feature_names": None if names is None else [str(name) for name in names],
        }
        return save_model(self.model_, path)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """The fitted estimator that `save` wrote."""
        return cls._of(load_model(path, device), str(path))

    @classmethod
    def _of(cls, model: FittedModel, where: str) -> Self:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: fitted models as the bytes of their files."""
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[call-overload]
        return {name: model_bytes(each) if isinstance(each, FittedModel) else each for name, each in state.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        models = {name: model_from_bytes(each) for name, each in state.items() if isinstance(each, bytes)}
        super().__setstate__(state | models)  # type: ignore[misc]

    def _adopt(self, model: FittedModel) -> Self:
        self.model_ = model
        if model.card.get("features") is not None:
            self.n_features_in_ = int(model.card["features"])
        if model.card.get("feature_names"):
            self.feature_names_in_ = np.array(model.card["feature_names"], dtype=object)
        return self


class BaseAutoencoder(Saved, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """An autoencoder as a scikit-learn transformer. Final classes name their modality and their parameters."""

    modality: ClassVar[str]
    task = AUTOENCODER

    def plan(self) -> Experiment:
        """The experiment that the parameters ask for, all parts spelled out."""
        return plan(self.modality, self.get_params(deep=False))

    def set_params(self, **params: Any) -> Self:
        """Set parameters; `corruption__rate=0.3` changes one option of a part, given or the kind's own.

        A short word for that option (`latent` for `bottleneck__size`) is set to None: the later wish stands.
        """
        known = self.get_params(deep=False)
        nested: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            slot, _, option = key.partition("__")
            if option and slot in PARTS:
                nested.setdefault(slot, {})[option] = value
            elif key not in known:
                what = f"{type(self).__name__} has no parameter {key!r}"
                raise UsageError(what, how=did_you_mean(slot, known))
        super().set_params(**{key: value for key, value in params.items() if key in known})
        for slot, changes in nested.items():
            setattr(self, slot, getattr(change(self.plan(), slot, changes), slot))
            for word in short_words(slot, changes):
                setattr(self, word, None)
        return self

    def fit(self, X: Any, y: Any = None, *, noise: Any = None, clean: Any = None, report: Report | None = None) -> Self:
        """Train on `X`: an array (rows, columns), a data frame, whole series, pictures or recordings. `y` is ignored.

        `clean`: the clean twin of each of `X`, which must be given back where `X` is seen. A second noisy take of the
        same thing does as well, as long as its noise is another (Noise2Noise, Lehtinen et al. 2018).
        `noise`: noise alone, in any form that `X` may have, for a corruption that mixes it in, as that of kind `mask`
        does. `report(epoch, epochs, terms)` is called after each epoch.
        """
        data, seen = as_data(self, X, fitting=True, modality=self.modality), None
        if clean is not None:
            data, seen = as_data(self, clean, fitting=False, modality=self.modality), data
        # a copy, since noise need not be as long as a row of `X` is
        heard = None if noise is None else as_data(clone(self), noise, fitting=True, modality=self.modality)
        self.model_ = fit_model(data, self.plan(), seen=seen, noise=heard, calibrate=False, report=report)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Codes of the samples, shape (samples, latent); the mean where codes are random."""
        check_is_fitted(self)
        return like_numbers(X, self.model_.encode(self._data(X)))  # type: ignore[no-any-return]

    def inverse_transform(self, X: Any) -> Any:
        """Samples made from codes (samples, latent), in the data's own units."""
        check_is_fitted(self)
        codes = check_array(X, dtype=(np.float64, np.float32))
        return like_input(X, self.model_.decode(codes))

    def reconstruct(self, X: Any) -> Any:
        """`X` given back through the bottleneck, in its own form and units."""
        check_is_fitted(self)
        return like_input(X, self.model_.reconstruct(self._data(X)))

    def fill_missing(self, X: Any) -> Any:
        """The rows of a table, missing cells filled in from the others of their row, all else as it is."""
        check_is_fitted(self)
        return like_input(X, self.model_.fill_missing(self._data(X)))

    def denoise(self, X: Any) -> Any:
        """`X` with its noise removed: what the network, trained to undo its corruption, makes of it."""
        return self.reconstruct(X)

    @property
    def _n_features_out(self) -> int:
        return self.model_.latent_size

    @classmethod
    def _of(cls, model: FittedModel, where: str) -> Self:
        if model.experiment.modality != cls.modality:
            raise ModelFileError(
                f"the model is for the modality {model.experiment.modality}",
                where=where,
                how="use hourglass.load(path), which finds the right class",
            )
        return cls.from_experiment(model.experiment)._adopt(model)

    @classmethod
    def from_experiment(cls, experiment: Experiment) -> Self:
        """The unfitted estimator whose parts are those of an experiment."""
        return cls(kind=experiment.kind, **{slot: getattr(experiment, slot) for slot in PARTS})

    def _data(self, X: Any) -> Any:
        return as_data(self, X, fitting=False, modality=self.modality)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.modality != "audio"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
