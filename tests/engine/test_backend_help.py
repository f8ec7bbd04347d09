"""Help on every path, and its OpenAPI."""

import json
from typing import Any

import pytest

from tests.engine.mounted import Mounted, facts
from vault_asc.engine.backend import PATHS
from vault_asc.engine.request import Operation, RequestError


def help_on(path: str, **data: Any) -> dict[str, Any]:
    return facts(Mounted().ask(Operation.HELP, path, data))


def test_help_on_the_mount_names_every_path() -> None:
    answer = help_on("")
    for path in PATHS:
        assert f"    {path.pattern.replace(':name', '<name>')}\n        {path.synopsis}\n" in answer["help"]
    assert len(answer["openapi"]["paths"]) == len(PATHS)
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.pattern)
def test_help_on_a_path_explains_every_field(path: Any) -> None:
    requested = path.pattern.replace(":name", "any name")
    answer = help_on(requested)
    assert f"Request:        {requested}\n" in answer["help"]
    assert path.description in answer["help"]
    for field in path.fields:
        assert f"    {field.name} ({field.kind})\n        {field.text}\n" in answer["help"]
    assert list(answer["openapi"]["paths"]) == [f"/{path.pattern.replace(':name', '{name}')}"]


def test_help_asks_neither_storage_nor_name_and_knows_what_there_is_not() -> None:
    mounted = Mounted()
    mounted.ask(Operation.HELP, "keys/UPPER")
    assert mounted.storage.reads == 0
    with pytest.raises(RequestError) as caught:
        mounted.ask(Operation.HELP, "nowhere")
    assert caught.value.status == 404


def test_the_document() -> None:
    document = help_on("", requestResponsePrefix="asc-engine")["openapi"]
    assert document["openapi"] == "3.0.2"
    assert {*document["info"]} == {"title", "description", "version", "license"}
    paths = document["paths"]
    key = paths["/keys/{name}"]
    assert {*key} & {"get", "post", "delete"} == {"get", "post", "delete"}
    assert key["x-vault-createSupported"] is True
    assert key["parameters"][0]["name"] == "name"
    for taking_a_key in (key, paths["/keys/{name}/stage"]):
        fields = taking_a_key["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
        assert fields["private_key"]["x-vault-displayAttrs"] == {"sensitive": True}
        assert [name for name, field in fields.items() if "x-vault-displayAttrs" in field] == ["private_key"]
    assert paths["/roles/"]["get"]["parameters"][0]["schema"] == {"type": "string", "enum": ["true"]}
    for change in ("stage", "promote", "rollback", "retire"):
        assert {*paths[f"/keys/{{name}}/{change}"]} & {"get", "post", "delete"} == {"post"}
    identifiers = [
        item[method]["operationId"] for item in paths.values() for method in ("get", "post", "delete") if method in item
    ]
    assert len(set(identifiers)) == len(identifiers)
    assert all(name.startswith("asc-engine-") for name in identifiers)
    assert "$ref" not in json.dumps(document), "the server loses references of plugins"


@pytest.mark.parametrize("prefix", [None, 5, "", "a b", "x" * 100, ["x"]])
def test_a_prefix_that_is_none(prefix: object) -> None:
    document = help_on("config", requestResponsePrefix=prefix)["openapi"]
    assert document["paths"]["/config"]["get"]["operationId"] == "asc-read-config"
