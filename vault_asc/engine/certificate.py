"""Both ends of go-plugin's AutoMTLS: our own certificate for this process, and TLS that trusts the host's alone."""

import os
import ssl
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vault_asc.errors import ConfigError

HOST_NAME: Final = "localhost"
"""The name in every certificate of go-plugin."""

_VALID: Final = timedelta(days=3650)  # the process ends long before; go-plugin gives its own 30 years
_SKEW: Final = timedelta(minutes=5)


class Tls(NamedTuple):
    """What the connections of this process need.

    Attributes:
        der: our certificate, for the handshake line.
        server: for the socket that the host dials.
        client: for dialling back to the host.
    """

    der: bytes
    server: ssl.SSLContext
    client: ssl.SSLContext


def mutual_tls(host_certificate: str, now: float) -> Tls:
    """Make a key and a certificate, and contexts that show it and trust `host_certificate` (PEM), nothing else.

    `ConfigError` when that is no certificate.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _self_signed(key, datetime.fromtimestamp(now, UTC))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.verify_mode = ssl.CERT_REQUIRED
    server.num_tickets = 0  # the host keeps one connection
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        _trust(context, host_certificate)
        _show(context, certificate, key)
    return Tls(certificate.public_bytes(serialization.Encoding.DER), server, client)


def _trust(context: ssl.SSLContext, certificate: str) -> None:
    try:
        context.load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError) as exc:
        raise ConfigError("the server's certificate cannot be read", hint="start it again, and report this") from exc


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST_NAME)])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_agreement=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .sign(key, hashes.SHA256())
    )


def _show(context: ssl.SSLContext, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Load both; `ssl` takes files only, so they come out of pipes and the key never reaches a disk."""
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public, private = _piped(certificate.public_bytes(pem)), _piped(secret)
    try:
        context.load_cert_chain(f"/dev/fd/{public}", f"/dev/fd/{private}")
    finally:
        os.close(public)
        os.close(private)


def _piped(content: bytes) -> int:
    """A descriptor from which a content much smaller than a pipe's buffer can be read."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream:
        stream.write(content)
    return reader
