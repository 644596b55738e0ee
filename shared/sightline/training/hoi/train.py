"""InteractNet's task for the training loop: all heads at once on a pre-trained trunk, validated by its detections."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import starmap
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.networks.faster_rcnn import DetectionConfig, detect
from sightline.networks.interactnet import InteractNet
from sightline.training import loop
from sightline.training.data import Samples, batches
from sightline.training.hoi.annotations import Detections, GroundTruth, iou_matrix
from sightline.training.hoi.augmentation import canvas_shape, place_on_canvas
from sightline.training.hoi.average_precision import average_precision
from sightline.training.hoi.batches import Batch, SceneBatches, export_stem
from sightline.training.hoi.losses import detection_losses, imitation_loss, interaction_losses
from sightline.training.hoi.model import TrainConfig, load_start_weights, with_trunk
from sightline.training.hoi.sampling import Sampler
from sightline.training.hoi.scene_store import SceneStore
from sightline.training.hoi.teachers import TorchTeacherFeatures
from sightline.training.photos import Picture
from sightline.training.schedule import Progress, Stage

IMITATION_WEIGHT = 4.0
MATCH_IOU = 0.5


class InteractNetTask:
    """Trains the detector and its two branches on scenes with boxes and actions."""

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        self.config, self.stages = config, config.stages
        self.network = with_trunk(config.network, config.trunk)
        if config.start_weights:
            load_start_weights(self.network, Path(config.start_weights))
        self.stem_path = None if config.trains_stem else Path(config.out_folder) / "stem.onnx"
        self.network.detector.trunk.stem.requires_grad_(config.trains_stem)
        if self.stem_path and not self.stem_path.exists():
            export_stem(self.network.detector.trunk, self.stem_path)
        self.teacher_path = Path(config.teacher) if config.teacher else None
        self.teacher: TorchTeacherFeatures | None = None

    def begin_stage(self, stage: Stage, device: torch.device) -> None:
        self.network.train()
        if self.teacher_path and self.config.trains_stem:
            self.teacher = TorchTeacherFeatures(self.teacher_path).to(device)

    def batches(self, stage: Stage, *, start: int, step: int) -> Iterator[Batch]:
        store = Path(self.config.train_store)
        teacher = None if self.config.trains_stem else self.teacher_path
        make = SceneBatches(store, self.stem_path, stage.batch_size, stage.crop_px, teacher)
        done, worker = divmod(start, stage.batch_size * step)
        samples = Samples(make, seed=self.config.seed, start=done * step + worker, step=step)
        return starmap(Batch.of, batches(samples, 1, workers=self.config.loaders))

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Mapping[str, Tensor]:
        outputs = network(batch.inputs / 255 if batch.has_pictures else batch.inputs, Sampler(batch))
        deltas = self.network.detector.class_deltas(outputs.deltas, outputs.regions.labels.clamp_min(0))
        losses = {**detection_losses(outputs, deltas), **interaction_losses(outputs)}
        if self.teacher_path:
            taught = self.teacher(batch.inputs) if self.teacher else (batch.teacher_features, batch.teacher_scores)
            losses["imitation"] = IMITATION_WEIGHT * imitation_loss(outputs.levels, *taught)
        return losses

    def validator(self) -> loop.Score:
        return Validator(Path(self.config.validation_folder))


def train(config: TrainConfig) -> Progress:
    return loop.train(lambda: InteractNetTask(config))


class Validator:
    """Scores a network by the mean AP at IoU 0.5 over the classes of a scene store."""

    def __init__(self, folder: Path) -> None:
        store = SceneStore(folder)
        self.scenes = [store[at] for at in range(len(store))]

    def __call__(self, network: nn.Module, device: torch.device) -> float:
        detector = cast(InteractNet, network)
        px = detector.config.detector.image_px
        detections = [detect_in_picture(detector, picture, px, device) for picture, _ in self.scenes]
        return mean_ap_50(detections, [truth for _, truth in self.scenes])


def detect_in_picture(network: InteractNet, picture: Picture, longest_px: int, device: torch.device) -> Detections:
    """Detections in a picture whose longest side is `longest_px`."""
    placed = place_on_canvas(picture, canvas_shape(picture.shape[:2], longest_px))
    image = torch.from_numpy(placed).permute(2, 0, 1)[None].float().to(device) / 255
    with torch.inference_mode():
        levels = network.detector.levels(image)
        detections = detect(network.detector, levels, (image.shape[2], image.shape[3]), DetectionConfig())
    return Detections(detections.boxes.cpu().numpy(), detections.labels.cpu().numpy(), detections.scores.cpu().numpy())


def mean_ap_50(detections: Sequence[Detections], truths: Sequence[GroundTruth]) -> float:
    """Mean AP over the annotated classes; detections on boxes of confidence 0 are not counted."""
    present = np.unique(np.concatenate([truth.labels[truth.confidence > 0] for truth in truths]))
    return float(np.mean([_class_ap_50(detections, truths, int(label)) for label in present]))


def _class_ap_50(detections: Sequence[Detections], truths: Sequence[GroundTruth], label: int) -> float:
    is_right: list[NDArray[np.bool_]] = []
    scores: list[NDArray[np.float32]] = []
    count = 0
    for every, truth in zip(detections, truths, strict=True):
        of_class, annotated = every.where(every.labels == label), truth.labels == label
        count += int((annotated & (truth.confidence > 0)).sum())
        hits, counted = _match(of_class, truth, annotated)
        is_right.append(hits[counted])
        scores.append(of_class.scores[counted])
    return average_precision(np.concatenate(is_right), np.concatenate(scores), count)


def _match(
    detections: Detections, truth: GroundTruth, annotated: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Detections, by falling score, that are the first on an annotated box; and those that count at all."""
    overlaps = iou_matrix(detections.boxes_xyxy, truth.boxes_xyxy[annotated])
    ignored = truth.confidence[annotated] == 0
    hits, counted = np.zeros(len(detections), bool), np.ones(len(detections), bool)
    matched = np.zeros(len(ignored), bool)
    for at in range(len(detections)):
        best = int(overlaps[at].argmax()) if overlaps.shape[1] else -1
        if best < 0 or overlaps[at, best] < MATCH_IOU:
            continue
        counted[at] = not ignored[best]
        hits[at] = not matched[best] and not ignored[best]
        matched[best] = True
    return hits, counted
