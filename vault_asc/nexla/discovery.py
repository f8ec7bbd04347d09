"""Which field of a Nexla credential takes the token. Pure; nothing is written before this has answered.

Never a guess between several: what is ambiguous is a `ConfigError` that lists the candidates and names the setting that
decides. What is then sent is in `vault_asc.nexla.credential_body`.

Source: docs/nexla-api.md, section 5.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from vault_asc.errors import ConfigError, NexlaError
from vault_asc.nexla.auth_template import Parameter, Template, template_in_use, templates_in
from vault_asc.secret import safe_text

Mode = Literal["auto", "template", "rest"]
BEARER: Final = "Bearer "
REST_FIELD: Final = "api.key.auth.value"
REST_TEST_URL: Final = "https://api.appstoreconnect.apple.com/v1/apps?limit=1"
LOOKED_AT: Final = "looked_at"
"""Beside a plan in the state: when the credential was looked at. Only then the plan may be used without a new look."""
SHARED: Final = "shared"
"""Beside a plan in the state: that the credential shows values of other people, so that each write needs a look before."""


@dataclass(frozen=True)
class Wanted:
    """What the configuration says about one credential.

    Attributes:
        credential_id: number of the credential at Nexla.
        mode: `template` (of a vendor), `rest` (generic), or whichever it is.
        vendor: name of the vendor that it must be of.
        auth_template: name or number, to choose among several.
        token_field: parameter (template) or key (rest) that takes the token.
        token_prefix: what is put before the token; `auto` reads it off the template.
        extra_fields: further parameters (template) or keys (rest).
    """

    credential_id: int
    mode: Mode = "auto"
    vendor: str = "appstore_api"
    auth_template: str | None = None
    token_field: str | None = None
    token_prefix: str = "auto"  # noqa: S105  # how a token is written, not a token
    extra_fields: Mapping[str, str | int | bool] = field(default_factory=dict)

    @property
    def quoted(self) -> str:
        """The credential in a message."""
        return f'credential "{self.credential_id}"'


@dataclass(frozen=True)
class Plan:
    """Result of a discovery: where the token goes. No secret."""

    mode: Literal["template", "rest"]
    token_field: str
    token_prefix: str
    vendor_id: int | None = None
    auth_template_id: int | None = None

    def as_state(self) -> dict[str, Any]:
        """For the state file."""
        return asdict(self)

    @classmethod
    def from_state(cls, data: Mapping[str, Any]) -> Self | None:
        """What `as_state` gave; None when it is something else."""
        kinds = {"token_field": str, "token_prefix": str, "vendor_id": int | None, "auth_template_id": int | None}
        if data.get("mode") not in {"template", "rest"}:
            return None
        if any(name not in data or not isinstance(data[name], kind) for name, kind in kinds.items()):
            return None
        return cls(data["mode"], **{name: data[name] for name in kinds})


def discover(credential: Mapping[str, Any], wanted: Wanted, remembered: Plan | None = None) -> Plan:
    """Where the token of a credential goes.

    Args:
        credential: as `NexlaClient.credential` returns it.
        wanted: the configuration.
        remembered: the last plan, used where Nexla shows too little for a new one and it still fits.

    Raises:
        ConfigError: it is another vendor's credential, or a choice between several is missing.
        NexlaError: Nexla shows no number for the vendor.
    """
    vendor = _checked_vendor(credential, wanted)
    plan = (
        _rest_plan(credential, wanted)
        if vendor is None or wanted.mode == "rest"
        else _template_plan(credential, wanted, vendor, remembered)
    )
    if wanted.token_prefix != "auto":  # noqa: S105  # how a token is written, not a token
        plan = replace(plan, token_prefix=wanted.token_prefix)
    if plan.token_field in wanted.extra_fields:
        raise ConfigError(
            f'extra_fields of {wanted.quoted} hold "{safe_text(plan.token_field)}", which takes the token',
            hint=f'take "{safe_text(plan.token_field)}" out of extra_fields, or name another token_field',
        )
    return plan


def vendor_of(credential: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The vendor that a credential shows; None for a generic one."""
    vendor = credential.get("vendor")
    return vendor if isinstance(vendor, dict) and vendor else None


def kind_of(credential: Mapping[str, Any]) -> str:
    """The connector type of a credential, such as `rest` or `s3`; empty when Nexla does not say."""
    connector = credential.get("connector")
    for kind in (credential.get("credentials_type"), connector.get("type") if isinstance(connector, dict) else None):
        if isinstance(kind, str) and kind:
            return kind
    return ""


def chosen_template(credential: Mapping[str, Any], wanted: Wanted) -> Template:
    """The auth template to write by: the configured one, else the one in use, else the only one. `ConfigError`."""
    templates = templates_in(credential)
    if wanted.auth_template is not None:
        return _named_template(templates, wanted.auth_template, wanted)
    in_use = template_in_use(credential)
    candidates = [t for t in templates if in_use in {None, t.id}]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise ConfigError(
            f"nexla shows no auth template of {wanted.quoted}",
            hint='ask Nexla for its number and write auth_template = "88" (and token_field) into the target',
        )
    raise ConfigError(
        f"{wanted.quoted} has several auth templates: {_listed(map(_label, candidates))}",
        hint=f'choose one in the target: auth_template = "{safe_text(_label(candidates[0]))}"',
    )


