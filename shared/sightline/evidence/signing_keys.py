"""Ed25519 keys of evidence records, and their signatures as JSON Web Signatures with detached content.

RFC 7515 (appendix F) and RFC 8037 give the signature, RFC 7517 and RFC 8037 the public keys, RFC 7638 their names. The
library `cryptography` signs; these few lines around it save a JOSE library.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from sightline.evidence.canonical_json import canonical_bytes
from sightline.runtime.errors import KeyFileError
from sightline.runtime.private_files import private_opener

ALGORITHM = "EdDSA"


class SignatureError(ValueError):
    """A signature that is malformed, or not of these bytes."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key; `id` is its thumbprint."""

    id: str
    key: Ed25519PublicKey

    @classmethod
    def of(cls, key: Ed25519PublicKey) -> Self:
        thumbprint = hashlib.sha256(canonical_bytes(_required_members(key))).digest()
        return cls(_encode(thumbprint), key)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> Self:
        """Reads a JSON Web Key; raises ValueError if it is no Ed25519 public key."""
        if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
            raise ValueError("only Ed25519 keys are supported (kty OKP, crv Ed25519)")
        return cls.of(Ed25519PublicKey.from_public_bytes(_decode(str(jwk.get("x", "")))))

    @property
    def jwk(self) -> dict[str, str]:
        return {**_required_members(self.key), "kid": self.id, "use": "sig", "alg": ALGORITHM}

    def verify(self, signature: str, content: bytes) -> None:
        """Raises SignatureError unless it is this key's signature of the content."""
        header, value = _parts(signature)
        try:
            self.key.verify(value, _signing_input(header, content))
        except InvalidSignature:
            raise SignatureError("the signature is not of this content") from None


class SigningKey:
    """A private key that signs evidence records."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key, self.public = key, VerificationKey.of(key.public_key())
        self._header = _encode(canonical_bytes({"alg": ALGORITHM, "kid": self.public.id}))

    @property
    def key_id(self) -> str:
        return self.public.id

    @classmethod
    def generate(cls) -> Self:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a file in PEM (PKCS#8); raises KeyFileError."""
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise KeyFileError(f"{path}: the evidence key cannot be read: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise KeyFileError(f"{path}: not a private key in PEM without password; {_REMEDY}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{path}: evidence is signed by Ed25519, this is another kind of key; {_REMEDY}")
        return cls(key)

    def write(self, path: Path) -> None:
        """Writes a new file that only its owner reads; raises FileExistsError for an existing one."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with open(path, "xb", opener=private_opener) as file:
            file.write(pem)

    def sign(self, content: bytes) -> str:
        """Returns the compact serialization with detached content: header, two dots, signature."""
        return f"{self._header}..{_encode(self._key.sign(_signing_input(self._header, content)))}"


_REMEDY = "make one with `sightline evidence keygen`"


def key_id(signature: str) -> str | None:
    """Returns the key that a signature names; raises SignatureError for a malformed one."""
    header, _ = _parts(signature)
    try:
        members = json.loads(_decode(header))
    except ValueError as error:
        raise SignatureError("the signature has no valid header") from error
    if not isinstance(members, dict) or members.get("alg") != ALGORITHM:
        raise SignatureError(f"the signature is not by {ALGORITHM}")
    return members.get("kid")


def read_key_set(path: Path) -> dict[str, VerificationKey]:
    """Reads a JSON Web Key Set: public keys by their thumbprints. Raises KeyFileError."""
    try:
        keys = json.loads(path.read_bytes())["keys"]
        return {key.id: key for key in map(VerificationKey.from_jwk, keys)}
    except OSError as error:
        raise KeyFileError(f"{path}: the public keys cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KeyFileError(f"{path}: not a JSON Web Key Set of Ed25519 keys: {error}") from error


def key_set(keys: Iterable[VerificationKey]) -> dict[str, list[dict[str, str]]]:
    """Returns the JSON Web Key Set of these keys, without repetitions."""
    return {"keys": list({key.id: key.jwk for key in keys}.values())}


def _required_members(key: Ed25519PublicKey) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": _encode(key.public_bytes_raw())}


def _signing_input(header: str, content: bytes) -> bytes:
    return f"{header}.{_encode(content)}".encode()


def _parts(signature: str) -> tuple[str, bytes]:
    header, dots, value = signature.partition("..")
    if not dots or not header:
        raise SignatureError("this is no signature with detached content")
    try:
        return header, _decode(value)
    except ValueError as error:
        raise SignatureError("the signature is damaged") from error


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """Decodes base64url without padding. Raises ValueError for other characters, which some decoders skip."""
    try:
        padded = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
        return base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64url") from error
