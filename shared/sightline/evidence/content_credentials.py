"""Content credentials (C2PA 2) of altered pictures: embedding and reading.

The library is loaded when the first picture is signed or read: it takes 6 MiB, and most processes need none.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sightline.api.evidence import Alteration, Evidence
from sightline.api.media_types import SIGNATURES
from sightline.runtime.errors import KeyFileError

if TYPE_CHECKING:
    import c2pa

MARKERS = (b"c2pa", b"jumb")
"""Every file with a manifest has both: in the label and in the type of its JUMBF box."""
SUPPORTED = frozenset(("image/png", "image/apng", "image/jpeg", "image/webp", "image/tiff", "image/gif"))
MAX_KEPT_MANIFEST_BYTES = 1 << 20
"""Larger manifests of an input are left out: a small request must not get a large reply."""
DEVELOPMENT_DAYS = 365
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_ASSERTION = "org.sightline.evidence"
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},  # thumbnails take 20 times as long, and may show what is to be hidden
    # Without these an input could make the service call any address.
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


@dataclass(frozen=True, slots=True)
class _Action:
    name: str
    source_type: str
    description: str


_ACTIONS: Mapping[Alteration, _Action] = {
    Alteration.INPAINTED: _Action(
        "c2pa.edited", "compositeWithTrainedAlgorithmicMedia", "Inpainted: pixels of holes were made up by a model."
    ),
    Alteration.EXPOSURE_CORRECTED: _Action(
        "c2pa.color_adjustments", "algorithmicallyEnhanced", "Exposure-corrected: a model changed light and dark."
    ),
    Alteration.RELIT: _Action(
        "c2pa.edited", "trainedAlgorithmicMedia", "Relit: the surface was rendered under another light by a model."
    ),
}


class CredentialState(StrEnum):
    """State of the content credentials in a file; `valid`: intact, by a certificate that is not trusted."""

    ABSENT = "absent"
    VALID = "valid"
    TRUSTED = "trusted"
    INVALID = "invalid"
    UNREADABLE = "unreadable"


def read_credentials(data: bytes, media_type: str) -> CredentialState:
    """Returns the state of a file's content credentials; makes no connection."""
    if not carries_manifest(data):
        return CredentialState.ABSENT
    try:
        manifest = read_manifest(data, media_type)
    except Exception:
        return CredentialState.UNREADABLE
    return CredentialState(str(manifest["validation_state"]).lower())


def carries_manifest(data: bytes) -> bool:
    """Returns whether a file may carry a manifest; a cheap search that is never wrong about its absence."""
    return all(marker in data for marker in MARKERS)


def read_manifest(data: bytes, media_type: str) -> dict[str, Any]:
    """Returns the manifest store of a file as the public reader reports it."""
    import c2pa

    with c2pa.Reader(media_type, BytesIO(data), context=_context()) as reader:
        store: dict[str, Any] = json.loads(reader.json())
    return store


