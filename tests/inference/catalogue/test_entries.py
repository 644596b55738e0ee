from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline.inference.catalogue.entries import (
    Catalogue,
    CatalogueEntry,
    CatalogueError,
    Quality,
    read_catalogue,
    shipped_catalogue,
)

MakeEntry = Callable[..., CatalogueEntry]
HOST_CASES = [("hf.co", True), ("cdn-lfs.hf.co", True), ("nothf.co", False), ("hf.co.example.org", False)]


@pytest.fixture
def entry(tmp_path: Path) -> MakeEntry:
    def make(name: str = "one", **fields: Any) -> CatalogueEntry:
        known = {
            "name": name,
            "title": "One",
            "model": "hoi",
            "file": "one.onnx",
            "sources": ("https://example.org/one.onnx",),
            "size_bytes": 9,
            "licence": "MIT",
            "licence_url": "https://example.org",
            "contract": "one.toml",
            "contracts_folder": tmp_path,
        }
        return CatalogueEntry.model_validate(known | fields)

    return make


def quality(value: float, **fields: Any) -> Quality:
    return Quality.model_validate({"measure": "AP", "value": value, "shipped": 10.0} | fields)


def test_shipped_entries_have_their_contracts_and_use_tls() -> None:
    entries = list(shipped_catalogue())
    assert {"picodet-s-416", "nanodet-plus-m-416", "lama", "resnet50", "vgg16", "vgg19"} == {
        each.name for each in entries
    }
    assert all(each.contract_path.is_file() for each in entries if each.contract_path)
    assert all(source.startswith("https://") for each in entries for source in each.sources)


def test_digests_are_compared_as_far_as_they_are_known(entry: MakeEntry) -> None:
    right, wrong = "ab" * 32, "cd" * 32
    for fields in ({"sha256": right}, {"published_sha256": right}, {"sha256_prefix": right[:8]}):
        assert entry(**fields).contradicts(right) is None
        assert entry(**fields).contradicts(wrong) is not None
    assert entry().contradicts(wrong) is None


@pytest.mark.parametrize(("host", "allowed"), HOST_CASES)
def test_redirect_hosts_include_their_subdomains_alone(entry: MakeEntry, host: str, allowed: bool) -> None:
    assert entry(redirect_hosts=("hf.co",)).allows_host(host) is allowed


def test_stronger_entry_is_the_best_measured_one(entry: MakeEntry) -> None:
    entries = [entry("good", quality=quality(12)), entry("best", quality=quality(15)), entry("unmeasured")]
    catalogue = Catalogue({each.name: each for each in entries})
    assert catalogue.stronger("hoi") == entries[1]
    assert catalogue.stronger("hoi", "good") == entries[1]
    assert catalogue.stronger("hoi", "best") is None
    assert catalogue.stronger("hoi", "unmeasured") is None
    assert catalogue.stronger("inpaint") is None


def test_entries_that_are_weaker_or_measured_otherwise_are_not_stronger(entry: MakeEntry) -> None:
    weak = entry("weak", quality=quality(9))
    distance = entry("distance", quality=quality(11, measure="LPIPS", higher_is_better=False))
    other = entry("other", quality=quality(50, measure="AP50"))
    assert Catalogue({"weak": weak, "distance": distance}).stronger("hoi") is None
    assert Catalogue({"weak": weak, "other": other}).stronger("hoi", "weak") is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[", "not TOML"),
        ("a = 1", "must be a table"),
        ('[a]\ntitle = "x"', r"a\.model: Field required"),
    ],
)
def test_faulty_catalogue_is_refused_with_its_place(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(CatalogueError, match=rf"own\.toml: .*{fault}"):
        read_catalogue(file)
