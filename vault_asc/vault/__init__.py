"""Vault and OpenBao: the only user of hvac.

    client   one connection: KV v2, policies, who am I
    kv       what KV version 2 holds
    transit  keys in Transit and signatures by them
    engine   keys, roles and tokens of the asc secrets engine
    wrapping what a wrapping token stands for, and taking it out
    auditing hashes as an audit device writes them, names of entities
    login    a login of our own, for a process that runs for ever; logins: all of a process; news: what becomes of them
    lease    what a token needs when; adapter, identity_files: its calls, what it logs in with
    errors   every error becomes one of ours that names path, capability and shipped policy

Not here: what the secrets mean (`store`), which policies exist (`policy`), how HTTP behaves (`http`).
"""

from vault_asc.vault.auditing import Auditing
from vault_asc.vault.client import Vault
from vault_asc.vault.engine import Engine, EngineKey, EngineVersion
from vault_asc.vault.errors import (
    Advice,
    CheckAndSetError,
    InvalidTokenError,
    LoginError,
    LostAnswerError,
    MissingVersionError,
    NothingThereError,
    RefusedError,
)
from vault_asc.vault.kv import DEFAULT_MAX_VERSIONS, NO_METADATA, KvMetadata, KvSecret, KvVersion
from vault_asc.vault.login import Login
from vault_asc.vault.logins import Logins
from vault_asc.vault.news import LoggedIn, LoginFailed, LoginNews, Renewed
from vault_asc.vault.transit import Transit, TransitKey
from vault_asc.vault.wrapping import WRAP, WrappedResponse, Wrapping, WrappingTokenError

__all__ = [
    "DEFAULT_MAX_VERSIONS",
    "NO_METADATA",
    "WRAP",
    "Advice",
    "Auditing",
    "CheckAndSetError",
    "Engine",
    "EngineKey",
    "EngineVersion",
    "InvalidTokenError",
    "KvMetadata",
    "KvSecret",
    "KvVersion",
    "LoggedIn",
    "Login",
    "LoginError",
    "LoginFailed",
    "LoginNews",
    "Logins",
    "LostAnswerError",
    "MissingVersionError",
    "NothingThereError",
    "RefusedError",
    "Renewed",
    "Transit",
    "TransitKey",
    "Vault",
    "WrappedResponse",
    "Wrapping",
    "WrappingTokenError",
]
