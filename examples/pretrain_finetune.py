"""Learn from many pictures without labels, layer by layer, then from the labels of a few."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from hourglass import AutoencoderClassifier, TableAutoencoder

LABELLED = 5  # of each digit


def main() -> None:
    """Print how many new digits are named rightly after 50 labels, with and without the unlabelled ones."""
    X, y = load_digits(return_X_y=True)
    known, new, labels, expected = train_test_split(X / 16, y, test_size=500, random_state=0, stratify=y)
    few = np.concatenate([np.flatnonzero(labels == digit)[:LABELLED] for digit in range(10)])
    stacked = TableAutoencoder(
        kind="stacked+denoising",  # each layer, and then the whole network, learns to remove noise
        layers=[200],
        latent=100,
        bottleneck={"activation": "relu"},
        scaling="none",
        epochs=30,
    )
    classifier = AutoencoderClassifier(stacked, epochs=60, encoder_rate=0.3, corrupt=True)
    classifier.fit(known[few], labels[few], unlabelled=known)
    alone = LogisticRegression(max_iter=1000).fit(known[few], labels[few])
    print(f"{len(few)} labels among {len(known):,} digits: accuracy {classifier.score(new, expected):.3f}")
    print(f"the labelled ones alone, logistic regression: {alone.score(new, expected):.3f}")


if __name__ == "__main__":
    main()