@dataclass(frozen=True, slots=True)
class SigningCertificate:
    """A certificate chain and its private key in PEM, the leaf first."""

    chain: bytes
    key: bytes = field(repr=False)
    algorithm: str

    @classmethod
    def read(cls, chain: Path, key: Path) -> Self:
        """Reads PEM files. Raises KeyFileError where they do not belong together, or do not serve for C2PA."""
        try:
            private = load_pem_private_key(key.read_bytes(), password=None)
            certificates = x509.load_pem_x509_certificates(chain.read_bytes())
        except OSError as error:
            raise KeyFileError(f"{error.filename}: cannot be read: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise KeyFileError(f"{chain}, {key}: not a certificate chain and its private key in PEM") from error
        if certificates[0].public_key() != private.public_key():
            raise KeyFileError(f"{chain}: its first certificate is not that of the key {key}")
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        certificate = cls(chain.read_bytes(), pem, _algorithm_of(private, key))
        certificate.require_usable(chain)
        return certificate

    @classmethod
    def for_development(cls) -> Self:
        """Makes a certificate that no reader trusts, with an authority that vanishes at once."""
        authority_key, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        authority_name, name = _name("Sightline development authority"), _name("Sightline development certificate")
        authority = (
            _unsigned(authority_name, authority_name, authority_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(authority_key, None)
        )
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        leaf = (
            _unsigned(name, authority_name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_SIGNS_ONLY, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
            .add_extension(issuer, critical=False)
            .sign(authority_key, None)
        )
        chain = leaf.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM)
        return cls(chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "ed25519")

    def require_usable(self, chain: Path) -> None:
        """Signs a small picture. Raises KeyFileError where the library refuses the certificate."""
        try:
            ContentCredentials(self).sign(_PIXEL, "image/gif", {}, None)
        except Exception as error:
            raise KeyFileError(f"{chain}: C2PA does not accept this certificate: {error}") from error


class ContentCredentials:
    """Embeds content credentials into altered pictures."""

    def __init__(self, certificate: SigningCertificate) -> None:
        self._certificate = certificate

    @classmethod
    def of(cls, chain: Path | None, key: Path | None) -> Self:
        """Reads a certificate and its key, or makes them for development. Raises KeyFileError."""
        return cls(SigningCertificate.read(chain, key) if chain and key else SigningCertificate.for_development())

    def embed(
        self, picture: bytes, media_type: str, alteration: Alteration, evidence: Evidence, original: bytes
    ) -> bytes:
        """Returns the picture with a manifest, in which the original's own manifest is kept as that of the parent.

        It is left out if it is damaged beyond reading, too large, or carries a position or serial numbers. Pictures of
        other formats than `SUPPORTED` are returned as they are.
        """
        if media_type not in SUPPORTED:
            return picture
        manifest = _manifest(alteration, evidence)
        plain = self.sign(picture, media_type, manifest, None)
        if not carries_manifest(original):
            return plain
        try:
            signed = self.sign(picture, media_type, manifest, original)
        except Exception:
            # The library raises errors of any kind on hostile manifests.
            return plain
        is_private = any(name in signed for name in PRIVATE_NAMES)
        too_large = len(signed) - len(plain) > MAX_KEPT_MANIFEST_BYTES
        return plain if is_private or too_large else signed

    def sign(self, picture: bytes, media_type: str, manifest: Mapping[str, Any], original: bytes | None) -> bytes:
        """Returns the picture with this manifest, and with the original as its parent ingredient."""
        import c2pa

        # Without the original as stream, so that nothing of it but its digest is repeated.
        data, kind = (original, _media_type_of(original)) if original else (picture, media_type)
        target = BytesIO()
        with self._signer() as signer, c2pa.Builder.from_json(dict(manifest), _context()) as builder:
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            builder.add_ingredient({"title": "original", "relationship": "parentOf"}, _plain(kind), BytesIO(data))
            builder.sign(signer, _plain(media_type), BytesIO(picture), target)
        return target.getvalue()

    def _signer(self) -> "c2pa.Signer":
        import c2pa

        each = self._certificate
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(each.algorithm.encode(), each.chain, each.key, None))


PRIVATE_NAMES = (b"GPSLatitude", b"SerialNumber")
_PIXEL = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
_SIGNS_ONLY = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _media_type_of(picture: bytes) -> str:
    if picture[4:8] == b"ftyp":
        return "image/avif" if picture[8:11] == b"avi" else "image/heic"
    return next((kind for kind, signature in SIGNATURES.items() if picture.startswith(signature)), "image/tiff")


def _manifest(alteration: Alteration, evidence: Evidence) -> dict[str, Any]:
    action, model = _ACTIONS[alteration], evidence.model
    facts = {
        "request_id": evidence.request_id,
        "input_sha256": evidence.input_sha256,
        "model": str(model),
        "weights_sha256": model.weights_sha256,
        "synthesised_share": evidence.synthesised_share,
    }
    edited = {
        "action": action.name,
        "softwareAgent": {"name": f"Sightline {model.name}", "version": model.version},
        "digitalSourceType": f"{_SOURCE_TYPES}{action.source_type}",
        "description": action.description,
        "parameters": {
            "org.sightline.alteration": str(alteration),
            "org.sightline.weights_sha256": model.weights_sha256,
        },
    }
    return {
        "claim_generator_info": [{"name": "Sightline", "version": evidence.libraries.get("sightline", "")}],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [edited]}},
            {"label": _ASSERTION, "data": facts},
        ],
    }


@cache
def _context() -> "c2pa.Context":
    import c2pa

    return c2pa.Context.from_dict(_SETTINGS)


def _plain(media_type: str) -> str:
    """Returns the library's name of a media type: an animated PNG is a PNG to it."""
    return "image/png" if media_type == "image/apng" else media_type


def _algorithm_of(key: object, file: Path) -> str:
    if isinstance(key, Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, RSAPrivateKey):
        return "ps256"
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in curves:
        return curves[key.curve.name]
    raise KeyFileError(f"{file}: C2PA has no signatures by this kind of key; use Ed25519, P-256, P-384, P-521 or RSA")


def _name(common_name: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sightline (development, not trusted)")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _unsigned(subject: x509.Name, issuer: x509.Name, key: Ed25519PrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    dated = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=DEVELOPMENT_DAYS))
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return dated.serial_number(x509.random_serial_number()).add_extension(identifier, critical=False)
