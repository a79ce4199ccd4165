"""The sandbox's own certificate authority, and a server certificate for its clusters.

It names them and nothing else: a client with the endpoint of another cluster, in AWS or in
another sandbox, ends at the verification and sends no token.
"""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ops.files import write_private

LIFETIME = timedelta(days=397)  # what clients accept at most of a server certificate
RENEW_BEFORE = timedelta(days=30)
PLACEHOLDER = "none.invalid"  # the name in the certificate while there is no cluster


class Authority:
    """Makes, keeps and renews the certificates under ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.root_certificate = directory / "ca.pem"
        self._root_key = directory / "ca.key"
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._current(self.root_certificate):
            self._make_root()

    def context(self, hosts: tuple[str, ...]) -> ssl.SSLContext:
        """A TLS context for exactly these endpoints, direct TLS (ALPN) included."""
        certificate = self._directory / "server.pem"
        if not (self._current(certificate) and _names(certificate) == {*hosts}):
            self._issue(hosts or (PLACEHOLDER,), certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate)
        context.set_alpn_protocols(["postgresql"])
        return context

    @staticmethod
    def _current(path: Path) -> bool:
        if not path.exists():
            return False
        found = x509.load_pem_x509_certificate(path.read_bytes())
        return found.not_valid_after_utc - RENEW_BEFORE > datetime.now(UTC)

    def _make_root(self) -> None:
        for stale in self._directory.glob("*.pem"):
            stale.unlink()
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("DSQL sandbox CA")
        certificate = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
            )
            .sign(key, hashes.SHA256())
        )
        write_private(self._root_key, _pem(key))
        write_private(self.root_certificate, certificate.public_bytes(PEM))

    def _issue(self, hosts: tuple[str, ...], path: Path) -> None:
        root = x509.load_pem_x509_certificate(self.root_certificate.read_bytes())
        root_key = serialization.load_pem_private_key(self._root_key.read_bytes(), None)
        assert isinstance(root_key, ec.EllipticCurvePrivateKey)  # noqa: S101 - made here
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(host) for host in hosts]
        certificate = (
            _builder(_name("DSQL sandbox"), root.subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    root_key.public_key()
                ),
                critical=False,
            )
            .sign(root_key, hashes.SHA256())
        )
        write_private(path, _pem(key) + certificate.public_bytes(PEM))


PEM = serialization.Encoding.PEM


def _names(path: Path) -> set[str]:
    found = x509.load_pem_x509_certificate(path.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(names.value.get_values_for_type(x509.DNSName))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
