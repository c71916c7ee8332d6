"""What a server is told when it starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from anyfm.core.errors import SettingError, got, located

LOG_LEVELS = ("debug", "info", "warning", "error")
TOKEN_VARIABLE = "ANYFM_TOKEN"


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of a server, plain values so that workers can be given them as JSON.

    Parameters
    ----------
    models : tuple of str
        DIR or NAME=DIR; DIR is a saved model, or holds a saved model for each version.
    items : tuple of str
        FILE or NAME=FILE: tables of the items that a model ranks.
    key : str, optional
        The column that names the items.
    host, port : str, int
    workers : int
        Processes that serve requests.
    max_bytes : int
        The largest body of a request.
    timeout : float
        Seconds in which a request must arrive, and in which it must be answered.
    reload_seconds : float
        Seconds between two looks at whether a model was replaced.
    drain_seconds : float
        How long requests are served after SIGTERM before connections are closed.
    token_file : str, optional
        A file with the token that requests must carry; otherwise `TOKEN_VARIABLE` of the environment, if it is set.
    log_level : str
        One of `LOG_LEVELS`.
    """

    models: tuple[str, ...]
    items: tuple[str, ...] = ()
    key: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    max_bytes: int = 4_000_000
    timeout: float = 30.0
    reload_seconds: float = 1.0
    drain_seconds: float = 1.0
    token_file: str | None = None
    log_level: str = "info"

    def __post_init__(self) -> None:
        if not self.models:
            raise SettingError(got("a server needs at least one model", models=self.models))
        if not 0 <= self.port < 65_536:
            raise SettingError(got("port must lie in 0 … 65535", port=self.port))
        if self.workers < 1:
            raise SettingError(got("workers must be 1 or more", workers=self.workers))
        if self.workers > 1 and os.name != "posix":
            raise SettingError(got("workers above 1 need a POSIX system", workers=self.workers))
        for name in ("max_bytes", "timeout", "reload_seconds"):
            if getattr(self, name) <= 0:
                raise SettingError(got(f"{name} must be above 0", **{name: getattr(self, name)}))
        if self.drain_seconds < 0:
            raise SettingError(got("drain_seconds must be 0 or more", drain_seconds=self.drain_seconds))
        if self.log_level not in LOG_LEVELS:
            raise SettingError(got(f"log_level must be one of {', '.join(LOG_LEVELS)}", log_level=self.log_level))
        if self.items and self.key is None:
            raise SettingError(got("items need key, the column that names them", key=self.key))

    def token(self) -> bytes | None:
        """The token that requests must carry, None for a server that is open to all.

        Raises
        ------
        SettingError
            The file cannot be read or is empty.
        """
        if self.token_file is None:
            return os.environ.get(TOKEN_VARIABLE, "").encode() or None
        try:
            token = Path(self.token_file).read_bytes().strip()
        except OSError as error:
            raise SettingError(
                located(f"the token cannot be read: {error.strerror}", file=str(self.token_file))
            ) from None
        if not token:
            raise SettingError(located("the file of the token is empty", file=str(self.token_file)))
        return token


def named_paths(texts: tuple[str, ...]) -> dict[str, Path]:
    """DIR or NAME=DIR texts by name; a directory without a name has that of its last part.

    Raises
    ------
    SettingError
        Two have the same name, or a name has a slash or is empty.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or "/" in name:
            name, path = Path(text).resolve().name, text
        if not name or "/" in name:
            raise SettingError(got("a model must be DIR or NAME=DIR", model=text))
        if name in found:
            raise SettingError(got("models need distinct names: give NAME=DIR", model=text))
        found[name] = Path(path)
    return found