def _checked_vendor(credential: Mapping[str, Any], wanted: Wanted) -> Mapping[str, Any] | None:
    """The credential's vendor if it is the expected one: guards against a wrong credential number."""
    vendor = vendor_of(credential)
    if vendor is None:
        if wanted.mode == "template":
            raise ConfigError(
                f'{wanted.quoted} belongs to no vendor, but mode = "template" wants "{wanted.vendor}"',
                hint='check credential_id; for a generic REST credential write mode = "rest"',
            )
        return None
    name = vendor.get("name")
    if name != wanted.vendor:
        raise ConfigError(
            f'{wanted.quoted} belongs to vendor "{safe_text(str(name))}", not to "{wanted.vendor}"; it was left alone',
            hint='check credential_id; if it is the right one, write vendor = "..." into the target',
        )
    return vendor


def _rest_plan(credential: Mapping[str, Any], wanted: Wanted) -> Plan:
    """For a generic credential, unless it looks like one that serves something else: a write replaces it whole."""
    kind = kind_of(credential)
    if kind != "rest" and (kind or wanted.mode == "auto") and vendor_of(credential) is None:
        raise ConfigError(
            f'{wanted.quoted} is of type "{safe_text(kind or "unknown")}", not "rest"; it was left alone',
            hint="check credential_id" if kind else 'check credential_id; if it is right, write mode = "rest"',
        )
    if wanted.mode == "auto":
        _check_test_url(credential, wanted)
    return Plan("rest", wanted.token_field or REST_FIELD, BEARER)


def _check_test_url(credential: Mapping[str, Any], wanted: Wanted) -> None:
    shown = credential.get("credentials_non_secure_data")
    old = shown.get("test.url") if isinstance(shown, dict) else None
    if not isinstance(old, str) or not old:
        return
    host, expected = _host(old), _host(str(wanted.extra_fields.get("test.url", REST_TEST_URL)))
    if host != expected:
        raise ConfigError(
            f'{wanted.quoted} is tested against "{safe_text(host)}", not "{safe_text(expected)}"; it was left alone',
            hint='check credential_id; if the whole credential may be replaced, write mode = "rest"',
        )


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "nowhere"
    except ValueError:
        return "nowhere"


def _template_plan(
    credential: Mapping[str, Any], wanted: Wanted, vendor: Mapping[str, Any], remembered: Plan | None
) -> Plan:
    vendor_id = vendor.get("id")
    if not isinstance(vendor_id, int) or isinstance(vendor_id, bool):
        raise NexlaError(f"nexla shows no number for the vendor of {wanted.quoted}", hint="show this to Nexla")
    template = chosen_template(credential, wanted)
    plan = Plan("template", "", "", vendor_id, template.id)
    if template.parameters or template.config_shown:
        parameter = _parameter(template, wanted)
        return replace(plan, token_field=parameter.name, token_prefix=_prefix(template, parameter))
    return _remembered_plan(plan, wanted, template, remembered)


def _remembered_plan(plan: Plan, wanted: Wanted, template: Template, remembered: Plan | None) -> Plan:
    """Nexla shows a template's number only, so the field has to come from the configuration or the last plan."""
    fits = remembered is not None and replace(remembered, token_field="", token_prefix="") == plan
    if remembered is not None and fits and wanted.token_field in {None, remembered.token_field}:
        return remembered
    if wanted.token_field is not None:
        return replace(plan, token_field=wanted.token_field)
    raise ConfigError(
        f'nexla does not show the parameters of auth template "{safe_text(_label(template))}" of {wanted.quoted}',
        hint='ask Nexla which one takes the token and write token_field = "..." into the target',
    )


def _named_template(templates: Sequence[Template], wanted_name: str, wanted: Wanted) -> Template:
    for template in templates:
        if wanted_name in {template.name, str(template.id)}:
            return template
    if not any(t.name for t in templates) and wanted_name.isascii() and wanted_name.isdigit():
        return Template(int(wanted_name))
    raise ConfigError(
        f'{wanted.quoted} has no auth template "{wanted_name}"; nexla shows {_listed(map(_label, templates))}',
        hint='write one of these, or the number, as auth_template = "..." into the target',
    )


def _parameter(template: Template, wanted: Wanted) -> Parameter:
    """The parameter that takes the token: the configured one; bound to Authorization; secured; or the only one."""
    if wanted.token_field is not None:
        named = template.parameter(wanted.token_field)
        if named is None:
            raise _undecided(f'has no parameter "{wanted.token_field}"', template, template.parameters)
        return named
    usable = template.usable
    bound = [p for p in usable if p.bound]
    secured = [p for p in usable if p.secured]
    for candidates in (bound, secured, usable):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise _undecided("has several parameters that may take the token", template, candidates)
    raise _undecided("has no parameter that a token could go into", template, template.parameters)


def _undecided(problem: str, template: Template, candidates: Sequence[Parameter]) -> ConfigError:
    names = [p.name for p in candidates]
    hint = f'choose one in the target: token_field = "{safe_text(names[0])}"' if names else "check auth_template"
    return ConfigError(
        f'auth template "{safe_text(_label(template))}" {problem}; candidates: {_listed(names)}', hint=hint
    )


def _prefix(template: Template, parameter: Parameter) -> str:
    """`Bearer ` where the token is the whole Authorization header and nothing else adds the word; when unsure nothing."""
    places = [place for place in parameter.places if place.bound]
    whole = bool(places) and all(place.whole_header for place in places)
    return BEARER if whole and not template.adds_bearer else ""


def _label(template: Template) -> str:
    return template.name or str(template.id)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{safe_text(name, 80)}"' for name in names) or "none"
