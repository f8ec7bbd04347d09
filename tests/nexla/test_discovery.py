"""Where a token goes, by tables: placeholders, the choice between parameters, prefixes, vendors, and the whole body."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from vault_asc.errors import ConfigError, NexlaError
from vault_asc.nexla.auth_template import read_template, templates_in
from vault_asc.nexla.credential_body import missing_parameters, put_body
from vault_asc.nexla.credential_view import describe
from vault_asc.nexla.discovery import Plan, Wanted, discover
from vault_asc.secret import Secret

ID = 5001
WANTED = Wanted(ID)
TOKEN = Secret("eyJhbGciOiJFUzI1NiJ9.e30.c2ln")
HEADER = {"auth.type": "API_KEY", "api.key.include.mode": "HEADER", "api.key.auth.key": "Authorization"}


def parameter(name: str, *, secured: bool = True) -> dict[str, Any]:
    return {"id": 1, "name": name, "secured": secured, "data_type": "string", "config": {}}


def template(
    config: Mapping[str, Any] | None, *names: str, plain: tuple[str, ...] = (), number: int = 88
) -> dict[str, Any]:
    parameters = [parameter(n) for n in names] + [parameter(n, secured=False) for n in plain]
    return {"id": number, "name": f"appstore_api.{number}", "config": config, "auth_parameters": parameters}


def authorization(value: str, **more: Any) -> dict[str, Any]:
    return {**HEADER, "api.key.auth.value": value, **more}


def credential(used: Mapping[str, Any] | None, *others: object, **more: Any) -> dict[str, Any]:
    vendor = {"id": 77, "name": "appstore_api", "display_name": "App Store Connect", "auth_templates": list(others)}
    return {
        "id": ID,
        "credentials_type": "rest",
        "vendor": vendor,
        "template_config": {},
        "auth_template": used,
        **more,
    }


def generic(**more: Any) -> dict[str, Any]:
    return {"id": ID, "credentials_type": "rest", "connector": {}, **more}


# -- which parameter -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "field"),
    [
        # the one bound to the Authorization header wins, secured or not
        (template(authorization("Bearer ${jwt}"), "jwt", "other"), "jwt"),
        (template(authorization("Bearer ${jwt}", extra="${other}"), "jwt", "other"), "jwt"),
        (template(authorization("Bearer ${jwt}", extra="${other}"), "other", plain=("jwt",)), "jwt"),
        (template(authorization("Bearer ${vendor.jwt-token}"), "vendor.jwt-token"), "vendor.jwt-token"),
        (template({"request.headers": "X-A:${a},authorization: Bearer ${b}"}, "a", "b"), "b"),
        (template({"request.headers": "Authorization:${b},X-A:${a}"}, "a", "b"), "b"),
        (template({"token.value": "${b}", "x": "${a}"}, "a", "b"), "b"),
        (template({"oauth2.access.token": "${b}", "x": "${a}"}, "a", "b"), "b"),
        (template({"oauth2": {"access": {"token": "${b}"}}, "x": ["${a}"]}, "a", "b"), "b"),
        # else the only secured one that is used
        (template({"x": "${a}", "y": "${b}"}, "a", plain=("b",)), "a"),
        (template({"x": "${a}"}, "a", "unused"), "a"),
        (template({"x": "${a}", "y": "${count}.as_integer"}, "a", "count"), "a"),
        # another header, or none: not bound
        (template({**HEADER, "api.key.auth.key": "X-Key", "api.key.auth.value": "${b}", "x": "${a}"}, "a", plain=("b",)), "a"),
        (template(authorization("${b}", **{"api.key.include.mode": "URL"}, x="${a}"), "a", plain=("b",)), "a"),
        # else the only one
        (template({"x": "${a}"}, plain=("a", "unused")), "a"),
        # no config shown: by what is declared; no parameters shown: by the placeholders
        (template(None, "a", plain=("b",)), "a"),
        (template({"x": "${a}"}), "a"),
        (template(authorization("Bearer ${b}", x="${a}")), "b"),
    ],
)  # fmt: skip
def test_field(used: dict[str, Any], field: str) -> None:
    plan = discover(credential(used), WANTED)
    assert plan.token_field == field
    assert (plan.mode, plan.vendor_id, plan.auth_template_id) == ("template", 77, 88)


@pytest.mark.parametrize(
    ("used", "candidates"),
    [
        (template({"x": "${a}", "y": "${b}"}, "a", "b"), ["a", "b"]),
        (template({"x": "${a}", "y": "${b}"}, plain=("a", "b")), ["a", "b"]),
        (template(authorization("${scheme} ${jwt}"), "jwt", plain=("scheme",)), ["scheme", "jwt"]),
        (template(None, "a", "b"), ["a", "b"]),
        (template({"token.auth.url": "${a}", "token.auth.body": "${b}"}, "a", "b"), ["a", "b"]),
    ],
)
def test_never_a_guess_between_several(used: dict[str, Any], candidates: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        discover(credential(used), WANTED)
    assert all(f'"{name}"' in caught.value.message for name in candidates)
    assert 'token_field = "' in str(caught.value.hint)
    plan = discover(credential(used), replace(WANTED, token_field=candidates[1]))
    assert plan.token_field == candidates[1]


@pytest.mark.parametrize("config", [{"x": "no placeholder"}, {"x": "${other}"}, {"x": "${a}.as_integer"}])
def test_no_parameter_at_all(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no parameter that a token could go into"):
        discover(credential(template(config, "a")), WANTED)


def test_a_configured_field_has_to_exist() -> None:
    used = template(authorization("Bearer ${jwt}"), "jwt")
    with pytest.raises(ConfigError, match='no parameter "jtw"; candidates: "jwt"') as caught:
        discover(credential(used), replace(WANTED, token_field="jtw"))
    assert 'token_field = "jwt"' in str(caught.value.hint)


# -- what goes before the token --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "prefix"),
    [
        (authorization("Bearer ${jwt}"), ""),
        (authorization("bearer  ${jwt}"), ""),
        (authorization("${jwt}"), "Bearer "),
        (authorization(" ${jwt} "), "Bearer "),
        (authorization("JWT ${jwt}"), ""),
        (authorization("${jwt}", **{"api.key.auth.prefix": "Bearer"}), ""),
        ({"request.headers": "Authorization:${jwt},X-A:b"}, "Bearer "),
        ({"request.headers": "Authorization: Bearer ${jwt}"}, ""),
        ({"oauth2.access.token": "${jwt}"}, ""),
        ({"token.value": "${jwt}"}, ""),
        ({"x": "${jwt}"}, ""),
        (None, ""),
        ({**authorization("${jwt}"), "request.headers": "Authorization:Bearer ${jwt}"}, ""),
    ],
)
def test_prefix(config: dict[str, Any] | None, prefix: str) -> None:
    used = credential(template(config, "jwt"))
    assert discover(used, WANTED).token_prefix == prefix
    for chosen in ("", "Bearer "):
        assert discover(used, replace(WANTED, token_prefix=chosen)).token_prefix == chosen


# -- which template --------------------------------------------------------------------------------------------------

A = template(authorization("Bearer ${a}"), "a", number=88)
B = template(authorization("${b}"), "b", number=89)


@pytest.mark.parametrize(
    ("data", "wanted", "number"),
    [
        (credential(A, A, B), WANTED, 88),
        (credential({"id": 89, "name": "appstore_api.89"}, A, B), WANTED, 89),
        (credential(None, B), WANTED, 89),
        (credential(A, A, B), replace(WANTED, auth_template="appstore_api.89"), 89),
        (credential(A, A, B), replace(WANTED, auth_template="89"), 89),
    ],
)
def test_template(data: dict[str, Any], wanted: Wanted, number: int) -> None:
    plan = discover(data, wanted)
    assert (plan.auth_template_id, plan.token_field) == (number, {88: "a", 89: "b"}[number])


def test_several_templates_without_a_choice() -> None:
    with pytest.raises(ConfigError, match=r'several auth templates: "appstore_api.88", "appstore_api.89"') as caught:
        discover(credential(None, A, B), WANTED)
    assert 'auth_template = "appstore_api.88"' in str(caught.value.hint)


def test_an_unknown_template() -> None:
    with pytest.raises(ConfigError, match=r'no auth template "other"; nexla shows "appstore_api.88"'):
        discover(credential(A), replace(WANTED, auth_template="other"))


def test_no_template_at_all() -> None:
    with pytest.raises(ConfigError, match="shows no auth template"):
        discover(credential(None), WANTED)
    wanted = replace(WANTED, auth_template="88", token_field="jwt")
    assert discover(credential(None), wanted) == Plan("template", "jwt", "", 77, 88)


# -- what Nexla does not show ----------------------------------------------------------------------------------------

BARE = credential({"id": 88, "name": "appstore_api.88"})
LAST = Plan("template", "jwt", "Bearer ", 77, 88)


def test_nothing_shown_and_nothing_remembered() -> None:
    with pytest.raises(ConfigError, match="does not show the parameters") as caught:
        discover(BARE, WANTED)
    assert 'token_field = "' in str(caught.value.hint)


@pytest.mark.parametrize(
    ("wanted", "remembered", "plan"),
    [
        (WANTED, LAST, LAST),
        (replace(WANTED, token_field="jwt"), LAST, LAST),
        (replace(WANTED, token_prefix=""), LAST, replace(LAST, token_prefix="")),
        (replace(WANTED, token_field="new"), LAST, Plan("template", "new", "", 77, 88)),
        (replace(WANTED, token_field="new"), None, Plan("template", "new", "", 77, 88)),
    ],
)
def test_the_last_plan_fills_in(wanted: Wanted, remembered: Plan | None, plan: Plan) -> None:
    assert discover(BARE, wanted, remembered) == plan


@pytest.mark.parametrize(
    "other",
    [replace(LAST, vendor_id=78), replace(LAST, auth_template_id=89), Plan("rest", "api.key.auth.value", "Bearer ")],
)
def test_a_plan_for_something_else_does_not(other: Plan) -> None:
    with pytest.raises(ConfigError):
        discover(BARE, WANTED, other)


def test_what_is_shown_beats_what_is_remembered() -> None:
    assert discover(credential(A), WANTED, LAST).token_field == "a"


@pytest.mark.parametrize("plan", [LAST, Plan("rest", "api.key.auth.value", "Bearer ")])
def test_a_plan_survives_the_state_file(plan: Plan) -> None:
    assert Plan.from_state(json.loads(json.dumps(plan.as_state()))) == plan


@pytest.mark.parametrize(
    "data",
    [{}, {"mode": "other"}, {**LAST.as_state(), "token_field": None}, {**LAST.as_state(), "vendor_id": "77"}, {"mode": "rest"}],
)  # fmt: skip
def test_a_damaged_plan_is_none(data: dict[str, Any]) -> None:
    assert Plan.from_state(data) is None


# -- the right credential --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "template", "rest"])
@pytest.mark.parametrize("name", ["shopify_api", "", None, 7])
def test_another_vendor_is_refused(mode: Any, name: object) -> None:
    data = credential(A)
    data["vendor"]["name"] = name
    with pytest.raises(ConfigError, match="belongs to vendor"):
        discover(data, replace(WANTED, mode=mode))


def test_the_expected_vendor_is_configurable() -> None:
    data = credential(A)
    data["vendor"]["name"] = "asc_private"
    assert discover(data, replace(WANTED, vendor="asc_private")).token_field == "a"


def test_a_vendor_without_number() -> None:
    data = credential(A)
    del data["vendor"]["id"]
    with pytest.raises(NexlaError, match="no number"):
        discover(data, WANTED)


@pytest.mark.parametrize("vendor", [{}, None])
def test_generic_credentials(vendor: object) -> None:
    data = generic(vendor=vendor)
    plan = Plan("rest", "api.key.auth.value", "Bearer ")
    assert discover(data, WANTED) == plan
    assert discover(data, replace(WANTED, mode="rest")) == plan
    with pytest.raises(ConfigError, match="belongs to no vendor"):
        discover(data, replace(WANTED, mode="template"))


@pytest.mark.parametrize(
    ("data", "mode", "word"),
    [
        ({"id": ID, "credentials_type": "s3"}, "auto", '"s3"'),
        ({"id": ID, "credentials_type": "s3"}, "rest", '"s3"'),
        ({"id": ID, "connector": {"type": "bigquery"}}, "auto", '"bigquery"'),
        ({"id": ID}, "auto", '"unknown"'),
        (generic(credentials_non_secure_data={"test.url": "https://shop.example/x"}), "auto", '"shop.example"'),
        (generic(credentials_non_secure_data={"test.url": "http://["}), "auto", '"nowhere"'),
    ],
)
def test_what_serves_something_else_is_left_alone(data: dict[str, Any], mode: Any, word: str) -> None:
    with pytest.raises(ConfigError, match="left alone") as caught:
        discover(data, replace(WANTED, mode=mode))
    assert word in caught.value.message
    assert "credential_id" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (generic(credentials_non_secure_data={"test.url": "https://shop.example/x"}), replace(WANTED, mode="rest")),
        (generic(credentials_non_secure_data={"test.url": "https://api.appstoreconnect.apple.com/v1/users"}), WANTED),
        (
            generic(credentials_non_secure_data={"test.url": "https://proxy.example/v1/apps"}),
            replace(WANTED, extra_fields={"test.url": "https://proxy.example/v1/users"}),
        ),
        ({"id": ID}, replace(WANTED, mode="rest")),
    ],
)
def test_what_may_be_replaced(data: dict[str, Any], wanted: Wanted) -> None:
    assert discover(data, wanted).mode == "rest"


# -- the body --------------------------------------------------------------------------------------------------------


def test_template_body() -> None:
    used = template(authorization("${jwt}", x="${size}", y="${tag}"), "jwt", plain=("size", "tag"))
    data = credential(used, template_config={"size": "10", "tag": "old", "gone": None})
    wanted = replace(WANTED, extra_fields={"tag": "new", "more": True})
    body = put_body(discover(data, wanted), data, wanted, TOKEN)
    assert body == {
        "vendor_id": 77,
        "auth_template_id": 88,
        "template_config": {"size": "10", "tag": "new", "more": True, "jwt": Secret(f"Bearer {TOKEN.reveal()}")},
    }
    assert TOKEN.reveal() not in repr(body)


def test_rest_body_is_complete() -> None:
    data = generic(credentials_non_secure_data={"request.headers": "X-Old:1", "test.method": "POST"})
    wanted = replace(WANTED, extra_fields={"test.url": "https://api.appstoreconnect.apple.com/v1/users", "x": 1})
    body = put_body(discover(data, wanted), data, wanted, TOKEN)
    assert body == {
        "credentials": {
            "auth.type": "API_KEY",
            "api.key.include.mode": "HEADER",
            "api.key.auth.key": "Authorization",
            "api.key.auth.value": Secret(f"Bearer {TOKEN.reveal()}"),
            "test.url": "https://api.appstoreconnect.apple.com/v1/users",
            "test.method": "GET",
            "test.content.type": "application/json",
            "skip.validation": False,
            "ignore.ssl.cert.validation": False,
            "jwt.enabled": False,
            "hmac.enabled": False,
            "x": 1,
        }
    }


def test_what_nobody_supplies_is_named() -> None:
    used = template(authorization("Bearer ${jwt}", x="${size}", y="${key}"), "jwt", "key", "unused", plain=("size",))
    data = credential(used)
    plan = discover(data, WANTED)
    assert missing_parameters(plan, data, WANTED) == ("key", "size")
    with pytest.raises(ConfigError, match='also needs "key", "size"') as caught:
        put_body(plan, data, WANTED, TOKEN)
    assert "extra_fields" in str(caught.value.hint)
    wanted = replace(WANTED, extra_fields={"key": "k", "size": 0})
    assert put_body(plan, data, wanted, TOKEN)["template_config"].keys() == {"key", "size", "jwt"}


def test_extra_fields_do_not_hold_the_token_field() -> None:
    with pytest.raises(ConfigError, match="which takes the token"):
        discover(credential(A), replace(WANTED, extra_fields={"a": "static"}))


def test_extra_fields_are_plain_values() -> None:
    odd: Any = {"size": [1]}
    wanted = replace(WANTED, extra_fields=odd)
    with pytest.raises(ConfigError, match='"size"'):
        put_body(discover(credential(A), wanted), credential(A), wanted, TOKEN)


# -- what a person sees ----------------------------------------------------------------------------------------------


def test_description_names_everything_and_shows_no_value() -> None:
    used = template(authorization("Bearer ${jwt}", x="SENTINEL ${size}"), "jwt", plain=("size",))
    data = credential(
        used, B, template_config={"size": "SENTINEL"}, credentials_non_secure_data={"test.url": "SENTINEL"}
    )
    view = describe(data, WANTED)
    assert (view.kind, view.vendor, view.vendor_id, view.template_id) == ("rest", "appstore_api", 77, 88)
    assert [t.name for t in view.templates] == ["appstore_api.88", "appstore_api.89"]
    assert [(p.name, p.secured, [place.key for place in p.places]) for p in view.parameters] == [
        ("jwt", True, ["api.key.auth.value"]),
        ("size", False, ["x"]),
    ]
    assert view.plan == Plan("template", "jwt", "", 77, 88)
    assert (view.missing, view.problem) == ((), None)
    assert "SENTINEL" not in repr(view)


def test_description_of_what_cannot_be_pushed() -> None:
    data = credential(template({"x": "${a}", "y": "${b}"}, "a", "b"))
    view = describe(data, WANTED)
    assert view.plan is None
    assert isinstance(view.problem, ConfigError)
    assert len(view.parameters) == 2
    missing = describe(data, replace(WANTED, token_field="a"))
    assert missing.missing == ("b",)


def test_description_of_a_generic_credential() -> None:
    view = describe(generic(), WANTED)
    assert (view.vendor, view.vendor_id, view.templates, view.parameters) == ("", None, (), ())
    assert view.plan == Plan("rest", "api.key.auth.value", "Bearer ")


@pytest.mark.parametrize(
    "odd",
    [None, "x", [], {}, {"id": "88"}, {"id": True}, {"id": 88, "config": "x", "auth_parameters": "y"}, {"id": 88, "auth_parameters": [1, {"name": 2}]}],
)  # fmt: skip
def test_odd_templates_are_read_without_an_error(odd: Any) -> None:
    found = read_template(odd)
    assert found is None or found.parameters == ()
    templates_in({"auth_template": odd, "vendor": {"auth_templates": odd}})
    templates_in({"auth_template": odd, "vendor": odd})


def test_messages_hold_foreign_names_safely() -> None:
    used = template({"x": "${a\n\x1b[2J}", "y": "${eyJhbGciOiJFUzI1NiJ9}"}, "a\n\x1b[2J", "eyJhbGciOiJFUzI1NiJ9")
    with pytest.raises(ConfigError) as caught:
        discover(credential(used), WANTED)
    assert caught.value.message.isprintable()
    assert str(caught.value.hint).isprintable()
    assert "eyJ" not in caught.value.message
