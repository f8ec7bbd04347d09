"""The logins of a process: one for each Vault that its configuration has named, whatever else is read anew."""

import threading
from typing import Final

import requests

from vault_asc import http
from vault_asc.auth import AuthSettings
from vault_asc.settings import VaultSettings
from vault_asc.vault.client import Vault
from vault_asc.vault.login import Login
from vault_asc.vault.news import Told, nobody

LAST_CALL: Final = 2.0
"""Seconds for revoking the tokens at the end."""


class Logins:
    """Makes each login once.

    Attributes:
        told: takes what becomes of those that are made from now on.
    """

    def __init__(self) -> None:
        self.told: Told = nobody
        self._known: dict[VaultSettings, Login] = {}
        self._lock = threading.Lock()

    def of(self, settings: VaultSettings, auth: AuthSettings, session: requests.Session) -> Login:
        """The login that the settings ask for, made when it is first asked for."""
        with self._lock:
            if settings not in self._known:
                vault = Vault(settings.address, None, session=session, namespace=settings.namespace)
                self._known[settings] = Login(vault, auth, told=self.told)
            return self._known[settings]

    def end(self) -> None:
        """Revoke all tokens, as far as that can be done within two seconds."""
        with http.within(http.Deadline.after(LAST_CALL)):
            for login in list(self._known.values()):
                login.end()
