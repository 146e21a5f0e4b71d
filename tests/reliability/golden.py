"""Golden models: small ones that versions of Hourglass wrote, which this one and all later ones must load.

As a script it writes those of this version to tests/golden/VERSION: once, when that is released.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tiny import MAKERS, MODALITIES, fit

from hourglass import __version__
from hourglass.core.checkpoints import load_model, save_model
from hourglass.core.fitted import FittedModel

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def golden_folders() -> list[Path]:
    """A folder a version."""
    return sorted(folder for folder in GOLDEN.iterdir() if folder.is_dir())


def outputs(model: FittedModel, modality: str) -> dict[str, np.ndarray]:
    """What a model makes of the data of its modality: scores, codes and reconstructed samples."""
    packed = model.format.pack(MAKERS[modality]())
    found: dict[str, Any] = {
        "score": model.score(packed),
        "code": model.encode_samples(packed.samples),
        "sample": packed.samples,
        "p_value": model.p_values(model.score(packed)),
        "threshold": np.array([model.threshold().value]),
    }
    return found


def compared(folder: Path, modality: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What a golden model gives now, and what it gave when it was written."""
    now = outputs(load_model(folder / f"{modality}.safetensors"), modality)
    with np.load(folder / f"{modality}.npz", allow_pickle=False) as then:
        return {name: (now[name], then[name]) for name in then.files}


def main() -> None:
    folder = GOLDEN / __version__
    folder.mkdir(parents=True, exist_ok=True)
    for modality in MODALITIES:
        model = load_model(save_model(fit(modality), folder / modality))
        np.savez_compressed(folder / f"{modality}.npz", **outputs(model, modality))
        print(folder / modality)


if __name__ == "__main__":
    main()
