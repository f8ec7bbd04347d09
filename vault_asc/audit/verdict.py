"""What a trace proves, and why it may have found nothing. Pure; says no more than the log can answer."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from vault_asc.audit.entry import Entry
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
    """The error that the trace ends with; None when it is proved who signed the token."""
    if trace.signed:
        return None
    if trace.similar:
        return NotFoundError(
            "the log does not prove who signed this token: its header and payload were signed by the calls above,"
            " its signature is not among the answers",
            hint="each of them may be it: the token may be cut off or changed, an answer wrapped or its line missing",
        )
    if trace.wrapped or trace.opened:
        return NotFoundError(
            "the log does not prove who signed this token: the calls above had their answers wrapped,"
            " and it does not show what came out of which",
            hint="each of them may be it: ask their callers, and give the logs of all servers of the cluster",
        )
    kept = [key.name for key in trace.keys if Custody.KV in key.custodies]
    if kept:
        return NotFoundError(
            f'the log cannot tell who minted this token, only who has read the private part: key "{kept[0]}" is or was'
            " in custody kv, where tokens are signed outside of Vault",
            hint="a copy of this key signs on unseen: revoke it at Apple, and have the next one signed by Vault:"
            f" vault-asc key move {kept[0]} --custody transit, then vault-asc key rotate {kept[0]} FILE",
        )
    return NotFoundError("the log holds no call that signed this token", hint=reasons(trace)[0].fix)


def reasons(trace: Trace) -> list[Reason]:
    """What may be the cause when nothing is proved, the most certain first; empty when something is."""
    if trace.signed or trace.similar:
        return []
    if trace.keys and all(key.custodies == {Custody.KV} for key in trace.keys):
        return [*_doubts_of_time(trace)]  # of the list of readers; a signing call is not to be expected
    doubts = [*_doubts_of_token(trace), *_doubts_of_time(trace), *_doubts_of_salt(trace)]
    return doubts if doubts or trace.wrapped or trace.opened else [_SIGNED_ELSEWHERE]


def _doubts_of_token(trace: Trace) -> Iterator[Reason]:
    if not trace.keys and trace.signers:
        key, number = trace.signers[0]
        yield Reason(
            f'the key ID "{safe_text(trace.token.key_id)}" is in no record, but the signature is of version {number} of'
            f' key "{safe_text(key)}" in Transit: only staged, or no longer in the kept versions of its record',
            "look at who may sign with that key, and promote or retire the version",
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


def _doubts_of_time(trace: Trace) -> Iterator[Reason]:
    minted = trace.token.issued_at + BACKDATE
    spans = sorted((f.first.moment, f.last.moment) for f in trace.logs.values() if f.first and f.last)
    if not any(first <= minted <= last for first, last in spans):
        yield Reason(
            f"no log given reaches over {iso(minted)}, when the token was probably minted",
            "give the rotated files too, and those of all servers of the cluster: --audit-log for each",
        )
    if spans:
        yield from _doubts_of_reach(trace, spans)


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


def _gaps(spans: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    end = spans[0][1]
    for first, last in spans:
        if first > end + _SILENCE:
            yield end, first
        end = max(end, last)


def _doubts_of_salt(trace: Trace) -> Iterator[Reason]:
    signing = sum(found.signing for found in trace.logs.values())
    if not signing:
        yield Reason(
            "the logs given hold no signing call of this Transit mount at all",
            "give the log of the server that signs, and see that store.transit_mount is right",
        )
    elif not any(found.salted for found in trace.logs.values()):
        yield Reason(
            f'none of the {signing} signing lines was hashed by audit device "{trace.device}" as it is now',
            "name the device of this log with --device (vault audit list); one that was switched off has lost its salt",
        )
