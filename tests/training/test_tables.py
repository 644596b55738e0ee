from sightline.training.tables import make_rows, markdown_table


def test_rows_are_means_by_group_in_order_of_appearance() -> None:
    cases = ["dark", "light", "dark"]
    figures = {
        "ours": [{"psnr_db": 20.0, "ssim": 0.5}, {"psnr_db": 30.0, "ssim": 0.9}, {"psnr_db": 22.0, "ssim": 0.7}],
        "theirs": [{"psnr_db": 1.0, "ssim": 0.1}] * 3,
    }

    rows = make_rows(cases, str.upper, figures)

    assert [(row.group, row.cases, row.method) for row in rows] == [
        ("DARK", 2, "ours"),
        ("DARK", 2, "theirs"),
        ("LIGHT", 1, "ours"),
        ("LIGHT", 1, "theirs"),
    ]
    assert rows[0].figures == {"psnr_db": 21.0, "ssim": 0.6}
    assert markdown_table(rows, "light").splitlines()[:3] == [
        "| light | method | psnr_db | ssim |",
        "|---|---|---|---|",
        "| DARK (2) | ours | 21.00 | 0.600 |",
    ]
