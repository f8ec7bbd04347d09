"""What Apple's words mean: the marks of its errors, and what one answer to a try proves. Pure.

Source: the error objects as seen in the field. A 401 has the same body for every cause; a 403 is a matter of role or of
agreements. Of what a server says only `code` is repeated, and only where it looks like one of Apple's.
"""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

from vault_asc.apple.trial import Trial, TrialOutcome
from vault_asc.clock import format_duration

AGREEMENT: Final = r"(?i)REQUIRED_AGREEMENTS_MISSING_OR_EXPIRED|agreement is missing or has expired|Access Unavailable"
"""The account lacks an agreement; the token is good."""
ROLE: Final = r"(?i)\bFORBIDDEN_ERROR\b|does not allow this request|forbidden for security reasons"
"""The key's role or the token's scope does not allow the request; the token is good."""
NOT_AUTHORIZED: Final = (
    r"(?i)\bNOT_AUTHORIZED\b|authentication credentials are missing or invalid|api-generating-tokens"
)
"""Apple does not accept the token."""

# The gateway in front of some of Apple's services speaks plain text, with the number of the request on another line.
_GATEWAY_401: Final = r"(?i)\s*Unauthenticated\b"
_CODE: Final = r"(?a)[A-Z][A-Z0-9_]{0,99}(?:\.[A-Z0-9_]{1,100}){0,4}"
_SKEW_MAX: Final = 60.0  # seconds; tokens are backdated by that much
_OK: Final = 200
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
_BETWEEN: Final = "check api_url in [appstoreconnect], and what stands between here and apple"
_WHY_REFUSED: Final = (
    "look in App Store Connect: another key ID or issuer ID, a revoked key, or one made only minutes ago (then try again);"
    " also check the clock of this machine"
)


class Answer(NamedTuple):
    """One answer to a try.

    Attributes:
        status: HTTP status.
        data: the value of its JSON body, None when it has none.
        text: the body as text.
        date: its `Date` header.
    """

    status: int
    data: Any = None
    text: str = ""
    date: str | None = None


class _Error(NamedTuple):
    """One of Apple's errors: its code, and all of its words in one text."""

    code: str
    words: str


def judge(answer: Answer, key_id: str, now: float) -> Trial:
    """What one answer proves about the key of the token that was sent.

    REFUSED deserves another try: single 401s for good tokens are known.

    Args:
        answer: what came back for `GET /v1/apps`.
        key_id: the `kid` of the token.
        now: Unix seconds when it came, to be compared with its `Date`.
    """
    if answer.status == _OK:
        return _of_success(answer, key_id)
    error = _error_in(answer)
    found = _of_error(answer, error, key_id) if error is not None else None
    if found is None:
        return _of_status(answer.status, error, key_id)
    return _with_skew(found, clock_skew(answer.date, now)) if found.outcome is TrialOutcome.REFUSED else found


def unknown(key_id: str, why: str, hint: str | None = None) -> Trial:
    """A try that proves nothing; `why` is safe text, `key_id` is empty when there is no key yet."""
    about = f' about key "{key_id}"' if key_id else ""
    return Trial(TrialOutcome.UNKNOWN, key_id, f"app store connect could not be asked{about}: {why}", hint)


def clock_skew(date: str | None, now: float) -> float:
    """Seconds by which the local clock `now` is ahead of a `Date` header, negative when behind; 0 when there is none."""
    try:
        moment = parsedate_to_datetime(date or "")
        return now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):  # what a date that is none makes of the parser
        return 0.0


def _of_success(answer: Answer, key_id: str) -> Trial:
    if isinstance(answer.data, dict) and isinstance(answer.data.get("data"), list):
        return Trial(TrialOutcome.ACCEPTED, key_id, f'apple accepts tokens of key "{key_id}"')
    return unknown(key_id, "the answer (200) is not one of apple's: no list of apps", _BETWEEN)


def _of_error(answer: Answer, error: _Error, key_id: str) -> Trial | None:
    """What Apple's own words prove; None when they prove nothing."""
    if answer.status not in {_UNAUTHORIZED, _FORBIDDEN}:
        return None
    if answer.status == _FORBIDDEN and re.search(AGREEMENT, error.words):
        return Trial(
            TrialOutcome.AGREEMENT,
            key_id,
            f'apple accepts tokens of key "{key_id}", but an agreement of the App Store Connect account is missing or has'
            " expired; the Account Holder has to accept it, a new key does not help",
        )
    if answer.status == _FORBIDDEN and re.search(ROLE, error.words):
        return Trial(
            TrialOutcome.ROLE,
            key_id,
            f'apple recognises key "{key_id}", but its role does not allow the test request (GET /v1/apps); if its role'
            " should, see in App Store Connect whether the key is revoked",
        )
    if answer.status == _FORBIDDEN and not re.search(NOT_AUTHORIZED, error.words):
        return None
    said = f" {error.code}" if error.code else ""
    return Trial(
        TrialOutcome.REFUSED,
        key_id,
        f'apple does not accept tokens of key "{key_id}" ({answer.status}{said})',
        _WHY_REFUSED,
    )


def _with_skew(trial: Trial, skew: float) -> Trial:
    if abs(skew) <= _SKEW_MAX:
        return trial
    way = "ahead of" if skew > 0 else "behind"
    return trial._replace(
        detail=f"{trial.detail}; the clock of this machine is {format_duration(abs(skew))} {way} apple's, which is the"
        " likeliest cause",
        hint="set the clock of this machine (NTP), then try again",
    )


def _of_status(status: int, error: _Error | None, key_id: str) -> Trial:
    said = f" {error.code}" if error is not None and error.code else ""
    if status == _TOO_MANY:
        return unknown(key_id, f"too many requests with this key ({status}{said})", "try again in an hour")
    if status >= _SERVER_ERROR:
        return unknown(key_id, f"it failed ({status}{said})")
    if error is None:
        return unknown(key_id, f"the answer ({status}) is not one of apple's", _BETWEEN)
    return unknown(key_id, f"the answer ({status}{said}) says nothing about the key", _BETWEEN)


def _error_in(answer: Answer) -> _Error | None:
    """Apple's error in a body; None when it is somebody else's."""
    if answer.data is None:
        gateway = answer.status == _UNAUTHORIZED and re.match(_GATEWAY_401, answer.text)
        return _Error("", "") if gateway else None
    errors = answer.data.get("errors") if isinstance(answer.data, dict) else None
    if not isinstance(errors, list) or not errors or not all(_is_error(error) for error in errors):
        return None
    words = " ".join(str(error.get(part, "")) for error in errors for part in ("code", "title", "detail"))
    return _Error(errors[0]["code"], words)


def _is_error(error: object) -> bool:
    """Whether this is an error object with a code as Apple writes them, dotted from general to specific."""
    code = error.get("code") if isinstance(error, dict) else None
    return isinstance(code, str) and bool(re.fullmatch(_CODE, code))
