"""One line of Vault's audit log, as far as it tells who did what. Pure.

Source: Vault's documentation of audit devices; measured with OpenBao 2.7.2. Strings in requests and answers are hashed
with the salt of the device; numbers, paths, times and the caller are in clear. A path is relative to its namespace.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

RESPONSE: Final = "response"


@dataclass(frozen=True)
class Caller:
    """Whose Vault token a call was made with.

    Attributes:
        entity_id: "" for a token without entity, such as a root token.
        display_name: what the auth method calls it.
        policies: of the token and its identity.
        metadata: of the login: role name, and the metadata of a secret ID such as host and job.
    """

    entity_id: str
    display_name: str
    policies: tuple[str, ...]
    metadata: tuple[tuple[str, str], ...]


class Signature(NamedTuple):
    """A signature in an answer of Transit: the version of the key, in clear, and the hash of `vault:v<version>:...`."""

    key_version: int
    value: str


@dataclass(frozen=True)
class Entry:
    """A request or the response to it.

    Attributes:
        kind: `request` or `response`; a response repeats the request.
        time: as the log has it, ISO 8601.
        moment: the same in Unix seconds.
        namespace: without slashes around it, "" for the root namespace.
        path: below `/v1/`.
        operation: such as `read`, `update`.
        request_id: the same in request and response.
        remote_address: of the caller, or of the last proxy before Vault.
        caller: whose token it was.
        failed: whether it was denied or went wrong.
        wrapped: whether the answer went into a wrapping token.
        asked: the values of the request.
        answer: the values of the response.
    """

    kind: str
    time: str
    moment: float
    namespace: str
    path: str
    operation: str
    request_id: str
    remote_address: str
    caller: Caller
    failed: bool
    wrapped: bool
    asked: Mapping[str, Any] = field(repr=False)
    answer: Mapping[str, Any] = field(repr=False)

    def inputs(self) -> Iterator[str]:
        """What Transit was asked to sign, one by one or as a batch."""
        batch = self.asked.get("batch_input")
        for item in (self.asked, *(batch if isinstance(batch, list) else ())):
            if isinstance(item, Mapping) and isinstance(item.get("input"), str):
                yield item["input"]

    def signatures(self) -> Iterator[Signature]:
        """What Transit answered."""
        batch = self.answer.get("batch_results")
        for item in (self.answer, *(batch if isinstance(batch, list) else ())):
            if isinstance(item, Mapping) and isinstance(item.get("signature"), str):
                version = item.get("key_version")
                yield Signature(version if isinstance(version, int) else 0, item["signature"])

    def gave_secret(self) -> bool:
        """Whether a KV v2 secret went to the caller, or into a wrapping token."""
        read = (self.kind, self.operation, self.failed) == (RESPONSE, "read", False)
        return read and (self.wrapped or isinstance(self.answer.get("data"), Mapping))

    def secret_version(self) -> int | None:
        """The version of that secret; None when the log does not say, as for a wrapped answer."""
        version = _mapping(self.answer.get("metadata")).get("version")
        return version if isinstance(version, int) else None


def parse(line: bytes) -> Entry | None:
    """The entry in a line, whatever a collector of logs has put before it; None when there is none."""
    try:
        found = json.loads(line[max(line.find(b"{"), 0) :])
        request, kind, time = found["request"], str(found["type"]), str(found["time"])
        when = datetime.fromisoformat(time)
        moment = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        path, request_id = str(request["path"]), str(request["id"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    response = _mapping(found.get("response"))
    return Entry(
        kind=kind,
        time=time,
        moment=moment,
        namespace=str(_mapping(request.get("namespace")).get("path") or "").strip("/"),
        path=path,
        operation=str(request.get("operation")),
        request_id=request_id,
        remote_address=str(request.get("remote_address") or ""),
        caller=_caller(_mapping(found.get("auth"))),
        failed=bool(found.get("error")),
        wrapped=bool(response.get("wrap_info")),
        asked=_mapping(request.get("data")),
        answer=_mapping(response.get("data")),
    )


def _caller(auth: Mapping[str, Any]) -> Caller:
    policies = auth.get("policies")
    return Caller(
        str(auth.get("entity_id") or ""),
        str(auth.get("display_name") or ""),
        tuple(str(name) for name in policies) if isinstance(policies, list) else (),
        tuple(sorted((str(name), str(value)) for name, value in _mapping(auth.get("metadata")).items())),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
