"""What commands refuse to write to."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lucid.cli.output_paths import check_output_file


@click.command()
@click.argument("images", nargs=-1)
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--results", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path))
def write(images: tuple[str, ...], data: Path, results: Path, output: Path) -> None:
    check_output_file(output, "--output")


@pytest.mark.parametrize(
    ("others", "name"),
    [
        (("--data", "FOLDER/a.json"), "--data"),
        (("FOLDER/b.json", "FOLDER/a.json"), "IMAGES"),
        (("--results", "FOLDER/../FOLDER_NAME/a.json"), "--results"),
        (("@FOLDER/a.json",), "IMAGES"),
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_file_that_another_argument_names_is_not_overwritten(
    tmp_path: Path, others: tuple[str, ...], name: str, exists: bool
) -> None:
    if exists:
        (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    given = [
        text.replace("FOLDER_NAME", tmp_path.name).replace("FOLDER", str(tmp_path))
        for text in others
    ]
    done = CliRunner().invoke(write, [*given, "--output", str(tmp_path / "a.json")])
    assert done.exit_code == 2
    assert name in done.output
    assert not exists or (tmp_path / "a.json").read_text(encoding="utf-8") == "{}"


def test_link_to_the_file_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    (tmp_path / "link.json").symlink_to(tmp_path / "a.json")
    given = ["--data", str(tmp_path / "link.json"), "--output", str(tmp_path / "a.json")]
    assert CliRunner().invoke(write, given).exit_code == 2


def test_link_to_the_folder_of_a_file_that_does_not_exist_yet(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    one, other = tmp_path / "folder" / "a.json", tmp_path / "link" / "a.json"
    given = ["--results", str(one), "--output", str(other)]
    assert CliRunner().invoke(write, given).exit_code == 2


def test_file_of_its_own_may_be_written(tmp_path: Path) -> None:
    arguments = ["x.png", "--data", str(tmp_path / "d.json"), "--output", str(tmp_path / "o.json")]
    assert CliRunner().invoke(write, arguments).exit_code == 0
