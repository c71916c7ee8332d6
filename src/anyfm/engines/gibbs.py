"""The engine that draws a factorization machine's parameters from their posterior, and keeps their average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from anyfm.core.errors import SettingError, got
from anyfm.core.native import kernels
from anyfm.core.rows import Floats, Rows, Targets
from anyfm.core.threads import thread_count
from anyfm.engines import kernel
from anyfm.engines.base import Engine, State
from anyfm.engines.memory import check_memory
from anyfm.engines.scorer import Scorer, make_scorer
from anyfm.models import BaseModel
from anyfm.optim.statistics import TrainingStatistics, training_statistics

MAX_SAMPLED_FACTORS = 8
"""Factors of a sample, at most: the average of many samples has a higher rank than each of them."""
MEAN_FACTORS = 64
"""Factors of the mean, where `n_factors` is not set."""
SWEEPS = 10
"""Sweeps of an epoch: after few of them a mean gets better and worse by chance, which early stopping must not see."""
_INITIAL_DEVIATION = 0.1  # of the factors, for a target of unit variance


class GibbsEngine(Engine):
    r"""Bayesian factorization machine by Gibbs sampling (Rendle, "Factorization Machines with libFM", 2012).

    An epoch is `SWEEPS` sweeps over all parameters. The model is the mean of the samples of all sweeps, where sweep s
    has the weight s, so that the first sweeps, which depend on where they began, count little (polynomial-decay
    averaging, Shamir and Zhang, ICML 2013). A mean of factorization machines is one too, with the factors of all
    samples,

    .. math::
        \sum_s p_s \langle v_i^s, v_j^s \rangle = \langle u_i, u_j \rangle, \quad
        u_i = (\sqrt{p_1} v_i^1, \ldots, \sqrt{p_S} v_i^S),

    of which the `n_factors` principal directions are kept. The result does not depend on the number of threads.
    Parameters as for `GradientEngine`; the model must be a factorization machine.
    """

    def __init__(self, model: BaseModel, *, n_features: int, n_fields: int, n_threads: int = 0) -> None:
        n_factors = model.settings.n_factors or MEAN_FACTORS
        self.model = model = type(model)(replace(model.settings, optimizer="gibbs", n_factors=n_factors))
        check_memory(model, n_features=n_features, n_fields=n_fields, training=True)
        self.n_features = n_features
        self.n_fields = n_fields
        self._n_threads = thread_count(n_threads)
        self._n_sampled = min(n_factors, MAX_SAMPLED_FACTORS)
        self._statistics: TrainingStatistics | None = None
        self._sampler: Any = None
        self._scorer: Scorer | None = None
        self._average = _Average(n_features, n_factors)
        self._seed = self._n_sweeps = self._n_done = 0

    @property
    def _target(self) -> tuple[float, float]:
        """Training sees (y − the first) / the second."""
        if self._statistics is None:
            return 0.0, 1.0
        return self._statistics.target.base_logit, self._statistics.target.scale

    def prepare(self, train: Rows, *, seed: int) -> None:
        self._statistics = training_statistics(
            train,
            n_features=self.n_features,
            n_fields=self.n_fields,
            task=self.model.task,
            normalize=self.model.normalize,
        )
        assert train.y is not None
        mean, scale = self._target
        self._scaled = train.labelled(((train.y - mean) / scale).astype(np.float32), train.weight)
        bound = kernel.bind(self._scaled, n_features=self.n_features, n_owners=1, n_fields=0)
        self._sampler = kernels.GibbsSampler.make(
            bound,
            field_of=self._statistics.field_of,
            n_fields=self.n_fields,
            n_factors=self._n_sampled,
            normalize=self.model.normalize,
            n_threads=self._n_threads,
        )
        self._sampler.start(seed, _INITIAL_DEVIATION)
        self._seed, self._n_sweeps, self._n_done = seed, 0, 0
        self._average = _Average(self.n_features, self.model.settings.n_factors)
        self._scorer = None

    def begin_epoch(self, epoch: int) -> None:
        self._n_sweeps = SWEEPS * (epoch - 1)
        self._n_done = 0

    def step(self, rows: Rows, order: NDArray[np.int64]) -> float:
        """Sweep once all rows of the epoch have come. A sample's loss says little: it is that of the average."""
        if self._statistics is None or rows.y is None:
            raise SettingError("an engine must be prepared with a target before its first step")
        part = rows.take(order)
        weight = 1.0 if part.weight is None else part.weight
        assert part.y is not None
        loss = float(np.sum(weight * self.model.task.loss(self.logits(part).astype(np.float64), part.y)))
        self._n_done += len(order)
        if self._n_done >= self._statistics.n_rows:
            for number in range(self._n_sweeps, self._n_sweeps + SWEEPS):
                self._sampler.sweep(self._seed, number)
                self._average.add(self._sampler.bias, *self._sample(), weight=number + 1)
            self._scorer = None
        return loss

    def _sample(self) -> tuple[Floats, Floats]:
        linear = np.empty(self.n_features, np.float32)
        factors = np.empty((self._n_sampled, self.n_features), np.float32)
        self._sampler.read(linear, factors)
        return linear, factors

    def logits(self, rows: Rows) -> Targets:
        if self._scorer is None:
            self._scorer = make_scorer(self.model, self.parameters(), n_fields=self.n_fields, n_threads=self._n_threads)
        return self._scorer.logits(rows)

    def parameters(self) -> State:
        mean, scale = self._target
        bias, linear, factors = self._average.parameters()
        return {
            "bias": np.array([mean + scale * bias]),
            "linear": (scale * linear).astype(np.float32),
            "factors": (np.sqrt(scale) * factors).astype(np.float32),
        }

    def state(self) -> State:
        if self._sampler is None:
            return {}
        linear, factors = self._sample()
        state = {"bias": np.array(self._sampler.bias, np.float32), "linear": linear, "factors": factors}
        return state | {f"average_{name}": array for name, array in self._average.state().items()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        if state["factors"].shape != (self._n_sampled, self.n_features):
            rule = f"the state's factors must be of {self._n_sampled} factors and {self.n_features} features"
            raise SettingError(got(rule, shape=state["factors"].shape))
        self._sampler.bias = float(state["bias"])
        self._sampler.write(state["linear"], state["factors"])
        self._average.load({name: state[f"average_{name}"] for name in self._average.state()})
        self._scorer = None


class _Average:
    """The weighted mean of factorization machines as one, with factors of at most `rank` dimensions."""

    def __init__(self, n_features: int, rank: int) -> None:
        self._rank = rank
        self._weight = self._bias = 0.0
        self._linear = np.zeros(n_features)
        self._factors = np.zeros((n_features, 0), np.float32)  # of all samples, side by side, or their directions

    def add(self, bias: float, linear: Floats, factors: Floats, *, weight: float) -> None:
        self._weight += weight
        self._bias += weight * bias
        self._linear += weight * linear.astype(np.float64)
        self._factors = np.concatenate([self._factors, np.float32(np.sqrt(weight)) * factors.T], axis=1)
        if self._factors.shape[1] >= 2 * self._rank:
            self._factors = _principal(self._factors, self._rank)

    def parameters(self) -> tuple[float, NDArray[np.float64], Floats]:
        total = self._weight or 1.0
        factors = np.zeros((len(self._linear), self._rank), np.float32)
        kept = _principal(self._factors, self._rank)
        factors[:, : kept.shape[1]] = kept / np.float32(np.sqrt(total))
        return self._bias / total, self._linear / total, factors

    def state(self) -> State:
        numbers = np.array([self._weight, self._bias])
        return {"numbers": numbers, "linear": self._linear.copy(), "factors": self._factors.copy()}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._weight, self._bias = state["numbers"].tolist()
        self._linear, self._factors = state["linear"].copy(), state["factors"].copy()


def _principal(factors: Floats, rank: int) -> Floats:
    """Factors (n, D) in their `rank` principal directions: the closest inner products that so many can have."""
    if factors.shape[1] <= rank:
        return factors
    with threadpool_limits(1):  # so that sums are taken in one order
        wide = factors.astype(np.float64)
        _, directions = np.linalg.eigh(wide.T @ wide)
        kept: Floats = (wide @ directions[:, : -rank - 1 : -1]).astype(np.float32)
    return kept
