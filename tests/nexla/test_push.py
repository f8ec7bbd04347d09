"""Every kind of credential, written and proved: the end state at Apple counts, not what the client says."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.nexla.tenant import CREDENTIAL, ID, READINGS, Tenant
from vault_asc.errors import ConfigError
from vault_asc.lab import faults
from vault_asc.lab.nexla import Readings
from vault_asc.lab.nexla.answers import edit_object
from vault_asc.lab.nexla.fixtures import FIXTURES
from vault_asc.nexla.credential_view import describe
from vault_asc.nexla.discovery import Plan, Wanted, discover
from vault_asc.outcome import Outcome

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "c": {"auth_template": "appstore_api.1"},
    "d": {"token_field": "first", "extra_fields": {"second": "s"}},
    "e": {"mode": "rest"},
    "h": {"extra_fields": {"page_size": 1}},
}
BLIND = {"a": "jwt_token", "b": "jwt_token", "c": "jwt_token", "g": "appstore_api.jwt", "h": "jwt_token"}


@pytest.mark.parametrize("readings", READINGS)
@pytest.mark.parametrize("letter", "abcegh")
def test_a_push_ends_live(tenant: Tenant, letter: str, readings: Readings) -> None:
    tenant.nexla.readings = readings
    FIXTURES[letter](tenant.nexla, tenant.test_url)
    extra = {"extra_fields": {"test.url": tenant.test_url}} if letter == "e" else {}
    wanted = replace(tenant.wanted, **{**SETTINGS.get(letter, {}), **extra})
    assert tenant.nexla.flow_read() == 401
    probe = tenant.push(wanted)
    assert probe.outcome is Outcome.LIVE, probe.detail
    assert tenant.nexla.flow_read() == 200
    assert tenant.writes == 1
    assert tenant.asked("POST", "/token") == 1


def test_auto_takes_a_generic_credential_for_apple(tenant: Tenant) -> None:
    FIXTURES["e"](tenant.nexla, tenant.test_url)
    wanted = replace(tenant.wanted, extra_fields={"test.url": tenant.test_url})
    assert tenant.push(wanted).outcome is Outcome.LIVE
    assert tenant.nexla.flow_read() == 200


@pytest.mark.parametrize(
    ("letter", "wanted", "word"),
    [
        ("d", Wanted(ID), '"first", "second"'),
        ("e", Wanted(ID), "left alone"),
        ("e", Wanted(ID, mode="template"), "no vendor"),
        ("f", Wanted(ID), '"shopify_api"'),
        ("f", Wanted(ID, mode="rest"), '"shopify_api"'),
        ("h", Wanted(ID), '"page_size"'),
        ("d", Wanted(ID, token_field="first"), '"second"'),
    ],
)
def test_what_is_not_clear_is_not_written(tenant: Tenant, letter: str, wanted: Wanted, word: str) -> None:
    FIXTURES[letter](tenant.nexla, tenant.test_url)
    with pytest.raises(ConfigError) as caught:
        tenant.push(wanted)
    assert word in caught.value.message
    assert caught.value.hint
    assert tenant.asked("PUT", "*") == 0


@pytest.mark.parametrize("shown", ["resolved", "all"])
def test_what_nexla_shows_is_sent_again(tenant: Tenant, shown: Any) -> None:
    tenant.nexla.readings = Readings(template_config=shown)
    FIXTURES["h"](tenant.nexla, tenant.test_url)
    if shown == "resolved":
        with pytest.raises(ConfigError, match="page_size"):
            tenant.push()
        return
    assert tenant.push().outcome is Outcome.LIVE
    assert tenant.nexla.credential(ID).stored["test.url"] == tenant.test_url


@pytest.mark.parametrize("status", [403, 404])
def test_without_any_discovery_the_configuration_decides(tenant: Tenant, status: Any) -> None:
    tenant.nexla.readings = Readings(expand=False, discovery=status)
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    with pytest.raises(ConfigError, match="does not show the parameters"):
        tenant.push()
    assert tenant.asked("PUT", "*") == 0
    assert tenant.push(replace(tenant.wanted, token_field="jwt_token")).outcome is Outcome.LIVE
    assert tenant.nexla.flow_read() == 200


def test_without_any_discovery_the_last_plan_serves(tenant: Tenant) -> None:
    FIXTURES["b"](tenant.nexla, tenant.test_url)
    plan = discover(tenant.client.credential(ID), tenant.wanted)
    assert plan.token_prefix == "Bearer "
    tenant.nexla.readings = Readings(expand=False, discovery=403)
    assert tenant.push(remembered=plan).outcome is Outcome.LIVE
    assert tenant.nexla.flow_read() == 200


def test_a_failing_discovery_is_no_failure(tenant: Tenant) -> None:
    tenant.nexla.readings = Readings(expand=False)
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    tenant.nexla.inject(faults.html(500), path="/auth_templates/*")
    assert tenant.push(replace(tenant.wanted, token_field="jwt_token")).outcome is Outcome.LIVE


def test_templates_come_by_the_vendor_where_the_credential_names_none(ready: Tenant) -> None:
    ready.nexla.readings = Readings(expand=False)
    ready.nexla.inject(
        faults.Fault("no template", edit=lambda answer: edit_object(answer, auth_template=None)),
        method="GET",
        path=CREDENTIAL,
    )
    assert discover(ready.client.credential(ID), ready.wanted).token_field == "jwt_token"
    assert ready.asked("GET", "/vendors", 200) == 1


def test_description_of_a_real_answer(ready: Tenant) -> None:
    view = describe(ready.client.credential(ID), ready.wanted)
    assert view.plan == Plan("template", "jwt_token", "", view.vendor_id, view.template_id)
    assert [p.name for p in view.parameters] == ["jwt_token"]
