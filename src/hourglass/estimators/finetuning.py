"""Any autoencoder taught labels: fitted without them first, then fine-tuned with them. Wrappers, for every modality."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d

from hourglass.core.fitted import FittedModel
from hourglass.core.fitting import fit_model
from hourglass.core.heads import CLASSIFIER, REGRESSOR, Classes, Meaning, Quantities
from hourglass.core.supervised import fine_tune, labelled_samples, taught_by
from hourglass.core.training import Report
from hourglass.data.formats import Data
from hourglass.errors import DataError, ModelFileError, UsageError
from hourglass.estimators.base import BaseAutoencoder
from hourglass.estimators.inputs import as_data
from hourglass.estimators.modalities import MODALITIES
from hourglass.estimators.wrapping import Wrapper
from hourglass.settings import Training, Tuning

_SHORT = ("epochs", "batch_size", "learning_rate", "validation", "seed")


class Taught(Wrapper, BaseEstimator):
    """What classifiers and regressors on an autoencoder share. Final classes say what labels are."""

    def __init__(
        self,
        autoencoder: BaseAutoencoder | FittedModel | None = None,
        *,
        freeze: bool = False,
        encoder_rate: float = 0.1,
        warm_up: float = 0.1,
        corrupt: bool = False,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        validation: float | None = None,
        seed: int | None = None,
        training: Training | Mapping[str, Any] | None = None,
    ) -> None:
        self.autoencoder = autoencoder
        self.freeze, self.encoder_rate, self.warm_up, self.corrupt = freeze, encoder_rate, warm_up, corrupt
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.validation, self.seed, self.training = validation, seed, training

    def fit(self, X: Any, y: Any, *, unlabelled: Any = None, report: Report | None = None) -> Self:
        """Fit the autoencoder to `X` without labels, then teach it the labels `y`, one for each row of `X`.

        `unlabelled`: rows for the autoencoder to be fitted to instead of `X`, mostly many more; those of `X` should be
        among them. `report(epoch, epochs, terms)` is called after each epoch.
        """
        tuning = Tuning(self.freeze, self.encoder_rate, self.warm_up, self.corrupt)
        given = self._given()
        modality = given.experiment.modality if isinstance(given, FittedModel) else given.modality
        data = as_data(self, X, fitting=True, modality=modality)
        labels, meaning = self._meaning(y)
        _check_rows(data, labels)
        training = self._training(len(labels))
        if isinstance(given, FittedModel):
            if unlabelled is not None:
                how = "leave `unlabelled` out, or give an autoencoder that is not fitted yet"
                raise UsageError("the autoencoder is fitted already", where="unlabelled", how=how)
            model = given
        else:
            rows = data if unlabelled is None else as_data(self, unlabelled, fitting=False, modality=modality)
            model = fit_model(rows, given.plan(), calibrate=False, report=report)
        samples = labelled_samples(model, data, labels)
        return self._adopt(fine_tune(model, samples, labels, meaning, tuning, training, report))

    def predict(self, X: Any) -> np.ndarray:
        """What the labels of the samples should be, in the form in which they were learned."""
        check_is_fitted(self)
        return self.model_.predict(self._data(X))

    @abstractmethod
    def _meaning(self, y: Any) -> tuple[np.ndarray, Meaning]:
        """The labels checked, and what they mean."""

    def _training(self, rows: int) -> Training:
        given = self.training
        training = given if isinstance(given, Training) else taught_by(rows, given or {})
        short = {name: getattr(self, name) for name in _SHORT}
        return training.replace(**{name: value for name, value in short.items() if value is not None})

    def _given(self) -> BaseAutoencoder | FittedModel:
        """The autoencoder to start from: a fitted model as it is, an estimator as a copy that is not fitted."""
        if isinstance(self.autoencoder, FittedModel):
            return self.autoencoder
        return self._unfitted(", or load_model(path) for a fitted one")

    @classmethod
    def _of(cls, model: FittedModel, where: str) -> Self:
        if model.head is None or model.head.meaning.task != cls.task:
            how = "hourglass.load(path) finds the right class; `hourglass finetune` teaches a model labels"
            raise ModelFileError(f"the model is no {cls.task}", where=where, how=how)
        autoencoder = MODALITIES[model.experiment.modality].from_experiment(model.experiment)
        settings = model.head.settings
        return cls(autoencoder, training=Training(**settings["training"]), **settings["tuning"])._adopt(model)

    def _data(self, X: Any) -> Any:
        return as_data(self, X, fitting=False, modality=self.model_.experiment.modality)


class AutoencoderClassifier(ClassifierMixin, Taught):
    """Learns rows without labels, then classes from rows with labels: for many rows of which few are labelled.

    A linear layer on the code, and a copy of the encoder, are trained by cross-entropy. The autoencoder itself stays
    as it is: the fitted `model_` goes on encoding, reconstructing and finding anomalies as before.

    Parameters
    ----------
    autoencoder : an unfitted autoencoder such as `SeriesAutoencoder()`, fitted in `fit`; or a fitted model, used as it
        is: the `model_` of an estimator, or what `hourglass.load_model(path)` reads. Default `TableAutoencoder()`.
    freeze : leave the encoder as it is, so that only the layer on its codes learns.
    encoder_rate, warm_up : the encoder's share of the learning rate, and of training before which it stands still.
    corrupt : train on samples corrupted as the autoencoder's were.
    epochs, batch_size, learning_rate, seed : see `hourglass.settings.Training`.
    validation : share of each class's rows held out to choose the best epoch; default 0.1, or none of few rows.
    training : further settings of the fine-tuning, or a dict of them.

    Examples
    --------
    >>> import numpy as np
    >>> from hourglass import TableAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ np.ones((2, 6))
    >>> model = AutoencoderClassifier(TableAutoencoder(kind="plain", latent=1, epochs=60), epochs=60)
    >>> model = model.fit(X[:40], np.where(X[:40, 0] > 0, "high", "low"), unlabelled=X)
    >>> model.predict(np.array([[2.0] * 6, [-2.0] * 6]))
    array(['high', 'low'], dtype='<U4')
    """

    task = CLASSIFIER

    @property
    def classes_(self) -> np.ndarray:
        """The classes, sorted: column i of `predict_proba` is for class i."""
        return self._classes().labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, shape (samples, classes)."""
        check_is_fitted(self)
        return self.model_.probabilities(self._data(X))

    def _classes(self) -> Classes:
        head = self.model_.head
        if head is None or not isinstance(head.meaning, Classes):
            raise AttributeError("classes_")
        return head.meaning

    def _meaning(self, y: Any) -> tuple[np.ndarray, Meaning]:
        labels = column_or_1d(_array(y, None), warn=True)
        check_classification_targets(labels)
        return labels, Classes.of(labels)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class AutoencoderRegressor(RegressorMixin, Taught):
    """Learns rows without labels, then numbers from rows with labels: for many rows of which few are labelled.

    A linear layer on the code, and a copy of the encoder, are trained by squared error on standardised labels, of
    which a row may have several. The autoencoder itself stays as it is.

    Parameters
    ----------
    autoencoder, freeze, encoder_rate, warm_up, corrupt, epochs, batch_size, learning_rate, validation, seed, training :
        as for `AutoencoderClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from hourglass import TableAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ np.ones((2, 6))
    >>> model = AutoencoderRegressor(TableAutoencoder(kind="plain", latent=1, epochs=60), epochs=60)
    >>> bool(model.fit(X[:60], 3 * X[:60, 0], unlabelled=X).score(X, 3 * X[:, 0]) > 0.95)
    True
    """

    task = REGRESSOR

    def _meaning(self, y: Any) -> tuple[np.ndarray, Meaning]:
        labels = _array(y, np.float64)
        return labels, Quantities.of(labels)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = True
        return tags


def _array(y: Any, dtype: Any) -> np.ndarray:
    if y is None:
        what = "this estimator requires y to be passed, but the target y is None"
        raise UsageError(what, where="fit", how="give one label for each row")
    return np.asarray(check_array(y, ensure_2d=False, dtype=dtype, input_name="y"))


def _check_rows(data: Data, labels: np.ndarray) -> None:
    rows = len(data) if isinstance(data, np.ndarray) else data.table.num_rows
    if rows != len(labels):
        what = f"got {len(labels):,} labels for {rows:,} rows: inconsistent numbers of samples"
        raise DataError(what, where="labels", how="give one label for each row")
