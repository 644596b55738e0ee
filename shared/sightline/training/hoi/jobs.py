"""The jobs behind `sightline train|evaluate|export hoi`."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sightline.networks.faster_rcnn import DetectorConfig
from sightline.networks.interactnet import InteractNetConfig
from sightline.networks.proposals import Proposing
from sightline.postprocessing.interactions import ActionScore, Composition
from sightline.training.hoi.config import TrainConfig
from sightline.training.hoi.contract import read_facts
from sightline.training.hoi.evaluate import (
    box_table,
    boxes_of,
    by_role,
    comparison,
    look_at,
    methods,
    role_scores,
    served_boxes,
    served_comparison,
)
from sightline.training.hoi.export import export as export_network
from sightline.training.hoi.fitting import fit
from sightline.training.hoi.fusion import Detector, FusedDetector
from sightline.training.hoi.heads import Recipe
from sightline.training.hoi.imitation import CHANNELS
from sightline.training.hoi.onnx_network import OnnxInteractNet
from sightline.training.hoi.packing import Sources, TeacherBoxes, read_folder, training_scenes
from sightline.training.hoi.picodet import PicoDet
from sightline.training.hoi.served import served_scenes
from sightline.training.hoi.splits import hold_out
from sightline.training.hoi.store import Packed, pack_scenes
from sightline.training.hoi.teacher import NanoDetPlus
from sightline.training.hoi.train import train as run_training
from sightline.training.hoi.vcoco import read_scenes
from sightline.training.photos import read_rgb
from sightline.training.schedule import Stage

log = logging.getLogger(__name__)
PAPER = InteractNetConfig(DetectorConfig())
LIGHT = InteractNetConfig(
    DetectorConfig(
        "efficientnet-lite0",
        width=96,
        hidden=256,
        per_class_boxes=False,
        image_px=416,
        passes=2,
        proposing=Proposing(600, 150),
    ),
    human_hidden=256,
    object_hidden=128,
    uses_classes=True,
    dropout=0.2,
)
"""What CPUs serve."""
VALIDATED = 33
"""One in so many pictures of VOC is kept to choose the best network by."""


def train(
    vcoco: list[Path],
    teacher: Path,
    out: Path,
    second_teacher: Path | None = None,
    instances: Path | None = None,
    images: Path | None = None,
    coco: Path | None = None,
    voc: Path | None = None,
    stanford40: Path | None = None,
    photos: list[Path] | None = None,
    barred_ids: Path | None = None,
    hours: float = 1.5,
    batch_size: int = 4,
    learning_rate: float = 4e-4,
    start: Path | None = None,
    loaders: int = 1,
    whole_trunk: bool = False,
    backbone: str = "efficientnet-lite0",
    paper: bool = False,
    branches_only: bool = False,
    most_lessons: int = 1500,
    seed: int = 0,
) -> None:
    """Train detector and branches together, then fit the branches on the detector; writes OUT/model.pt.

    The detector learns from true boxes, from the `teacher`'s where no one drew any, and, where its pyramid is as wide
    as the teacher's, from its features. With a `second_teacher`, PicoDet's file, the boxes are those of both teachers
    fused, each run on the picture and on its mirror image.

    `vcoco` are the official vcoco_train.json and vcoco_val.json with COCO's `instances` and `images`, or an extract
    with its pictures beside it; `coco`, `voc` and `stanford40` are folders in COCO's format. Pictures whose COCO ids
    are in `barred_ids`, such as V-COCO's test set, are never trained on, nor are the first hundred of its validation
    set. Run it again to go on where it was cut off; `start` is a checkpoint or the folder of exported weights to begin
    with, and `branches_only` takes the detector as it is.

    On CPU the stem of the trunk is frozen, and runs in the `loaders` with the teacher. A GPU trains the `whole_trunk`
    and keeps up with several loaders and batches of 32.
    """
    network = replace_backbone(PAPER if paper else LIGHT, backbone)
    px = network.detector.image_px
    store, validation = out / "store", out / "validation"
    training, held_out = hold_out(read_scenes(vcoco, instances, images))
    boxes = TeacherBoxes(label_teacher(teacher, second_teacher), out / "teacher")
    if not (validation / "truths.npz").exists():
        barred = frozenset(int(word) for word in barred_ids.read_text().split()) if barred_ids else frozenset[int]()
        sources = Sources(coco, voc, stanford40, tuple(photos or ()), VALIDATED)
        scenes = training_scenes(training, held_out, barred, sources, boxes)
        log.info("packed %d scenes", pack_scenes(scenes, store, longest_px=px))
        pack_scenes(validation_scenes(sources), validation, longest_px=px)
    if not branches_only:
        config = TrainConfig(
            str(store),
            str(validation),
            str(out / "detector"),
            seed=seed,
            validate_every_minutes=12.0,
            save_every_minutes=3.0,
            start_weights=str(start) if start else None,
            loaders=loaders,
            network=network,
            trunk=backbone,
            teacher=str(teacher) if network.detector.width == CHANNELS else None,
            trains_stem=whole_trunk,
            stages=(Stage(60 * hours, px, batch_size, learning_rate, learning_rate / 100),),
        )
        run_training(config)
    model = fit(out / "detector" / "last.pt", training, store, boxes, Recipe(seed=seed), most=most_lessons)
    model.save(out / "model.pt")


def label_teacher(teacher: Path, second_teacher: Path | None) -> Detector:
    """The detector whose boxes stand in for labels."""
    first = NanoDetPlus(teacher)
    return first if second_teacher is None else FusedDetector([first, PicoDet(second_teacher)])


def replace_backbone(config: InteractNetConfig, backbone: str) -> InteractNetConfig:
    """The network's part of NAME or NAME:PATH."""
    return replace(config, detector=replace(config.detector, backbone=backbone.partition(":")[0]))


