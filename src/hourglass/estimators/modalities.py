"""One autoencoder estimator a modality: a data format and a default network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hourglass.core.bottlenecks import Bottleneck
from hourglass.core.corruptions import Corruption
from hourglass.core.losses import Loss
from hourglass.core.networks.network import Network
from hourglass.core.penalties import Penalty
from hourglass.core.pretraining import Pretraining
from hourglass.core.priors import Prior
from hourglass.data.formats import FormatSettings
from hourglass.estimators.base import BaseAutoencoder
from hourglass.settings import Detection, Training


class TableAutoencoder(BaseAutoencoder):
    """Learns the rows of a table: numbers, flags, categories and dates, with missing cells.

    Parameters
    ----------
    kind : name, or names joined by `+` (see `hourglass.core.kinds.KINDS`); default masked-cell.
    recipe : name of a recipe to start from instead of a kind.
    latent, layers : size of a code; widths of the hidden layers. Default: by rule from the data's size.
    scaling : standard, min-max, quantile or none.
    epochs, batch_size, learning_rate, contaminated, seed, device : see `hourglass.settings.Training`.
    network, corruption, bottleneck, loss, penalties, format, pretraining, training, prior, detection :
        a part's settings, its name, or a dict of its options; what is left out is the kind's own.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 2)) @ np.ones((2, 6))
    >>> model = TableAutoencoder(kind="plain", latent=1, epochs=200).fit(X)
    >>> model.transform(X).shape
    (200, 1)
    >>> bool(np.mean((model.reconstruct(X) - X) ** 2) < 0.1 * X.var())
    True
    """

    modality = "table"

    def __init__(
        self,
        kind: str | None = None,
        *,
        recipe: str | None = None,
        latent: int | None = None,
        layers: Sequence[int] | None = None,
        scaling: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        contaminated: bool | None = None,
        seed: int | None = None,
        device: str | None = None,
        network: Network | Any = None,
        corruption: Corruption | Any = None,
        bottleneck: Bottleneck | Any = None,
        loss: Loss | Any = None,
        penalties: Sequence[Penalty] | Any = None,
        format: FormatSettings | Any = None,
        training: Training | Any = None,
        prior: Prior | Any = None,
        pretraining: Pretraining | Any = None,
        detection: Detection | Any = None,
    ) -> None:
        self.kind, self.recipe, self.latent, self.layers, self.scaling = kind, recipe, latent, layers, scaling
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.contaminated, self.seed, self.device = contaminated, seed, device
        self.network, self.corruption, self.bottleneck, self.loss = network, corruption, bottleneck, loss
        self.penalties, self.format, self.training, self.detection = penalties, format, training, detection
        self.prior, self.pretraining = prior, pretraining


class SeriesAutoencoder(BaseAutoencoder):
    """Learns windows of a series, of one channel or many.

    A 2-d array is one window a row, rows independent. A 1-d array, a frame with a time column, or a 3-d array
    (series, step, channel) is cut into windows.

    Parameters
    ----------
    kind : name, or names joined by `+` (see `hourglass.core.kinds.KINDS`); default denoising.
    recipe, latent, layers, scaling : as for `TableAutoencoder`.
    window : steps (48), a calendar length ("1d"), or "row": each row of the data is one. Default: by rule.
    epochs, batch_size, learning_rate, contaminated, seed, device : see `hourglass.settings.Training`.
    network, corruption, bottleneck, loss, penalties, format, pretraining, training, prior, detection :
        as for `TableAutoencoder`.

    Examples
    --------
    >>> import numpy as np
    >>> day = np.sin(np.arange(24 * 60) * 2 * np.pi / 24)
    >>> model = SeriesAutoencoder(kind="plain", window=24, latent=2, epochs=30).fit(day)
    >>> model.transform(day).shape[1]
    2
    """

    modality = "series"

    def __init__(
        self,
        kind: str | None = None,
        *,
        recipe: str | None = None,
        latent: int | None = None,
        layers: Sequence[int] | None = None,
        window: str | int | None = None,
        scaling: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        contaminated: bool | None = None,
        seed: int | None = None,
        device: str | None = None,
        network: Network | Any = None,
        corruption: Corruption | Any = None,
        bottleneck: Bottleneck | Any = None,
        loss: Loss | Any = None,
        penalties: Sequence[Penalty] | Any = None,
        format: FormatSettings | Any = None,
        training: Training | Any = None,
        prior: Prior | Any = None,
        pretraining: Pretraining | Any = None,
        detection: Detection | Any = None,
    ) -> None:
        self.kind, self.recipe, self.latent, self.layers = kind, recipe, latent, layers
        self.window, self.scaling = window, scaling
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.contaminated, self.seed, self.device = contaminated, seed, device
        self.network, self.corruption, self.bottleneck, self.loss = network, corruption, bottleneck, loss
        self.penalties, self.format, self.training, self.detection = penalties, format, training, detection
        self.prior, self.pretraining = prior, pretraining


class ImageAutoencoder(BaseAutoencoder):
    """Learns pictures: whole, brought to one size, or cut into tiles.

    Takes an array (n, height, width) or (n, height, width, channels), a list of arrays of any sizes, or `Pictures` as
    `hourglass.data.files.read(folder)` gives them. Each row of a 2-d array is one picture: square where its number of
    pixels is a square, else a single line.

    Parameters
    ----------
    kind : name, or names joined by `+` (see `hourglass.core.kinds.KINDS`); default denoising.
    recipe, latent, layers : as for `TableAutoencoder`.
    size : height and width that pictures are brought to; default: their own, at most 256 a side.
    tile : cut pictures into squares of so many pixels a side; default: whole pictures.
    scaling : unit (black 0, white 1), standard (by channel) or none.
    epochs, batch_size, learning_rate, contaminated, seed, device : see `hourglass.settings.Training`.
    network, corruption, bottleneck, loss, penalties, format, pretraining, training, prior, detection :
        as for `TableAutoencoder`.

    Examples
    --------
    >>> import numpy as np
    >>> bars = (np.arange(8) == np.arange(100)[:, None, None] % 8) * np.full((8, 1), 255, dtype=np.uint8)
    >>> model = ImageAutoencoder(kind="plain", latent=4, epochs=5).fit(bars)
    >>> model.transform(bars).shape, model.reconstruct(bars).shape
    ((100, 4), (100, 8, 8))
    """

    modality = "image"

    def __init__(
        self,
        kind: str | None = None,
        *,
        recipe: str | None = None,
        latent: int | None = None,
        layers: Sequence[int] | None = None,
        size: int | Sequence[int] | None = None,
        tile: int | None = None,
        scaling: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        contaminated: bool | None = None,
        seed: int | None = None,
        device: str | None = None,
        network: Network | Any = None,
        corruption: Corruption | Any = None,
        bottleneck: Bottleneck | Any = None,
        loss: Loss | Any = None,
        penalties: Sequence[Penalty] | Any = None,
        format: FormatSettings | Any = None,
        training: Training | Any = None,
        prior: Prior | Any = None,
        pretraining: Pretraining | Any = None,
        detection: Detection | Any = None,
    ) -> None:
        self.kind, self.recipe, self.latent, self.layers = kind, recipe, latent, layers
        self.size, self.tile, self.scaling = size, tile, scaling
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.contaminated, self.seed, self.device = contaminated, seed, device
        self.network, self.corruption, self.bottleneck, self.loss = network, corruption, bottleneck, loss
        self.penalties, self.format, self.training, self.detection = penalties, format, training, detection
        self.prior, self.pretraining = prior, pretraining


class AudioAutoencoder(BaseAutoencoder):
    """Learns sound: recordings of any length and rate, as spectrograms cut into tiles. Gives cleaner sound back.

    Takes `Recordings` as `hourglass.data.files.read(folder)` gives them; or, at the model's rate, a list of arrays
    (frames,) or (frames, channels), an array (recordings, frames), or one signal (frames,).

    Parameters
    ----------
    kind : name, or names joined by `+` (see `hourglass.core.kinds.KINDS`); default mask, which removes noise.
    recipe, latent, layers : as for `TableAutoencoder`.
    rate : frames a second of the model; default: the commonest of the recordings, or 16,000 for arrays.
    epochs, batch_size, learning_rate, contaminated, seed, device : see `hourglass.settings.Training`.
    network, corruption, bottleneck, loss, penalties, format, pretraining, training, prior, detection :
        as for `TableAutoencoder`.

    Examples
    --------
    >>> import numpy as np
    >>> calls = np.sin(np.outer(np.arange(1, 9), np.arange(2000)) / 50)
    >>> model = AudioAutoencoder("denoising+convolutional", format={"bins": 128}, rate=8000, latent=4, epochs=2)
    >>> codes = model.fit(calls).transform(calls)
    >>> codes.shape, model.reconstruct(calls).shape
    ((8, 4), (8, 2000))
    """

    modality = "audio"

    def __init__(
        self,
        kind: str | None = None,
        *,
        recipe: str | None = None,
        latent: int | None = None,
        layers: Sequence[int] | None = None,
        rate: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        contaminated: bool | None = None,
        seed: int | None = None,
        device: str | None = None,
        network: Network | Any = None,
        corruption: Corruption | Any = None,
        bottleneck: Bottleneck | Any = None,
        loss: Loss | Any = None,
        penalties: Sequence[Penalty] | Any = None,
        format: FormatSettings | Any = None,
        training: Training | Any = None,
        prior: Prior | Any = None,
        pretraining: Pretraining | Any = None,
        detection: Detection | Any = None,
    ) -> None:
        self.kind, self.recipe, self.latent, self.layers = kind, recipe, latent, layers
        self.rate = rate
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.contaminated, self.seed, self.device = contaminated, seed, device
        self.network, self.corruption, self.bottleneck, self.loss = network, corruption, bottleneck, loss
        self.penalties, self.format, self.training, self.detection = penalties, format, training, detection
        self.prior, self.pretraining = prior, pretraining


MODALITIES: dict[str, type[BaseAutoencoder]] = {
    each.modality: each for each in (TableAutoencoder, SeriesAutoencoder, ImageAutoencoder, AudioAutoencoder)
}
