"""A minter with the shipped policy who does not want to be found, on a real server with a real audit log."""

import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import TokenWith
from tests.integration.audited import (
    KID,
    Audited,
    Job,
    auditor,
    hosts,
    jose,
    key,
    message,
    minter,
    scene,
    token_of,
)
from tests.integration.wrapped import (
    AS_JWT,
    MAY_UNWRAP,
    PLAIN,
    WAYS,
    WRAPPED,
    Wire,
    by_another,
    from_the_cubbyhole,
    inner,
    plainly,
    wrapping_token,
)
from tests.support import key_id, new_key, team
from vault_asc import tokens
from vault_asc.audit import Signer, Similar, Trace, presigned, reasons, verdict
from vault_asc.errors import NotFoundError
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.secret import Secret
from vault_asc.tokens import Token, TokenRequest

__all__ = ["auditor", "key", "scene"]  # fixtures


@dataclass(frozen=True)
class SigningWire(Wire):
    """The raw call that signs."""

    def sign(
        self, job: Job, text: bytes, headers: Mapping[str, str] = PLAIN, *, newline: bool = True, version: object = 1
    ) -> dict[str, Any]:
        """As the shipped policy allows it; with a newline in the input, its hash is another."""
        plain = b64encode(text).decode()
        body = {
            "input": f"{plain[:40]}\n{plain[40:]}" if newline else plain,
            "marshaling_algorithm": "jws",
            "hash_algorithm": "sha2-256",
            "key_version": version,
        }
        return self.ask(job.token, "POST", f"{self.scene.layout.transit_mount}/sign/asc.prod", body, **headers)

    def wrap(self, job: Job, text: bytes, headers: Mapping[str, str] = WRAPPED, *, newline: bool = True) -> Secret:
        return wrapping_token(self.sign(job, text, headers, newline=newline))


def whys(found: Trace) -> str:
    return " ".join(reason.why for reason in reasons(found))


def hosts_of(calls: tuple[Similar, ...]) -> list[str]:
    return [dict(call.entry.caller.metadata)["host"] for call in calls]


def accuses(found: Trace) -> bool:
    return "signed elsewhere" in whys(found)


# -- wrapped answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newline", [True, False])
def test_a_wrapped_signature_is_led_back_to_the_signer(
    scene: Audited, auditor: Secret, key: PrivateKey, *, newline: bool
) -> None:
    job, decoy = minter(scene, "h1"), minter(scene, "h2")
    other = scene.job("receiver", "h3", MAY_UNWRAP)
    wire, now = SigningWire(scene), time.time()
    for number, way in enumerate(WAYS):
        text = message(now=now + number)
        way(wire, wire.wrap(decoy, text, newline=newline), other.token)
        token = token_of(text, jose(inner(way(wire, wire.wrap(job, text, newline=newline), other.token))))
        way(wire, wire.wrap(decoy, text, newline=newline), other.token)
        found = scene.trace(token, auditor)
        assert (way.__name__, hosts(found), verdict(found)) == (way.__name__, ["h1"], None)
        (signed,) = found.signed
        assert signed.entry.path == f"{scene.layout.transit_mount}/sign/asc.prod"
        assert (signed.key_version, found.genuine) == (1, True)
        assert signed.opening is not None
        opener = dict(signed.opening.caller.metadata).get("host")
        assert opener == ("h3" if way is by_another else None)


