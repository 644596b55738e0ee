"""Labelled pictures, from class folders or from a manifest with their sources."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sightline.api.screening import CATEGORIES, Category
from sightline.imaging.perceptual_hash import near_duplicates, perceptual_hash
from sightline.training.photos import list_photos, read_rgb

MANIFEST = "manifest.csv"
MIN_SUPPORT = 30
"""Classes with fewer pictures count as not learned, also in the service."""
INDEX = {category: at for at, category in enumerate(CATEGORIES)}


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled picture. All pictures of a `source` (a repository, a video, or copies of one picture) stay in one
    split."""

    path: Path
    category: Category
    source: str
    split: str = ""

    @property
    def label(self) -> int:
        return INDEX[self.category]


def read_examples(folder: Path) -> list[Example]:
    """Reads `manifest.csv` (columns file, class, source_repo and split) if there is one, else class folders.

    The manifest.csv of a set that `sightline data fetch` rebuilt has name, label and repository for the first three.

    Folders may be nested in splits such as `train_val/` and `test/`. Their names match in any case, with spaces,
    hyphens or underscores. ValueError if there are no pictures, or a class is unknown.
    """
    manifest = folder / MANIFEST
    examples = _by_manifest(manifest) if manifest.exists() else _by_folders(folder)
    if not examples:
        raise ValueError(f"no pictures in class folders under {folder}; the classes are {', '.join(CATEGORIES)}")
    return examples


def _by_manifest(manifest: Path) -> list[Example]:
    with manifest.open(newline="", encoding="utf-8") as file:
        return [
            Example(
                manifest.parent / (row.get("file") or row["name"]),
                category_of(row.get("class") or row["label"]),
                row.get("source_repo") or row["repository"],
                row["split"],
            )
            for row in csv.DictReader(file)
        ]


def _by_folders(folder: Path) -> list[Example]:
    examples = []
    for path in list_photos(folder):
        parts = path.relative_to(folder).parts
        if len(parts) > 1 and _key(parts[-2]) in set(CATEGORIES):
            examples.append(Example(path, category_of(parts[-2]), str(path), "/".join(parts[:-2])))
    return with_copies_joined(examples)


def category_of(name: str) -> Category:
    try:
        return Category(_key(name))
    except ValueError:
        raise ValueError(f"no class is named {name!r}; use one of {', '.join(CATEGORIES)}") from None


def _key(name: str) -> str:
    return "_".join(name.lower().replace("-", " ").replace("_", " ").split())


def with_copies_joined(examples: Sequence[Example]) -> list[Example]:
    """Examples in which near-duplicates, such as frames of one video, share a source and thus a split."""
    joined = list(examples)
    for group in near_duplicates([perceptual_hash(read_rgb(each.path)) for each in examples]):
        for at in group:
            joined[at] = replace(joined[at], source=examples[group[0]].source)
    return joined


def support(examples: Sequence[Example]) -> dict[Category, int]:
    """Number of pictures of each class."""
    counts = Counter(example.category for example in examples)
    return {category: counts[category] for category in CATEGORIES}


def supported(counts: Mapping[Category, int]) -> frozenset[Category]:
    """Classes with enough pictures to be learned."""
    return frozenset(category for category, count in counts.items() if count >= MIN_SUPPORT)
