"""What a trace proves, and why it may have found nothing. Pure; says no more than the log can answer."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from vault_asc.audit.entry import Entry
from vault_asc.audit.known import KnownKey
from vault_asc.audit.token_reads import token_read, window_of
from vault_asc.audit.trace import Trace
from vault_asc.clock import iso
from vault_asc.errors import NotFoundError
from vault_asc.names import Custody
from vault_asc.secret import safe_text
from vault_asc.tokens import BACKDATE, Token


class Reason(NamedTuple):
    """Why nothing was found, and what to try."""

    why: str
    fix: str


_SIGNED_ELSEWHERE: Final = Reason(
    "device, salt and time fit, so it was probably signed elsewhere: with a copy of the .p8, or on another server or mount",
    "treat the private key as known to others: revoke it at Apple, then look for who had the .p8",
)
_GIVEN_ELSEWHERE: Final = Reason(
    "device, salt and time fit, and the records know nobody but the engine who has this key: it was made on a server whose"
    " log is not given (another of the cluster, another cluster with the same key, a restored snapshot of Vault), by a"
    " wrapped read on another mount, or with a copy of the .p8 from before its import",
    "give the logs of all servers that have this key; if it is in none of them, treat the private key as known to others:"
    " revoke it at Apple, then look for who had the .p8 or a backup of Vault",
)
_OTHER_DEVICE: Final = (
    "name the device of this log with --device (vault audit list); one that was switched off has lost its salt"
)
_MORE_LOGS: Final = "give the rotated files too, and those of all servers of the cluster: --audit-log for each"
_EARLY: Final = 300  # seconds before `iat`; clocks differ by less
_SKEW: Final = 60  # seconds between the clocks of Vault, of who imported the key, and of who traces
_SILENCE: Final = 3600  # seconds without an entry in any log; a rotated file that is missing looks like that


def presigned(token: Token, entry: Entry) -> float | None:
    """By how many seconds a call came before the `iat` of the token that it signed; None when that is about its time.

    Whoever signs chooses `iat`: a token can be signed today that is valid in a year.
    """
    early = token.issued_at - entry.moment
    return early if early > _EARLY else None


def verdict(trace: Trace) -> NotFoundError | None:
    """The error that the trace ends with; None when it is proved who minted the token."""
    if trace.signed:
        return None
    unproved = _unproved(trace)
    if unproved is not None:
        return unproved
    kept = [key for key in trace.keys if Custody.KV in key.custodies]
    if kept:
        name = kept[0].name
        return NotFoundError(
            f'the log cannot tell who minted this token, only who has read the private part: key "{name}" is or was'
            " in custody kv, where tokens are signed outside of Vault",
            hint=f"a copy of this key signs on unseen: revoke it at Apple, and have {_next_signed(kept[0])}",
        )
    what = "answer of the engine with this token" if by_engine(trace) else "call that signed this token"
    return NotFoundError(f"the log holds no {what}", hint=reasons(trace)[0].fix)


def by_engine(trace: Trace) -> bool:
    """Whether nobody but the engine is known to have the key, so that `iat` is what its server's clock said."""
    if trace.keys:
        return all(key.custodies == {Custody.ENGINE} for key in trace.keys)
    return bool(trace.engine_signers) and not trace.signers


def _unproved(trace: Trace) -> NotFoundError | None:
    if trace.similar:
        return NotFoundError(
            "the log does not prove who signed this token: its header and payload were signed by the calls above,"
            " its signature is not among the answers",
            hint="each of them may be it: the token may be cut off or changed, an answer wrapped or its line missing",
        )
    if trace.alike:
        return NotFoundError(
            "the log does not prove who was given this token: the calls above were given tokens of the same key and"
            " expiry, its signature is not among them",
            hint="each of them may be it, as the token is cut off or changed: take it once more, whole",
        )
    if trace.wrapped or trace.opened:
        return NotFoundError(
            "the log does not prove who signed this token: the calls above had their answers wrapped,"
            " and it does not show what came out of which",
            hint="each of them may be it: ask their callers, and give the logs of all servers of the cluster",
        )
    if trace.unanswered:
        return NotFoundError(
            "the log does not prove who was given this token: the calls above asked for a token when it was made, and no"
            " log given has their answers",
            hint="each of them may be it: give the rotated files too, and those of all servers of the cluster",
        )
    return None


def _next_signed(key: KnownKey) -> str:
    rotate = f"vault-asc key rotate {key.name} FILE"
    if key.custody is Custody.KV:
        return f"the next one signed by Vault: vault-asc key move {key.name} --custody transit, then {rotate}"
    return f"one that was never in kv take its place: {rotate}"


def reasons(trace: Trace) -> list[Reason]:
    """What may be the cause when nothing is proved, the most certain first; empty when something is."""
    if trace.signed or trace.similar or trace.alike:
        return []
    if trace.keys and all(key.custodies == {Custody.KV} for key in trace.keys):
        return [*_doubts_of_time(trace)]  # of the list of readers; a signing call is not to be expected
    doubts = [*_doubts_of_token(trace), *_doubts_of_time(trace), *_doubts_of_salt(trace)]
    if doubts or trace.wrapped or trace.opened or trace.unanswered:
        return doubts
    return [_GIVEN_ELSEWHERE if by_engine(trace) else _SIGNED_ELSEWHERE]


