"""The complete body that puts a token into a Nexla credential. Pure.

A PUT forgets what it does not carry: a `credentials` object replaces all that was stored, and a template is filled anew
from the parameters that are sent. So nothing is built by reading, changing and writing back.

Source: docs/nexla-api.md, section 3.
"""

from collections.abc import Mapping
from typing import Any, Final

from vault_asc.errors import ConfigError
from vault_asc.nexla.auth_template import templates_in
from vault_asc.nexla.discovery import REST_TEST_URL, Plan, Wanted
from vault_asc.secret import Secret, safe_text

_REST_CREDENTIAL: Final[Mapping[str, str | bool]] = {
    "auth.type": "API_KEY",
    "api.key.include.mode": "HEADER",
    "api.key.auth.key": "Authorization",
    "test.url": REST_TEST_URL,
    "test.method": "GET",
    "test.content.type": "application/json",
    "skip.validation": False,
    "ignore.ssl.cert.validation": False,
    "jwt.enabled": False,
    "hmac.enabled": False,
}


def put_body(plan: Plan, credential: Mapping[str, Any], wanted: Wanted, token: Secret) -> dict[str, Any]:
    """The body of the PUT. Its token is a `Secret`, so the body may be shown; `NexlaClient.update` takes it as it is.

    Raises:
        ConfigError: a parameter that the template requires is missing, or a value is none that Nexla takes.
    """
    for name, extra in wanted.extra_fields.items():
        if not isinstance(extra, str | int | bool):
            raise ConfigError(
                f'"{safe_text(name)}" in extra_fields of {wanted.quoted} is no text, whole number or boolean',
                hint=f'write extra_fields = {{ "{safe_text(name)}" = "..." }}',
            )
    value = Secret(f"{plan.token_prefix}{token.reveal()}")
    if plan.mode == "rest":
        return {"credentials": {**_REST_CREDENTIAL, **wanted.extra_fields, plan.token_field: value}}
    missing = missing_parameters(plan, credential, wanted)
    if missing:
        names = ", ".join(f'"{safe_text(name)}"' for name in missing)
        raise ConfigError(
            f"{wanted.quoted} also needs {names}: nexla does not give back what it holds, and a write replaces it;"
            " nothing was written",
            hint=f'add to the target: extra_fields = {{ "{safe_text(missing[0])}" = "..." }}',
        )
    config = {**shown_parameters(credential), **wanted.extra_fields, plan.token_field: value}
    return {"vendor_id": plan.vendor_id, "auth_template_id": plan.auth_template_id, "template_config": config}


def missing_parameters(plan: Plan, credential: Mapping[str, Any], wanted: Wanted) -> tuple[str, ...]:
    """Parameters that the template uses and nobody supplies; empty for a generic credential."""
    supplied = {*shown_parameters(credential), *wanted.extra_fields, plan.token_field}
    template = next((t for t in templates_in(credential) if t.id == plan.auth_template_id), None)
    if plan.mode == "rest" or template is None:
        return ()
    return tuple(p.name for p in template.parameters if p.places and p.name not in supplied)


def shown_parameters(credential: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters whose values Nexla shows: the non-secured ones, and not even all of these."""
    shown = credential.get("template_config")
    return {name: value for name, value in shown.items() if value is not None} if isinstance(shown, dict) else {}
