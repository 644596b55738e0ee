"""The commands `sightline train|evaluate|export hoi`."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sightline.networks.faster_rcnn import DetectorConfig, ProposalConfig
from sightline.networks.interactnet import InteractNet, InteractNetConfig
from sightline.training.hoi.branch_training import Recipe, train_branches
from sightline.training.hoi.datasets import Scene, find_near_duplicates, hold_out, read_scenes
from sightline.training.hoi.evaluation import (
    box_table,
    comparison,
    detector_scores,
    method_scores,
    methods,
    predict_scenes,
    role_table,
    served_box_scores,
    served_comparison,
    served_scenes,
)
from sightline.training.hoi.export import composition_from, read_facts, replace_layout
from sightline.training.hoi.export import export as export_network
from sightline.training.hoi.layout_training import LAYOUT_CHECKPOINT, LayoutRecipe, save_layout, train_layout
from sightline.training.hoi.model import TrainConfig, load_start_weights
from sightline.training.hoi.predictions import OnnxInteractNet
from sightline.training.hoi.pseudo_labels import PseudoLabelCache
from sightline.training.hoi.scene_store import PackedScene, Sources, pack_scenes, read_folder, training_scenes
from sightline.training.hoi.teachers import FEATURE_CHANNELS, Detector, FusedDetector, NanoDetPlus, PicoDet
from sightline.training.hoi.train import train as train_network
from sightline.training.photos import read_rgb
from sightline.training.schedule import Stage
from sightline.training.served_model import open_served_model

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
        proposals=ProposalConfig(600, 150),
    ),
    human_hidden=256,
    object_hidden=128,
    uses_classes=True,
    dropout=0.2,
)
"""The network that is served on CPUs."""
VOC_VALIDATION_EVERY = 33
"""One in this many pictures of VOC validates the detector."""


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
    weights: str | None = None,
    paper: bool = False,
    branches_only: bool = False,
    layout_only: bool = False,
    max_examples: Annotated[int, typer.Option("--max-examples", "--most-lessons")] = 1500,
    seed: int = 0,
) -> None:
    """Train detector and branches together, then train the branches anew on the detector; writes OUT/model.pt.

    The detector learns from annotated boxes, from the `teacher`'s boxes where none were annotated, and, if its pyramid
    is as wide as the teacher's, from its features. With a `second_teacher`, PicoDet's file, the boxes of both teachers
    are fused, each applied to the picture and to its mirror image.

    `vcoco` are the official vcoco_train.json and vcoco_val.json with COCO's `instances` and `images`, or an extract
    with its pictures beside it; `coco`, `voc` and `stanford40` are folders in COCO's format. Pictures whose COCO ids
    are in `barred_ids`, such as V-COCO's test set, are not used for training, nor are the first hundred of its
    validation set. Run the command again to resume; `start` is a checkpoint or a folder of exported weights to begin
    with, and `branches_only` keeps the detector as it is. With `layout_only` the networks at `start` stay as they are,
    and only OUT/layout.pt is trained, the layout network, which needs a minute and no features. The branches also learn
    from up to `max_examples` pictures whose actions are known in part.

    `--paper --backbone resnet50` is the paper's network. ResNet-50 needs `weights` by torchvision's name, such as
    IMAGENET1K_V1, or by path.

    On a CPU the stem of the backbone is frozen and runs in the `loaders` with the teacher. A GPU trains the
    `whole_trunk` and needs several loaders and batches of 32.
    """
    network = replace_backbone(PAPER if paper else LIGHT, backbone)
    px = network.detector.image_px
    store, validation = out / "store", out / "validation"
    training, held_out = hold_out(read_scenes(vcoco, instances, images))
    if layout_only:
        if start is None:
            raise typer.BadParameter("layout_only needs `start`, whose boxes the layout network learns from")
        started = InteractNet(network)
        load_start_weights(started, start)
        train_layout_network(started.eval(), training, stanford40, teachers_of(teacher, second_teacher), out, seed)
        return
    pseudo_labels = PseudoLabelCache(make_teacher(teacher, second_teacher), out / "teacher")
    if not (validation / "truths.npz").exists():
        barred = frozenset(int(word) for word in barred_ids.read_text().split()) if barred_ids else frozenset[int]()
        sources = Sources(coco, voc, stanford40, tuple(photos or ()), VOC_VALIDATION_EVERY)
        scenes = training_scenes(training, held_out, barred, sources, pseudo_labels)
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
            trunk=f"{backbone}:{weights}" if weights else backbone,
            teacher=str(teacher) if network.detector.width == FEATURE_CHANNELS else None,
            trains_stem=whole_trunk,
            stages=(Stage(60 * hours, px, batch_size, learning_rate, learning_rate / 100),),
        )
        train_network(config)
    checkpoint, recipe = out / "detector" / "last.pt", Recipe(seed=seed)
    model = train_branches(checkpoint, training, store, pseudo_labels, recipe, max_others=max_examples)
    model.save(out / "model.pt")
    train_layout_network(model.network, training, stanford40, teachers_of(teacher, second_teacher), out, seed)


def train_layout_network(
    network: InteractNet,
    vcoco: Sequence[Scene],
    stanford40: Path | None,
    teachers: Sequence[Detector],
    out: Path,
    seed: int,
) -> None:
    """Trains the layout network on the boxes of the network and of each teacher; writes OUT/layout.pt."""
    caches = [PseudoLabelCache(each, out / "teachers" / str(at)) for at, each in enumerate(teachers)]
    others = [scene for scene in read_folder(stanford40) if scene.split == "train" and scene.action]
    save_layout(train_layout(network, caches, vcoco, others, LayoutRecipe(seed=seed)), out / LAYOUT_CHECKPOINT)


def teachers_of(teacher: Path, second_teacher: Path | None) -> list[Detector]:
    return [NanoDetPlus(teacher), *([PicoDet(second_teacher)] if second_teacher else [])]


def make_teacher(teacher: Path, second_teacher: Path | None) -> Detector:
    """The detector that makes the pseudo-labels."""
    teachers = teachers_of(teacher, second_teacher)
    return teachers[0] if len(teachers) == 1 else FusedDetector(teachers)


def replace_backbone(config: InteractNetConfig, backbone: str) -> InteractNetConfig:
    """The configuration with the backbone of NAME or NAME:WEIGHTS."""
    return replace(config, detector=replace(config.detector, backbone=backbone.partition(":")[0]))


def validation_scenes(sources: Sources) -> Iterator[PackedScene]:
    """The annotated pictures of VOC that are left out of training."""
    for scene in read_folder(sources.voc)[::VOC_VALIDATION_EVERY]:
        yield PackedScene(read_rgb(scene.path), (scene.width, scene.height), scene.truth, 1.0)


def evaluate(
    vcoco: list[Path],
    weights: Path = Path("services/hoi/weights/detector.onnx"),
    instances: Path | None = None,
    images: Path | None = None,
    teacher: Path | None = None,
    roles: bool = False,
    url: str | None = None,
    trained_on: list[Path] | None = None,
) -> None:
    """Print AP of actions, roles and boxes on the held-out pictures beside the baselines, as Markdown.

    With the `teacher`'s file, also on its boxes; with `roles`, for each role. The results of the service, in this
    process or of the running fleet at `url`, are scored too. `trained_on` are folders of the pictures that the weights
    learned from: held-out pictures that are near-duplicates of one of them, by perceptual hash, are listed and left
    out.
    """
    facts = read_facts(weights)
    composition = composition_from(facts)
    network = OnnxInteractNet(weights.parent, facts["longest_side_px"])
    training, held_out = hold_out(read_scenes(vcoco, instances, images))
    if trained_on:
        held_out = without_near_duplicates(held_out, trained_on)
    predictions = {"own boxes": predict_scenes(network, held_out)}
    if teacher:
        predictions["the teacher's boxes"] = predict_scenes(network, held_out, NanoDetPlus(teacher).detect)
    boxes = {name: detector_scores(each) for name, each in predictions.items()}
    with open_served_model("hoi", url, weights) as service:
        served = served_scenes(service, held_out)
    boxes["served"] = served_box_scores(served)
    print(f"{len(held_out)} held-out pictures\n\n{box_table(boxes)}\n")
    print(f"As served:\n\n{served_comparison(served)}\n")
    for name, each in predictions.items():
        print(f"With {name}:\n\n{comparison(each, composition, training)}\n")
        if roles:
            print(role_table(method_scores(each, methods(composition, training)["InteractNet"])), "\n")


def without_near_duplicates(held_out: Sequence[Scene], trained_on: Sequence[Path]) -> list[Scene]:
    """The scenes that are not near-duplicates of training pictures; prints the others."""
    found = find_near_duplicates(held_out, trained_on)
    print(f"{len(found)} of {len(held_out)} held-out pictures are near-duplicates of training pictures:\n")
    for each in found:
        print(f"- {each.held_out.name} of {each.trained_on.name}: {each.bits} bits")
    left_out = {each.held_out for each in found}
    return [scene for scene in held_out if scene.path not in left_out]


def export(checkpoint: Path, version: str, folder: Path = Path("services/hoi/weights")) -> None:
    """Write detector.onnx, interactions.onnx, layout.onnx and their contract, checked against PyTorch.

    Of OUT/layout.pt, only layout.onnx and the contract are written.
    """
    write = replace_layout if checkpoint.name == LAYOUT_CHECKPOINT else export_network
    log.info("wrote %s", write(checkpoint, folder, version=version))
