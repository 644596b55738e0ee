import numpy as np
import pytest

from services.hoi.detections import Detections, detections_from, merge_views
from sightline.inference.signature import Tensors


def found(*things: tuple[int, float, tuple[float, float, float, float]]) -> Detections:
    """(label, score, box) of each, with its number in the logits."""
    count = len(things)
    return Detections(
        boxes_xyxy=np.array([box for _, _, box in things], np.float32).reshape(count, 4),
        scores=np.array([score for _, score, _ in things], np.float32),
        labels=np.array([label for label, _, _ in things], np.int64),
        actions=np.zeros((count, 2), np.float32),
        targets=np.zeros((count, 2, 4), np.float32),
        person_logits=np.arange(count, dtype=np.float32)[:, None].repeat(2, 1),
        object_logits=np.zeros((count, 2), np.float32),
    )


def test_merged_detections_keep_the_outputs_of_their_view() -> None:
    whole = found((0, 0.5, (0, 0, 10, 10)), (1, 0.9, (50, 50, 60, 60)))
    tile = found((2, 0.1, (30, 30, 40, 40)), (0, 0.8, (0, 0, 10, 10)))

    both = merge_views([whole, tile])

    assert both.scores.tolist() == pytest.approx([0.9, 0.8, 0.1])
    assert both.person_logits[:, 0].tolist() == [1, 1, 0]


def test_no_detections_stay_no_detections() -> None:
    assert len(merge_views([found(), found()])) == 0


@pytest.mark.parametrize(("least", "count"), [(0.0, 2), (0.5, 1), (1.0, 0)])
def test_padding_rows_are_no_detections(least: float, count: int) -> None:
    rows = found((0, 0.9, (0, 0, 1, 1)), (0, 0.2, (0, 0, 1, 1)), (0, 0.0, (0, 0, 0, 0)))
    outputs: Tensors = {
        "boxes": rows.boxes_xyxy,
        **{name: getattr(rows, name) for name in Detections.__slots__ if name != "boxes_xyxy"},
    }

    assert len(detections_from(outputs, least)) == count
