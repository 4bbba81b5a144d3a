"""A certificate authority of the test run's own, and one server certificate for loopback."""

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Pki:
    """Writes `ca.pem`, `server.pem` and `server.key` into a folder."""

    def __init__(self, folder: Path, names: tuple[str, ...] = ("localhost", "*.s3.test", "s3.test")):
        folder.mkdir(parents=True, exist_ok=True)
        self.ca, self.certificate, self.key = folder / "ca.pem", folder / "server.pem", folder / "server.key"
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "integration test authority")])
        ca = _certificate(ca_name, ca_name, ca_key.public_key()).add_extension(x509.BasicConstraints(True, 0), True)
        ca = ca.add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), True)
        ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False).sign(ca_key, hashes.SHA256())
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        alternatives = [x509.DNSName(n) for n in names] + [x509.IPAddress(ip_address("127.0.0.1"))]
        leaf = _certificate(name, ca_name, key.public_key()).add_extension(x509.SubjectAlternativeName(alternatives), False)
        leaf = leaf.add_extension(x509.BasicConstraints(False, None), True)
        leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False)
        leaf = leaf.sign(ca_key, hashes.SHA256())
        self.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        self.certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.key.chmod(0o600)


def _certificate(subject, issuer, public_key):
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
    )
