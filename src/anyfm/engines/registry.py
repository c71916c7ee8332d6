"""Which engine trains a model."""

from __future__ import annotations

import importlib.util

from anyfm.core.errors import MissingDependencyError, SettingError, got
from anyfm.engines.base import Engine
from anyfm.models import BaseModel


def make_engine(
    model: BaseModel, *, n_features: int, n_fields: int, n_threads: int = 0, engine: str = "auto", device: str = "cpu"
) -> Engine:
    """The engine that trains `model` on this machine.

    Parameters
    ----------
    model : BaseModel
    n_features, n_fields : int
    n_threads : int
        0 means all cores of this process.
    engine : {"auto", "native", "torch"}
        "auto": on the CPU the first that trains the model (`BaseModel.engines`), otherwise torch.
    device : str
        "cpu", or a device of torch's such as "cuda".

    Raises
    ------
    SettingError
        The engine cannot train the model with its settings, or not on the device.
    MissingDependencyError
        torch is needed and not installed; the text names the command that installs it.
    """
    sizes = {"n_features": n_features, "n_fields": n_fields, "n_threads": n_threads}
    name = check_engine(model, engine=engine, device=device)
    if name == "native":
        from anyfm.engines.native import NativeEngine

        return NativeEngine(model, **sizes)
    if name == "gibbs":
        from anyfm.engines.gibbs import GibbsEngine

        return GibbsEngine(model, **sizes)
    from anyfm.engines.torch import TorchEngine

    return TorchEngine(model, **sizes, device=device)


def check_engine(model: BaseModel, *, engine: str = "auto", device: str = "cpu") -> str:
    """The name of the engine that `make_engine` chooses, with the same errors, before any data is read."""
    if engine == "auto":
        engine = model.engines[0] if device == "cpu" else "torch"
    if engine not in model.engines:
        raise SettingError(got(f"{model!r} is trained by {' or '.join(model.engines)}", engine=engine))
    if engine in ("native", "gibbs"):
        if device != "cpu":
            raise SettingError(got(f"the {engine} engine computes on the CPU", device=device))
        return engine
    if importlib.util.find_spec("torch") is None:
        on = "" if device == "cpu" else f" on {device}"
        raise MissingDependencyError(f'training {model.name}{on} with torch needs PyTorch: pip install "anyfm[torch]"')
    if device != "cpu":
        from anyfm.engines.torch import usable_device

        usable_device(device)
    return engine