def _doubts_of_token(trace: Trace) -> Iterator[Reason]:
    if not trace.keys and trace.signers:
        key, number = trace.signers[0]
        yield Reason(
            f'the key ID "{safe_text(trace.token.key_id)}" is in no record, but the signature is of version {number} of'
            f' key "{safe_text(key)}" in Transit: only staged, or no longer in the kept versions of its record',
            "look at who may sign with that key, and promote or retire the version",
        )
    elif not trace.keys and trace.engine_signers:
        key, number = trace.engine_signers[0]
        yield Reason(
            f'the key ID "{safe_text(trace.token.key_id)}" is in no record, but the signature is of version {number} of'
            f' key "{safe_text(key)}" in the engine: written there without vault-asc, only staged, or no longer in the kept'
            " versions of its record",
            "look at who may read tokens of the roles with that key",
        )
    elif not trace.keys:
        yield Reason(
            f'no key of this store has the key ID "{safe_text(trace.token.key_id)}", now or in the kept versions of its'
            " record",
            "look in the other stores: another prefix, mount or server (--config)",
        )
    if trace.genuine is False:
        yield Reason(
            "the signature is not of this key: the token is cut off, changed or forged",
            "take the token once more, whole, from where it was found",
        )
    for call in trace.held:
        read = token_read(call.entry)
        yield Reason(
            f'"{safe_text(call.entry.path)}" has answered this token, and is on a mount of type'
            f' "{safe_text(call.entry.mount_type)}": a copy that somebody has put there',
            "look at who wrote there; if it is the engine, registered under another name: store.engine_mount ="
            f" {safe_text(read.mount if read else '')}",
        )


def _doubts_of_time(trace: Trace) -> Iterator[Reason]:
    spans = sorted((f.first.moment, f.last.moment) for f in trace.logs.values() if f.first and f.last)
    if by_engine(trace):
        yield from _doubts_of_window(trace, spans)
        return
    minted = trace.token.issued_at + BACKDATE
    if not any(first <= minted <= last for first, last in spans):
        yield Reason(
            f"no log given reaches over {iso(minted)}, when the token was probably minted",
            _MORE_LOGS,
        )
    if spans:
        yield from _doubts_of_reach(trace, spans)


def _doubts_of_window(trace: Trace, spans: list[tuple[float, float]]) -> Iterator[Reason]:
    """How far a mount of the engine back-dates is not known, so the logs have to reach over all that is possible."""
    begin, end = window_of(trace.token)
    end = max(begin, min(end, trace.until - _SKEW))
    inside = [*_gaps(spans, _SKEW)] if spans else []
    reach = (spans[0][0], max(last for _, last in spans)) if spans else (end, begin)
    if reach[0] > begin or reach[1] < end or any(first < end and last > begin for first, last in inside):
        yield Reason(
            f"the logs given do not reach over all of {iso(begin)} to {iso(end)}, when the engine can have made this token",
            _MORE_LOGS,
        )


def _doubts_of_reach(trace: Trace, spans: list[tuple[float, float]]) -> Iterator[Reason]:
    """Whoever signs chooses `iat`, so the logs have to reach from the import of the key to now, or to the expiry."""
    begin, end = spans[0][0], max(last for _, last in spans)
    since = min((key.since for key in trace.keys if key.since is not None), default=None)
    if since is None or begin > since + _SKEW:
        after = "" if since is None else f", after the key was imported ({iso(since)})"
        yield Reason(
            f"the logs given begin at {iso(begin)}{after}: it may have been signed before, as whoever signs chooses the"
            " times in a token",
            "give the older logs too, back to the import of the key: --audit-log for each",
        )
    if end < trace.until - _SKEW:
        yield Reason(
            f"the logs given end at {iso(end)}: it may have been signed after, until {iso(trace.until)}",
            "give the newer logs too: --audit-log for each",
        )
    for gap_begin, gap_end in _gaps(spans):
        if gap_end > (since or 0) and gap_begin < trace.until:
            yield Reason(
                f"between {iso(gap_begin)} and {iso(gap_end)} there is no entry in the logs given: one may be missing",
                "give the rotated files of that time too: --audit-log for each",
            )


def _gaps(spans: list[tuple[float, float]], most: float = _SILENCE) -> Iterator[tuple[float, float]]:
    end = spans[0][1]
    for first, last in spans:
        if first > end + most:
            yield end, first
        end = max(end, last)


def _doubts_of_salt(trace: Trace) -> Iterator[Reason]:
    custodies = {custody for key in trace.keys for custody in key.custodies}
    if Custody.ENGINE in custodies or by_engine(trace):
        yield from _doubts_of_engine(trace)
    if Custody.TRANSIT in custodies or not (custodies or by_engine(trace)):
        yield from _doubts_of_transit(trace)


def _doubts_of_transit(trace: Trace) -> Iterator[Reason]:
    signing = sum(found.signing for found in trace.logs.values())
    if not signing:
        yield Reason(
            "the logs given hold no signing call of this Transit mount at all",
            "give the log of the server that signs, and see that store.transit_mount is right",
        )
    elif not any(found.salted for found in trace.logs.values()):
        yield Reason(
            f'none of the {signing} signing lines was hashed by audit device "{trace.device}" as it is now',
            _OTHER_DEVICE,
        )


def _doubts_of_engine(trace: Trace) -> Iterator[Reason]:
    given = sum(found.given for found in trace.logs.values())
    if not given:
        yield Reason(
            "the logs given hold no token of the engine at all, of whatever mount",
            "give the logs of the servers on which the engine is mounted",
        )
    elif not any(found.given_salted for found in trace.logs.values()):
        yield Reason(
            f"none of the {given} tokens of the engine in the logs given has this key ID, as audit device"
            f' "{trace.device}" hashes it now',
            _OTHER_DEVICE,
        )
