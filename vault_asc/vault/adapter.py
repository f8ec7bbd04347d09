"""Every call by a token that is kept alive: one that Vault calls dead is replaced, and the call made once more."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, Self

from hvac import exceptions as hvac_errors
from hvac.adapters import JSONAdapter

from vault_asc import http
from vault_asc.secret import Secret
from vault_asc.vault.errors import is_about_the_token


class LiveToken(Protocol):
    """A Vault token that somebody keeps alive; shared by all threads. Both methods raise our errors."""

    @property
    def hint(self) -> str:
        """What to do when Vault takes not even the token that replaced a dead one."""
        ...

    def current(self) -> Secret:
        """The token to use now."""
        ...

    def instead_of(self, dead: Secret) -> Secret:
        """Another one, for Vault does not take this one any more."""
        ...


class LiveTokenAdapter(JSONAdapter):  # type: ignore[misc]  # hvac has no types
    """hvac's adapter with the token looked up for each call, so that many threads can share it."""

    def __init__(self, live: LiveToken, **options: Any) -> None:
        super().__init__(**options)
        self._live = live

    @classmethod
    def of(cls, live: LiveToken) -> Callable[..., Self]:
        """What hvac makes its adapter with."""
        return partial(cls, live)

    def request(self, method: str, url: str, headers: dict[str, str] | None = None, **options: Any) -> Any:
        """One call. After a token-type 403 it is made again with a new token, once, and only when it changes nothing."""
        token = self._live.current()
        try:
            return self._call(token, method, url, headers, options)
        except hvac_errors.Forbidden as exc:
            if not is_about_the_token(exc):
                raise
            token = self._live.instead_of(token)
            if not http.is_repeatable(method):
                raise
        return self._call(token, method, url, headers, options)

    def _call(
        self, token: Secret, method: str, url: str, headers: dict[str, str] | None, options: dict[str, Any]
    ) -> Any:
        return super().request(method, url, {**(headers or {}), "X-Vault-Token": token.reveal()}, **options)
