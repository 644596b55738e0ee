"""Weights files: those shipped with a model or named by the settings, their digests, and their external data.

ONNX Runtime does not report the files that hold a graph's external data, and containers carry no package `onnx`, so
this module reads the few fields that matter out of the protocol buffer (onnx.proto, "external data").
"""

import hashlib
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import structlog

from sightline.api.evidence import DetectorIdentity, ModelIdentity
from sightline.inference.contract import Contract, ContractError, read_contract
from sightline.inference.settings import InferenceSettings
from sightline.inference.signature import ModelSignature

log = structlog.get_logger()

SHIPPED = "shipped"
BLOCK_BYTES = 1024 * 1024

LOCATION = b"location"
KEY, VALUE = 1, 2
VARINT, BYTES = 0, 2
FIXED_BYTES = {1: 8, 5: 4}  # by wire type
# By message, the numbers of the fields that lead to tensors, and the messages that they hold.
FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}


@dataclass(frozen=True, slots=True)
class Weights:
    """An ONNX file with its contract, and the further files that the contract names.

    `sha256` is of the file's bytes, followed by those of its parts in the order of their names; after each file come
    the files that hold its external data, in the order of their paths. With a `detector` in front of the model, it is
    of both digests in hexadecimal. `digests` are of all these files, by their paths.
    """

    path: Path
    sha256: str
    contract: Contract
    shipped: bool
    parts: Mapping[str, Path] = field(default_factory=dict)
    detector: DetectorIdentity | None = None
    detector_verified: bool = True
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def verified(self) -> bool:
        """True if the contracts have the SHA-256 of each file, so that no other files were loaded."""
        return bool(self.contract.sha256) and self.detector_verified

    def square_sides_px(self, signature: ModelSignature) -> list[int]:
        """The sides of the pictures that the weights take, smallest first; ContractError where one is not square."""
        sizes = [(bucket["h"], bucket["w"]) for bucket in self.contract.adapt(signature).buckets]
        if oblong := [f"{height}x{width}" for height, width in sizes if height != width]:
            raise ContractError(f"{self.contract.name}: the model needs square pictures, {oblong[0]} is not one")
        return sorted(height for height, _ in sizes)

    def identity(self, name: str) -> ModelIdentity:
        return ModelIdentity(
            name=name,
            version=self.contract.version,
            weights_sha256=self.sha256,
            contract=SHIPPED if self.shipped else self.contract.name,
            detector=self.detector,
        )


def resolve_weights(settings: InferenceSettings, shipped: Path) -> Weights:
    """Returns the weights that the settings name, else those at `shipped`; the contract lies beside as .toml."""
    path = settings.weights or shipped
    contract = (settings.contract if settings.weights else None) or path.with_suffix(".toml")
    return load_weights(path, contract, shipped=settings.weights is None)


def load_weights(path: Path, contract: Path, *, shipped: bool) -> Weights:
    """Reads every file once. Raises ContractError where one is missing or differs from its digest in the contract."""
    if not path.is_file():
        raise ContractError(f"{path}: the weights cannot be read: no such file")
    declared = read_contract(contract)
    parts = {name: path.with_name(file) for name, file in sorted(declared.parts.items())}
    sha256, digests = digest_files([path, *parts.values()])
    verify_digests(declared.name, declared.sha256, digests, contract)
    return Weights(path, sha256, declared, shipped, parts, digests=digests)


def digest_files(graphs: Sequence[Path]) -> tuple[str, dict[str, str]]:
    """Returns the SHA-256 of all graphs of a folder with their external data, and that of each file by its path."""
    whole, digests, folder = hashlib.sha256(), dict[str, str](), graphs[0].parent
    for file in _files(graphs):
        digests[file.relative_to(folder).as_posix()] = _digest_file(file, whole)
    return whole.hexdigest(), digests


def _files(graphs: Sequence[Path]) -> Iterator[Path]:
    """Yields the graphs, each followed by the files that hold its external data."""
    for graph in graphs:
        yield graph
        for location in external_files(graph):
            if not is_below(location):
                raise ContractError(f"{graph}: its external data must lie beside it, not at {location!r}")
            yield graph.parent / location


def _digest_file(path: Path, whole: "hashlib._Hash") -> str:
    """Returns the file's SHA-256, and updates `whole` with its bytes."""
    own = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                own.update(block)
                whole.update(block)
    except OSError as error:
        raise ContractError(f"{path}: the weights cannot be read: {error.strerror}") from error
    return own.hexdigest()


def verify_digests(name: str, expected: Mapping[str, str], digests: Mapping[str, str], contract: Path) -> None:
    """Compares the digests of files with those of their contract. Raises ContractError where one differs."""
    if not expected:
        log.warning("weights_not_verified", contract=name, detail="The contract names no SHA-256 of its files.")
        return
    if odd := sorted(expected.keys() ^ digests.keys()):
        named = "names no SHA-256 of" if odd[0] in digests else "names the SHA-256 of a file that the weights lack:"
        raise ContractError(f"{contract}: the contract {named} {odd[0]}")
    for file, digest in digests.items():
        if digest != expected[file]:
            raise ContractError(
                f"{contract.parent / file}: its SHA-256 is {digest}, the contract says {expected[file]}; the file "
                "is damaged, or was replaced without its contract"
            )


def external_files(path: Path) -> list[str]:
    """Returns the relative paths that the file names, sorted and unique; none for a file that is not ONNX."""
    with path.open("rb") as file:
        try:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            return sorted(set(_locations(data, "model")))
        except ValueError:  # empty, or no protocol buffer: ONNX Runtime will say so
            return []


def is_below(location: str) -> bool:
    """Returns whether a path leads to the same folder or one below it."""
    path = PurePosixPath(location)
    return not path.is_absolute() and bool(path.parts) and ".." not in path.parts


def _locations(message: memoryview, kind: str) -> Iterator[str]:
    for number, part in _fields(message):
        inner = FIELDS[kind].get(number)
        if inner == "entry":
            entry = {number: bytes(text) for number, text in _fields(part)}
            if entry.get(KEY) == LOCATION:
                yield entry.get(VALUE, b"").decode("utf-8", "surrogateescape")
        elif inner is not None:
            yield from _locations(part, inner)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields numbers and bytes of the fields that are messages or bytes. Raises ValueError for anything else."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            _, at = _varint(message, at)
        elif wire_type == BYTES:
            size, at = _varint(message, at)
            yield number, message[at : at + size]
            at += size
        elif wire_type in FIXED_BYTES:
            at += FIXED_BYTES[wire_type]
        else:
            raise ValueError("not a protocol buffer")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Returns the number at `at`, and the position after it."""
    value = 0
    for place in range(10):
        if at + place >= len(message):
            break
        value |= (message[at + place] & 0x7F) << (7 * place)
        if message[at + place] < 0x80:
            return value, at + place + 1
    raise ValueError("not a protocol buffer")
