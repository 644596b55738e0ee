"""Content credentials, read back with the public reader."""

import io
import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from sightline.api.evidence import Alteration
from sightline.evidence.content_credentials import (
    ContentCredentials,
    CredentialState,
    SigningCertificate,
    read_credentials,
)
from sightline.runtime.errors import KeyFileError
from tests.evidence.test_canonical_json import make_evidence

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff", "GIF": "image/gif"}


def encoded(format_name: str, seed: int = 0, **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format_name, **options)
    return file.getvalue()


def pixels_of(data: bytes) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def manifests_of(data: bytes, media_type: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the store as the public reader reports it, and its active manifest."""
    with c2pa.Reader(media_type, io.BytesIO(data)) as reader:
        store = json.loads(reader.json())
    return store, store["manifests"][store["active_manifest"]]


@pytest.fixture(scope="module")
def credentials() -> ContentCredentials:
    return ContentCredentials(SigningCertificate.for_development())


def embed(
    credentials: ContentCredentials,
    data: bytes,
    media_type: str,
    *,
    original: bytes = b"original",
    alteration: Alteration = Alteration.INPAINTED,
) -> bytes:
    return credentials.embed(data, media_type, alteration, make_evidence(synthesised_share=0.25), original)


@pytest.mark.parametrize("format_name", FORMATS)
def test_manifest_leaves_pixels_alone_in_every_format(credentials: ContentCredentials, format_name: str) -> None:
    plain, media_type = encoded(format_name), FORMATS[format_name]
    signed = embed(credentials, plain, media_type)
    np.testing.assert_array_equal(pixels_of(signed), pixels_of(plain))
    store, _ = manifests_of(signed, media_type)
    assert store["validation_state"] == "Valid"
    assert read_credentials(signed, media_type) is CredentialState.VALID


@pytest.mark.parametrize(
    ("alteration", "action", "source"),
    [
        (Alteration.INPAINTED, "c2pa.edited", "compositeWithTrainedAlgorithmicMedia"),
        (Alteration.EXPOSURE_CORRECTED, "c2pa.color_adjustments", "algorithmicallyEnhanced"),
        (Alteration.RELIT, "c2pa.edited", "trainedAlgorithmicMedia"),
    ],
)
def test_manifest_names_action_agent_model_and_parent(
    credentials: ContentCredentials, alteration: Alteration, action: str, source: str
) -> None:
    signed = embed(credentials, encoded("PNG"), "image/png", alteration=alteration)
    _, manifest = manifests_of(signed, "image/png")
    assertions = {each["label"]: each["data"] for each in manifest["assertions"]}
    opened, edited = assertions["c2pa.actions.v2"]["actions"]
    assert (opened["action"], edited["action"]) == ("c2pa.opened", action)
    assert edited["digitalSourceType"].endswith(f"/{source}")
    assert edited["softwareAgent"] == {"name": "Sightline tiny", "version": "1"}
    assert edited["parameters"]["org.sightline.alteration"] == str(alteration)
    assert edited["parameters"]["org.sightline.weights_sha256"] == "a" * 64
    facts = assertions["org.sightline.evidence"]
    assert (facts["request_id"], facts["input_sha256"], facts["synthesised_share"]) == ("r1", "f" * 64, 0.25)
    (ingredient,) = manifest["ingredients"]
    assert ingredient["relationship"] == "parentOf"
    assert manifest["claim_generator_info"][0]["name"] == "Sightline"


def test_manifest_of_the_original_is_kept_as_ingredient(credentials: ContentCredentials) -> None:
    original = embed(credentials, encoded("JPEG", 1), "image/jpeg", alteration=Alteration.RELIT)
    signed = embed(credentials, encoded("PNG"), "image/png", original=original)
    store, manifest = manifests_of(signed, "image/png")
    assert store["validation_state"] == "Valid"
    parent = store["manifests"][manifest["ingredients"][0]["active_manifest"]]
    (actions,) = [each["data"] for each in parent["assertions"] if each["label"] == "c2pa.actions.v2"]
    assert actions["actions"][1]["parameters"]["org.sightline.alteration"] == "relit"


def test_manifest_of_the_original_with_a_position_is_left_out(credentials: ContentCredentials) -> None:
    manifest = {"assertions": [{"label": "org.camera", "data": {"exif:GPSLatitude": "48,51.5N"}}]}
    original = credentials.sign(encoded("JPEG", 1), "image/jpeg", manifest, None)
    assert b"GPSLatitude" in original
    signed = embed(credentials, encoded("PNG"), "image/png", original=original)
    store, _ = manifests_of(signed, "image/png")
    assert (len(store["manifests"]), store["validation_state"]) == (1, "Valid")
    assert b"GPSLatitude" not in signed


def test_damaged_manifest_of_the_original_does_no_harm(credentials: ContentCredentials) -> None:
    original = embed(credentials, encoded("JPEG", 1), "image/jpeg")
    for at in range(len(original) // 8, len(original) - 8, len(original) // 8):
        damaged = original[:at] + b"\xff\xff\xff\xff" + original[at + 4 :]
        signed = embed(credentials, encoded("PNG"), "image/png", original=damaged)
        assert read_credentials(signed, "image/png") is CredentialState.VALID
    for broken in (b"\x89PNG\r\n\x1a\nc2pa jumb", b"c2pa jumb", original[:200] + b"c2pajumb"):
        signed = embed(credentials, encoded("PNG"), "image/png", original=broken)
        assert read_credentials(signed, "image/png") is CredentialState.VALID


def test_no_address_in_an_original_is_called(credentials: ContentCredentials) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/manifest.c2pa"
        listener.setblocking(False)
        xmp = (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            f'<rdf:Description xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{url}"/>'
            "</rdf:RDF></x:xmpmeta>"
        )
        original = encoded("JPEG", xmp=xmp.encode()) + b"c2pa jumb"
        signed = embed(credentials, encoded("PNG"), "image/png", original=original)
        read_credentials(original, "image/jpeg")
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert read_credentials(signed, "image/png") is CredentialState.VALID


def test_altered_picture_is_invalid_and_one_without_manifest_has_none(credentials: ContentCredentials) -> None:
    signed = bytearray(embed(credentials, encoded("JPEG"), "image/jpeg"))
    signed[-100] ^= 0x55
    assert read_credentials(bytes(signed), "image/jpeg") is CredentialState.INVALID
    assert read_credentials(encoded("JPEG"), "image/jpeg") is CredentialState.ABSENT
    assert read_credentials(b"c2pa jumb", "image/jpeg") is CredentialState.UNREADABLE


def test_format_that_carries_no_manifest_is_returned_as_it_is(credentials: ContentCredentials) -> None:
    assert embed(credentials, b"#?RADIANCE", "image/vnd.radiance") == b"#?RADIANCE"


def write_certificate(folder: Path, key: Any, *, usage: bool = True) -> tuple[Path, Path]:
    """Writes a certificate by an authority of its own, and its key."""
    now, authority_key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())

    def named(name: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lab"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
        )

    def builder(name: str, public: Any) -> x509.CertificateBuilder:
        start = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named("authority")).public_key(public)
        dated = start.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
        return dated.serial_number(x509.random_serial_number())

    authority = builder("authority", authority_key.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    leaf = builder("leaf", key.public_key()).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
    )
    if usage:
        flags = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "key_cert_sign",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        leaf = leaf.add_extension(x509.KeyUsage(digital_signature=True, **flags), critical=True)
        leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    chain = b"".join(each.sign(authority_key, SHA256()).public_bytes(Encoding.PEM) for each in (leaf, authority))
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return folder / "chain.pem", folder / "key.pem"


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["es256", "es384", "ps256"],
)
def test_own_certificate_signs(tmp_path: Path, key: Any) -> None:
    credentials = ContentCredentials.of(*write_certificate(tmp_path, key))
    signed = embed(credentials, encoded("PNG"), "image/png")
    _, manifest = manifests_of(signed, "image/png")
    assert manifest["signature_info"]["issuer"] == "Lab"
    assert read_credentials(signed, "image/png") is CredentialState.VALID


def test_certificate_that_c2pa_does_not_accept_is_refused(tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path, ec.generate_private_key(ec.SECP256R1()), usage=False)
    with pytest.raises(KeyFileError, match="does not accept this certificate"):
        SigningCertificate.read(chain, key)


def test_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    other = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(KeyFileError, match="not that of the key"):
        SigningCertificate.read(chain, key)
    chain.write_text("nothing")
    with pytest.raises(KeyFileError, match="not a certificate chain"):
        SigningCertificate.read(chain, key)
    with pytest.raises(KeyFileError, match="No such file"):
        SigningCertificate.read(chain, tmp_path / "absent")
