"""How each system fits a work, as its own documentation says: ours, a textbook loop, and the peers."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import numpy as np
import torch
from common import data
from sklearn.neural_network import MLPRegressor
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hourglass import ImageAutoencoder, TableAutoencoder
from hourglass.core import steps
from hourglass.core.networks.convolution import Convolution
from hourglass.settings import Training

RATE = 1e-3
NOISE = 0.3
"""Standard deviation of the noise on pictures."""


@dataclass(frozen=True)
class Work:
    """A network, and what it is trained on."""

    name: str
    widths: tuple[int, ...]
    """From the inputs to the code."""
    rows: int
    batch: int
    epochs: int
    """How many more the longer fit has."""
    threads: int = 1
    channels: tuple[int, ...] = ()
    """Of each stage, where rows are square pictures to be denoised; `widths` are then the pixels and the code."""
    device: str = "cpu"

    @property
    def mirrored(self) -> tuple[int, ...]:
        return *self.widths, *reversed(self.widths[:-1])

    @property
    def shape(self) -> str:
        """The network in a word."""
        if not self.channels:
            return "-".join(map(str, self.mirrored))
        side = int(self.widths[0] ** 0.5)
        return f"denoising 1 x {side} x {side}, convolutions {'-'.join(map(str, self.channels))}"

    @property
    def faster(self) -> Work:
        """The same network on fewer rows."""
        if self.channels:
            return replace(self, rows=self.rows // 2)
        return replace(self, rows=self.rows // 8) if self.rows > 10_000 else self


WORKS = (
    Work("digits", (784, 64), 60_000, 256, 6),
    Work("deep digits", (784, 512, 256, 60), 60_000, 256, 1, threads=2),
    Work("beats", (140, 64, 32, 16), 5_000, 512, 60),
    Work("table", (30, 16, 8), 200_000, 1_024, 3),
    Work("one row a step", (140, 64, 32, 16), 1_000, 1, 5),
    Work("pictures", (4_096, 32), 256, 32, 8, channels=(32, 64, 128)),
    *([Work("digits on a GPU", (784, 64), 60_000, 256, 10, device="cuda")] if torch.cuda.is_available() else []),
)

Reconstruct = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[np.ndarray, Work, int], Reconstruct]


def rows_of(work: Work) -> np.ndarray:
    """MNIST's training digits where a work has 784 inputs; smooth pictures from 0 to 1 for convolutions.

    Elsewhere rows near a plane of 8 dimensions.
    """
    if work.widths[0] == 784:
        with gzip.open(data("mnist") / "train-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(), np.uint8, offset=16)
        return pixels.reshape(-1, 784)[: work.rows].astype(np.float32) / 255
    random = np.random.default_rng(0)
    if work.channels:
        side = int(work.widths[0] ** 0.5)
        coarse = random.random((work.rows, 1, side // 8, side // 8), dtype=np.float32)
        return nn.functional.interpolate(torch.from_numpy(coarse), scale_factor=8, mode="bilinear").numpy()
    on_it = random.normal(size=(work.rows, 8)) @ random.normal(size=(8, work.widths[0])) / 8**0.5
    return (on_it + 0.1 * random.normal(size=on_it.shape)).astype(np.float32)


def ours(x: np.ndarray, work: Work, epochs: int) -> Reconstruct:
    training = Training(validation=0.0, device=work.device)
    asked: dict[str, Any] = {"latent": work.widths[-1], "batch_size": work.batch, "epochs": epochs, "scaling": "none"}
    if work.channels:
        network = Convolution(channels=work.channels)
        model = ImageAutoencoder(kind="denoising", network=network, training=training, **asked).fit(x[:, 0])
        return lambda rows: np.asarray(model.reconstruct(rows[:, 0]))[:, None]
    model = TableAutoencoder(kind="plain", layers=work.widths[1:-1], training=training, **asked).fit(x)
    return lambda rows: np.asarray(model.reconstruct(rows))


def ours_uncaptured(x: np.ndarray, work: Work, epochs: int) -> Reconstruct:
    capture, steps.can_be_captured = steps.can_be_captured, lambda *given: False
    try:
        return ours(x, work, epochs)
    finally:
        steps.can_be_captured = capture


def network(work: Work) -> nn.Sequential:
    """Linear layers with ReLU between them, but none on the code; for pictures convolutions around two of them."""
    if work.channels:
        return convolutions(work)
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(work.mirrored), start=1):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        if index in (len(work.widths) - 1, len(work.mirrored) - 1):
            layers.pop()
    return nn.Sequential(*layers)


def convolutions(work: Work) -> nn.Sequential:
    """Stages of a convolution and a pool, the code, and the stages back, of an upsampling and a convolution."""
    side, last = int(work.widths[0] ** 0.5) // 2 ** len(work.channels), work.channels[-1]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([1, *work.channels]):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    size = last * side**2
    layers += [nn.Flatten(), nn.Linear(size, work.widths[-1])]
    layers += [nn.Linear(work.widths[-1], size), nn.ReLU(), nn.Unflatten(1, (last, side, side))]
    for inputs, outputs in pairwise([last, *reversed(work.channels)]):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(work.channels[0], 1, 3, padding=1))


def products(work: Work) -> float:
    """Floating-point operations of an epoch of the textbook network: three products a layer, two in the first."""
    model, counts = network(work), []

    def count(layer: Any, _: Any, output: torch.Tensor) -> None:
        counts.append(output[0].numel() * layer.weight[0].numel())

    for layer in model:
        if hasattr(layer, "weight"):
            layer.register_forward_hook(count)
    model(torch.from_numpy(rows_of(replace(work, rows=1))))
    return 2.0 * work.rows * (3 * sum(counts) - counts[0])


def by(model: nn.Module) -> Reconstruct:
    """What a torch network gives back."""
    model.eval().cpu()
    return lambda rows: np.asarray(torch.cat([model(each).detach() for each in torch.from_numpy(rows).split(256)]))


def textbook(x: np.ndarray, work: Work, epochs: int) -> Reconstruct:
    model, cost = network(work).to(work.device), nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    batches = DataLoader(TensorDataset(torch.from_numpy(x)), batch_size=work.batch, shuffle=True)
    for _ in range(epochs):
        for (batch,) in batches:
            batch = batch.to(work.device)
            seen = batch + NOISE * torch.randn_like(batch) if work.channels else batch
            optimizer.zero_grad()
            cost(model(seen), batch).backward()
            optimizer.step()
    return by(model)


def scikit_learn(x: np.ndarray, work: Work, epochs: int) -> Reconstruct:
    shape = {"hidden_layer_sizes": work.mirrored[1:-1], "batch_size": work.batch}
    model = MLPRegressor(**shape, max_iter=epochs, alpha=0.0, tol=0.0, n_iter_no_change=10**6, random_state=0)
    return model.fit(x, x).predict


def pyod(x: np.ndarray, work: Work, epochs: int) -> Reconstruct:
    from pyod.models.auto_encoder import AutoEncoder

    plain = {"preprocessing": False, "batch_norm": False, "dropout_rate": 0.0, "optimizer_params": {}, "verbose": 0}
    shape = {"hidden_neuron_list": list(work.widths[1:]), "batch_size": work.batch, "epoch_num": epochs}
    return by(AutoEncoder(lr=RATE, device="cpu", **plain, **shape).fit(x).model)


def pythae(x: np.ndarray, work: Work, epochs: int) -> Reconstruct:
    from pythae.models import AE, AEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    layers = list(network(work))
    coded = 2 * (len(work.widths) - 1) - 1

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.stack = nn.Sequential(*layers[:coded])

        def forward(self, rows: torch.Tensor) -> ModelOutput:
            return ModelOutput(embedding=self.stack(rows))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.stack = nn.Sequential(*layers[coded:])

        def forward(self, codes: torch.Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.stack(codes))

    model = AE(AEConfig(input_dim=(work.widths[0],), latent_dim=work.widths[-1]), Encoder(), Decoder())
    sizes = {"per_device_train_batch_size": work.batch, "num_epochs": epochs, "learning_rate": RATE}
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(output_dir=folder, no_cuda=True, **sizes)
        samples = [{"data": row} for row in torch.from_numpy(x)]
        BaseTrainer(model, samples, training_config=config).train()
    return by(nn.Sequential(model.encoder.stack, model.decoder.stack))


def skorch(x: np.ndarray, work: Work, epochs: int) -> Reconstruct:
    from skorch import NeuralNetRegressor

    loop = {"max_epochs": epochs, "batch_size": work.batch, "iterator_train__shuffle": True, "train_split": None}
    model = NeuralNetRegressor(network(work), optimizer=torch.optim.Adam, lr=RATE, verbose=0, **loop)
    return by(model.fit(x, x).module_)


def lightning(x: np.ndarray, work: Work, epochs: int) -> Reconstruct:
    from lightning import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.stack = network(work)

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            return nn.functional.mse_loss(self.stack(batch[0]), batch[0])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=RATE)

    model = Module()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    batches = DataLoader(TensorDataset(torch.from_numpy(x)), batch_size=work.batch, shuffle=True)
    Trainer(max_epochs=epochs, accelerator="cpu", devices=1, **quiet).fit(model, batches)
    return by(model.stack)


def keras_on_jax(x: np.ndarray, work: Work, epochs: int) -> Reconstruct:
    import keras

    linear = {len(work.widths) - 1, len(work.mirrored) - 1}
    layers = [
        keras.layers.Dense(width, activation=None if index in linear else "relu")
        for index, width in enumerate(work.mirrored[1:], start=1)
    ]
    model = keras.Sequential([keras.Input((work.widths[0],)), *layers])
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss="mse")
    model.fit(x, x, batch_size=work.batch, epochs=epochs, verbose=0)
    return lambda rows: np.asarray(model.predict(rows, batch_size=4_096, verbose=0))


SYSTEMS: dict[str, tuple[str, Fit]] = {
    "Hourglass": ("torch", ours),
    "ours uncaptured": ("torch", ours_uncaptured),
    "textbook loop": ("torch", textbook),
    "scikit-learn": ("sklearn", scikit_learn),
    "PyOD": ("pyod", pyod),
    "pythae": ("pythae", pythae),
    "skorch": ("skorch", skorch),
    "Lightning": ("lightning", lightning),
    "Keras on JAX": ("jax", keras_on_jax),
}
"""The module that a system needs, and its fit."""


def takes(work: Work, name: str) -> bool:
    """Whether a system is timed on a work."""
    if name == "ours uncaptured":
        return work.device != "cpu"
    return name in ("Hourglass", "textbook loop") or not (work.channels or work.device != "cpu")
