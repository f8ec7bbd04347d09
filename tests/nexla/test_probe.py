"""What the client makes of probes: false refusals, real ones, and probes that do not work."""

from dataclasses import replace

import pytest

from tests.lab.signing import NOW
from tests.nexla.tenant import PROBE, READINGS, Tenant
from vault_asc.lab import faults
from vault_asc.lab.apple import faults as apple_faults
from vault_asc.lab.nexla import Readings
from vault_asc.lab.nexla import faults as nexla_faults
from vault_asc.outcome import Outcome


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("readings", READINGS)
def test_false_refusals_of_apple_do_not_count(ready: Tenant, count: int, readings: Readings) -> None:
    ready.nexla.readings = readings
    ready.apple.inject(apple_faults.FALSE_401, count=count)
    assert ready.push(replace(ready.wanted, token_field="jwt_token")).outcome is Outcome.LIVE
    assert ready.apple.journal.count(status=401) == count


@pytest.mark.parametrize("readings", READINGS)
def test_a_refusal_that_lasts_counts(ready: Tenant, readings: Readings) -> None:
    ready.nexla.readings = readings
    ready.apple.revoke(ready.signer.key_id)
    probe = ready.push(replace(ready.wanted, token_field="jwt_token"))
    assert probe.outcome is Outcome.REFUSED
    assert "asked 3 times" in probe.detail
    assert sum(ready.waits) == 3
    assert ready.writes == 1
    assert ready.asked("POST", "/token") <= 2


def test_an_expired_token_is_refused(ready: Tenant) -> None:
    assert ready.push(token=ready.token(iat=NOW - 3000, exp=NOW - 2000)).outcome is Outcome.REFUSED


def test_a_refusal_is_not_taken_back_by_a_try_that_failed(ready: Tenant) -> None:
    ready.apple.revoke(ready.signer.key_id)
    ready.nexla.inject(faults.answered(404), path=PROBE, skip=1, count=1)
    assert ready.push().outcome is Outcome.REFUSED


@pytest.mark.parametrize("readings", [READINGS[0], READINGS[2]])
def test_a_missing_role_proves_the_token(ready: Tenant, readings: Readings) -> None:
    ready.nexla.readings = readings
    ready.apple.set_role(ready.signer.key_id, denied=["/v1/apps"])
    probe = ready.push()
    assert probe.outcome is Outcome.LIVE
    assert "role" in probe.detail
    assert ready.asked("GET", PROBE) == 1


@pytest.mark.parametrize("readings", [READINGS[0], READINGS[2]])
def test_a_missing_agreement(ready: Tenant, readings: Readings) -> None:
    ready.nexla.readings = readings
    ready.apple.agreement_signed = False
    probe = ready.push()
    assert probe.outcome is Outcome.AGREEMENT
    assert ready.asked("GET", PROBE) == 1


def test_a_403_whose_reason_is_lost_proves_nothing(ready: Tenant) -> None:
    ready.nexla.readings = Readings(probe_message="status")
    ready.apple.set_role(ready.signer.key_id, denied=["/v1/apps"])
    assert ready.push().outcome is Outcome.UNPROVEN


@pytest.mark.parametrize(
    "fault",
    [
        faults.answered(404),
        faults.answered(405),
        faults.answered(500),
        faults.html(200),
        faults.answered(200, b'{"status":"pending","request_id":7}'),
        faults.redirected("http://127.0.0.1:9/"),
        nexla_faults.refused(403, form="documented"),
        nexla_faults.refused(403),
    ],
    ids=lambda fault: fault.name,
)
def test_a_probe_that_does_not_work_proves_nothing(ready: Tenant, fault: faults.Fault) -> None:
    ready.nexla.inject(fault, path=PROBE, count=9)
    assert ready.push().outcome is Outcome.UNPROVEN
    assert ready.nexla.flow_read() == 200


@pytest.mark.parametrize("fault", [faults.throttled(), faults.answered(503), faults.dropped()])
def test_a_probe_that_fails_for_long_proves_nothing(ready: Tenant, fault: faults.Fault) -> None:
    ready.nexla.inject(fault, path=PROBE, count=9)
    assert ready.push().outcome is Outcome.UNPROVEN
    assert ready.asked("GET", PROBE) == 3


def test_a_probe_never_raises_because_the_token_is_written(ready: Tenant) -> None:
    ready.nexla.inject(nexla_faults.SESSION_LOST, path=PROBE, count=9)
    ready.nexla.inject(faults.answered(401), path="/token", count=9)
    probe = ready.push()
    assert probe.outcome is Outcome.UNPROVEN
    assert "login" in probe.detail


def test_apple_down_proves_nothing(ready: Tenant) -> None:
    ready.apple.inject(apple_faults.SERVER_ERROR, count=9)
    probe = ready.push()
    assert probe.outcome is Outcome.UNPROVEN
    ready.apple.heal()
    assert ready.probe().outcome is Outcome.LIVE
