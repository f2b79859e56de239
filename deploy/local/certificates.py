"""What one machine signs its images with: an authority and a certificate made here, whose names say that it is a test.

Nobody else trusts them. They are made once and kept; the authority's own key is thrown away, so it never signs another.
"""

import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.local.data import DataFolder

FOLDER = "signing"
AUTHORITY, CERTIFICATES, KEY = "authority.pem", "certificates.pem", "key.pem"
NAME = "Calotype test, not for production"
# Without a time-stamp a signature holds as long as its certificate: as long as anybody keeps a demo.
VALID = timedelta(days=3650)


def signing_environment(data: DataFolder) -> dict[str, str]:
    """What services sign and verify with on this data folder; made where it is not there yet."""
    folder = data.root / FOLDER
    if not folder.exists():
        _make(folder)
    return {
        "CALOTYPE_SIGNING_CERTIFICATES_FILE": str(folder / CERTIFICATES),
        "CALOTYPE_SIGNING_KEY_FILE": str(folder / KEY),
        "CALOTYPE_TRUST_ANCHORS": str(folder / AUTHORITY),
    }


def authority(data: Path) -> Path | None:
    """Whom files of this data folder are signed under, where that was made here."""
    path = data / FOLDER / AUTHORITY
    return path if path.exists() else None


def ends_at(data: DataFolder) -> datetime | None:
    """Until when the certificate of this data folder is valid; None where it has none."""
    path = data.root / FOLDER / CERTIFICATES
    if not path.exists():
        return None
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def named_elsewhere(environment: Mapping[str, str]) -> bool:
    """Whether somebody said who signs: then nothing of ours does."""
    return any(name.startswith(("CALOTYPE_SIGNING_", "CALOTYPE_TRUST_")) for name in environment)


def _make(folder: Path) -> None:
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    for name, content in drawn(now=datetime.now(UTC)).items():
        descriptor = os.open(partial / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    partial.rename(folder)  # whole or not at all: a key without its certificate signs nothing


def drawn(*, now: datetime) -> dict[str, bytes]:
    """A new authority, certificate and key, as PEM by file name."""
    authority, signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _builder(f"{NAME}: authority", authority.public_key(), issuer=f"{NAME}: authority", now=now)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = root.add_extension(_usage(authority=True), critical=True)
    issued = _builder(f"{NAME}: images", signer.public_key(), issuer=f"{NAME}: authority", now=now)
    issued = issued.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    issued = issued.add_extension(_usage(authority=False), critical=True)
    # C2PA wants one of a few purposes named; this is the one that every validator knows.
    issued = issued.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    from_authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    issued = issued.add_extension(from_authority, critical=False)
    anchor = root.sign(authority, hashes.SHA256()).public_bytes(Encoding.PEM)
    certificate = issued.sign(authority, hashes.SHA256()).public_bytes(Encoding.PEM)
    key = signer.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {AUTHORITY: anchor, CERTIFICATES: certificate, KEY: key}


def _builder(name: str, key: ec.EllipticCurvePublicKey, *, issuer: str, now: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_called(name))
        .issuer_name(_called(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _called(name: str) -> x509.Name:
    # Validators show the organisation as the issuer and the common name as the signer.
    named = ((NameOID.ORGANIZATION_NAME, NAME), (NameOID.COMMON_NAME, name))
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in named])


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
