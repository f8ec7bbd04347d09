"""Vendors, auth templates and auth parameters: what a client may discover, where the tenant lets it."""

from vault_asc.lab.nexla.answers import RefusedError
from vault_asc.lab.nexla.model import Template, Vendor
from vault_asc.lab.nexla.state import Call, State
from vault_asc.lab.nexla.views import parameters_view, template_view, vendor_view
from vault_asc.lab.web import Answer, json_answer


def vendors(state: State, call: Call) -> Answer:
    """GET /vendors: with `vendor_name` ONE object, else a list; templates are IDs unless `expand=1`."""
    _open(state)
    expand = call.query.get("expand") == "1"
    if "vendor_name" in call.query:
        return json_answer(200, vendor_view(_vendor(state, call.query["vendor_name"]), expand=expand))
    return json_answer(200, [vendor_view(each, expand=expand) for each in state.vendors.values()])


def vendor(state: State, call: Call) -> Answer:
    """GET /vendors/{id}."""
    _open(state)
    found = next((each for each in state.vendors.values() if each.id == call.ids[0]), None)
    if found is None:
        raise RefusedError(404)
    return json_answer(200, vendor_view(found, expand=call.query.get("expand") == "1"))


def templates(state: State, call: Call) -> Answer:
    """GET /auth_templates: with `auth_template_name` ONE object, else a list."""
    _open(state)
    pairs = _pairs(state)
    if "auth_template_name" not in call.query:
        return json_answer(200, [template_view(*pair) for pair in pairs])
    return _first([pair for pair in pairs if pair[1].name == call.query["auth_template_name"]])


def template(state: State, call: Call) -> Answer:
    """GET /auth_templates/{id}."""
    _open(state)
    return _first([pair for pair in _pairs(state) if pair[1].id == call.ids[0]])


def parameters(state: State, call: Call) -> Answer:
    """GET /auth_parameters, of one vendor or of all."""
    _open(state)
    wanted = call.query.get("vendor_name")
    return json_answer(
        200,
        [
            {**view, "auth_template_id": each.id, "vendor_id": of.id}
            for of, each in _pairs(state)
            if wanted in {None, of.name}
            for view in parameters_view(each)
        ],
    )


def _open(state: State) -> None:
    if state.readings.discovery != "open":
        raise RefusedError(state.readings.discovery)


def _vendor(state: State, name: str) -> Vendor:
    if name not in state.vendors:
        raise RefusedError(404)
    return state.vendors[name]


def _pairs(state: State) -> list[tuple[Vendor, Template]]:
    return [(of, each) for of in state.vendors.values() for each in of.templates]


def _first(pairs: list[tuple[Vendor, Template]]) -> Answer:
    if not pairs:
        raise RefusedError(404)
    return json_answer(200, template_view(*pairs[0]))
