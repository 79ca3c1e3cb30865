"""What the documentation names exists: files, make targets, commands, annotations."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml
from rstore_cli.main import app

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def code(text: str) -> str:
    """Everything in fenced blocks and back-ticks."""
    fenced = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join(fenced + inline)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_to_headings_that_are_there(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text()):
        assert anchor in anchors(page.parent / target if target else page), f"{page.name} links to {target}#{anchor}"


def test_the_readme_lists_every_command() -> None:
    commands = {"dev", *getattr(typer.main.get_command(app), "commands", {})}
    table = "\n".join(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `rstore "))
    assert commands - set(re.findall(r"`rstore ([a-z]+)", table)) == set()


def test_every_page_is_in_the_index() -> None:
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "README.md").read_text()))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|[\s;&])make ([a-z][a-z0-9-]*)", code(page.read_text()), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_exist(page: Path) -> None:
    known = {"dev", *getattr(typer.main.get_command(app), "commands", {})}
    named = re.findall(r"(?:^|[\s`$(])(?:kubectl )?rstore ([a-z]+)(?=[\s`)]|$)", code(page.read_text()), re.MULTILINE)
    kubernetes_verbs = {"orders", "operator"}  # `kubectl get rstore orders` is no command of ours
    assert set(named) - kubernetes_verbs <= known


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_paths_exist(page: Path) -> None:
    for path in re.findall(
        r"(?<![\w/])((?:examples|charts|crds|docs|tests|operator|replica_image|localcluster)/[\w./-]*\w)",
        code(page.read_text()),
    ):
        assert (ROOT / path).exists() or (ROOT / path).with_suffix("").exists(), f"{page.name} names {path}"


def test_readme_values_of_the_chart_exist() -> None:
    values = yaml.safe_load((ROOT / "charts" / "replicated-store-operator" / "values.yaml").read_text())
    for page in PAGES:
        for name in re.findall(r"--set[= ]([A-Za-z]+)", page.read_text()):
            assert name in values, f"{page.name} sets {name}"


def test_the_floors_of_the_architecture_are_those_of_the_contracts() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = {
        contract["containers"][0]: [re.split(r"\s*\|\s*", layer) for layer in contract["layers"]]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    }
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = re.search(r"\| package \| floors \|\n\|---\|---\|\n((?:\|.*\n)+)", page)
    assert section
    documented = {}
    for row in section[1].splitlines():
        package, floors = (cell.strip() for cell in row.replace(r"\|", "/").strip("|").split("|"))
        assert package not in documented, f"{package} has two rows"
        documented[package] = [re.findall(r"`([^`]+)`", floor) for floor in floors.split("·")]
    assert {package.strip("`"): floors for package, floors in documented.items()} == contracts


def test_modules_that_the_architecture_names_exist() -> None:
    roots = [ROOT / "operator", ROOT / "replica_image", ROOT / "localcluster" / "src"]
    named = re.findall(r"`((?:rstore_\w+|localkube)/[\w/.]+)`", (ROOT / "docs" / "architecture.md").read_text())
    assert named
    assert [path for path in named if not any((root / path).exists() for root in roots)] == []
