"""A whole neighbourhood for the client: Nexla, Apple and a key there; what a test asks about its end state."""

from dataclasses import dataclass, field
from typing import Any

from tests.lab.signing import ISSUER, Clock, HandSigner
from vault_asc import http
from vault_asc.http import Limits
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.nexla import NexlaSimulator, Readings
from vault_asc.nexla.client import LIMITS, RETRY_METHODS, NexlaClient
from vault_asc.nexla.credential_body import put_body
from vault_asc.nexla.discovery import Plan, Wanted, discover
from vault_asc.outcome import Probe
from vault_asc.secret import Secret

ID = 5001
CREDENTIAL = f"/data_credentials/{ID}"
PROBE = f"{CREDENTIAL}/probe"
SERVICE_KEY = "service-key-SENTINEL-5b1d"
READINGS = [
    Readings(),
    Readings(error_envelope="documented", probe_body="object", probe_status="relay", probe_message="status"),
    Readings(probe_body="result", probe_status="relay", announce_expiry=False, template_config="all"),
    Readings(expand=False, probe_message="status"),
]


@dataclass
class Tenant:
    """Nexla, Apple, a key at Apple, and our client, which never really sleeps."""

    nexla: NexlaSimulator
    apple: AppleSimulator
    clock: Clock
    signer: HandSigner = field(default_factory=HandSigner)
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nexla.add_service_key(SERVICE_KEY)
        self.apple.add_key(self.signer.key_id, self.signer.public_pem, issuer_id=ISSUER)
        self.client = self.new_client()

    @property
    def test_url(self) -> str:
        return f"{self.apple.url}/v1/apps?limit=1"

    @property
    def wanted(self) -> Wanted:
        return Wanted(ID)

    def new_client(self, key: str = SERVICE_KEY, *, limits: Limits = LIMITS, url: str | None = None) -> NexlaClient:
        session = http.session(
            limits=limits, retry_methods=RETRY_METHODS, wait=self.waits.append, uniform=lambda _, high: high
        )
        return NexlaClient(session, url or self.nexla.url, lambda: Secret(key), self.clock)

    def token(self, **changes: Any) -> Secret:
        return Secret(self.signer.team(self.clock(), **changes))

    def probe(self, client: NexlaClient | None = None) -> Probe:
        return (client or self.client).probe(ID, wait=self.waits.append)

    def push(self, wanted: Wanted | None = None, remembered: Plan | None = None, token: Secret | None = None) -> Probe:
        wanted = wanted or self.wanted
        credential = self.client.credential(ID)
        plan = discover(credential, wanted, remembered)
        self.client.update(ID, put_body(plan, credential, wanted, token or self.token()))
        return self.probe()

    @property
    def writes(self) -> int:
        return self.nexla.credential(ID).writes

    def asked(self, method: str, path: str, status: int | None = None) -> int:
        return self.nexla.journal.count(method, path, status=status)
