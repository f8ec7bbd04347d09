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
UNWRAPPING: Final = "sys/wrapping/"
CUBBYHOLE: Final = "cubbyhole/response"
"""What takes an answer out of a wrapping token: `unwrap` and `rewrap`, and a read of where Vault keeps it."""

_WHOLE: Final = ("response", "http_raw_body")  # an answer that was wrapped, in one string: read there, or wrapped twice


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
        accessor: of that token, hashed unless the device says otherwise, "" for a batch token.
        failed: whether it was denied or went wrong.
        wrapped: whether the answer went into a wrapping token.
        wrapping: that token and its accessor, as the log has them.
        opened: the wrapping token, or its accessor, that the call may have been about: the one that is named in it, else
            the one that it was made with.
        asked: the values of the request.
        answer: the values of the response.
        mount_type: of the secrets engine that the path is on, "" where the log does not tell it.
        lease_id: of what was answered, in clear, "" for none.
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
    accessor: str
    failed: bool
    wrapped: bool
    wrapping: frozenset[str] = field(repr=False)
    opened: frozenset[str] = field(repr=False)
    asked: Mapping[str, Any] = field(repr=False)
    answer: Mapping[str, Any] = field(repr=False)
    mount_type: str = ""
    lease_id: str = ""

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

    def whole_answers(self) -> Iterator[str]:
        """Answers that were taken out of a wrapping token as one string, so that the log has one hash of it all."""
        if self.opens():
            yield from (value for name in _WHOLE if isinstance(value := self.answer.get(name), str))

    def opens(self) -> bool:
        """Whether something came out of a wrapping token, or went into the next one."""
        takes_out = self.path.startswith(UNWRAPPING) or self.path == CUBBYHOLE
        return takes_out and self.kind == RESPONSE and not self.failed

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
    wrap_info = _mapping(response.get("wrap_info"))
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
        accessor=str(_mapping(found.get("auth")).get("accessor") or ""),
        failed=bool(found.get("error")),
        wrapped=bool(response.get("wrap_info")),
        wrapping=_texts(wrap_info.get("token"), wrap_info.get("accessor")),
        opened=_opened(path, request, _mapping(found.get("auth"))),
        asked=_mapping(request.get("data")),
        answer=_mapping(response.get("data")),
        mount_type=str(request.get("mount_type") or ""),
        lease_id=str(_mapping(response.get("secret")).get("lease_id") or ""),
    )


def _caller(auth: Mapping[str, Any]) -> Caller:
    policies = auth.get("policies")
    return Caller(
        str(auth.get("entity_id") or ""),
        str(auth.get("display_name") or ""),
        tuple(str(name) for name in policies) if isinstance(policies, list) else (),
        tuple(sorted((str(name), str(value)) for name, value in _mapping(auth.get("metadata")).items())),
    )


def _opened(path: str, request: Mapping[str, Any], auth: Mapping[str, Any]) -> frozenset[str]:
    # Elsewhere Vault does not look at a token in the body, so that one there must not hide the real one.
    named = _mapping(request.get("data")).get("token") if path.startswith(UNWRAPPING) else None
    if named is not None:
        return _texts(named)
    # A wrapping token in the form of a JWT has another hash in the request than as it was given out.
    return _texts(
        auth.get("client_token"),
        auth.get("accessor"),
        request.get("client_token"),
        request.get("client_token_accessor"),
    )


def _texts(*values: object) -> frozenset[str]:
    return frozenset(value for value in values if isinstance(value, str) and value)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
