"""`vault-asc audit`: who minted a token, according to Vault's audit log."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from vault_asc.cli.inspecting import read_text
from vault_asc.cli.output import facts, table
from vault_asc.cli.wiring import Connection, vault_options
from vault_asc.errors import TokenRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vault_asc.audit import Caller, Entry, Findings, KnownKey, Reader, Reads, Signed, Trace, Tracer
    from vault_asc.tokens import Token

_READERS: Final = ("KEY", "VERSION", "TIMES", "FIRST", "LAST", "WHO", "ENTITY")
_WRAPPING_TOKEN: Final = ("response-wrapping",)  # the policies of a call that is made with nothing else
_UNPROVED: Final = {
    "held": "answered with this token, but not by the engine (a copy that somebody has put there)",
    "similar": "same header and payload signed by (this signature is not in the log)",
    "alike": "token of the same key and expiry given to (this signature is not in the log)",
    "wrapped": "signed something, with the answer wrapped (what came out is not in the log)",
    "unanswered": "asked the engine for a token at that time (the answer is not in the log)",
    "opened": "this signature taken out of a wrapping token by (where it was wrapped is not in the log)",
}
_IN_CLEAR: Final = (
    "LIVE TOKENS IN THE LOG: it holds this one in clear, so whoever reads the log can use what it has of others. See that"
    " no audit device has log_raw, and that no mount of the engine is tuned with audit_non_hmac_response_keys"
)


@click.group(no_args_is_help=False)
def audit() -> None:
    """Find out from Vault's audit log who minted a token."""


