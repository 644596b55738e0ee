"""Checks of weights before they are used: the contract, and a run on the sample pictures.

A separate module, because it imports the inference runtime, which listing and downloading do not need.
"""

import importlib.util
import time
from pathlib import Path

from sightline.api.media_types import JSON
from sightline.cli.local_model import load_local_model
from sightline.cli.models import sample_pictures
from sightline.cli.output import CommandError
from sightline.inference.catalogue.installed import InstalledWeights
from sightline.inference.contract import ContractError
from sightline.inference.predictor import Upload
from sightline.inference.settings import Provider
from sightline.serving.settings import ServiceSettings


def check_weights(weights: InstalledWeights) -> str:
    """Compares a file with its contract, and runs the sample through it; returns a sentence on what was done.

    Raises CommandError if the file does not fit or the sample fails. PyTorch checks backbones; without it they are not
    checked, and the sentence says so.
    """
    record = weights.record
    try:
        if record.backbone is not None:
            return _check_backbone(weights.path, record.backbone)
        return _check_model(record.model, settings_with(weights))
    except ContractError as error:
        raise CommandError(f"{record.name} does not fit its contract: {error}") from error
    except Exception as error:  # the runtimes raise many classes of their own
        raise CommandError(f"{record.name} cannot run the sample: {type(error).__name__}: {error}") from error


def settings_with(weights: InstalledWeights) -> ServiceSettings:
    """Returns the settings of a service that runs these weights on the CPU."""
    if weights.record.stage is None:
        places: dict[str, Path | None] = {"weights": weights.path, "contract": weights.contract_path}
    else:
        places = {"weights": None, "contract": None, "detector": weights.folder}
    return ServiceSettings.model_validate({**places, "providers": (Provider.CPU,)})


def _check_model(model: str, settings: ServiceSettings) -> str:
    local, pictures = load_local_model(model, settings), sample_pictures(model)
    if not all(path.is_file() for path in pictures.values()):
        return "The contract fits. No sample was run: this installation has no sample pictures."
    declaration = local.predictor.declaration
    media_type = JSON if JSON in declaration.media_types else declaration.media_types[0]
    upload = Upload({name: [path.read_bytes()] for name, path in pictures.items()}, declaration.options())
    started_at = time.perf_counter()
    local.answer(upload, media_type)
    return f"The contract fits, and the sample picture ran in {time.perf_counter() - started_at:.1f} s."


def _check_backbone(path: Path, backbone: str) -> str:
    if importlib.util.find_spec("torch") is None:
        return "The contents were not checked: PyTorch is not installed."
    # PyTorch takes seconds to import, which other entries do not need.
    import torch

    from sightline.networks.backbones import load_trunk

    trunk = load_trunk(f"{backbone}:{path}")
    with torch.inference_mode():
        features = trunk(torch.full((1, 3, 224, 224), 0.5))
    if not torch.isfinite(features).all():
        raise ValueError("its features are not finite numbers")
    return f"The file has the weights of {backbone}, and a picture ran through it."