def validation_scenes(sources: Sources) -> Iterator[Packed]:
    """What the detector is judged by while it trains: true boxes that are left out of its training."""
    for scene in read_folder(sources.voc)[::VALIDATED]:
        yield Packed(read_rgb(scene.path), (scene.width, scene.height), scene.truth, 1.0)


def evaluate(
    vcoco: list[Path],
    weights: Path = Path("services/hoi/weights/detector.onnx"),
    instances: Path | None = None,
    images: Path | None = None,
    teacher: Path | None = None,
    roles: bool = False,
    url: str | None = None,
) -> None:
    """Print AP of actions, roles and boxes on the held-out pictures beside the baselines, as Markdown.

    With the teacher's file, also on its boxes; with `roles`, each role by itself. With the `url` of a running fleet,
    what it returns is measured too.
    """
    facts = read_facts(weights)
    how = Composition(ActionScore(facts["action_score"]), facts["sigma"], facts["thresholds"]["empty_role"])
    network = OnnxInteractNet(weights.parent, facts["longest_side_px"])
    training, held_out = hold_out(read_scenes(vcoco, instances, images))
    looks = {"own boxes": look_at(network, held_out)}
    if teacher:
        looks["the teacher's boxes"] = look_at(network, held_out, NanoDetPlus(teacher).detect)
    boxes = {name: boxes_of(each) for name, each in looks.items()}
    served = served_scenes(url, held_out) if url else []
    boxes |= {"served": served_boxes(served)} if served else {}
    print(f"{len(held_out)} held-out pictures\n\n{box_table(boxes)}\n")
    if served:
        print(f"As served:\n\n{served_comparison(served)}\n")
    for name, each in looks.items():
        print(f"With {name}:\n\n{comparison(each, how, training)}\n")
        if roles:
            print(by_role(role_scores(each, methods(how, training)["InteractNet"])), "\n")


def export(checkpoint: Path, version: str, folder: Path = Path("services/hoi/weights")) -> None:
    """Write detector.onnx, interactions.onnx and their contract, checked against torch."""
    log.info("wrote %s", export_network(checkpoint, folder, version=version))
