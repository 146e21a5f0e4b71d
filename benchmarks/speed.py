"""CPU seconds an epoch of plain dense autoencoders: ours through its public estimator, a textbook loop, and the peers.

    python benchmarks/speed.py [--fast] [NAME ...]

An epoch is (a fit of some more epochs, minus a fit of one) over those more, each the least of the rounds: what is done
once, such as reading, compiling, scoring and calibrating, is left out for everyone. Nobody holds rows out. Ours has its
defaults but for the shape, the epochs and the batch size; the others have Adam at 1e-3 and the squared error. Time is
that of the processor, on one thread (of the clock, where a work has two), and the rounds are interleaved. `error` is
the mean squared error over all rows after the longer fit. A peer that is not installed is left out by name.
`of sgemm` is what the products of a step need, forward and backward, over what a product of two 1,024 x 1,024 matrices
reaches on as many threads.
"""

from __future__ import annotations

import argparse
import gzip
import io
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import torch
from common import data, save
from sklearn.neural_network import MLPRegressor
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hourglass import TableAutoencoder
from hourglass.settings import Training

RATE = 1e-3


@dataclass(frozen=True)
class Work:
    """A stack, and what it is trained on."""

    name: str
    widths: tuple[int, ...]
    """From the inputs to the code."""
    rows: int
    batch: int
    epochs: int
    """How many more the longer fit has."""
    threads: int = 1

    @property
    def mirrored(self) -> tuple[int, ...]:
        return *self.widths, *reversed(self.widths[:-1])

    @property
    def products(self) -> float:
        """Floating-point operations of an epoch: three products a layer, two in the first."""
        sizes = [inputs * outputs for inputs, outputs in pairwise(self.mirrored)]
        return 2.0 * self.rows * (3 * sum(sizes) - sizes[0])


WORKS = (
    Work("digits", (784, 64), 60_000, 256, 2),
    Work("deep digits", (784, 512, 256, 60), 60_000, 256, 1, threads=2),
    Work("beats", (140, 64, 32, 16), 5_000, 512, 60),
    Work("table", (30, 16, 8), 200_000, 1_024, 3),
    Work("one row a step", (140, 64, 32, 16), 1_000, 1, 2),
)

Reconstruct = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[np.ndarray, Work, int], Reconstruct]


def rows_of(work: Work) -> np.ndarray:
    """MNIST's training digits where a work has 784 inputs; elsewhere rows near a plane of 8 dimensions."""
    if work.widths[0] == 784:
        with gzip.open(data("mnist") / "train-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(), np.uint8, offset=16)
        return pixels.reshape(-1, 784)[: work.rows].astype(np.float32) / 255
    random = np.random.default_rng(0)
    on_it = random.normal(size=(work.rows, 8)) @ random.normal(size=(8, work.widths[0])) / 8**0.5
    return (on_it + 0.1 * random.normal(size=on_it.shape)).astype(np.float32)


def ours(x: np.ndarray, work: Work, epochs: int) -> Reconstruct:
    training, code = Training(validation=0.0), work.widths[-1]
    shape: dict[str, Any] = {"layers": work.widths[1:-1], "latent": code, "batch_size": work.batch}
    model = TableAutoencoder(kind="plain", epochs=epochs, scaling="none", training=training, **shape).fit(x)
    return lambda rows: np.asarray(model.reconstruct(rows))


def network(work: Work) -> nn.Sequential:
    """Linear layers with ReLU between them, but none on the code."""
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(work.mirrored), start=1):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        if index in (len(work.widths) - 1, len(work.mirrored) - 1):
            layers.pop()
    return nn.Sequential(*layers)


def by(model: nn.Module) -> Reconstruct:
    """What a torch network gives back."""
    model.eval()
    with torch.no_grad():
        return lambda rows: np.asarray(model(torch.from_numpy(rows)).detach())


