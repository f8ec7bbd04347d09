"""Baseline: what somebody would write with hvac and PyJWT to mint the same token from the same two secrets.

No checks, no errors for people, no deadlines. argv: address, mount, name, file with the Vault token.
"""

import sys
import time
from pathlib import Path

import hvac
import jwt

address, mount, name, token_file = sys.argv[1:]
client = hvac.Client(url=address, token=Path(token_file).read_text(encoding="ascii"))
read = client.secrets.kv.v2.read_secret_version
record = read(f"asc/keys/{name}", mount_point=mount, raise_on_deleted_version=True)["data"]["data"]
private = read(
    f"asc/private/{name}", version=record["private_version"], mount_point=mount, raise_on_deleted_version=True
)["data"]["data"]
issued_at = int(time.time()) - 60
claims = {"iss": record["issuer_id"], "iat": issued_at, "exp": issued_at + 1140, "aud": record["audience"]}
print(jwt.encode(claims, private["private_key"], algorithm="ES256", headers={"kid": record["key_id"]}))
