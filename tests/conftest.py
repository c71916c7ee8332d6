"""What all tests share: property tests have no deadline, since a busy machine is no bug."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("anyfm", deadline=None)
settings.load_profile("anyfm")