@audit.command()
@click.argument("file")
@click.option(
    "--audit-log",
    "logs",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Log of a file audit device, also rotated or packed (.gz); repeat it for each file.",
)
@click.option("--device", default="file", show_default=True, help="The audit device that wrote it: vault audit list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@vault_options
def trace(*, file: str, logs: tuple[Path, ...], device: str, as_json: bool, connection: Connection) -> None:
    """Find the call that minted the token in FILE (or standard input: -), and whose it was.

    For keys in custody transit, and for tokens of the engine on whatever mount. For a key in custody kv the log cannot
    tell who minted a token, only who has read the private part: they are listed. Never shows the token. Exit code 7 when
    it is not proved who minted it.

    \b
      vault-asc audit trace leaked.jwt --audit-log /var/log/vault/audit.log
    """
    from vault_asc.audit import verdict
    from vault_asc.names import check_path

    check_path(device, "audit device")
    found = _tracer(connection, device).trace(_token(file), dict.fromkeys(logs))
    if as_json:
        click.echo(json.dumps(_public(found), indent=2))
    else:
        _tell(found)
    problem = verdict(found)
    if problem is not None:
        raise problem


def _tracer(connection: Connection, device: str) -> "Tracer":
    from vault_asc.audit import Tracer
    from vault_asc.vault import Auditing

    config = connection.config()
    store = connection.store(config, "auditor")
    root, namespace = store.vault, (config.vault.namespace or "").strip("/")
    if namespace:
        root = connection.vault(config._replace(vault=config.vault._replace(namespace=None)), "auditor")
    return Tracer(store, Auditing(store.vault, root), device, namespace)


def _token(file: str) -> "Token":
    from vault_asc.audit import leaked_token

    token = leaked_token(read_text(file))
    if token is None:
        raise TokenRequestError(
            f'there is no token of App Store Connect in "{file}"',
            hint="a token is three parts of base64url joined by dots, beginning with eyJ; see it: vault-asc inspect",
        )
    return token


# -- for people ------------------------------------------------------------------------------------------------------


def _tell(found: "Trace") -> None:
    from vault_asc.audit import reasons
    from vault_asc.clock import iso

    token = found.token
    lasting = f"{iso(token.issued_at)} to {iso(token.expires_at)}"
    keys = [("key", _key(key)) for key in found.keys] or [("key", "none of this store")]
    logs = [("log", f"{path}: {_held(held)}") for path, held in found.logs.items()]
    facts([("key ID", token.key_id), ("valid", lasting), *keys, *logs])
    for signed in found.signed:
        _tell_signed(token, signed)
    for calls, title in _UNPROVED.items():
        for call in getattr(found, calls):
            click.echo(title)
            facts(_call(call.entry, call.entity_name))
    if found.in_clear:
        click.echo(_IN_CLEAR)
    for reason in reasons(found):
        click.echo(f"  {reason.why}")
    if found.readers:
        click.echo("private part read by")
        table([_READERS, *_rows(found.readers)])


def _tell_signed(token: "Token", signed: "Signed") -> None:
    from vault_asc.audit import presigned
    from vault_asc.clock import format_duration

    click.echo("signed by" if signed.read is None else "given by the engine to")
    version = ("key version", str(signed.key_version))
    facts([version, *_read(signed), *_call(signed.entry, signed.entity_name)])
    if signed.opening is not None:
        click.echo("the answer was wrapped, and taken out by")
        facts(_call(signed.opening, signed.opening_entity_name))
    early = presigned(token, signed.entry)
    if early is not None:
        click.echo(
            f"PRE-SIGNED: {format_duration(early)} before the time in it (iat). Whoever does that may have signed more:"
            " rotate the key, and revoke the old one at Apple"
        )


def _read(signed: "Signed") -> list[tuple[str, str]]:
    read = signed.read
    if read is None:
        return []
    lease = signed.lease_id or ("not in the log" if signed.opening is not None else "none")
    return [("role", read.role), ("engine mount", read.mount), ("lease", lease)]


def _key(key: "KnownKey") -> str:
    return f"{key.name}, custody {key.custody}, {'current' if key.current else 'an earlier version of it'}"


def _held(held: "Findings") -> str:
    if held.first is None or held.last is None:
        return f"no entry in {held.lines} lines"
    cut = f", {held.unreadable} of them cut off or unreadable" if held.unreadable else ""
    return f"{held.lines} lines from {held.first.time} to {held.last.time}{cut}"


def _call(entry: "Entry", entity_name: str | None) -> list[tuple[str, str]]:
    caller = entry.caller
    return [
        ("time", entry.time),
        *([("namespace", entry.namespace)] if entry.namespace else []),
        ("path", entry.path),
        *((f"metadata {name}", value) for name, value in caller.metadata),
        ("entity", _entity(caller, entity_name)),
        ("display name", caller.display_name),
        ("policies", ", ".join(caller.policies)),
        ("token accessor", entry.accessor or "none (a batch token)"),
        ("remote address", entry.remote_address),
        ("request ID", entry.request_id),
    ]


def _entity(caller: "Caller", name: str | None) -> str:
    if caller.policies == _WRAPPING_TOKEN:
        return "whoever had the wrapping token"
    if not caller.entity_id:
        return "none (a token that was made without a login)"
    return f"{caller.entity_id} ({name})" if name else caller.entity_id


def _rows(readers: "Mapping[Reader, Reads]") -> "Iterable[tuple[str, ...]]":
    for reader, reads in readers.items():
        caller = reader.caller
        who = [caller.display_name, *(f"{name}={value}" for name, value in caller.metadata)]
        version = "unknown" if reader.version is None else str(reader.version)
        when = (str(reads.times), reads.first[1], reads.last[1])
        yield reader.path.rpartition("/")[2], version, *when, " ".join(who), caller.entity_id or "none"


# -- for programs ----------------------------------------------------------------------------------------------------


def _public(found: "Trace") -> dict[str, Any]:
    from vault_asc.audit import reasons

    token = found.token
    return {
        "token": {"key_id": token.key_id, "issued_at": token.issued_at, "expires_at": token.expires_at},
        "device": found.device,
        "keys": [{"name": key.name, "custody": str(key.custody), "current": key.current} for key in found.keys],
        "genuine": found.genuine,
        "signed_by": [_public_signed(token, signed) for signed in found.signed],
        "same_content_signed_by": [_public_call(call.entry, call.entity_name) for call in found.similar],
        "same_expiry_given_to": [_public_call(call.entry, call.entity_name) for call in found.alike],
        "unanswered_calls_of": [_public_call(call.entry, call.entity_name) for call in found.unanswered],
        "copy_answered_to": [_public_call(call.entry, call.entity_name) for call in found.held],
        "wrapped_answers_of": [_public_call(call.entry, call.entity_name) for call in found.wrapped],
        "unwrapped_by": [_public_call(call.entry, call.entity_name) for call in found.opened],
        "signature_fits": [
            *(signer._asdict() for signer in found.signers),
            *(signer._asdict() for signer in found.engine_signers),
        ],
        "in_clear": found.in_clear,
        "private_part_read_by": [_public_reads(reader, reads) for reader, reads in found.readers.items()],
        "reasons": [reason.why for reason in reasons(found)],
        "logs": [_public_log(path, held) for path, held in found.logs.items()],
    }


def _public_signed(token: "Token", signed: "Signed") -> dict[str, Any]:
    from vault_asc.audit import presigned

    opening = signed.opening
    return {
        "key_version": signed.key_version,
        **_public_read(signed),
        **_public_call(signed.entry, signed.entity_name),
        "presigned_seconds": presigned(token, signed.entry),
        "unwrapped_by": None if opening is None else _public_call(opening, signed.opening_entity_name),
    }


def _public_read(signed: "Signed") -> dict[str, Any]:
    read = signed.read
    return {
        "role": None if read is None else read.role,
        "engine_mount": None if read is None else read.mount,
        "lease_id": signed.lease_id or None,
    }


def _public_call(entry: "Entry", entity_name: str | None) -> dict[str, Any]:
    return {
        "time": entry.time,
        "namespace": entry.namespace,
        "path": entry.path,
        **_public_caller(entry.caller),
        "entity_name": entity_name,
        "remote_address": entry.remote_address,
        "request_id": entry.request_id,
        "accessor": entry.accessor,
    }


def _public_caller(caller: "Caller") -> dict[str, Any]:
    return {
        "entity_id": caller.entity_id,
        "metadata": dict(caller.metadata),
        "display_name": caller.display_name,
        "policies": list(caller.policies),
    }


def _public_reads(reader: "Reader", reads: "Reads") -> dict[str, Any]:
    when = {"times": reads.times, "first": reads.first[1], "last": reads.last[1]}
    return {"path": reader.path, "version": reader.version, **when, **_public_caller(reader.caller)}


def _public_log(path: Path, held: "Findings") -> dict[str, Any]:
    return {
        "file": str(path),
        "lines": held.lines,
        "unreadable": held.unreadable,
        "first": None if held.first is None else held.first.time,
        "last": None if held.last is None else held.last.time,
    }
