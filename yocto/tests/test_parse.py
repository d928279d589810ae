"""Every file of the layers goes through BitBake's own parser, and what it makes of them is right."""

import re
from pathlib import Path

import bb.parse
import pytest
import recipes


def test_every_recipe_parses_for_every_machine(machine):
    for path in recipes.recipe_files(machine):
        data = recipes.parse(machine, path)
        assert data.getVar("SUMMARY"), path
        assert data.getVar("PN") not in data.getVar("OVERRIDES").split(":"), "a recipe is called as an override is"


def test_every_append_belongs_to_a_recipe_and_parses(machine):
    appends = recipes.append_files(machine)
    assert len(appends) >= 6
    for append in appends:
        name = Path(append).stem.removesuffix("%").removesuffix("_")
        [stub] = recipes.STUBS.glob(f"recipes/{name}_*.bb")
        recipes.parse(machine, stub, [append])


def test_every_file_that_a_recipe_or_an_append_names_is_there(machine):
    for path in recipes.recipe_files(machine):
        for name, place in recipes.sources(recipes.parse(machine, path)).items():
            assert place, f"{path}: file://{name}"
    for append in recipes.append_files(machine):
        name = Path(append).stem.removesuffix("%").removesuffix("_")
        [stub] = recipes.STUBS.glob(f"recipes/{name}_*.bb")
        for name, place in recipes.sources(recipes.parse(machine, stub, [append])).items():
            assert place, f"{append}: file://{name}"


def test_every_variable_in_a_source_is_known(machine):
    for path in recipes.recipe_files(machine):
        assert "${" not in (recipes.parse(machine, path).getVar("SRC_URI") or ""), path


@pytest.mark.parametrize(
    ("machine_name", "append", "fragment"),
    [
        ("gatehouse-qemuarm64", "linux-yocto", "gatehouse-qemuarm64.cfg"),
        ("gatehouse-imx8mp", "linux-imx", "gatehouse-imx8mp.cfg"),
        ("gatehouse-imx8mp", "u-boot-imx", "gatehouse-imx8mp.cfg"),
        ("gatehouse-ls1046a", "linux-qoriq", "gatehouse-ls1046a.cfg"),
        ("gatehouse-ls1046a", "u-boot-qoriq", "gatehouse-ls1046a.cfg"),
        ("gatehouse-cm4", "linux-raspberrypi", "gatehouse-cm4.cfg"),
        ("gatehouse-cm4", "u-boot", "gatehouse-cm4.cfg"),
    ],
)
def test_a_machine_gets_its_own_settings_and_no_other_machine_does(machine_name, append, fragment, tmp_path):
    for name in recipes.MACHINES:
        d = recipes.configuration(name, tmp_path)
        [path] = [p for p in recipes.append_files(d) if Path(p).name in (f"{append}_%.bbappend",)]
        [stub] = recipes.STUBS.glob(f"recipes/{append}_*.bb")
        files = recipes.sources(recipes.parse(d, stub, [path]))
        assert (fragment in files) == (name == machine_name)
        assert ("gatehouse.cfg" in files) == bool(files)


def test_a_machine_that_is_not_ours_is_left_alone(tmp_path):
    d = recipes.configuration("gatehouse-qemuarm64", tmp_path)
    d.setVar("MACHINEOVERRIDES", "qemuarm64")
    for append in recipes.append_files(d):
        name = Path(append).stem.removesuffix("%").removesuffix("_")
        [stub] = recipes.STUBS.glob(f"recipes/{name}_*.bb")
        assert not recipes.sources(recipes.parse(d, stub, [append]))


def test_the_program_is_built_from_the_tree_at_a_commit_with_all_crates_of_the_lock(emulated):
    data = recipes.recipe(emulated, "gatehouse")
    uris = data.getVar("SRC_URI").split()
    assert uris[0].startswith(f"git://{recipes.YOCTO.parent};protocol=file;nobranch=1;usehead=1;")
    lock = (recipes.YOCTO.parent / "Cargo.lock").read_text()
    crates = [uri for uri in uris if uri.startswith("crate://")]
    assert len(crates) == lock.count("\nsource = ")
    for uri in crates:
        name, version = uri.split("/")[-2:]
        assert re.fullmatch("[0-9a-f]{64}", data.getVarFlag("SRC_URI", f"{name}-{version}.sha256sum"))
    assert "--package gatehouse --bin gatehouse" in data.getVar("CARGO_BUILD_FLAGS")


def test_a_release_is_of_the_commit_that_is_named(tmp_path):
    d = recipes.configuration("gatehouse-qemuarm64", tmp_path)
    d.setVar("GATEHOUSE_REVISION", "0123456789" * 4)
    data = recipes.recipe(d, "gatehouse")
    assert data.getVar("SRCREV") == "0123456789" * 4
    assert ";nobranch=1;destsuffix=" in data.getVar("SRC_URI")


