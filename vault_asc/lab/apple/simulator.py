"""The App Store Connect server: accounts for keys, roles and rates, and answers a few read-only resources."""

import threading
from collections import deque
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

from joserfc.jwk import ECKey

from vault_asc.clock import Clock, system_clock
from vault_asc.lab.apple import answers
from vault_asc.lab.apple.judge import AppleKey, Reason, Rules, Verdict, judge
from vault_asc.lab.simulator import Served, Simulator
from vault_asc.lab.web import Answer, Request

_HOUR: Final = 3600.0  # seconds; the rate window rolls
_DEFAULT_LIMIT: Final = 50  # items of a list without `limit`
_LIMIT_MAX: Final = 200
_APP: Final = {
    "type": "apps",
    "id": "1234567890",
    "attributes": {"name": "Lab", "bundleId": "example.lab", "sku": "LAB", "primaryLocale": "en-US"},
}
_RESOURCES: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "apps": (_APP,),
    "builds": (),
    "bundleIds": (),
    "ciProducts": (),
    "users": (),
}


class AppleSimulator(Simulator):
    """App Store Connect on 127.0.0.1.

    Args:
        clock: the moment that `iat` and `exp` are compared with.
        rules: how to read what Apple leaves open.
        hourly_limit: requests per key and rolling hour; beyond it the answer is 429.

    Attributes:
        rules: may be replaced at any time.
        agreement_signed: False answers 403 to every good token.
    """

    def __init__(self, *, clock: Clock = system_clock, rules: Rules | None = None, hourly_limit: int = 3500) -> None:
        super().__init__(clock=clock)
        self.rules = rules or Rules()
        self.agreement_signed = True
        self._hourly_limit = hourly_limit
        self._keys: dict[str, AppleKey] = {}
        self._used: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def add_key(
        self, key_id: str, public_key_pem: str | bytes, *, issuer_id: str | None, audience: str = "appstoreconnect-v1"
    ) -> None:
        """Register the public half of a key; `issuer_id` None makes it an individual key. Replaces one of that ID.

        `ValueError` when the PEM is no public P-256 key.
        """
        public = ECKey.import_key(public_key_pem)
        if public.is_private or public.curve_name != "P-256":
            raise ValueError("Apple keeps public P-256 keys only")
        with self._lock:
            self._keys[key_id] = AppleKey(key_id, public, issuer_id, audience)

    def revoke(self, key_id: str) -> None:
        """End a key and every token that it signed."""
        self._change(key_id, revoked=True)

    def set_role(self, key_id: str, *, denied: Collection[str] = ()) -> None:
        """Switch a key's role: these paths (such as `/v1/apps`) and all below answer 403 to it."""
        self._change(key_id, denied=frozenset(denied))

    def _change(self, key_id: str, **changes: Any) -> None:
        with self._lock:
            self._keys[key_id] = replace(self._keys[key_id], **changes)

    def _serve(self, request: Request) -> Served:
        with self._lock:
            now = self._clock()
            verdict = judge(request, self._keys, now, self.rules)
            answer, reason = self._decide(request, verdict, now)
            budget = self._budget(verdict)
        return Served(answer.plus({"X-Rate-Limit": budget}), verdict.claimed, reason)

    def _decide(self, request: Request, verdict: Verdict, now: float) -> tuple[Answer, Reason]:
        if verdict.key is None or verdict.reason is not Reason.ACCEPTED:
            return self._refusal(verdict.reason), verdict.reason
        if not self._spend(verdict.key.key_id, now):
            return answers.rate_limited(), Reason.RATE_LIMIT
        if not self.agreement_signed:
            return answers.agreement_missing(), Reason.AGREEMENT
        if any(f"{request.path}/".startswith(f"{path}/") for path in verdict.key.denied):
            return answers.forbidden_role(), Reason.ROLE
        return self._resource(request), Reason.ACCEPTED

    def _refusal(self, reason: Reason) -> Answer:
        known = {Reason.REVOKED: self.rules.revoked_status, Reason.OUT_OF_SCOPE: self.rules.scope_status}
        return answers.not_authorized() if known.get(reason, 401) == 401 else answers.forbidden_role()  # noqa: PLR2004

    def _spend(self, key_id: str, now: float) -> bool:
        used = self._used.setdefault(key_id, deque())
        while used and used[0] <= now - _HOUR:
            used.popleft()
        if len(used) >= self._hourly_limit:
            return False
        used.append(now)
        return True

    def _budget(self, verdict: Verdict) -> str:
        used = 0 if verdict.key is None else len(self._used.get(verdict.key.key_id, ()))
        return f"user-hour-lim:{self._hourly_limit};user-hour-rem:{self._hourly_limit - used};"

    def _resource(self, request: Request) -> Answer:
        _, version, kind, *rest = (*request.path.split("/"), "", "")
        if version != "v1" or kind not in _RESOURCES:
            return answers.not_found(request.path)
        if request.method != "GET":
            return answers.method_not_allowed(request.method)
        wanted = "/".join(rest).strip("/")
        here = f"{self.url}{request.path}"
        if not wanted:
            return _list(here, kind, request.parameters().get("limit"))
        item = next((item for item in _RESOURCES[kind] if item["id"] == wanted), None)
        return answers.not_found(request.path) if item is None else answers.single(here, item)


def _list(url: str, kind: str, limit: str | None) -> Answer:
    if limit is None:
        return answers.listed(url, _RESOURCES[kind], _DEFAULT_LIMIT)
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= _LIMIT_MAX):
        return answers.bad_limit()
    return answers.listed(url, _RESOURCES[kind], int(limit))