def textbook(x: np.ndarray, work: Work, epochs: int) -> Reconstruct:
    model, cost = network(work), nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    batches = DataLoader(TensorDataset(torch.from_numpy(x)), batch_size=work.batch, shuffle=True)
    for _ in range(epochs):
        for (batch,) in batches:
            optimizer.zero_grad()
            cost(model(batch), batch).backward()
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
    "textbook loop": ("torch", textbook),
    "scikit-learn": ("sklearn", scikit_learn),
    "PyOD": ("pyod", pyod),
    "pythae": ("pythae", pythae),
    "skorch": ("skorch", skorch),
    "Lightning": ("lightning", lightning),
    "Keras on JAX": ("jax", keras_on_jax),
}
"""The module that a system needs, and its fit."""


def seconds(work: Work, of: Callable[[], Any]) -> tuple[float, Any]:
    clock = time.process_time if work.threads == 1 else time.perf_counter
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # some cannot be told to be quiet
        start = clock()
        result = of()
        return clock() - start, result


def sgemm_rate(work: Work) -> float:
    """Floating-point operations a second of square matrices."""
    left, right = torch.randn(2, 1_024, 1_024)
    took = min(seconds(work, lambda: torch.mm(left, right))[0] for _ in range(20))
    return float(2 * 1_024**3 / took)


def measured(work: Work, rounds: int, systems: dict[str, Fit]) -> dict[str, dict[str, float]]:
    """By system: seconds an epoch, the longest of the longer fits over the shortest, error, and share of sgemm."""
    torch.set_num_threads(work.threads)
    x = rows_of(work)
    one: dict[str, list[float]] = {name: [] for name in systems}
    more: dict[str, list[float]] = {name: [] for name in systems}
    errors, rates = {}, []
    for _ in range(rounds):
        rates.append(sgemm_rate(work))
        for name, fit in systems.items():
            torch.manual_seed(0)
            one[name].append(seconds(work, lambda fit=fit: fit(x, work, 1))[0])
            took, reconstruct = seconds(work, lambda fit=fit: fit(x, work, 1 + work.epochs))
            more[name].append(took)
            errors[name] = float(np.square(reconstruct(x) - x).mean())
    figures = {}
    for name in systems:
        epoch = (min(more[name]) - min(one[name])) / work.epochs
        share = work.products / epoch / max(rates)
        spread = max(more[name]) / min(more[name])
        figures[name] = {"seconds": epoch, "spread": spread, "error": errors[name], "of_sgemm": share}
    return figures


def lines_of(work: Work, figures: dict[str, dict[str, float]]) -> list[str]:
    shape = "-".join(map(str, work.mirrored))
    threads = "one thread" if work.threads == 1 else f"{work.threads} threads, by the clock"
    lines = [f"{work.name}: {shape}, {work.rows:,} rows, batch {work.batch:,}, {threads}"]
    for name, each in figures.items():
        ratio = each["seconds"] / figures["Hourglass"]["seconds"]
        lines.append(
            f"  {name:14} {each['seconds']:9.4f} s an epoch  {ratio:6.2f} x ours  spread {each['spread']:.2f}"
            f"  error {each['error']:.5f}  {each['of_sgemm']:4.0%} of sgemm"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("works", nargs="*", help=f"which (default: all): {', '.join(work.name for work in WORKS)}")
    parser.add_argument("--fast", action="store_true", help="two rounds; an eighth of many rows")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in ("lightning", "pytorch_lightning", "pythae"):
        logging.getLogger(name).setLevel(logging.ERROR)
    absent = [name for name, (module, _) in SYSTEMS.items() if not find_spec(module)]
    systems = {name: fit for name, (_, fit) in SYSTEMS.items() if name not in absent}
    figures, lines = {}, [f"not installed: {', '.join(absent)}"] if absent else []
    for work in WORKS:
        if asked.works and work.name not in asked.works:
            continue
        chosen = replace(work, rows=work.rows // 8) if asked.fast and work.rows > 10_000 else work
        figures[work.name] = measured(chosen, 2 if asked.fast else asked.rounds, systems)
        lines += lines_of(chosen, figures[work.name])
    save("speed_fast" if asked.fast else "speed", "python benchmarks/speed.py" + " --fast" * asked.fast, figures, lines)


if __name__ == "__main__":
    main()
