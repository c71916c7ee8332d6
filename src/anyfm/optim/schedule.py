"""The learning-rate schedule of an epoch, one for both engines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_STEPS = 16  # the native engine changes its learning rate this often in an epoch


@dataclass(frozen=True)
class Schedule:
    """By how much the learning rate is multiplied.

    It is constant for the first half of every epoch and decays linearly to zero over the second half, so that
    validation sees parameters without the noise of the last rows. With warm-up it rises linearly over the first half of
    the first epoch: where a step sums the gradients of many rows, the first steps of many features in one direction
    can throw logits far off before Adagrad's sums have grown.

    Parameters
    ----------
    n_rows : int
        Rows of an epoch.
    warmup : bool
    decay : bool
        Without it the learning rate is constant, as libffm's.
    """

    n_rows: int
    warmup: bool = False
    decay: bool = True

    def multiplier(self, epoch: int, first: int, last: int) -> float:
        """The multiplier of a step on rows first … last − 1 of an epoch (counted from 1)."""
        if not self.decay:
            return 1.0
        multiplier = min(1.0, 2 * (1 - first / self.n_rows))
        return min(multiplier, 2 * last / self.n_rows) if self.warmup and epoch == 1 else multiplier

    def intervals(self, epoch: int, done: int, n: int, *, block: int) -> Iterator[tuple[int, int, float]]:
        """Cut the next `n` rows of an epoch, of which `done` are done, where the multiplier changes.

        The cuts lie on a grid of the epoch in multiples of `block`, wherever calls begin and end.

        Yields
        ------
        first, last, multiplier
            Rows first … last − 1 of the n.
        """
        grid = -(-self.n_rows // (_STEPS * block)) * block
        first = 0
        while first < n:
            at = (done + first) % max(self.n_rows, 1)
            start = at - at % grid
            last = min(n, first + start + grid - at, first + self.n_rows - at)
            yield first, last, self.multiplier(epoch, start, start + grid)
            first = last
