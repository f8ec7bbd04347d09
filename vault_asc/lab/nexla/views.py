"""How Nexla shows what it keeps: pure, and never a secured value."""

from datetime import UTC, datetime
from typing import Any, Final

from vault_asc.lab.nexla.model import Credential, Parameter, Role, Source, Template, User, Vendor
from vault_asc.lab.nexla.sessions import ORG, user_view
from vault_asc.lab.nexla.state import State

# The allow-list of a REST connector; `request.headers` is not on it because tokens travel in it too.
_SHOWN: Final = frozenset(
    {
        "auth.type",
        "api.key.include.mode",
        "api.key.auth.key",
        "test.url",
        "test.method",
        "test.content.type",
        "skip.validation",
        "ignore.ssl.cert.validation",
        "jwt.enabled",
        "hmac.enabled",
    }
)
_CONNECTOR_ID: Final = 9
_ONLY_SINGLE: Final = ("managed", "api_keys", "credentials_non_secure_data", "auth_template", "tags")
_BRIEF: Final = ("id", "name", "credentials_type", "description", "created_at", "updated_at")


def stamp(moment: float | None) -> str | None:
    """A moment as Rails writes it: UTC with milliseconds."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def credential_view(state: State, credential: Credential, user: User, *, expand: bool = False) -> dict[str, Any]:
    """A credential on its own."""
    return {
        "id": credential.id,
        "name": credential.name,
        "description": credential.description,
        "owner": user_view(credential.owner),
        "org": ORG,
        "access_roles": _roles(credential, user),
        "credentials_version": credential.credentials_version,
        "managed": False,
        "credentials_type": credential.credentials_type,
        "connector": connector_view(credential.credentials_type),
        "api_keys": [],
        "credentials_non_secure_data": {name: value for name, value in credential.stored.items() if name in _SHOWN},
        **_template_part(state, credential, expand=expand and state.readings.expand),
        "tags": list(credential.tags),
        "referenced_resource_ids": {"data_maps": []},
        "verified_status": credential.verified_status,
        "verified_at": stamp(credential.verified_at),
        "copied_from_id": None,
        "updated_at": stamp(credential.updated_at),
        "created_at": stamp(credential.created_at),
    }


def listed_view(state: State, credential: Credential, user: User, *, brief: bool = False) -> dict[str, Any]:
    """A credential as an item of a list."""
    view = credential_view(state, credential, user)
    if brief:
        return {name: view[name] for name in _BRIEF}
    if credential.vendor is not None:
        vendor = state.vendors[credential.vendor]
        view["vendor"] = {
            **named(vendor),
            "connection_type": "rest",
            "connector_id": _CONNECTOR_ID,
            "connector_name": "REST",
            "auth_templates": [template.id for template in vendor.templates],
        }
    return {name: value for name, value in view.items() if name not in _ONLY_SINGLE}


def connector_view(kind: str) -> dict[str, Any]:
    """The connector of a credential or vendor."""
    return {
        "id": _CONNECTOR_ID,
        "type": kind,
        "connection_type": kind,
        "name": kind.upper(),
        "description": f"{kind.upper()} connector",
        "nexset_api_compatible": True,
    }


def vendor_view(vendor: Vendor, *, expand: bool) -> dict[str, Any]:
    """A vendor; its templates in full only when expanded."""
    templates = [template_view(vendor, each) if expand else each.id for each in vendor.templates]
    return {
        **named(vendor),
        "description": None,
        "connection_type": "rest",
        "connector": connector_view("rest"),
        "auth_templates": templates,
    }


def template_view(vendor: Vendor, template: Template) -> dict[str, Any]:
    """An auth template with its config and parameters."""
    return {
        **named(template),
        "description": None,
        "config": dict(template.config),
        "credentials_type": template.credentials_type,
        "vendor": named(vendor),
        "auth_parameters": parameters_view(template),
    }


def parameters_view(template: Template) -> list[dict[str, Any]]:
    """The parameters of a template, in its order."""
    return [_parameter(template, order, each) for order, each in enumerate(template.parameters, start=1)]


def usage_view(credential: Credential, sources: list[Source]) -> dict[str, Any]:
    """Who uses a credential."""
    return {
        "id": credential.id,
        "name": credential.name,
        "verified_status": credential.verified_status,
        "data_sources": [
            {
                "id": each.id,
                "flow_node_id": each.id,
                "origin_node_id": each.id,
                "name": each.name,
                "status": each.status,
            }
            for each in sources
        ],
        "data_sinks": [],
        "quarantine_settings": [],
    }


def source_view(source: Source, credential: Credential) -> dict[str, Any]:
    """A data source; its `source_config` is where a token may have been baked in."""
    return {
        "id": source.id,
        "name": source.name,
        "status": source.status,
        "source_type": credential.credentials_type,
        "data_credentials_id": credential.id,
        "data_credentials": {"id": credential.id, "name": credential.name},
        "source_config": dict(source.config),
    }


def named(thing: Vendor | Template) -> dict[str, Any]:
    """ID and names, as they are shown inside of other things."""
    return {"id": thing.id, "name": thing.name, "display_name": thing.display_name}


def _roles(credential: Credential, user: User) -> list[Role]:
    role = credential.roles.get(user.id)
    return [] if role is None else [role]


def _template_part(state: State, credential: Credential, *, expand: bool) -> dict[str, Any]:
    pair = state.template_of(credential)
    if pair is None:
        return {}
    vendor, template = pair
    every = state.readings.template_config == "all"
    shown = {
        parameter.name: credential.supplied[parameter.name]
        for parameter in template.parameters
        if not parameter.secured
        and parameter.name in credential.supplied
        and (every or parameter.name in credential.stored)
    }
    return {
        "vendor": vendor_view(vendor, expand=True) if expand else named(vendor),
        "template_config": shown,
        "auth_template": template_view(vendor, template) if expand else named(template),
    }


def _parameter(template: Template, order: int, parameter: Parameter) -> dict[str, Any]:
    return {
        "id": template.id * 100 + order,
        "name": parameter.name,
        "display_name": parameter.display_name or parameter.name,
        "description": parameter.description,
        "data_type": parameter.data_type,
        "order": order,
        "config": {},
        "secured": parameter.secured,
        "global": parameter.global_,
        "allowed_values": list(parameter.allowed_values),
    }
