"""Which engine trains a model."""

from __future__ import annotations

import importlib.util

from anyfm.engines.base import Engine
from anyfm.errors import MissingDependencyError, SettingError, however
from anyfm.models import Model

ENGINES = ("auto", "native", "torch")
NATIVE = ("linear", "fm", "ffm", "afm")
"""The models that the native engine trains."""


def make_engine(
    model: Model, *, n_features: int, n_fields: int, n_threads: int = 0, engine: str = "auto", device: str = "cpu"
) -> Engine:
    """The engine that trains `model` on this machine.

    Parameters
    ----------
    model : Model
    n_features, n_fields : int
    n_threads : int
        0 means all cores of this process.
    engine : {"auto", "native", "torch"}
        "auto": native where it trains the model and the device is the CPU, otherwise torch.
    device : str
        "cpu", or a device of torch's such as "cuda".

    Raises
    ------
    SettingError
        The native engine is asked for a model or a device that it does not know, or torch cannot use the device.
    MissingDependencyError
        torch is needed and not installed; the text names the command that installs it.
    """
    sizes = {"n_features": n_features, "n_fields": n_fields, "n_threads": n_threads}
    if engine == "auto":
        engine = "native" if model.name in NATIVE and device == "cpu" else "torch"
    if engine == "torch":
        if importlib.util.find_spec("torch") is None:
            on = "" if device == "cpu" else f" on {device}"
            raise MissingDependencyError(
                f'training {model.name}{on} with torch needs PyTorch: pip install "anyfm[torch]"'
            )
        from anyfm.engines.torch import TorchEngine

        return TorchEngine(model, **sizes, device=device)
    if device != "cpu":
        raise SettingError(however("the native engine computes on the CPU", device=device))
    if model.name not in NATIVE:
        raise SettingError(however(f"the native engine trains {', '.join(NATIVE)}", model=model.name))
    from anyfm.engines.native import NativeEngine

    return NativeEngine(model, **sizes)
