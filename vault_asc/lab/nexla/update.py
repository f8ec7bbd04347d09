"""What a write does to a credential: pure functions from the old one and a body to the new one.

For the secret part exactly one of three branches runs: a whole `credentials` object, a template to rebuild from, or
nothing. Old values are never merged in.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from vault_asc.lab.nexla.answers import RefusedError
from vault_asc.lab.nexla.model import Credential, Template, Vendor
from vault_asc.lab.nexla.readings import Readings

_PLACEHOLDER: Final = re.compile(r"\$\{([^}]+)\}(\.as_integer)?")
_REQUIRED: Final = ("test.url", "test.method", "test.content.type")
Body = Mapping[str, Any]


def parse(raw: bytes) -> Body:
    """The JSON object of a request; no body at all is an empty one."""
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError as exc:
        raise RefusedError(400, "Cannot parse JSON request body") from exc
    if not isinstance(body, dict):
        raise RefusedError(400, "Cannot parse JSON request body")
    return body


def updated(old: Credential, body: Body, vendors: Mapping[str, Vendor], now: float, readings: Readings) -> Credential:
    """The credential after a PUT; `verified_*` stay as they are, however stale.

    Raises:
        RefusedError: 400 or 404; nothing is to be stored then.
    """
    try:
        new = _with_secret_part(_with_top_level(old, body), body, vendors, readings)
    except RefusedError as refused:
        if not readings.echo_input or refused.text is None:
            raise
        raise RefusedError(refused.status, f"{refused.text}: {json.dumps(body)}") from refused
    return replace(new, updated_at=now) if new != old or readings.touch_on_noop else new


def _with_top_level(old: Credential, body: Body) -> Credential:
    """Merged: absent members keep their value."""
    if not isinstance(body.get("name", ""), str):
        raise RefusedError(400, "name must be a string")
    new = old
    for name in ("name", "description", "credentials_version", "verified_status"):
        if name in body:
            new = replace(new, **{name: body[name]})
    for name in ("connector_type", "credentials_type"):
        if name in body:
            new = replace(new, credentials_type=str(body[name]))
    if isinstance(body.get("tags"), list):
        new = replace(new, tags=tuple(body["tags"]))
    return new


def _with_secret_part(old: Credential, body: Body, vendors: Mapping[str, Vendor], readings: Readings) -> Credential:
    if isinstance(body.get("credentials"), dict):
        return _replaced(old, body["credentials"], readings)
    names_vendor = body.get("vendor_id") is not None or body.get("vendor_name") is not None
    if names_vendor and body.get("template_config") is not None:
        return _rebuilt(old, body, vendors)
    return old  # the trap: a template_config without a vendor is answered 200 and changes nothing


def _replaced(old: Credential, credentials: Body, readings: Readings) -> Credential:
    missing = [name for name in _REQUIRED if name not in credentials]
    if readings.check_rest_config and missing and credentials.get("skip.validation") is not True:
        raise RefusedError(400, f"Invalid config: {missing[0]} is required")
    stored = {**credentials, "credentials_type": old.credentials_type}
    return replace(old, stored=stored, writes=old.writes + 1)


def _rebuilt(old: Credential, body: Body, vendors: Mapping[str, Vendor]) -> Credential:
    vendor = _vendor(body, vendors)
    template = _template(body, vendor)
    supplied = body["template_config"]
    if not isinstance(supplied, dict):
        raise RefusedError(400, "Invalid template_config")
    stored = {**resolve(template, supplied), "credentials_type": template.credentials_type}
    return replace(
        old,
        stored=stored,
        supplied=dict(supplied),
        vendor=vendor.name,
        template=template.name,
        credentials_type=template.credentials_type,
        writes=old.writes + 1,
    )


def resolve(template: Template, supplied: Body) -> dict[str, Any]:
    """A template's config with its placeholders replaced; 400 when a known parameter is missing."""
    return {name: _filled(value, template, supplied) for name, value in template.config.items()}


def _filled(value: Any, template: Template, supplied: Body) -> Any:
    if not isinstance(value, str):
        return value
    known = {parameter.name for parameter in template.parameters}

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name not in known:
            return match[0]
        if supplied.get(name) is None:
            raise RefusedError(400, f"Missing config {name} for template")
        return str(supplied[name])

    filled = _PLACEHOLDER.sub(fill, value)
    whole = _PLACEHOLDER.fullmatch(value)
    return _integer(filled) if whole is not None and whole[2] else filled


def _integer(text: str) -> int:
    match = re.match(r"\s*[+-]?\d+", text)  # as Ruby's to_i: what does not begin with a number is 0
    return int(match[0]) if match else 0


def _vendor(body: Body, vendors: Mapping[str, Vendor]) -> Vendor:
    if body.get("vendor_id") is not None:
        found = next((vendor for vendor in vendors.values() if vendor.id == body["vendor_id"]), None)
        if found is None:
            raise RefusedError(404)
        return found
    vendor = vendors.get(str(body["vendor_name"]))
    if vendor is None:
        raise RefusedError(400, "Invalid vendor")
    return vendor


def _template(body: Body, vendor: Vendor) -> Template:
    wanted_id, wanted_name = body.get("auth_template_id"), body.get("auth_template_name")
    if wanted_id is None and wanted_name is None:
        if len(vendor.templates) > 1:
            raise RefusedError(400, "Multiple templates found, auth_template_id or auth_template_name is required")
        candidates = vendor.templates
    elif wanted_id is not None:
        candidates = tuple(template for template in vendor.templates if template.id == wanted_id)
    else:
        candidates = tuple(template for template in vendor.templates if template.name == wanted_name)
    if not candidates:
        raise RefusedError(400, "No auth template found")
    return candidates[0]
