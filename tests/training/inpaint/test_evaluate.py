import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.training.inpaint.evaluate import MEASURES, bucket_means, compare, make_cases, measure
from sightline.training.inpaint.fillers import BASELINES
from sightline.training.inpaint.masks import BUCKETS
from sightline.training.tables import markdown_table


def test_cases_go_round_the_buckets_and_are_the_same_every_time(photo: NDArray[np.uint8]) -> None:
    first, again = (make_cases([photo] * 10, size_px=64, seed=3) for _ in range(2))

    assert [case.bucket for case in first] == [*BUCKETS, *BUCKETS]
    assert [case.touches_border for case in first] == [True] * 5 + [False] * 5
    assert all(np.array_equal(a.hole, b.hole) for a, b in zip(first, again, strict=True))


def test_known_pixels_are_pasted_back(photo: NDArray[np.uint8]) -> None:
    cases = make_cases([photo] * 5, size_px=64)

    def oracle(_picture: NDArray[np.uint8], _hole: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return cases[0].photo

    def black(picture: NDArray[np.uint8], _hole: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.zeros_like(picture)

    assert measure(oracle, cases[:1], MEASURES) == [{"psnr_db": float("inf"), "ssim": pytest.approx(1)}]
    known_share = 1 - cases[0].hole.mean()
    assert measure(black, cases[:1], MEASURES)[0]["ssim"] > known_share / 2


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_fill_a_gradient_well(name: str) -> None:
    gradient = np.arange(0, 128, 2).astype(np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    cases = make_cases([gradient] * 2, size_px=64)

    rows = measure(BASELINES[name], cases, MEASURES)

    assert min(row["psnr_db"] for row in rows) > 25


def test_table_has_a_row_per_bucket_and_method(photo: NDArray[np.uint8]) -> None:
    cases = make_cases([photo] * 10, size_px=64)
    rows = compare({"telea": BASELINES["telea"]}, cases, MEASURES)

    table = markdown_table(rows, "holes")

    psnr = [row["psnr_db"] for row in measure(BASELINES["telea"], cases, MEASURES)]
    assert bucket_means(cases, psnr) == pytest.approx([row.figures["psnr_db"] for row in rows])
    assert len(table.splitlines()) == 2 + len(BUCKETS)
    assert "| 50% to 60% (2) | telea |" in table
