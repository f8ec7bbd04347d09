"""Requests, answers and errors between the protocol's messages and the engine's own words. No I/O.

A `StorageError` keeps the server's own text: a server that reads "cannot write to readonly storage" in it sends the
request on to the active node.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from vault_asc.engine._pb import backend_pb2 as pb
from vault_asc.engine.request import (
    Operation,
    Request,
    RequestError,
    Response,
    UnsupportedOperationError,
)
from vault_asc.engine.storage import Storage, StorageError

_UNKNOWN, _INTERNAL, _CODED, _UNSUPPORTED_OPERATION = 0, 2, 3, 5  # error types of the protocol
_NANO: Final = 1_000_000_000
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_OF_CLIENTS: Final = frozenset({"create", "update", "read", "delete", "list", "patch", "help"})
KNOWN: Final = {operation.value: operation for operation in Operation}
"""Operations by their names on the wire."""


def too_long(limit: int) -> pb.ProtoError:
    """The error of a request that is longer than `limit` bytes."""
    return pb.ProtoError(
        err_type=_CODED,
        err_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        err_msg=f"the request is longer than {limit} bytes (hint: a key and a scope list need less than a tenth)",
    )


def request_of(message: pb.Request, storage: Storage) -> Request:
    """The engine's request. `RequestError` when the host's cannot be understood."""
    operation = KNOWN.get(message.operation)
    if operation is None:
        raise UnsupportedOperationError("unsupported operation")
    mount_point = message.mount_point or "asc/"
    return Request(operation, message.path, _object(message), storage, mount_point, message.display_name)


def _object(message: pb.Request) -> Mapping[str, Any]:
    # For a revocation the body is what the lease carries.
    text = message.secret.internal_data if message.operation == Operation.REVOKE else message.data
    if text in {"", "null", "{}"}:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise RequestError("the request's body cannot be read", hint="send a JSON object of plain fields") from None
    if not isinstance(found, dict):
        raise RequestError("the request's body is no JSON object", hint="send one: field names and values")
    return found


def reply_to(answer: Response | None, now: float) -> pb.HandleRequestReply:
    """The answer as a message; the lease starts now (Unix seconds)."""
    reply = pb.HandleRequestReply()
    if answer is None:
        return reply
    response = reply.response
    # The host reads both as JSON, whatever they are.
    response.data = "null" if answer.data is None else _encode(answer.data)
    if answer.warnings:
        response.warnings.extend(answer.warnings)
    if answer.lease is not None:
        ttl = int(answer.lease.ttl_seconds * _NANO)
        seconds, nanos = divmod(int(now * _NANO), _NANO)
        lease = response.secret.lease_options
        lease.TTL = ttl
        lease.MaxTTL = ttl
        lease.issue_time.seconds = seconds  # without it the server refuses the answer
        lease.issue_time.nanos = nanos
        response.secret.internal_data = _encode(answer.lease.internal)
    return reply


def error_of(exc: Exception, request: pb.Request) -> pb.ProtoError:
    """The error as Vault's clients see it; of one that is nobody's request but ours, only where to look."""
    if isinstance(exc, UnsupportedOperationError) and request.operation not in _OF_CLIENTS:
        # What the server asks on its own behalf: it knows this answer, and takes another for a failure.
        return pb.ProtoError(err_type=_UNSUPPORTED_OPERATION, err_msg="unsupported operation")
    if isinstance(exc, RequestError):
        return pb.ProtoError(err_type=_CODED, err_code=exc.status, err_msg=exc.text)
    if isinstance(exc, StorageError):
        return pb.ProtoError(err_type=_UNKNOWN, err_msg=exc.message)
    return pb.ProtoError(
        err_type=_INTERNAL, err_msg=f"internal error of the asc engine; request {request.id} in the server's log"
    )
