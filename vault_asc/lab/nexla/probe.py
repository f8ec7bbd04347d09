"""GET /data_credentials/{id}/probe: ask the vendor with the credential as stored, and remember how it went."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from vault_asc.lab.nexla.answers import RefusedError
from vault_asc.lab.nexla.model import Credential
from vault_asc.lab.nexla.readings import Readings
from vault_asc.lab.nexla.state import Call, State
from vault_asc.lab.nexla.vendor_call import call_vendor
from vault_asc.lab.nexla.views import stamp
from vault_asc.lab.web import Answer, json_answer
from vault_asc.secret import safe_text

_STATUS_MAX: Final = 1024  # characters of verified_status
_SUCCESS: Final = "200 Ok"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a probe went.

    Attributes:
        status: of the vendor, or 400 / 500 when it could not be asked.
        message: for the caller.
    """

    status: int
    message: str

    @property
    def ok(self) -> bool:
        """Whether the vendor accepted the credential."""
        return 200 <= self.status < 300  # noqa: PLR2004 - any 2xx


def probe(state: State, call: Call) -> Answer:
    """Probe now, start one (`async=true`), or ask for the result of a started one (`request_id=N`)."""
    with state.lock:
        readings = state.readings
        credential = state.credential(call.ids[0], call.user, "collaborator")
    if "request_id" in call.query:
        return _result(state, call.query["request_id"])
    outcome = ask_vendor(credential, readings)  # without the lock: the vendor may be slow
    _store(state, credential, outcome)
    if call.query.get("async", "").lower() == "true":
        return _started(state, outcome)
    return _success(readings) if outcome.ok else _failure(outcome, readings)


def ask_vendor(credential: Credential, readings: Readings) -> Outcome:
    """The vendor's verdict on a credential; never raises."""
    if readings.probe_skips and credential.stored.get("skip.validation") is True:
        return Outcome(200, "Ok")
    try:
        status, body = call_vendor(credential.stored)
    except RefusedError as refused:
        return Outcome(refused.status, refused.text or "")
    if readings.probe_message == "status":
        names = {each.value: each.phrase for each in HTTPStatus}
        return Outcome(status, names.get(status, "Unknown"))
    return Outcome(status, safe_text(body.decode(errors="replace"), _STATUS_MAX))


def _store(state: State, credential: Credential, outcome: Outcome) -> None:
    with state.lock:
        if not state.readings.probe_stores or credential.id not in state.credentials:
            return
        if outcome.ok:
            state.change(credential.id, verified_status=_SUCCESS, verified_at=state.clock())
        else:
            text = f"{outcome.status} {outcome.message}"[:_STATUS_MAX]
            state.change(credential.id, verified_status=text, verified_at=None)


def _success(readings: Readings) -> Answer:
    if readings.probe_body == "empty":
        return Answer(200)
    if readings.probe_body == "object":
        return json_answer(200, {"output": {}})
    return json_answer(200, {"status": "ok", "message": "Ok"})


def _failure(outcome: Outcome, readings: Readings) -> Answer:
    status = outcome.status if readings.probe_status == "relay" else 403
    return json_answer(status, {"status": status, "message": outcome.message})


def _started(state: State, outcome: Outcome) -> Answer:
    """The work is done already, but a caller cannot see that before it asks again."""
    with state.lock:
        number = len(state.async_probes) + 1
        started = {"request_id": number, "request_started_at": stamp(state.clock())}
        result: dict[str, Any] = {"status": outcome.status, "message": outcome.message}
        state.async_probes[number] = {
            **started,
            "status": "completed" if outcome.ok else "failed",
            "request_completed_at": stamp(state.clock()),
            state.readings.async_result: result,
        }
    return json_answer(200, {"status": "pending", **started})


def _result(state: State, number: str) -> Answer:
    with state.lock:
        known = state.async_probes.get(int(number)) if number.isascii() and number.isdigit() else None
    if known is None:
        raise RefusedError(404)
    return json_answer(200, known)