def test_the_page_is_made_of_checked_archives_and_needs_to_be_told_where_they_are(emulated, tmp_path):
    data = recipes.recipe(emulated, "gatehouse-web")
    archives = [uri for uri in data.getVar("SRC_URI").split() if ".tgz" in uri]
    assert len(archives) >= 6
    for uri in archives:
        name = re.search(";name=([^;]+)", uri)[1]
        assert re.fullmatch("[0-9a-f]{128}", data.getVarFlag("SRC_URI", f"{name}.sha512sum"))
    nowhere = recipes.configuration("gatehouse-qemuarm64", tmp_path, recipes.OUTSIDE | {"GATEHOUSE_NPM": ""})
    with pytest.raises(bb.parse.SkipRecipe, match="GATEHOUSE_NPM is not set"):
        recipes.recipe(nowhere, "gatehouse-web")


def test_the_page_is_bundled_with_the_options_of_its_own_build(emulated):
    script = (recipes.YOCTO.parent / "firmware/supervisor/web/build.mjs").read_text()
    command = recipes.recipe(emulated, "gatehouse-web").getVar("do_compile")
    for word in re.findall(r'"src/[^"]+"', script):
        assert word.strip('"') in command
    targets = re.search(r"target: \[([^\]]+)\]", script)[1].replace('"', "").replace(" ", "")
    assert f"--target={targets}" in command
    for option in ("bundle", "minify", "sourcemap"):
        assert f"{option}: true" in script and f"--{option}" in command
    assert 'format: "esm"' in script and "--format=esm" in command
    assert 'legalComments: "linked"' in script and "--legal-comments=linked" in command
    assert re.search(r"define: \{ global: \"globalThis\", \"process.env.NODE_ENV\": '\"production\"' \}", script)
    assert "--define:global=globalThis '--define:process.env.NODE_ENV=\"production\"'" in command


def test_updates_are_verity_bundles_of_a_slot_with_an_index_and_name_their_machine(machine):
    data = recipes.recipe(machine, "gatehouse-bundle")
    assert data.getVar("RAUC_BUNDLE_FORMAT") == "verity"
    assert data.getVar("RAUC_BUNDLE_SLOTS") == "rootfs"
    assert data.getVarFlags("RAUC_SLOT_rootfs") | {"fstype": "slot", "rename": "slot.img", "adaptive": "block-hash-index"} == data.getVarFlags("RAUC_SLOT_rootfs")
    assert data.getVar("RAUC_BUNDLE_COMPATIBLE") == data.getVar("MACHINE")
    assert data.getVar("RAUC_BUNDLE_VERSION") == data.getVar("GATEHOUSE_VERSION")


def test_nothing_is_signed_or_believed_with_a_key_of_the_tree(tmp_path):
    for name, recipe in (("RAUC_KEY_FILE", "gatehouse-bundle"), ("RAUC_CERT_FILE", "gatehouse-bundle"), ("RAUC_KEYRING_FILE", "gatehouse-rauc-conf")):
        d = recipes.configuration("gatehouse-qemuarm64", tmp_path, recipes.OUTSIDE | {name: ""})
        with pytest.raises(bb.parse.SkipRecipe, match=name):
            recipes.recipe(d, recipe)


def test_the_test_console_is_in_no_image_but_the_one_of_the_debug_fragment(machine):
    assert "hwtest-console" not in recipes.in_the_root(machine)
    for path in (recipes.YOCTO / "kas").rglob("*.yml"):
        assert ("hwtest-console" in path.read_text()) == (path.name == "debug.yml"), path
    for path in recipes.YOCTO.glob("meta-*/**/*"):
        if path.suffix in (".bb", ".inc", ".conf", ".bbappend"):
            assert path.parent.name == "hwtest-console" or "hwtest-console" not in path.read_text(), path


def test_the_version_is_one(emulated):
    cargo = (recipes.YOCTO.parent / "Cargo.toml").read_text()
    version = re.search(r'^version = "([^"]+)"', cargo, re.M)[1]
    assert emulated.getVar("GATEHOUSE_VERSION") == version
    for name in ("gatehouse", "gatehouse-web"):
        assert recipes.recipe(emulated, name).getVar("PV") == version


def test_the_program_needs_no_newer_rust_than_the_release_has():
    cargo = (recipes.YOCTO.parent / "Cargo.toml").read_text()
    major, minor = re.search(r'^rust-version = "(\d+)\.(\d+)', cargo, re.M).groups()
    assert (int(major), int(minor)) <= (1, 94)
