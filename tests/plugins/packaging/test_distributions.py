"""Content and metadata of the release files."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
from email.parser import BytesParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename
from packaging.version import Version

ROOT = Path(__file__).parents[3]
LICENSE = "Apache License"


def test_wheel_is_pure_python(release) -> None:
    _, _, _, tags = parse_wheel_filename(release.wheel.name)
    assert [str(tag) for tag in tags] == ["py3-none-any"]
    wheel_metadata = BytesParser().parsebytes(release.wheel_files[release.dist_info + "WHEEL"])
    assert wheel_metadata["Root-Is-Purelib"] == "true"
    assert wheel_metadata.get_all("Tag") == ["py3-none-any"]


def test_wheel_contains_only_complete_package(release) -> None:
    package = {
        path.relative_to(release.folder / "src").as_posix(): path.read_bytes()
        for path in release.package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    installed = {
        name: content
        for name, content in release.wheel_files.items()
        if not name.startswith(release.dist_info)
    }
    assert installed.keys() == package.keys()
    assert installed == package
    assert f"{release.package.name}/py.typed" in installed


def test_release_files_have_no_tests_caches_or_binaries(release) -> None:
    for name in (*release.wheel_files, *release.sdist_files):
        parts = Path(name).parts
        assert not re.fullmatch(r"(test_.*|.*_test|conftest)\.py", parts[-1]), name
        assert parts[0] not in ("tests", "docs"), name
        assert not {"__pycache__", ".nox", ".venv", "dist"} & set(parts), name
        assert Path(name).suffix not in (".pyc", ".nbi", ".nbc", ".so", ".pyd", ".dll"), name


def test_license_and_readme_are_included(release) -> None:
    license_text = release.wheel_files[release.dist_info + "licenses/LICENSE"].decode()
    assert LICENSE in license_text
    assert license_text == (ROOT / "LICENSE").read_text()
    assert release.sdist_files["LICENSE"].decode() == license_text
    assert release.sdist_files["README.md"] == (release.folder / "README.md").read_bytes()


def test_record_lists_files_with_digests(release) -> None:
    record = release.wheel_files[release.dist_info + "RECORD"].decode()
    rows = {name: (digest, size) for name, digest, size in csv.reader(record.splitlines())}
    assert rows.keys() == release.wheel_files.keys()
    for name, content in release.wheel_files.items():
        if name == release.dist_info + "RECORD":
            continue
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
        assert rows[name] == (f"sha256={digest.decode()}", str(len(content)))


def test_wheels_from_sdist_and_tree_are_equal(release, wheel_from_tree) -> None:
    assert release.wheel_files.keys() == wheel_from_tree.keys()
    assert release.wheel_files == wheel_from_tree


def test_sdist_has_sources_of_wheel(release) -> None:
    sources = {name for name in release.sdist_files if name.startswith("src/")}
    of_wheel = {f"src/{n}" for n in release.wheel_files if not n.startswith(release.dist_info)}
    assert sources == of_wheel
    assert release.sdist_files.keys() - sources <= {
        *("LICENSE", "README.md", "PKG-INFO", "pyproject.toml", ".gitignore")
    }


def test_metadata_matches_project(release) -> None:
    project, metadata = release.project, release.metadata
    assert metadata["Name"] == project["name"]
    assert metadata["Version"] == project["version"]
    assert metadata["Summary"] == project["description"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().strip() == (release.folder / "README.md").read_text().strip()
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    needed = [str(requirement) for requirement in requirements if requirement.marker is None]
    assert sorted(needed) == sorted(str(Requirement(text)) for text in project["dependencies"])
    extras = project.get("optional-dependencies", {})
    assert set(metadata.get_all("Provides-Extra", [])) == set(extras)
    assert len(requirements) - len(needed) == sum(map(len, extras.values()))


def test_readme_has_only_absolute_links(release) -> None:
    links = re.findall(r"\]\(([^)]*)\)", (release.folder / "README.md").read_text())
    assert all(link.startswith(("https://", "#")) for link in links)


def test_requirements_have_lower_bounds(release) -> None:
    for text in release.metadata.get_all("Requires-Dist"):
        operators = {clause.operator for clause in Requirement(text).specifier}
        assert ">=" in operators, text


def test_distributions_have_same_version_and_accept_each_other(releases) -> None:
    (version,) = {release.project["version"] for release in releases}
    source = (releases[0].package / "__init__.py").read_text()
    assert f'__version__ = "{version}"' in source
    names = {release.project["name"] for release in releases}
    for release in releases:
        for text in release.metadata.get_all("Requires-Dist"):
            requirement = Requirement(text)
            if requirement.name in names:
                assert requirement.specifier.contains(version), text
                assert any(clause.operator == "<" for clause in requirement.specifier), text


def test_changelog_has_version(releases) -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert Version(releases[0].project["version"]).base_version in headings
    versions = [Version(text) for text in headings if text.lower() != "unreleased"]
    assert versions == sorted(versions, reverse=True)


def test_entry_points(releases) -> None:
    found = {}
    for release in releases:
        text = release.wheel_files[release.dist_info + "entry_points.txt"].decode()
        found[release.project["name"]] = [line for line in text.splitlines() if line]
    assert found["lucid-core"][:2] == ["[console_scripts]", "lucid = lucid.cli:main"]
    for name, kind in (
        ("lucid-models-classification", "classification"),
        ("lucid-models-detection", "detection"),
    ):
        assert found[name] == ["[lucid.models]", f"{kind} = lucid_models_{kind}.plugin"]
