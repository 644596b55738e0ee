import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sightline.evidence.signing_keys import (
    SignatureError,
    SigningKey,
    VerificationKey,
    key_id,
    key_set,
    read_key_set,
)
from sightline.runtime.errors import KeyFileError

# RFC 8037, appendix A.
RFC_D = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
RFC_X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
RFC_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
RFC_PAYLOAD = b"Example of Ed25519 signing"
RFC_SIGNATURE = (
    "eyJhbGciOiJFZERTQSJ9..hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)


def rfc_key() -> SigningKey:
    return SigningKey(Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(RFC_D + "=")))


def test_thumbprint_and_public_key_are_those_of_rfc_8037() -> None:
    assert rfc_key().key_id == RFC_THUMBPRINT
    assert rfc_key().public.jwk["x"] == RFC_X


def test_signature_of_rfc_8037_holds() -> None:
    rfc_key().public.verify(RFC_SIGNATURE, RFC_PAYLOAD)


def test_signature_names_its_key_and_holds_for_its_content_alone() -> None:
    key = SigningKey.generate()
    signature = key.sign(b"content")
    assert key_id(signature) == key.key_id
    key.public.verify(signature, b"content")
    with pytest.raises(SignatureError, match="not of this content"):
        key.public.verify(signature, b"content.")
    with pytest.raises(SignatureError, match="not of this content"):
        SigningKey.generate().public.verify(signature, b"content")


@pytest.mark.parametrize(
    "signature",
    ["", "no dots", "..AAAA", "e30..", "e30..AAAA", "bm8=..AAAA", f"{RFC_SIGNATURE[:-1]}!", "eyJhbGciOiJub25lIn0.."],
)
def test_malformed_signature_is_refused(signature: str) -> None:
    def check() -> None:
        key_id(signature)
        rfc_key().public.verify(signature, RFC_PAYLOAD)

    with pytest.raises(SignatureError):
        check()


def test_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    key, file = SigningKey.generate(), tmp_path / "key.pem"
    key.write(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SigningKey.read(file).key_id == key.key_id
    with pytest.raises(FileExistsError):
        SigningKey.generate().write(file)


def test_file_that_is_no_signing_key_is_refused_with_a_remedy(tmp_path: Path) -> None:
    rsa = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content, reason in ((b"nothing", "not a private key"), (rsa, "another kind of key")):
        file = tmp_path / "key.pem"
        file.write_bytes(content)
        with pytest.raises(KeyFileError, match=f"{reason}.*sightline evidence keygen"):
            SigningKey.read(file)
    with pytest.raises(KeyFileError, match="No such file"):
        SigningKey.read(tmp_path / "absent")


def test_key_set_is_read_as_written(tmp_path: Path) -> None:
    keys, file = [SigningKey.generate().public for _ in range(2)], tmp_path / "keys.json"
    file.write_text(json.dumps(key_set([*keys, keys[0]])))
    read = read_key_set(file)
    assert list(read) == [key.id for key in keys]


def test_thumbprint_is_computed_and_not_believed() -> None:
    jwk = {**SigningKey.generate().public.jwk, "kid": RFC_THUMBPRINT}
    assert VerificationKey.from_jwk(jwk).id != RFC_THUMBPRINT


@pytest.mark.parametrize("text", ["", "[]", '{"keys": [{"kty": "RSA"}]}', '{"keys": [{"kty":"OKP","crv":"Ed25519"}]}'])
def test_file_that_is_no_key_set_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(KeyFileError, match="not a JSON Web Key Set"):
        read_key_set(file)
