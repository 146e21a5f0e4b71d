"""Make new handwritten digits with a variational autoencoder, by two priors, and see how usual their codes are."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from hourglass import Generator, TableAutoencoder


def main() -> None:
    """Print, for each prior, the density of held-out digits' codes and one new digit in characters."""
    X, _ = load_digits(return_X_y=True)
    learned, held_out = X[:1_500], X[1_500:]
    for prior in ("normal", "mixture"):
        autoencoder = TableAutoencoder(kind="variational", latent=8, epochs=15)
        generator = Generator(autoencoder, prior=prior).fit(learned)
        density = generator.code_log_density(held_out).mean()
        print(f"prior {prior}: log density of held-out codes {density:.2f}")
        digit = generator.sample(1, seed=1).reshape(8, 8).clip(0, 16)
        print("\n".join("".join(" .:-=+*#@"[int(shade)] for shade in row) for row in np.rint(digit / 2)))


if __name__ == "__main__":
    main()
