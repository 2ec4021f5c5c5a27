"""Certificates that workers answer with. Only this module imports cryptography.

One is made for each worker, signed by itself: the runner accepts it and no other, so it needs no
authority, no name and no revocation.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from cloudburst.models import Identity

# A day before and after, since two machines' clocks need not agree.
_MARGIN = timedelta(days=1)
_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cloudburst")])


def make(now: float, seconds: float) -> Identity:
    """Return a new certificate of an ECDSA P-256 key.

    Args:
        now: seconds since 1970.
        seconds: for which it is needed.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    moment = datetime.fromtimestamp(now, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _MARGIN)
        .not_valid_after(moment + timedelta(seconds=seconds) + _MARGIN)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Identity(certificate.public_bytes(Encoding.PEM).decode(), pem.decode())
