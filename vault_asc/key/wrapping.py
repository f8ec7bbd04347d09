"""A private key wrapped for Transit's import, so that nothing but the engine can read it. Pure.

Source: Vault's "Bring your own key": an ephemeral AES-256 key under RSA-OAEP with SHA-256, the PKCS#8 DER of the private
key under AES-KWP (RFC 5649), one after the other, in base64.
"""

import os
from base64 import b64encode
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from vault_asc.errors import VaultError
from vault_asc.key.private_key import PrivateKey

_AES_KEY_BYTES: Final = 32


def wrapped(key: PrivateKey, wrapping_key: str) -> str:
    """The key as `transit/keys/NAME/import` takes it; `wrapping_key` is the PEM that the mount gives.

    `VaultError` when that is no RSA key.
    """
    try:
        public = serialization.load_pem_public_key(wrapping_key.encode())
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, rsa.RSAPublicKey):
        raise VaultError(
            "Transit gave no RSA key to wrap with, so nothing was sent",
            hint="check that the address is a Vault or OpenBao server",
        )
    ephemeral = os.urandom(_AES_KEY_BYTES)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return b64encode(public.encrypt(ephemeral, oaep) + aes_key_wrap_with_padding(ephemeral, key.der())).decode()
