"""What people hand in instead of an App Store Connect key: one message and one hint for each.

Both the label of a PEM block and the structure inside it can give such a thing away; the words are the same.
"""

from typing import Final

from vault_asc.errors import PrivateKeyError

ORIGINAL: Final = "use the .p8 file as App Store Connect gave it out"
"""The fix for whatever cannot be repaired, to be put into a hint."""

_WRONG: Final = {
    "RSA": ("the private key is an RSA key, not EC P-256", f"an RSA key is not from Apple; {ORIGINAL}"),
    "DSA": ("the private key is a DSA key, not EC P-256", f"a DSA key is not from Apple; {ORIGINAL}"),
    "OpenSSH": ("the private key is an OpenSSH key, not PKCS#8", f"an SSH key is not from Apple; {ORIGINAL}"),
    "encrypted": (
        "the private key is encrypted (ENCRYPTED PRIVATE KEY)",
        "remove the passphrase first: openssl pkcs8 -in FILE -out DECRYPTED.p8",
    ),
    "public": (
        "this is a public key, not a private key",
        f"Apple hands out the private key once, as AuthKey_<key ID>.p8; {ORIGINAL}",
    ),
    "certificate": (
        "this is a certificate or a request for one, not a private key",
        f"API keys are made under Users and Access, Integrations; {ORIGINAL}",
    ),
    "parameters": (
        "these are EC parameters without a private key",
        f"the file lacks its PRIVATE KEY block; {ORIGINAL}",
    ),
}

_LABELS: Final = {
    "RSA PRIVATE KEY": "RSA",
    "DSA PRIVATE KEY": "DSA",
    "OPENSSH PRIVATE KEY": "OpenSSH",
    "ENCRYPTED PRIVATE KEY": "encrypted",
    "PUBLIC KEY": "public",
    "RSA PUBLIC KEY": "public",
    "CERTIFICATE": "certificate",
    "X509 CERTIFICATE": "certificate",
    "TRUSTED CERTIFICATE": "certificate",
    "CERTIFICATE REQUEST": "certificate",
    "NEW CERTIFICATE REQUEST": "certificate",
    "EC PARAMETERS": "parameters",
}


def refusal(kind: str) -> PrivateKeyError:
    """The error for one kind of wrong key, a name from the table above such as `RSA` or `certificate`."""
    message, hint = _WRONG[kind]
    return PrivateKeyError(message, hint=hint)


def label_refusal(label: str) -> PrivateKeyError:
    """The error for a PEM block under another label than an EC private key has.

    Unknown labels are not repeated: in a damaged file they may hold anything.
    """
    if label in _LABELS:
        return refusal(_LABELS[label])
    return PrivateKeyError("the PEM block is no private key: its label is unknown", hint=ORIGINAL)