def test_a_wrapping_token_as_jwt(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    """In a body its hash is another than the log has of it: then who may have signed and who took it out are told."""
    job, other, wire = minter(scene, "h1"), scene.job("receiver", "h3", MAY_UNWRAP), SigningWire(scene)
    text = message()
    token = token_of(text, jose(inner(plainly(wire, wire.wrap(job, text, AS_JWT), other.token))))
    assert hosts(scene.trace(token, auditor)) == ["h1"]
    token = token_of(text, jose(inner(by_another(wire, wire.wrap(job, text, AS_JWT), other.token))))
    found = scene.trace(token, auditor)
    assert (found.signed, hosts_of(found.wrapped), hosts_of(found.opened)) == ((), ["h1"], ["h3"])
    assert "had their answers wrapped" in str(verdict(found))
    assert not accuses(found)


def test_an_answer_whose_way_out_is_not_in_the_log(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    """Here: never taken out, and the token is by a copy of the key, which the log cannot tell apart."""
    wire, job, honest = SigningWire(scene), minter(scene, "h1"), minter(scene, "h2")
    plainly(wire, wire.wrap(honest, message()), honest.token)
    alien = tokens.mint(team(KID), TokenRequest(700), key, time.time())
    assert accuses(scene.trace(alien, auditor))
    wire.wrap(job, message())
    found = scene.trace(alien, auditor)
    assert (found.signed, hosts_of(found.wrapped)) == ((), ["h1"])
    assert "had their answers wrapped" in str(verdict(found))
    assert not accuses(found)


def test_an_answer_in_an_answer_leads_to_those_who_may_have_signed(
    scene: Audited, auditor: Secret, key: PrivateKey
) -> None:
    wire, job, text = SigningWire(scene), minter(scene, "h1"), message()
    outer = wire.ask(wire.wrap(job, text), "GET", "cubbyhole/response", **WRAPPED)
    answer = wire.ask(wrapping_token(outer), "GET", "cubbyhole/response")
    found = scene.trace(token_of(text, jose(inner(answer))), auditor)
    assert (found.signed, hosts_of(found.wrapped)) == ((), ["h1"])
    assert not accuses(found)


def test_what_somebody_wraps_themselves_is_no_proof(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    alien = tokens.mint(team(KID), TokenRequest(700), key, time.time())
    wire, root = SigningWire(scene), scene.server.root_token
    answer = {"signature": f"vault:v1:{alien.value.reveal().rpartition('.')[2]}", "key_version": 1}
    plainly(wire, wrapping_token(wire.ask(root, "POST", "sys/wrapping/wrap", answer, **WRAPPED)), root)
    found = scene.trace(alien, auditor)
    assert (found.signed, len(found.opened)) == ((), 1)
    assert isinstance(verdict(found), NotFoundError)


# -- versions that no record tells of --------------------------------------------------------------------------------


def stage(scene: Audited, kid: str, *, promote: bool) -> None:
    with scene.store() as store:
        lifecycle = Lifecycle(store, time.time)
        lifecycle.stage("prod", new_key(), kid)
        if promote:
            lifecycle.promote("prod")


def signed_by(scene: Audited, job: Job, kid: str, version: object, *, wrapped: bool = False) -> Token:
    wire, text = SigningWire(scene), message(kid)
    if wrapped:
        answer = from_the_cubbyhole(wire, wrapping_token(wire.sign(job, text, WRAPPED, version=version)), job.token)
    else:
        answer = wire.sign(job, text, version=version)
    return token_of(text, jose(inner(answer)))


@pytest.mark.parametrize("version", [2, "2"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_version_that_is_only_staged(
    scene: Audited, auditor: Secret, key: PrivateKey, version: object, *, wrapped: bool
) -> None:
    stage(scene, key_id(2), promote=False)
    found = scene.trace(signed_by(scene, minter(scene, "h1"), key_id(2), version, wrapped=wrapped), auditor)
    assert (hosts(found), found.signed[0].key_version, found.keys) == (["h1"], 2, ())
    assert (found.signers, found.genuine) == ((Signer("asc.prod", 2),), True)
    of_current_id = scene.trace(signed_by(scene, minter(scene, "h1"), KID, version, wrapped=wrapped), auditor)
    assert (hosts(of_current_id), of_current_id.signed[0].key_version) == (["h1"], 2)


def test_a_version_that_the_record_has_forgotten(
    scene: Audited, auditor: Secret, key: PrivateKey, token_with: TokenWith
) -> None:
    stage(scene, key_id(2), promote=True)
    where = f"{scene.layout.mount}/metadata/asc/keys/prod"
    scene.root("POST", f"{scene.layout.mount}/destroy/asc/keys/prod", {"versions": [1]})
    assert scene.root("GET", where)["data"]["versions"]["1"]["destroyed"]
    job = minter(scene, "h1")
    token = signed_by(scene, job, KID, 1)
    assert hosts(scene.trace(token, auditor)) == ["h1"]
    denied = scene.policy("auditor").replace(f"{scene.layout.transit_mount}/keys/", "nowhere/keys/")
    blind = token_with(denied)
    without = scene.trace(token, blind)
    assert (without.signed, without.signers) == ((), ())
    assert "no key of this store has the key ID" in whys(without)
    assert hosts(scene.trace(signed_by(scene, job, key_id(2), 2), blind)) == ["h1"]
    assert hosts(scene.trace(signed_by(scene, job, KID, 1, wrapped=True), blind)) == ["h1"]


# -- times that the signer chooses -----------------------------------------------------------------------------------


def test_a_token_that_was_signed_long_before_its_time(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    job, later = minter(scene, "h1"), time.time() + 86400
    for token in (
        scene.mint(job, "prod", later),
        token_of(text := message(now=later), jose(inner(SigningWire(scene).sign(job, text)))),
    ):
        found = scene.trace(token, auditor)
        assert hosts(found) == ["h1"]
        early = presigned(token, found.signed[0].entry)
        assert early is not None
        assert 86000 < early < 86400
    (usual,) = scene.trace(scene.mint(job, "prod", time.time()), auditor).signed
    assert presigned(token._replace(issued_at=int(time.time()) - 60), usual.entry) is None


def test_a_log_that_begins_after_the_import_accuses_no_copy(scene: Audited, auditor: Secret) -> None:
    """The token may have been signed before: its time says nothing of when that was."""
    key = new_key()
    scene.import_key("prod", key, KID, Custody.TRANSIT, time.time() - 86400)
    token = tokens.mint(team(KID), TokenRequest(700), key, time.time())
    scene.mint(minter(scene, "h1"), "prod", time.time())
    found = scene.trace(token, auditor)
    assert "after the key was imported" in whys(found)
    assert not accuses(found)
    assert "back to the import" in str(getattr(verdict(found), "hint", ""))
