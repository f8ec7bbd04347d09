"""The engine behind one mount: finds the path that a request names and has it answered. It knows no gRPC."""

import re
from collections.abc import Mapping
from typing import Final

from vault_asc.clock import Clock, system_clock
from vault_asc.engine import help as help_text
from vault_asc.engine.entries import KEYS
from vault_asc.engine.fields import checked_name, shown
from vault_asc.engine.mount import Memory, Mount
from vault_asc.engine.path import NAME, Path
from vault_asc.engine.paths import config, info, keys, minting, roles, switch, versions
from vault_asc.engine.request import (
    Operation,
    Request,
    RequestError,
    Response,
    SpecialPaths,
    UnsupportedOperationError,
    UnsupportedPathError,
)
from vault_asc.errors import ConfigError, PrivateKeyError, TokenRequestError

PATHS: Final = (
    minting.PATH,
    roles.LIST,
    roles.PATH,
    keys.LIST,
    keys.PATH,
    versions.STAGE,
    versions.PROMOTE,
    versions.ROLLBACK,
    versions.RETIRE,
    switch.DISABLE,
    switch.ENABLE,
    config.PATH,
    info.PATH,
)
"""All that the engine answers, in the order of its help."""

_ROUTES: Final = {tuple(path.pattern.split("/")): path for path in PATHS} | {
    ("keys",): keys.LIST,
    ("roles",): roles.LIST,
}
_SEGMENTS_MAX: Final = max(map(len, _ROUTES))


class Backend:
    """One mount.

    Args:
        clock: the time for new tokens and versions.
        build: facts that `info` tells besides the version.
        memory: what the mounts of this process remember together.
    """

    def __init__(
        self, *, clock: Clock = system_clock, build: Mapping[str, str] | None = None, memory: Memory | None = None
    ) -> None:
        self._mount = Mount(clock=clock, build=build or {}, memory=memory or Memory())

    async def handle(self, request: Request) -> Response | None:
        """The answer, None for an empty one; `RequestError` for every request that is refused.

        What the storage raises goes through unchanged.
        """
        if request.operation in _OF_SERVER:
            _check_of_server(request.operation)
            return None
        if request.operation is Operation.HELP and not request.path:
            return help_text.of_engine(PATHS, request.data.get("requestResponsePrefix"))
        path, name = _routed(request.path)
        if request.operation is Operation.HELP:
            return help_text.of_path(path, request.path, request.data.get("requestResponsePrefix"))
        action = path.operations.get(request.operation)
        if action is None:
            raise UnsupportedOperationError(
                f"{request.operation} is not supported on {path.shown}",
                hint=f"it supports {', '.join(path.operations)}",
            )
        try:
            if name:
                checked_name(name, path.name_of)
            return await action(self._mount, request, name)
        except (ConfigError, PrivateKeyError, TokenRequestError) as error:
            raise RequestError(error.message, hint=_with_fields(error.hint)) from error

    async def exists(self, request: Request) -> bool | None:
        """Whether a write would change something that is there, None when nothing can be written to this path.

        It is asked before the caller's rights are known, so it reads no body and refuses nothing.
        """
        try:
            path, name = _routed(request.path)
            if not path.writable:
                return None
            if path.exists is None:
                return True
            checked_name(name, path.name_of)
        except (ConfigError, RequestError) as error:
            return None if isinstance(error, UnsupportedPathError) else False
        return await request.storage.get(path.exists(name)) is not None

    def invalidate(self, storage_key: str) -> None:
        """Another node has written this key of the storage."""
        self._mount.forget(storage_key)

    def close(self) -> None:
        """The mount is gone: forget all that is remembered of it."""
        self._mount.forget("")

    def special_paths(self) -> SpecialPaths:
        """The keys are seal-wrapped; no path needs sudo, none is open to everybody."""
        return SpecialPaths(seal_wrap=(KEYS,), root=(), unauthenticated=())


_OF_SERVER: Final = {Operation.REVOKE, Operation.RENEW, Operation.ROLLBACK}
"""What the server asks on its own behalf; the path is that of the lease, or empty."""


def _check_of_server(operation: Operation) -> None:
    """Refuse all but a revocation, for which nothing is to be done: Apple knows none, and nothing is kept of a token."""
    if operation is Operation.RENEW:
        raise RequestError(
            "the lease of a token is not renewable, and Apple extends no token",
            hint="read a new token from the same path",
        )
    if operation is Operation.ROLLBACK:
        raise UnsupportedOperationError("there is never anything to roll back")


def _routed(requested: str) -> tuple[Path, str]:
    """The path that a request names, and the name in it.

    Exactly as it stands: were a slash at the end forgiven, a policy that denies the path without it would be passed by.
    """
    segments = requested.split("/", _SEGMENTS_MAX)
    name = segments[1] if len(segments) > 1 else ""
    shape = (segments[0], NAME if name else name, *segments[2:])[: len(segments)]
    path = _ROUTES.get(shape)
    if path is None:
        raise UnsupportedPathError(
            f"unsupported path {shown(requested)}", hint="path-help of the mount names the paths"
        )
    return path, name


def _with_fields(hint: str | None) -> str | None:
    """A hint of the command line with the fields of a body in place of its options."""
    return hint and re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda option: option[1].replace("-", "_"), hint)
