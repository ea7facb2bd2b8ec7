"""From a trained agent to a robot's computer: `export` writes a folder, `Controller` runs what stands there.

`Controller` needs numpy and onnxruntime alone: importing it loads neither PyTorch nor MuJoCo nor Gymnasium, and works
where they are not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mql.deploy.controller import Controller, ControllerError
    from mql.deploy.folder import export

__all__ = ["Controller", "ControllerError", "export"]

_HOMES = {
    "Controller": "mql.deploy.controller",
    "ControllerError": "mql.deploy.controller",
    "export": "mql.deploy.folder",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mql.deploy' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
