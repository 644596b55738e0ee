import pytest
import torch

from sightline.networks.svbrdf_net import TYPES, SvbrdfConfig, SvbrdfNet, face_camera

SMALL = SvbrdfConfig(encoder=(8, 16, 16), decoder=(16, 8, 8), out_kernel=3)


def test_full_network_has_the_expected_number_of_parameters() -> None:
    network = SvbrdfNet(SvbrdfConfig())

    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(44e6, rel=0.01)
    assert network.config.stride == 128


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        SvbrdfConfig((8, 16, 16), (16, 8, 8), 5, types=1),
        SvbrdfConfig((8, 16, 16), (16, 8, 8), 1, types=3, coordinates=False),
    ],
    ids=["classes", "no classes", "no coordinates"],
)
def test_maps_have_the_size_of_the_photo_and_lie_in_their_ranges(config: SvbrdfConfig) -> None:
    photo, coordinates = 5 * torch.rand(2, 3, 24, 16), 2 * torch.rand(2, 2, 24, 16) - 1

    with torch.inference_mode():
        result = SvbrdfNet(config).eval()(photo, coordinates)

    assert result.albedo.shape == result.normal.shape == (2, 3, 24, 16)
    assert result.roughness.shape == (2, 1, 24, 16)
    assert result.logits.shape == (2, config.types)
    for maps in (result.albedo, result.roughness):
        assert 0 <= maps.min() <= maps.max() <= 1
    torch.testing.assert_close(result.normal.norm(dim=1), torch.ones(2, 24, 16), atol=1e-4, rtol=0)
    assert result.normal[:, 2].min() > 0


def test_classifier_selects_the_maps_of_a_type() -> None:
    network = SvbrdfNet(SMALL).eval()
    photo, coordinates = torch.rand(1, 3, 8, 8), torch.zeros(1, 2, 8, 8)
    assert network.classifier is not None
    albedo = network.albedo.out.bias
    assert albedo is not None
    with torch.no_grad():
        network.albedo.out.weight.zero_()
        network.classifier.out.weight.zero_()
        for at in range(len(TYPES)):
            albedo[3 * at : 3 * at + 3] = at - 4.0
            network.classifier.out.bias.zero_()[at] = 50
            result = network(photo, coordinates)
            torch.testing.assert_close(result.albedo, torch.full((1, 3, 8, 8), at - 4.0).sigmoid())


def test_position_affects_maps_only_with_coordinates() -> None:
    photo = torch.rand(1, 3, 8, 8)
    centre, corner = torch.zeros(1, 2, 8, 8), torch.full((1, 2, 8, 8), 0.7)
    knowing, blind = (
        SvbrdfNet(SvbrdfConfig(SMALL.encoder, SMALL.decoder, 3, 8, each)).eval() for each in (True, False)
    )

    with torch.inference_mode():
        assert not torch.allclose(knowing(photo, centre).albedo, knowing(photo, corner).albedo)
        assert torch.equal(blind(photo, centre).albedo, blind(photo, corner).albedo)


def test_every_parameter_gets_a_gradient() -> None:
    network = SvbrdfNet(SMALL)

    result = network(torch.rand(2, 3, 16, 16), torch.rand(2, 2, 16, 16))
    (result.albedo.sum() + result.normal[:, 0].sum() + result.roughness.sum()).backward()

    assert all(parameter.grad is not None for parameter in network.parameters())


def test_maps_have_full_precision_under_autocast() -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        result = SvbrdfNet(SMALL).eval()(torch.rand(1, 3, 8, 8), torch.rand(1, 2, 8, 8))

    assert {part.dtype for part in result} == {torch.float32}


def test_frozen_norms_keep_their_statistics() -> None:
    network = SvbrdfNet(SMALL)
    network.freeze_norm = True
    network.train()
    before = {name: values.clone() for name, values in network.named_buffers()}

    network(torch.rand(2, 3, 8, 8), torch.rand(2, 2, 8, 8))

    assert all(torch.equal(before[name], values) for name, values in network.named_buffers())


def test_normals_face_the_camera() -> None:
    assert face_camera(torch.full((1, 1, 3, 1, 1), -100.0))[0, 0, 2].item() > 0


def test_config_rejects_unequal_numbers_of_levels() -> None:
    with pytest.raises(ValueError, match="level"):
        SvbrdfConfig(encoder=(8, 8), decoder=(8,))
