"""A backend with nothing to it, for tests of the plugin around it; run as a program it is a plugin of its own.

echo/<anything>   create, read, list, delete: storage, one entry a path
token/<role>      a leased answer out of memory
fail/<kind>       each way to fail
"""

import asyncio
import ctypes
import json
import os
import sys

from vault_asc.engine.plugin import main
from vault_asc.engine.request import (
    Lease,
    Operation,
    Request,
    RequestError,
    Response,
    SpecialPaths,
    UnsupportedOperationError,
    UnsupportedPathError,
)

TOKEN = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9." + "x" * 400
TTL = 540.0


class Echo:
    """One mount."""

    def __init__(self) -> None:
        self.revoked: list[object] = []
        self.invalidated: list[str] = []

    async def handle(self, request: Request) -> Response | None:
        if request.operation is Operation.REVOKE:
            self.revoked.append(request.data.get("role"))
            return None
        if request.operation is Operation.HELP:
            return Response({"help": f"help of {request.path}"})
        kind, _, name = request.path.partition("/")
        if kind == "token" and request.operation is Operation.READ:
            data = {
                "token": TOKEN,
                "key_id": "K000000001",
                "expires_at": "2030-01-01T00:00:00Z",
                "scope": ["GET /v1/apps"],
            }
            return Response(data, Lease(TTL, {"secret_type": "token", "role": name}))
        if kind == "echo":
            return await self._echo(request)
        if kind == "process":
            dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
            facts = {"pid": os.getpid(), "environ": dict(os.environ), "dumpable": dumpable}
            return Response(facts | {"revoked": self.revoked, "invalidated": self.invalidated})
        if kind == "fail":
            return await _fail(name, request)
        raise UnsupportedPathError("unsupported path")

    async def _echo(self, request: Request) -> Response | None:
        storage, path = request.storage, request.path
        match request.operation:
            case Operation.CREATE | Operation.UPDATE:
                await storage.put(path, json.dumps(dict(request.data)).encode(), seal_wrap=True)
                return Response({"operation": request.operation}, warnings=("a warning",))
            case Operation.READ:
                found = await storage.get(path)
                return None if found is None else Response(json.loads(found))
            case Operation.LIST:
                return Response({"keys": await storage.list(path)})
            case Operation.DELETE:
                await storage.delete(path)
                return None
            case _:
                raise UnsupportedOperationError("unsupported operation")

    async def exists(self, request: Request) -> bool | None:
        if not request.path.startswith("echo/"):
            return None
        return await request.storage.get(request.path) is not None

    def invalidate(self, key: str) -> None:
        self.invalidated.append(key)

    def close(self) -> None:
        self.invalidated.clear()

    def special_paths(self) -> SpecialPaths:
        return SpecialPaths(("echo/sealed/",), ("echo/sudo/*",), ("process",))


async def _fail(kind: str, request: Request) -> Response:
    match kind:
        case "user":
            raise RequestError('field "colour" is unknown', hint="leave it out")
        case "bug":
            raise KeyError(request.data.get("secret"))
        case "large":
            return Response({"text": "y" * 300_000})
        case "slow":
            await asyncio.sleep(float(request.data.get("seconds", "0.5")))
            return Response({"slept": True})
        case _:
            return Response({"size": len(json.dumps(dict(request.data)))})


if __name__ == "__main__":
    sys.exit(main(Echo))
