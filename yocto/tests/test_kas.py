"""The kas files are valid, whole and pinned."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import recipes
import yaml
from kas.configschema import CONFIGSCHEMA

KAS = recipes.YOCTO / "kas"
FILES = sorted(KAS.rglob("*.yml"))
MACHINE_FILES = sorted(KAS.glob("gatehouse-*.yml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_what_kas_takes(path):
    content = yaml.safe_load(path.read_text())
    jsonschema.validate(content, CONFIGSCHEMA)
    for include in content["header"].get("includes", []):
        assert (recipes.YOCTO.parent / include).is_file()


def test_every_machine_has_its_file_and_every_file_its_machine():
    assert [path.stem for path in MACHINE_FILES] == recipes.MACHINES
    for path in MACHINE_FILES:
        assert yaml.safe_load(path.read_text())["machine"] == path.stem


@pytest.mark.parametrize("path", MACHINE_FILES, ids=lambda path: path.stem)
def test_kas_puts_a_machine_and_all_fragments_together(path, tmp_path):
    """`kas dump`, without a network and without a checkout."""
    together = ":".join(str(name) for name in [path, *sorted(KAS.glob("opt/*.yml"))])
    kas = Path(sys.executable).with_name("kas")
    output = subprocess.run(
        [kas, "dump", "--skip", "finish_setup_repos", "--skip", "repos_checkout", together],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=recipes.YOCTO.parent,
        env=os.environ | {"KAS_WORK_DIR": str(tmp_path)},
    )
    dumped = yaml.safe_load(output.stdout)
    assert (dumped["machine"], dumped["distro"], dumped["target"]) == (path.stem, "gatehouse", "gatehouse-bundle")
    for name, repo in dumped["repos"].items():
        if "url" in repo:
            assert re.fullmatch("[0-9a-f]{40}", repo["commit"]), name
            assert repo["branch"] == ("2.18" if name == "bitbake" else "wrynose")
    ours = dumped["repos"]["gatehouse"]["layers"]
    assert sorted(ours) == sorted(f"yocto/{layer.name}" for layer in recipes.LAYERS)


def test_our_layers_are_for_the_release_that_is_pinned(emulated):
    for name in ("gatehouse", "gatehouse-distro", "gatehouse-bsp"):
        assert emulated.getVar(f"LAYERSERIES_COMPAT_{name}") == "wrynose"


def test_no_layer_is_distribution_and_machines_at_once():
    for layer in recipes.LAYERS:
        kinds = [kind for kind in ("distro", "machine") if (layer / "conf" / kind).is_dir()]
        assert len(kinds) <= 1, layer.name
