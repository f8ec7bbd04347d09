"""The view as JSON, for the status page. Without secrets, like the view; what stands for "no" or "nothing" is left out."""

import json
from typing import Any

from vault_asc import __version__
from vault_asc.rotation import ALARM
from vault_asc.secret import mask
from vault_asc.service.breaker import Mode
from vault_asc.service.capacity import Load
from vault_asc.service.listening.observer import HANGS, Observer
from vault_asc.service.view import HostView, TargetView, View


def document(observer: Observer) -> bytes:
    """All that the page shows. Spans are seconds: `left` and `next` from `taken_at` on."""
    view, behind = observer.view(), observer.behind
    whole: dict[str, Any] = {
        "version": __version__,
        "alarm_share": ALARM,
        "behind": round(behind, 1),
        "hangs": behind > HANGS,
        "not_ready": observer.not_ready(),
    }
    return json.dumps(whole | ({} if view is None else _of(view)), separators=(",", ":")).encode("ascii")


def _of(view: View) -> dict[str, Any]:
    return {
        "taken_at": round(view.taken_at, 1),
        "started_at": round(view.started_at),
        "workers": view.workers,
        "busy": view.in_flight,
        "due": view.due,
        "targets": [_target(target, view.taken_at) for target in view.targets],
        "hosts": [_host(host) for host in view.hosts],
        "accounts": [_account(load) for load in view.loads],
    }


def _target(target: TargetView, now: float) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": target.name,
        "account": target.account,
        "left": None if target.left is None else round(target.left),
        "life": round(target.life),
        "next": round(target.next_try - now) if target.next_try else 0,
        "outcome": str(target.outcome or "never pushed"),
    }
    more = {
        "key_id": target.key_id,
        "alarm": target.alarm,
        "detail": mask(target.detail),
        "failures": target.failures,
        "in_flight": target.in_flight,
        "slow": target.slow,
    }
    return found | {name: value for name, value in more.items() if value}


def _host(host: HostView) -> dict[str, Any]:
    found: dict[str, Any] = {"host": host.endpoint, "breaker": str(host.mode), "in_flight": host.in_flight}
    if host.mode is Mode.OPEN:
        found["opens_in"] = round(host.opens_in)
    return found if host.skew is None else found | {"skew": round(host.skew, 1)}


def _account(load: Load) -> dict[str, Any]:
    return {"account": load.account, "targets": load.targets, "capacity": load.capacity}
