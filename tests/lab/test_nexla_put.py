from dataclasses import replace
from typing import Any

import pytest

from tests.lab.nexla_client import ONE, Client
from tests.lab.signing import NOW, Clock
from tests.lab.wire import ask
from vault_asc.lab.nexla import NexlaSimulator, Readings


def token_of(nexla: NexlaSimulator) -> Any:
    return nexla.credential().stored.get("api.key.auth.value")


def test_put_branch_1_replaces_the_whole_object(call: Client, nexla: NexlaSimulator, template: dict[str, Any]) -> None:
    answer = call.put({**template, "credentials": {"auth.type": "NONE"}, "template_config": {"jwt_token": "x"}})
    assert answer.status == 200
    assert dict(nexla.credential().stored) == {"auth.type": "NONE", "credentials_type": "rest"}
    nexla.readings = Readings(check_rest_config=True)
    refused = call.put({"credentials": {"auth.type": "NONE"}})
    assert (refused.status, refused.json()) == (400, {"message": "Invalid config: test.url is required"})
    assert call.put({"credentials": {"auth.type": "NONE", "skip.validation": True}}).status == 200


@pytest.mark.parametrize("no_object", [None, "text", [1]])
def test_put_falls_through_when_credentials_is_no_object(
    call: Client, nexla: NexlaSimulator, template: dict[str, Any], no_object: Any
) -> None:
    assert call.put({**template, "credentials": no_object, "template_config": {"jwt_token": "new"}}).status == 200
    assert token_of(nexla) == "Bearer new"


def test_put_branch_2_rebuilds_from_the_template(call: Client, nexla: NexlaSimulator, template: dict[str, Any]) -> None:
    call.put({"credentials": {"left": "over"}})
    assert call.put({**template, "template_config": {"jwt_token": "new", "unused": 1}}).status == 200
    assert token_of(nexla) == "Bearer new"
    assert "left" not in nexla.credential().stored
    assert call.put({"vendor_name": "appstore_api", "template_config": {"jwt_token": "newer"}}).status == 200
    by_name = {"vendor_name": "appstore_api", "auth_template_name": "appstore_api.1"}
    assert call.put({**by_name, "template_config": {"jwt_token": "newest"}}).status == 200
    assert token_of(nexla) == "Bearer newest"
    assert nexla.credential().writes == 4


def test_put_branch_2_errors_change_nothing(call: Client, nexla: NexlaSimulator, template: dict[str, Any]) -> None:
    values = {"template_config": {"jwt_token": "new"}}
    before = nexla.credential()

    def refused(body: dict[str, Any]) -> tuple[int, str]:
        answer = call.put(body)
        assert nexla.credential() == before
        return answer.status, answer.json()["message"] if answer.body else ""

    assert refused({**template, "template_config": {}}) == (400, "Missing config jwt_token for template")
    assert refused({**template, "template_config": {"jwt_token": None}})[0] == 400
    assert refused({**template, "template_config": "jwt"}) == (400, "Invalid template_config")
    assert refused({"vendor_name": "nobody", **values}) == (400, "Invalid vendor")
    assert refused({"vendor_id": 1, **values}) == (404, "")
    assert refused({"vendor_id": 77, "auth_template_id": 1, **values}) == (400, "No auth template found")
    assert refused({"vendor_id": 77, "auth_template_name": "x", **values}) == (400, "No auth template found")
    nexla.add_template("appstore_api", parameters=["p"], config={"a": "${p}"})
    status, message = refused({"vendor_id": 77, **values})
    assert (status, message.startswith("Multiple templates found")) == (400, True)
    assert call.put({**template, **values}).status == 200


def test_put_branch_3_is_a_silent_no_op(
    call: Client, nexla: NexlaSimulator, template: dict[str, Any], clock: Clock
) -> None:
    before = nexla.credential()
    clock.now += 60
    for body in ({}, {"template_config": {"jwt_token": "new"}}, {"vendor_id": 77}, {"vendor_id": None}):
        answer = call.put(body)
        assert (answer.status, answer.json()["id"]) == (200, 5001)
        assert nexla.credential() == before
    nexla.readings = Readings(touch_on_noop=True)
    call.put({})
    assert nexla.credential() == replace(before, updated_at=NOW + 60)


def test_put_merges_the_top_level(call: Client, nexla: NexlaSimulator, template: dict[str, Any]) -> None:
    view = call.put({"name": "renamed", "tags": ["a"], "description": "d", "credentials_version": "2"}).json()
    assert (view["name"], view["tags"], view["description"], view["credentials_version"]) == (
        "renamed",
        ["a"],
        "d",
        "2",
    )
    view = call.put({"description": None}).json()
    assert (view["name"], view["description"]) == ("renamed", None)
    assert nexla.credential().writes == 0
    assert call.put({"name": 5}).status == 400


def test_put_of_no_json(call: Client, template: dict[str, Any]) -> None:
    for raw in (b"{", b"[1]", b"\xff"):
        answer = ask("PUT", f"{call.nexla.url}{ONE}", authorization=f"Bearer {call.session}", body=raw)
        assert (answer.status, answer.json()) == (400, {"message": "Cannot parse JSON request body"})


def test_placeholders(call: Client, nexla: NexlaSimulator, test_url: str) -> None:
    config = {
        "both": "${a.b}-${port}",
        "port": "${port}.as_integer",
        "word": "${a.b}.as_integer",
        "unknown": "${nobody}",
        "fixed": 7,
    }
    made = nexla.add_template_credential(parameters=["a.b", "port"], config=config, test_url=test_url)
    body = {"vendor_id": 77, "auth_template_id": made.id, "template_config": {"a.b": "x", "port": "8080"}}
    assert call.put(body).status == 200
    expected = {"both": "x-8080", "port": 8080, "word": 0, "unknown": "${nobody}", "fixed": 7}
    assert dict(nexla.credential().stored) == {**expected, "credentials_type": "rest"}


def test_create_and_delete(call: Client, nexla: NexlaSimulator, template: dict[str, Any]) -> None:
    core = {"name": "n", "credentials_type": "rest", "credentials": {"auth.type": "NONE"}}
    made = call("POST", "/data_credentials", core)
    assert (made.status, made.json()["id"], made.json()["verified_status"]) == (200, 5002, None)
    templated = {"name": "t", "vendor_name": "appstore_api", "template_config": {"jwt_token": "x"}}
    assert call("POST", "/data_credentials", templated).json()["vendor"]["id"] == 77
    assert call("POST", "/data_credentials", {}).status == 400
    nexla.add_source(900)
    used = call("DELETE", ONE)
    assert (used.status, used.json()) == (405, {"message": "Data credentials in use", "data_sources": [900]})
    assert (call("DELETE", "/data_credentials/5002").status, call("GET", "/data_credentials/5002").status) == (200, 404)
    nexla.readings = Readings(delete_body=True)
    assert call("DELETE", "/data_credentials/5003").json()["message"] == "Ok"
