"""What `path-help` shows, and the same as OpenAPI for `sys/internal/specs/openapi`. Pure.

The schema of a body stands where it is used: of a plugin's document the server loses references (`$ref`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from vault_asc import __version__
from vault_asc.engine.fields import Field, Kind
from vault_asc.engine.path import NAME, Path
from vault_asc.engine.request import Operation, Response

_TITLE: Final = "App Store Connect secrets engine"
_INTRODUCTION: Final = """Mints short-lived tokens for the App Store Connect API.

The private key of an API key is written once and never read back. A role says which key signs, for which calls and
for how long; whoever may read token/<role> gets tokens of that role and nothing else."""

_TYPES: Final[Mapping[Kind, dict[str, Any]]] = {
    Kind.STRING: {"type": "string"},
    Kind.SECONDS: {"type": "string", "format": "duration"},
    Kind.NUMBER: {"type": "integer"},
    Kind.DECIMAL: {"type": "number"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.STRINGS: {"type": "array", "items": {"type": "string"}},
}
_METHODS: Final = {
    Operation.READ: ("get", "read"),
    Operation.LIST: ("get", "list"),
    Operation.UPDATE: ("post", "write"),
    Operation.DELETE: ("delete", "delete"),
}


def of_engine(paths: Iterable[Path], prefix: object) -> Response:
    """Help on the mount: every path with one line. `prefix` begins the names of operations, when it is a name."""
    every = tuple(paths)
    lines = "\n".join(f"    {path.shown}\n        {path.synopsis}\n" for path in every)
    text = f"## DESCRIPTION\n\n{_INTRODUCTION}\n\n## PATHS\n\n{lines}\nMore on one of them: path-help <mount>/<path>\n"
    return _response(text, every, prefix)


def of_path(path: Path, requested: str, prefix: object) -> Response:
    """Help on one path."""
    parts = [
        f"Request:        {requested}\nMatching Route: {path.shown}\n",
        f"{path.synopsis}\n",
        *_parameters(path.fields),
        f"## DESCRIPTION\n\n{path.description}\n",
    ]
    return _response("\n".join(parts), (path,), prefix)


def _parameters(fields: tuple[Field, ...]) -> Iterator[str]:
    if fields:
        lines = (f"    {field.name} ({field.kind})\n        {field.text}\n" for field in fields)
        yield "## PARAMETERS\n\n" + "\n".join(lines)


def _response(text: str, paths: tuple[Path, ...], prefix: object) -> Response:
    named = prefix if isinstance(prefix, str) and re.fullmatch(r"(?a)[\w-]{1,64}", prefix) else "asc"
    document = {
        "openapi": "3.0.2",
        "info": {
            "title": _TITLE,
            "description": _INTRODUCTION,
            "version": __version__,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "paths": {f"/{path.pattern.replace(NAME, '{name}')}": _item(path, named) for path in paths},
        "components": {"schemas": {}},
    }
    return Response({"help": text, "see_also": [], "openapi": document})


def _item(path: Path, prefix: str) -> dict[str, Any]:
    item: dict[str, Any] = {"description": path.synopsis}
    if path.exists is not None:
        item["x-vault-createSupported"] = True
    if NAME in path.pattern:
        name = {"name": "name", "description": f"Name of the {path.name_of}.", "in": "path", "required": True}
        item["parameters"] = [{**name, "schema": {"type": "string"}}]
    for operation, (method, verb) in _METHODS.items():
        if operation in path.operations:
            item[method] = _operation(path, operation, f"{prefix}-{verb}-{_slug(path.pattern)}")
    return item


def _operation(path: Path, operation: Operation, name: str) -> dict[str, Any]:
    code, text = ("204", "empty body") if operation is Operation.DELETE else ("200", "OK")
    found: dict[str, Any] = {"operationId": name, "tags": ["secrets"], "responses": {code: {"description": text}}}
    if operation is Operation.UPDATE and path.fields:
        properties = {field.name: _schema(field) for field in path.fields}
        body = {"application/json": {"schema": {"type": "object", "properties": properties}}}
        found["requestBody"] = {"required": True, "content": body}
    if operation is Operation.LIST:
        listing = {"name": "list", "description": "Must be set to `true`", "in": "query", "required": True}
        found["parameters"] = [{**listing, "schema": {"type": "string", "enum": ["true"]}}]
    elif operation is Operation.READ and Operation.UPDATE in path.operations and not path.exists:
        found["description"] = "Takes the fields of a write as query parameters, where it takes any."
    return found


def _schema(field: Field) -> dict[str, Any]:
    sensitive = {"x-vault-displayAttrs": {"sensitive": True}} if field.secret else {}
    return {**_TYPES[field.kind], "description": field.text, **sensitive}


def _slug(pattern: str) -> str:
    return pattern.replace(NAME, "name").strip("/").replace("/", "-")
