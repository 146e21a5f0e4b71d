"""What `fit` does so that a training that is cut off can go on: one process at a time, and a second file on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hourglass.core.checkpoints import TrainingFile, training_place
from hourglass.core.training import Keeper
from hourglass.data.locking import alone
from hourglass.data.temporary import remove_unfinished
from hourglass.interfaces.learning import Listener


@dataclass(frozen=True)
class Resuming:
    """Where the training of one model is kept."""

    place: Path
    resume: bool
    listener: Listener

    def keep(self, identity: dict[str, Any]) -> Keeper:
        """What keeps this training; says where it goes on."""
        file = TrainingFile(self.place, self.resume, identity)
        if file.found is not None:
            self.listener.note(f"going on after epoch {file.found.facts['epoch']:,} of {self.place}")
        return file

    def cut_off(self) -> str | None:
        """The file to go on from where training was interrupted, if it had come so far; says how."""
        if not self.place.exists():
            return None
        self.listener.note(f"the same command with --resume goes on with the training in {self.place}")
        return str(self.place)

    def ended(self, interrupted: bool) -> str | None:
        """Once the model is saved: the file to go on from where it was interrupted; a finished training needs none."""
        if interrupted:
            return self.cut_off()
        self.place.unlink(missing_ok=True)
        return None


@contextlib.contextmanager
def resuming(output: str, resume: bool, listener: Listener) -> Iterator[Resuming]:
    """Be the only process that fits the model `output`, with a place for its training."""
    model = Path(output).with_suffix(".safetensors")
    with alone(model):
        remove_unfinished(model)
        training = Resuming(training_place(model), resume, listener)
        kept = training.place.exists()
        if resume and not kept:
            listener.note(f"there is no {training.place} to go on from: training from the start")
        elif kept and not resume:
            listener.note(f"training anew; --resume would have gone on from {training.place}")
        try:
            yield training
        except KeyboardInterrupt:
            training.cut_off()
            raise
