import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torchvision import models

from sightline.networks.faster_rcnn import DetectionConfig
from sightline.networks.interactnet import InteractNet, interact
from sightline.postprocessing.interactions import ActionScore, Composition
from sightline.training.checkpoints import load_checkpoint
from sightline.training.export import quantized
from sightline.training.hoi.annotations import SLOTS, Detections
from sightline.training.hoi.batches import FrozenStem, SceneBatches
from sightline.training.hoi.branch_examples import RANDOM_AUGMENTATIONS, FeatureExtractor, partially_labelled_examples
from sightline.training.hoi.branch_training import (
    EMPTY_ROLES,
    SIGMAS,
    Recipe,
    branch_losses,
    fit_branches,
    train_branches,
)
from sightline.training.hoi.datasets import Scene, hold_out
from sightline.training.hoi.evaluation import comparison, method_scores, methods, predict_scenes
from sightline.training.hoi.export import ExportedDetector, export, read_facts, rounded
from sightline.training.hoi.jobs import LIGHT, PAPER, replace_backbone
from sightline.training.hoi.model import (
    Model,
    TrainConfig,
    load_model,
    load_start_weights,
    network_config_from,
    with_trunk,
)
from sightline.training.hoi.predictions import BoxTensors, OnnxInteractNet
from sightline.training.hoi.pseudo_labels import PseudoLabelCache
from sightline.training.hoi.scene_store import PackedScene, SceneStore, pack_scenes
from sightline.training.hoi.train import InteractNetTask, train
from sightline.training.photos import read_rgb
from sightline.training.schedule import Stage
from tests.training.hoi.conftest import SMALL

NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
SHORT = Stage(minutes=2 / 60, crop_px=96, batch_size=4, learning_rate=1e-3)


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training, once resumed."""
    out = tmp_path_factory.mktemp("run")
    config = TrainConfig(str(store), str(store), str(out), network=SMALL, stages=(SHORT,), precision="fp32")
    first = train(config)
    second = train(replace(config, stages=(SHORT, SHORT)))
    assert (first.stage, second.stage) == (1, 2)
    assert second.samples == 4 * second.step > 4 * first.step
    return out


def test_network_config_of_an_older_checkpoint_is_read() -> None:
    saved = asdict(SMALL)
    saved["detector"]["proposing"] = saved["detector"].pop("proposals")

    assert network_config_from(saved) == SMALL


def test_checkpoint_contains_the_network_configuration(run: Path) -> None:
    assert network_config_from(load_checkpoint(run / "best.pt")["config"]["network"]) == SMALL


def test_training_starts_from_a_checkpoint(run: Path, store: Path, tmp_path: Path) -> None:
    config = TrainConfig(str(store), str(store), str(tmp_path), network=SMALL, start_weights=str(run / "best.pt"))

    begun = InteractNetTask(config).network.state_dict()

    torch.testing.assert_close(begun, load_checkpoint(run / "best.pt")["average"])


def test_exported_stem_equals_torch(run: Path) -> None:
    network = load_model(run / "last.pt").network
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network.detector.trunk.shallow(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255)

    np.testing.assert_allclose(FrozenStem(run / "stem.onnx")(pictures), expected.numpy(), atol=1e-3)


def test_batch_depends_on_its_seed_alone(run: Path, store: Path) -> None:
    batches = [SceneBatches(store, run / "stem.onnx", 3, 96)(np.random.default_rng((0, 5))) for _ in range(2)]

    for one, two in zip(*batches, strict=True):
        np.testing.assert_array_equal(one, two)
    assert batches[0][0].shape == (3, 40, 12, 12)


def test_branches_learn_from_examples(run: Path, scenes: list[Scene]) -> None:
    network = load_model(run / "last.pt").network
    extractor = FeatureExtractor(network, run / "stem.onnx")
    rng = np.random.default_rng(0)
    made = [each for scene in scenes[:8] for each in extractor.extract(scene, NOTHING, rng).examples]
    recipe = Recipe(steps=40, batch_size=8, learning_rate=3e-3)

    fitted = fit_branches(network, made, torch.ones(len(made)), recipe)

    assert len(made) == 8 * (2 + RANDOM_AUGMENTATIONS)
    with torch.inference_mode():
        before, after = (
            sum(float(loss) for loss in branch_losses(each, made, recipe).values()) for each in (network, fitted)
        )
    assert after < 0.7 * before
    assert fitted.detector is network.detector


def test_branch_training_chooses_a_composition(
    run: Path, store: Path, scenes: list[Scene], boxes: PseudoLabelCache
) -> None:
    fitted = train_branches(run / "last.pt", scenes[:10], store, boxes, Recipe(steps=5, batch_size=4), max_others=5)

    assert fitted.composition.sigma in SIGMAS
    assert fitted.composition.empty_role in EMPTY_ROLES
    before = load_model(run / "last.pt").network
    assert torch.equal(fitted.network.detector.box_head.logits.weight, before.detector.box_head.logits.weight)
    assert not torch.equal(fitted.network.human.actions.weight, before.human.actions.weight)


def test_partially_labelled_scenes_become_examples(run: Path, scenes: list[Scene], tmp_path: Path) -> None:
    truth = replace(scenes[0].truth, actions=scenes[0].truth.actions.copy())
    truth.actions[0, 20:] = -1
    picture = read_rgb(scenes[0].path)
    pack_scenes(
        [PackedScene(picture, (96, 72), each, 1.0) for each in (truth, scenes[1].truth)], tmp_path, longest_px=96
    )
    extractor = FeatureExtractor(load_model(run / "last.pt").network, run / "stem.onnx")

    (made,) = partially_labelled_examples(extractor, SceneStore(tmp_path), max_scenes=5, seed=0)

    assert made.actions.min() == -1


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    network = with_trunk(SMALL, "efficientnet-lite0").eval()
    # Scores of an untrained network are too even for a detection.
    torch.nn.init.normal_(network.detector.box_head.logits.weight, std=0.5)
    # The exporter stores constants that are equal once, as the zeros of these would be.
    for layer in (network.detector.proposals.deltas, network.human.targets):
        assert layer.bias is not None
        torch.nn.init.normal_(layer.bias, std=0.01)
    return Model(network, Composition(ActionScore.PAIR, sigma=0.7, empty_role=0.02))


@pytest.fixture(scope="module")
def exported(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    model.save(folder / "model.pt")
    return export(folder / "model.pt", folder / "weights", version="1.2.3")


def test_saved_model_is_loaded_unchanged(model: Model, exported: Path) -> None:
    again = load_model(exported.parent.parent / "model.pt")

    assert again.composition == model.composition
    torch.testing.assert_close(again.network.state_dict(), model.network.state_dict())


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (128, 96)])
def test_exported_detector_equals_torch(model: Model, exported: Path, size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) * 255
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])

    given = session.run(None, {"image": image.numpy()})

    with torch.inference_mode():
        expected = ExportedDetector(rounded(model.network), DetectionConfig())(image)
    assert len(given[1]) > 0
    for one, two in zip(given, expected, strict=True):
        np.testing.assert_allclose(one, two.numpy(), atol=1e-2)


@pytest.mark.parametrize(("people", "objects"), [(0, 0), (0, 2), (1, 1), (3, 7)])
def test_exported_interactions_equal_torch(model: Model, exported: Path, people: int, objects: int) -> None:
    generator = torch.Generator().manual_seed(0)
    levels = [torch.randn(1, 16, 96 // stride, 64 // stride, generator=generator) for stride in (8, 16, 32)]
    corners = torch.rand(people + objects, 2, generator=generator) * 40
    boxes = torch.cat([corners, corners + 20], 1)
    labels = torch.arange(people + objects) % 80
    seen = BoxTensors(boxes, torch.full((people + objects,), 0.5), labels, torch.arange(people))

    said = OnnxInteractNet(exported.parent, 96).interact(
        {f"p{at + 3}": level.numpy() for at, level in enumerate(levels)}, seen
    )

    with torch.inference_mode():
        scores = torch.nn.functional.one_hot(labels, 80) * 0.5
        expected = interact(rounded(model.network), levels, boxes[:people], boxes, scores)
    assert said.targets.shape == (people, len(SLOTS), 4)
    for name in ("actions", "targets", "person_logits", "object_logits"):
        torch.testing.assert_close(getattr(said, name), getattr(expected, name), atol=1e-2, rtol=1e-2)


def test_contract_contains_the_services_facts(exported: Path) -> None:
    contract = tomllib.loads(exported.with_suffix(".toml").read_text())
    facts = read_facts(exported)

    assert (contract["version"], contract["multiple_of"]) == ("1.2.3", 32)
    assert contract["parts"] == {"interactions": "interactions.onnx"}
    assert contract["sha256"].keys() == {"detector.onnx", "interactions.onnx"}
    assert facts["longest_side_px"] == 96
    assert facts["slots"][0] == ["hold", "obj"]
    assert facts["slots"][1] == ["stand"]
    assert (facts["sigma"], facts["thresholds"]["empty_role"]) == (0.7, 0.02)
    assert facts["allowed"]["kick-obj"] == ["sports ball"]


def test_training_starts_from_exported_weights(model: Model, exported: Path) -> None:
    network = with_trunk(SMALL, "efficientnet-lite0")

    load_start_weights(network, exported.parent)

    torch.testing.assert_close(network.state_dict(), rounded(model.network).state_dict(), atol=1e-6, rtol=1e-3)


def test_exported_weights_of_another_network_are_rejected(exported: Path) -> None:
    wider = replace(SMALL, human_hidden=2 * SMALL.human_hidden)

    with pytest.raises(ValueError, match="another network"):
        load_start_weights(with_trunk(wider, "efficientnet-lite0"), exported.parent)


def test_large_weights_are_stored_as_int8_and_fp16(exported: Path) -> None:
    for path in (exported, exported.with_name("interactions.onnx")):
        large = [each for each in onnx.load(path).graph.initializer if np.prod(each.dims) >= 1024]
        kinds = {each.data_type: len(each.dims) for each in large}
        assert kinds.pop(onnx.TensorProto.INT8) == 2
        assert kinds.keys() <= {onnx.TensorProto.FLOAT16}


def test_quantization_error_is_at_most_half_a_step() -> None:
    weights = np.random.default_rng(0).normal(size=(5, 300)).astype(np.float32) * [[1], [10], [0], [0.01], [3]]

    whole, scale = quantized(weights.astype(np.float32))

    assert np.abs(whole).max(1).tolist() == [127, 127, 0, 127, 127]
    assert (np.abs(whole * scale - weights) <= scale / 2 + 1e-7).all()


def test_evaluation_compares_with_baselines(exported: Path, scenes: list[Scene]) -> None:
    training, held_out = hold_out(scenes, 2)

    predictions = predict_scenes(OnnxInteractNet(exported.parent, 96), held_out)

    table = comparison(predictions, Composition(), training)
    for name in ("InteractNet", "without target localisation", "without interaction branch", "prior, near"):
        assert f"| {name} |" in table
    scores = method_scores(predictions, methods(Composition(), training)["prior"])
    assert scores.truths["ride"] == 1


def test_paper_configuration_takes_a_training_step_on_torchvision_weights(store: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    resnet = models.resnet50(weights=None)
    torch.save(resnet.state_dict(), tmp_path / "resnet50.pth")
    stage = Stage(minutes=1, crop_px=96, batch_size=1, learning_rate=1e-3)
    network = replace(PAPER, detector=replace(PAPER.detector, image_px=96))
    trunk = f"resnet50:{tmp_path / 'resnet50.pth'}"
    config = TrainConfig(str(store), str(store), str(tmp_path), loaders=0, network=network, trunk=trunk)
    task = InteractNetTask(replace(config, trains_stem=True))
    task.begin_stage(stage, torch.device("cpu"))
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        features = torch.nn.Sequential(*list(resnet.eval().children())[:6])(
            (image - task.network.detector.trunk.mean) / task.network.detector.trunk.std
        )
        torch.testing.assert_close(task.network.detector.trunk.shallow(image), features, rtol=1e-3, atol=1e-3)
    before = {name: weight.detach().clone() for name, weight in task.network.named_parameters()}
    losses = task.losses(task.network, next(task.batches(stage, start=0, step=1)), stage)

    torch.stack(list(losses.values())).sum().backward()
    torch.optim.SGD(task.network.parameters(), 1e-3).step()

    changed = {name for name, weight in task.network.named_parameters() if not torch.equal(weight, before[name])}
    assert losses.keys() == {"rpn_object", "rpn_box", "class", "box", "action", "target", "pair"}
    assert {"detector.trunk.stem.0.weight", "detector.box_head.deltas.weight", "human.actions.weight"} <= changed


def test_networks_of_the_paper_and_of_the_service_are_built() -> None:
    network = InteractNet(replace_backbone(PAPER, "resnet50:/some/weights.pth"))

    assert network.detector.box_head.deltas.out_features == 320
    assert network.human.actions.out_features == 29
    parameters = sum(each.numel() for each in InteractNet(LIGHT).parameters())
    assert 2 * parameters < 14e6
