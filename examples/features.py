"""Use an autoencoder's codes as features in a scikit-learn pipeline, and pick the code's size by cross-validation."""

from __future__ import annotations

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hourglass import TableAutoencoder


def main() -> None:
    """Print the size that is chosen and what it is worth."""
    X, y = load_digits(return_X_y=True)
    encoder = TableAutoencoder(kind="denoising", epochs=20)
    pipeline = make_pipeline(encoder, StandardScaler(), LogisticRegression(max_iter=2000))
    search = GridSearchCV(pipeline, {"tableautoencoder__latent": [4, 16]}, cv=3).fit(X, y)
    print(f"best code: {search.best_params_['tableautoencoder__latent']} numbers, accuracy {search.best_score_:.2f}")


if __name__ == "__main__":
    main()
