import re
from typing import Any

from tests.lab.nexla_client import ONE, OTHER, SERVICE_KEY, Client, login
from tests.lab.signing import Clock
from tests.lab.wire import ask
from vault_asc.lab.nexla import NexlaSimulator, Parameter, Readings, User
from vault_asc.lab.nexla.simulator import rest_config
from vault_asc.secret import Secret


def test_login_gives_a_session(nexla: NexlaSimulator) -> None:
    answer = login(nexla)
    assert answer.status == 200
    assert (answer.json()["expires_in"], answer.json()["token_type"]) == (3600, "Bearer")
    assert {"user", "org_membership", "org"} <= answer.json().keys()
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")


def test_bad_paused_and_malformed_service_keys(nexla: NexlaSimulator) -> None:
    bad = login(nexla, "wrong")
    assert (bad.status, bad.body, "x-request-id" in bad.headers) == (401, b"", True)
    assert ask("POST", f"{nexla.url}/token", authorization=f"Bearer {SERVICE_KEY}").status == 401
    malformed = ask("POST", f"{nexla.url}/token", authorization=SERVICE_KEY)
    assert (malformed.status, malformed.json()) == (400, {"message": "Invalid header format"})
    nexla.set_service_key(Secret(SERVICE_KEY), active=False)
    assert login(nexla).status == 401
    nexla.readings = Readings(paused_keys_work=True)
    assert login(nexla).status == 200
    nexla.readings = Readings(announce_expiry=False)
    nexla.set_service_key(SERVICE_KEY, active=True)
    assert "expires_in" not in login(nexla).json()


def test_sessions_live_side_by_side_until_they_end(nexla: NexlaSimulator, clock: Clock) -> None:
    first = Client(nexla, login(nexla).json()["access_token"])
    clock.now += 1800
    second = Client(nexla, login(nexla).json()["access_token"])
    assert first("GET", "/users/current").status == 200
    clock.now += 1800
    expired = first("GET", "/users/current")
    assert (expired.status, expired.body, "x-request-id" in expired.headers) == (401, b"", True)
    assert second("GET", "/users/current").status == 200
    assert (second("POST", "/token/logout").status, second("GET", "/limits").status) == (200, 401)
    third = Client(nexla, login(nexla).json()["access_token"])
    nexla.end_sessions()
    assert third("GET", "/limits").status == 401


def test_no_session_no_answer(nexla: NexlaSimulator, template: dict[str, Any]) -> None:
    for path in ("/data_credentials", ONE, f"{ONE}/probe", "/vendors", "/users/current"):
        assert ask("GET", f"{nexla.url}{path}").status == 401
        assert ask("GET", f"{nexla.url}{path}", authorization=f"Basic {SERVICE_KEY}").status == 401


def test_unknown_things_are_404_and_foreign_ones_403(
    call: Client, other: Client, nexla: NexlaSimulator, template: dict[str, Any]
) -> None:
    for path in ("/data_credentials/1", "/nothing", "/data_credentials/abc", "/data_sources/1"):
        missing = call("GET", path)
        assert (missing.status, missing.body) == (404, b"")
    assert ask("GET", nexla.url.removesuffix("/nexla-api")).status == 404
    assert call("PATCH", ONE).status == 404
    foreign = other("GET", ONE)
    assert (foreign.status, foreign.body) == (403, b"")
    nexla.share(5001, OTHER, "collaborator")
    assert (other("GET", ONE).status, other.probe().status) == (200, 403)
    assert (other.put({}).status, other("DELETE", ONE).status) == (403, 403)
    nexla.share(5001, OTHER, "admin")
    assert other.put({}).status == 200


def test_secured_values_are_never_shown(call: Client, nexla: NexlaSimulator, template: dict[str, Any]) -> None:
    call.put({**template, "template_config": {"jwt_token": "very-secret"}})
    nexla.add_rest_credential(5002, test_url="http://127.0.0.1:1/", token="very-secret")
    assert nexla.credential().stored["api.key.auth.value"] == "Bearer very-secret"
    for path in (ONE, f"{ONE}?expand=1", "/data_credentials", "/data_credentials/5002", f"{ONE}/usage"):
        assert b"very-secret" not in call("GET", path).body
    assert b"very-secret" not in call("GET", f"{ONE}/audit_log").body
    assert "very-secret" not in repr(nexla.credential())
    assert call.get("/data_credentials/5002").keys().isdisjoint({"vendor", "auth_template", "template_config"})
    assert call.get("/data_credentials/5002")["credentials_non_secure_data"]["auth.type"] == "API_KEY"


def test_expand_shows_the_template(call: Client, nexla: NexlaSimulator, template: dict[str, Any]) -> None:
    plain, full = call.get(ONE), call.get(f"{ONE}?expand=1")
    assert plain["vendor"] == {"id": 77, "name": "appstore_api", "display_name": "Appstore Api"}
    assert plain["auth_template"].keys() == {"id", "name", "display_name"}
    assert full["auth_template"]["config"]["api.key.auth.value"] == "Bearer ${jwt_token}"
    assert [(each["name"], each["secured"]) for each in full["auth_template"]["auth_parameters"]] == [
        ("jwt_token", True)
    ]
    assert full["vendor"]["auth_templates"] == [full["auth_template"]]
    nexla.readings = Readings(expand=False)
    assert call.get(f"{ONE}?expand=1") == plain


