"""The simulators of Nexla and Apple on their own, for set-ups where Vault, Agent and vault-asc run elsewhere.

What people would get from Nexla's and Apple's web pages lies in files: the `.p8`, the service key, the addresses.
"""

import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from vault_asc.clock import Clock, format_duration, system_clock
from vault_asc.files import write_atomic
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.journal import Entry
from vault_asc.lab.nexla import NexlaSimulator

KEY_ID: Final = "LABKEY0001"
ISSUER_ID: Final = "57246542-96fe-1a63-e053-0824d011072a"
CREDENTIAL_ID: Final = 5001
KEY_FILE: Final = f"AuthKey_{KEY_ID}.p8"
SERVICE_KEY_FILE: Final = "nexla-service-key"
APPLE_FILE: Final = "apple-url"
READY_FILE: Final = "nexla-url"
"""Holds Nexla's base URL. Written last: when it is there, everything is."""

Echo = Callable[[str], None]


def serve(directory: Path, stop: threading.Event, echo: Echo, clock: Clock = system_clock) -> None:
    """Run both simulators on free ports of 127.0.0.1 until `stop` is set, and print what they are asked.

    Args:
        directory: where the files go, each 0600; `ConfigError` when they cannot be written.
        stop: ends the simulators.
        echo: takes one line.
        clock: Unix seconds.
    """
    begin = clock()
    with AppleSimulator(clock=clock) as apple, NexlaSimulator(clock=clock) as nexla:
        apple.journal.listen(lambda entry: echo(_line("apple", entry, begin)))
        nexla.journal.listen(lambda entry: echo(_line("nexla", entry, begin)))
        _hand_over(directory, apple, nexla, begin)
        echo(f"Nexla at {nexla.url}, Apple at {apple.url}; files for the set-up in {directory}")
        stop.wait()


def _hand_over(directory: Path, apple: AppleSimulator, nexla: NexlaSimulator, now: float) -> None:
    service_key = secrets.token_urlsafe(32)
    nexla.add_service_key(service_key)
    nexla.add_template_credential(credential_id=CREDENTIAL_ID, test_url=f"{apple.url}/v1/apps?limit=1")
    files = {
        KEY_FILE: new_key(apple, KEY_ID),
        SERVICE_KEY_FILE: service_key.encode(),
        APPLE_FILE: apple.url.encode(),
        READY_FILE: nexla.url.encode(),
    }
    for name, content in files.items():
        write_atomic(directory / name, content, now=now)


def new_key(apple: AppleSimulator, key_id: str) -> bytes:
    """Make a key, as App Store Connect would: Apple keeps the public half, the `.p8` is downloaded once."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    apple.add_key(key_id, public, issuer_id=ISSUER_ID)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _line(name: str, entry: Entry, begin: float) -> str:
    who = f" by {entry.who}" if entry.who else ""
    reason = f" ({entry.reason})" if entry.reason else ""
    moment = format_duration(entry.time - begin)
    return f"{moment:>7}  {name}  {entry.method} {entry.path}{who}: {entry.status}{reason}"
