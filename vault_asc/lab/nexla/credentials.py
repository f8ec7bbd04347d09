"""The resource /data_credentials and what hangs on it, except for the probe."""

from typing import Final

from vault_asc.lab.nexla.answers import RefusedError
from vault_asc.lab.nexla.model import Credential
from vault_asc.lab.nexla.sessions import ORG
from vault_asc.lab.nexla.state import Call, State
from vault_asc.lab.nexla.update import Body, parse, updated
from vault_asc.lab.nexla.views import credential_view, source_view, stamp, usage_view
from vault_asc.lab.web import Answer, json_answer

_TEXT: Final = {"type": ["string", "null"]}
_OBJECT: Final = {"type": "object"}
_NUMBER: Final = {"type": "integer"}
_SCHEMA: Final = {
    "name": {"type": "string"},
    "description": _TEXT,
    "credentials_type": {"type": "string"},
    "credentials_version": {"type": "string"},
    "verified_status": _TEXT,
    "credentials": _OBJECT,
    "vendor_id": _NUMBER,
    "vendor_name": {"type": "string"},
    "auth_template_id": _NUMBER,
    "auth_template_name": {"type": "string"},
    "template_config": _OBJECT,
    "tags": {"type": "array"},
}


def show(state: State, call: Call) -> Answer:
    """GET one; collaborators may."""
    credential = state.credential(call.ids[0], call.user, "collaborator")
    expand = call.query.get("expand") in {"1", "true", "True"}
    return json_answer(200, credential_view(state, credential, call.user, expand=expand))


def create(state: State, call: Call) -> Answer:
    """POST: 200 and the object."""
    body = parse(call.request.body)
    if not isinstance(body.get("name"), str):
        raise RefusedError(400, "name is required")
    now = state.clock()
    number = max(state.credentials, default=5000) + 1
    blank = Credential(number, body["name"], call.user, roles={call.user.id: "owner"}, created_at=now, updated_at=now)
    credential = state.keep(updated(blank, body, state.vendors, now, state.readings))
    _remember(state, call, credential, "create", body)
    return json_answer(200, credential_view(state, credential, call.user))


def update(state: State, call: Call) -> Answer:
    """PUT: 200 and the object, whether or not anything secret changed. It is not probed."""
    old = state.credential(call.ids[0], call.user, "admin")
    body = parse(call.request.body)
    credential = state.keep(updated(old, body, state.vendors, state.clock(), state.readings))
    if credential != old:
        _remember(state, call, credential, "update", body)
    return json_answer(200, credential_view(state, credential, call.user))


def delete(state: State, call: Call) -> Answer:
    """DELETE: 405 while a source uses it."""
    credential = state.credential(call.ids[0], call.user, "admin")
    used_by = [source.id for source in state.users_of(credential.id)]
    if used_by:
        raise RefusedError(405, "Data credentials in use", more={"data_sources": used_by})
    del state.credentials[credential.id]
    return json_answer(200, {"code": "200", "message": "Ok"}) if state.readings.delete_body else Answer(200)


def usage(state: State, call: Call) -> Answer:
    """GET usage."""
    credential = state.credential(call.ids[0], call.user, "collaborator")
    view = usage_view(credential, state.users_of(credential.id))
    pair = state.template_of(credential)
    vendor_id, template_id = (None, None) if pair is None else (pair[0].id, pair[1].id)
    return json_answer(200, {**view, "vendor_id": vendor_id, "auth_template_id": template_id})


def schema(_: State, call: Call) -> Answer:
    """GET schema: what bodies may hold."""
    required = [] if call.query.get("method", "").lower() == "put" else ["name"]
    return json_answer(200, {"type": "object", "properties": _SCHEMA, "required": required})


def audit_log(state: State, call: Call) -> Answer:
    """GET audit_log: who changed which members, never their values."""
    credential = state.credential(call.ids[0], call.user, "collaborator")
    return json_answer(200, [entry for entry in state.history if entry["item_id"] == credential.id])


def source(state: State, call: Call) -> Answer:
    """GET /data_sources/{id}."""
    found = state.sources.get(call.ids[0])
    if found is None:
        raise RefusedError(404)
    return json_answer(200, source_view(found, state.credential(found.credential_id, call.user, "collaborator")))


def _remember(state: State, call: Call, credential: Credential, event: str, body: Body) -> None:
    owner = credential.owner
    state.history.append(
        {
            "id": len(state.history) + 1,
            "item_type": "DataCredentials",
            "item_id": credential.id,
            "event": event,
            "change_summary": sorted(body),
            "object_changes": {},
            "request_ip": "127.0.0.1",
            "request_user_agent": call.request.header("User-Agent") or "",
            "request_url": call.request.path,
            "user": {"id": call.user.id, "email": call.user.email},
            "org_id": ORG["id"],
            "owner_id": owner.id,
            "owner_email": owner.email,
            "created_at": stamp(state.clock()),
        }
    )
