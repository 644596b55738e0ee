"""The training pictures of all data sets as one store."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sightline.training.hoi.coco import Scene, read_coco
from sightline.training.hoi.detections import Detections
from sightline.training.hoi.distillation import VOC_CLASSES, taught
from sightline.training.hoi.fusion import Detector
from sightline.training.hoi.splits import unlike
from sightline.training.hoi.stanford40 import with_action
from sightline.training.hoi.store import Packed
from sightline.training.hoi.truth import boxes_only
from sightline.training.photos import list_photos, read_rgb

log = logging.getLogger(__name__)
LOG_EVERY = 500
WEIGHTS = {"vcoco": 4.0, "coco": 3.0, "voc": 1.0, "stanford40": 1.0, "photos": 1.0}
"""How often a picture is drawn: the few with all of their boxes true more often."""
LEAST_INTERESTING = 0.4
"""The teacher's best score in a photo that is worth training on."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Folders in COCO's format, `annotations.json` beside `images/`, and folders of photos; None or () leaves them out.

    One in `voc_validated` pictures of VOC, if that is not 0, is not trained on.
    """

    coco: Path | None = None
    voc: Path | None = None
    stanford40: Path | None = None
    photos: tuple[Path, ...] = ()
    voc_validated: int = 0


def training_scenes(
    vcoco: Sequence[Scene], held_out: Sequence[Scene], barred: frozenset[int], sources: Sources, boxes: "TeacherBoxes"
) -> Iterator[Packed]:
    """What is neither held out nor like it, and has none of the barred COCO ids."""
    is_unlike = unlike(held_out)
    barred |= {each.coco_id for each in held_out if each.coco_id}
    seen = {each.coco_id for each in vcoco}
    for packed, coco_id in _all_scenes(vcoco, sources, boxes, seen):
        if coco_id not in barred and is_unlike(packed.picture):
            yield packed


def _all_scenes(
    vcoco: Sequence[Scene], sources: Sources, boxes: "TeacherBoxes", seen: set[int | None]
) -> Iterator[tuple[Packed, int | None]]:
    for scene in vcoco:
        yield _packed(scene, WEIGHTS["vcoco"]), scene.coco_id
    for scene in read_folder(sources.coco):
        if scene.coco_id not in seen:
            yield _packed(scene, WEIGHTS["coco"]), scene.coco_id
    for at, scene in enumerate(_taught("voc", read_folder(sources.voc), boxes)):
        if sources.voc_validated and at % sources.voc_validated == 0:
            continue
        yield _packed(scene, WEIGHTS["voc"]), scene.coco_id
    shown = [scene for scene in read_folder(sources.stanford40) if scene.split == "train" and scene.action]
    for scene in _taught("stanford40", shown, boxes):
        truth = with_action(scene.truth, scene.action or "")
        yield _packed(replace(scene, truth=truth), WEIGHTS["stanford40"]), scene.coco_id
    for folder in sources.photos:
        yield from ((photo, None) for photo in _photos(folder, boxes))


def read_folder(folder: Path | None) -> list[Scene]:
    return list(read_coco(folder / "annotations.json", folder / "images")) if folder else []


def _packed(scene: Scene, weight: float) -> Packed:
    return Packed(read_rgb(scene.path), (scene.width, scene.height), scene.truth, weight)


def _taught(name: str, scenes: Sequence[Scene], boxes: "TeacherBoxes") -> Iterator[Scene]:
    found = boxes.of(name, [scene.path for scene in scenes])
    known = VOC_CLASSES if name == "voc" else ()
    for scene in scenes:
        given = found[scene.path.name].scaled(scene.width, scene.height)
        yield replace(scene, truth=taught(scene.truth, given, known))


def _photos(folder: Path, boxes: "TeacherBoxes") -> Iterator[Packed]:
    paths = list_photos(folder)
    found = boxes.of(folder.name, paths)
    nothing = boxes_only(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    for path in paths:
        if found[path.name].scores.max(initial=0) >= LEAST_INTERESTING:
            picture = read_rgb(path)
            height, width = picture.shape[:2]
            truth = taught(nothing, found[path.name].scaled(width, height))
            yield Packed(picture, (width, height), truth, WEIGHTS["photos"])


class TeacherBoxes:
    """What the teacher sees in folders of pictures, as shares of their sides; kept on disk, a file for each folder."""

    def __init__(self, teacher: Detector, folder: Path) -> None:
        self.teacher, self.folder = teacher, folder

    def of(self, name: str, paths: Sequence[Path]) -> Mapping[str, Detections]:
        """By file name."""
        if not paths:
            return {}
        kept = self.folder / f"{name}.npz"
        if not kept.exists():
            self._label(name, paths, kept)
        with np.load(kept) as saved:
            ends, every = saved["at"], Detections(saved["boxes"], saved["labels"], saved["scores"])
            names = saved["names"].tolist()
        return {Path(file).name: every.where(np.arange(*ends[at : at + 2])) for at, file in enumerate(names)}

    def _label(self, name: str, paths: Sequence[Path], kept: Path) -> None:
        found = []
        for at, path in enumerate(paths):
            picture = read_rgb(path)
            height, width = picture.shape[:2]
            found.append(self.teacher.detect(picture).scaled(1 / width, 1 / height))
            if at % LOG_EVERY == 0:
                log.info("the teacher has seen %d of %d pictures of %s", at, len(paths), name)
        columns = {
            "boxes": np.concatenate([each.boxes_xyxy for each in found]),
            "labels": np.concatenate([each.labels for each in found]),
            "scores": np.concatenate([each.scores for each in found]),
        }
        ends = np.cumsum([0, *(len(each) for each in found)])
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".part.npz")
        np.savez(partial, at=ends, names=np.array([str(path) for path in paths]), **columns)  # type: ignore[arg-type]
        partial.replace(kept)
