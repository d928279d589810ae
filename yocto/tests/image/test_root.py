"""The root of the QEMU image holds what the recipes install: same paths, contents, modes, owners.

Run by `cargo xtask test image` with `--slot slot.img --flavour test`.
"""

import hashlib
import os
import stat
import subprocess

import pytest
import recipes


@pytest.fixture(scope="module")
def root(request, tmp_path_factory):
    """The files of the slot, taken out of its image."""
    folder = tmp_path_factory.mktemp("slot")
    command = ["debugfs", "-R", f"rdump / {folder}", request.config.getoption("--slot")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert (folder / "usr").is_dir()
    return folder


@pytest.fixture(scope="module")
def wanted(request, emulated):
    """What the recipes install."""
    names = recipes.in_the_root(emulated)
    if request.config.getoption("--flavour") == "test":
        names.append("hwtest-console")
    return [entry for name in names for entry in recipes.install(recipes.recipe(emulated, name))]


def test_the_root_of_the_qemu_image_holds_what_the_recipes_install(root, wanted):
    differences = []
    for entry in wanted:
        path = root / entry["path"].lstrip("/")
        if not os.path.lexists(path):
            differences.append(f"is missing: {entry['path']}")
            continue
        found = description(path)
        for key, value in found.items():
            if entry[key] is not None and entry[key] != value:
                differences.append(f"{entry['path']}: {key} is {value}, the recipe {entry['recipe']} makes it {entry[key]}")
    assert not differences, "\n".join(differences)
    assert len(wanted) > 60


def test_what_is_ours_in_the_root_comes_from_a_recipe(root, wanted):
    """Nothing of our name is there that a Yocto build would not have."""
    paths = {entry["path"] for entry in wanted}
    ours = set()
    for folder, _, names in os.walk(root / "usr"):
        for name in names:
            if "gatehouse" in name or "hwtest" in name or "/gatehouse" in folder:
                ours.add("/" + os.path.relpath(os.path.join(folder, name), root))
    page = {path for path in ours if path.startswith("/usr/share/gatehouse/web/")}
    assert sorted(ours - paths - page) == []


def description(path):
    mode = path.lstat()
    owner = f"{mode.st_uid}:{mode.st_gid}".replace("0:0", "root:root")
    if path.is_symlink():
        return {"kind": "link", "target": os.readlink(path)}
    shown = {"mode": f"{stat.S_IMODE(mode.st_mode):04o}", "owner": owner}
    if path.is_dir():
        return {"kind": "folder"} | shown
    return {"kind": "file", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} | shown
