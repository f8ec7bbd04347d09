"""Proves that a key mints tokens which its public half verifies. Nothing leaves this machine."""

from vault_asc.clock import Clock
from vault_asc.custody import KeyTokenSource, Minted
from vault_asc.errors import VaultError
from vault_asc.key.private_key import stored_private_key
from vault_asc.key.public_key import public_key
from vault_asc.names import Custody
from vault_asc.record import StoredRecord
from vault_asc.store import Store
from vault_asc.tokens import Token, TokenRequest


def proven_token(store: Store, name: str, clock: Clock) -> Minted:
    """A token of the key that is current, verified. `VaultError` when its signature is none, else as a mint raises."""
    minted = KeyTokenSource(store, name, clock).token(TokenRequest())
    if not verifies(minted.token, _public_key_pem(store, minted.stored)):
        raise VaultError(
            f'what {minted.stored.record.version_name} of key "{name}" signs does not verify with its public half',
            hint="try another machine, then report it: vault-asc or its crypto library is broken here",
        )
    return minted


def _public_key_pem(store: Store, stored: StoredRecord) -> str:
    """The public half: of the private part, or what the record has where there is none to be read."""
    if stored.record.custody is not Custody.KV:
        return public_key(str(stored.record.public_key)).pem()
    private = store.read_private(stored)
    return stored_private_key(str(private.data["private_key"])).public_key_pem()


def verifies(token: Token, public_key_pem: str) -> bool:
    """Whether the ES256 signature of a token is that of this public key. Its times are not looked at."""
    import jwt

    try:
        jwt.api_jws.decode(token.value.reveal(), public_key_pem, algorithms=["ES256"])
    except jwt.InvalidTokenError:
        return False
    return True
