"""The rows of a device: read when it starts and again when a run begins, since recordings grow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from kehefl.data.shard import Shard
from kehefl.device.trainer import Trainer
from kehefl.errors import DataError, RefusedError
from kehefl.models.base import Model
from kehefl.protocol.messages import Manifest
from kehefl.telemetry.process import give_back_memory


class Rows:
    """Keeps the newest shard that `read` gave, and the trainer in step with it."""

    def __init__(
        self,
        read: Callable[[], Shard],
        columns: tuple[tuple[str, ...], str],
        models: Mapping[str, Model],
        trainer: Trainer,
    ) -> None:
        self._read = read
        self._columns = columns
        self._models = models
        self._trainer = trainer
        self.shard: Shard | None = None
        #: Why there are none.
        self.lacking = "they have not been read yet"

    @property
    def columns(self) -> tuple[tuple[str, ...], str]:
        """Features and target, also of rows that are still to be recorded."""
        return (self.shard.features, self.shard.target) if self.shard else self._columns

    @property
    def count(self) -> int:
        """Rows to train on."""
        return len(self.shard.y_train) if self.shard else 0

    async def load(self) -> bool:
        """Read the rows; True when they are others than before. UsageError when they cannot be meant at all."""
        try:
            shard = await asyncio.to_thread(self._read)
        except DataError as error:
            # A recording that has just begun has no rows yet; the device is there all the same and says so.
            changed, self.shard, self.lacking = self.shard is not None, None, str(error)
            return changed
        if self.shard is not None and shard.digest() == self.shard.digest():
            return False
        self.shard = shard
        self._trainer.use(shard)
        give_back_memory()
        return True

    def check_fit(self, manifest: Manifest) -> None:
        """RefusedError when these rows, or the models of this device, cannot take part in such a run."""
        training = manifest.training
        if self.shard is None:
            raise RefusedError(f"no rows to train on: {self.lacking}")
        if (manifest.features, manifest.target) != self.columns:
            features, target = self.columns
            raise RefusedError(
                f"the run trains {', '.join(manifest.features)} to {manifest.target}, this device has "
                f"{', '.join(features)} to {target}; start it with the run's --features and --target"
            )
        if training is not None and training.model not in self._models:
            name = training.model[:60]
            raise RefusedError(f"model '{name}' is not known here; start this device with --model {name}")