def test_non_secured_values_are_shown_by_either_reading(call: Client, nexla: NexlaSimulator, test_url: str) -> None:
    config = {**rest_config("Bearer ${jwt_token}", test_url), "region": "${region}"}
    nexla.add_template_credential(
        parameters=["jwt_token", Parameter("region", secured=False), Parameter("page", secured=False)],
        config=config,
        test_url=test_url,
        values={"region": "eu"},
    )
    assert call.get(ONE)["template_config"] == {"region": "eu"}
    nexla.readings = Readings(template_config="all")
    assert call.get(ONE)["template_config"] == {"region": "eu", "page": "unset"}


def test_list_filters_and_pages(call: Client, nexla: NexlaSimulator, test_url: str) -> None:
    nexla.add_template_credential(5001, test_url=test_url)
    nexla.add_template_credential(5002, vendor="shopify_api", test_url=test_url)
    for number in range(5003, 5014):
        nexla.add_rest_credential(number, test_url=test_url)
    nexla.add_rest_credential(6001, test_url=test_url, owner=OTHER)

    def ids(query: str) -> list[int]:
        return [each["id"] for each in call.get(f"/data_credentials{query}")]

    assert ids("") == list(range(5001, 5014))
    assert ids("?credentials_type=appstore_api") == [5001]
    assert len(ids("?credentials_type=rest")) == 13
    assert ids("?vendor_name=shopify_api") == ids("?vendor_id=78") == ids("?name=asc-5002") == [5002]
    assert ids("?auth_template_id=88") == [5001]
    assert ids("?validity=valid") == []
    assert ids("?page=2") == [5011, 5012, 5013]
    assert ids("?per_page=2&sort_order=desc") == [5013, 5012]
    nexla.share(6001, User(), "operator")
    assert 6001 not in ids("")
    assert 6001 in ids("?access_role=collaborator")
    assert call.get("/data_credentials?brief=1&per_page=1")[0].keys() >= {"id", "name"}
    for bad in ("page=0", "per_page=x", "access_role=king", "invented=1", "sort_by=stored"):
        assert call("GET", f"/data_credentials?{bad}").status == 400


def test_list_headers_and_item_form(call: Client, nexla: NexlaSimulator, test_url: str) -> None:
    for number in range(5001, 5006):
        nexla.add_template_credential(number, test_url=test_url)
    whole = call("GET", "/data_credentials").headers
    assert whole["x-total-count"] == "5"
    assert "x-current-page" not in whole
    page = call("GET", "/data_credentials?page=2&per_page=2")
    assert [
        page.headers[f"x-{name}"] for name in ("total-count", "current-page", "page-count", "total-page-count")
    ] == [
        "5",
        "2",
        "2",
        "3",
    ]
    links = dict(re.findall(r'<[^>]*[?]page=(\d+)[^>]*>; rel="(\w+)"', page.headers["link"]))
    assert links == {"1": "Previous", "3": "Next"}
    item = page.json()[0]
    assert item.keys().isdisjoint({"managed", "api_keys", "credentials_non_secure_data", "auth_template", "tags"})
    assert item["vendor"].keys() >= {"connection_type", "connector_id", "connector_name", "auth_templates"}


def test_usage_sources_schema_limits_user_and_history(
    call: Client, nexla: NexlaSimulator, template: dict[str, Any]
) -> None:
    nexla.add_source(900, config={"path": "Bearer eyJbaked"})
    usage = call.get(f"{ONE}/usage")
    assert (usage["vendor_id"], [each["id"] for each in usage["data_sources"]]) == (77, [900])
    assert call.get("/data_sources/900")["source_config"] == {"path": "Bearer eyJbaked"}
    assert "template_config" in call.get("/data_credentials/schema?method=put")["properties"]
    assert call.get("/limits") == {}
    nexla.readings = Readings(limits=True)
    assert call.get("/limits")["second"]["common"] == {"limit": 10, "count": 0}
    assert call.get("/users/current")["email"] == User().email
    call.put({"description": "new"})
    assert [entry["event"] for entry in call.get(f"{ONE}/audit_log")] == ["update"]


def test_discovery(call: Client, nexla: NexlaSimulator, template: dict[str, Any]) -> None:
    vendor = call.get("/vendors?vendor_name=appstore_api")
    assert vendor["auth_templates"] == [template["auth_template_id"]]
    full = call.get("/vendors?vendor_name=appstore_api&expand=1")
    assert full["auth_templates"][0]["auth_parameters"][0]["name"] == "jwt_token"
    assert [each["id"] for each in call.get("/vendors")] == [77]
    assert call.get("/vendors/77") == vendor
    by_id = call.get(f"/auth_templates/{template['auth_template_id']}")
    assert by_id == call.get(f"/auth_templates?auth_template_name={by_id['name']}") == call.get("/auth_templates")[0]
    assert by_id["vendor"]["name"] == "appstore_api"
    parameters = call.get("/auth_parameters?vendor_name=appstore_api")
    assert [(each["name"], each["auth_template_id"]) for each in parameters] == [("jwt_token", by_id["id"])]
    assert call.get("/auth_parameters?vendor_name=other") == []
    assert call("GET", "/vendors?vendor_name=other").status == 404
    for status in (403, 404):
        nexla.readings = Readings(discovery=status)
        for path in ("/vendors", "/vendors/77", "/auth_templates", "/auth_templates/88", "/auth_parameters"):
            assert call("GET", path).status == status
