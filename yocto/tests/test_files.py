"""What the recipes install is what the lists of the files say, with fixed users."""

import subprocess
import sys
from pathlib import Path

import bb
import pytest
import recipes

ROOT = recipes.YOCTO.parent


def test_the_recipes_install_every_line_of_their_lists(machine):
    installed = {}
    for name in [*recipes.in_the_root(machine), "hwtest-console"]:
        for entry in recipes.install(recipes.recipe(machine, name)):
            assert entry["path"] not in installed, f"two recipes install {entry['path']}"
            installed[entry["path"]] = entry
    listed = 0
    for path in recipes.YOCTO.rglob("files*.list"):
        if not is_for(path, machine):
            continue
        for line in path.read_text().splitlines():
            words = line.split("#")[0].split()
            if not words:
                continue
            listed += 1
            if words[0] == "link":
                assert installed[words[2]]["target"] == words[1]
            elif words[0] == "dir":
                assert installed[words[1]]["mode"] == words[2]
            else:
                entry = installed[words[2]]
                assert (entry["mode"], entry["owner"]) == (words[3], words[4])
                assert entry["sha256"]
    assert listed > 60


def test_the_image_holds_every_list_that_the_qemu_image_holds(emulated):
    """`LISTS` and `TEST_LIST` of tests/xtask/src/image/root.rs."""
    rust = (ROOT / "tests/xtask/src/image/root.rs").read_text()
    wanted = {str(path.relative_to(recipes.YOCTO)) for path in recipes.YOCTO.rglob("files*.list") if is_for(path, emulated)}
    assert {name for name in wanted if f'"{name}"' in rust} == wanted


def is_for(path, d):
    """Whether a machine has the list: files.list, or files-OVERRIDE.list."""
    override = path.stem.removeprefix("files").removeprefix("-")
    return not override or override in d.getVar("MACHINEOVERRIDES").split(":")


def test_a_board_gets_the_shell_of_the_tests_on_its_serial_console(board):
    entries = recipes.install(recipes.recipe(board, "hwtest-console"))
    assert "/usr/lib/udev/rules.d/72-hwtest.rules" in [entry["path"] for entry in entries]
    text = Path(board.expand("${TOPDIR}/work/hwtest-console/image/usr/lib/udev/rules.d/72-hwtest.rules")).read_text()
    assert 'KERNEL=="ttymxc1"' in text


def test_the_names_in_the_files_are_filled_in(machine):
    entries = recipes.install(recipes.recipe(machine, "gatehouse-rauc-conf"))
    assert "/etc/rauc/system.conf" in [entry["path"] for entry in entries]
    text = Path(machine.expand("${TOPDIR}/work/gatehouse-rauc-conf/image/etc/rauc/system.conf")).read_text()
    assert f"compatible={machine.getVar('MACHINE')}\n" in text
    assert "@" not in text


def test_a_line_that_means_nothing_stops_the_build(emulated, tmp_path, caplog):
    for line in ("file a /usr/a 0644", "copy a /usr/a", "file a b c d"):
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files/files.list").write_text(line + "\n")
        recipe = tmp_path / "wrong_1.0.bb"
        recipe.write_text("inherit gatehouse_files\n")
        with pytest.raises(bb.BBHandledException):
            recipes.parse(emulated, recipe)
        assert "files.list:1: neither" in caplog.text
        caplog.clear()


def test_users_have_the_numbers_of_sysusers_in_the_recipes_and_in_the_tables(emulated):
    tables = {}
    for kind in ("passwd", "group"):
        lines = (recipes.YOCTO / f"meta-gatehouse-distro/files/gatehouse-{kind}").read_text().splitlines()
        rows = [line.split(":") for line in lines if not line.startswith("#")]
        tables[kind] = {row[0]: row[2:4] for row in rows}
        assert len({row[2] for row in rows}) == len(rows), f"a number twice in {kind}"
    seen = 0
    for path in sorted(recipes.YOCTO.glob("meta-*/**/*sysusers.conf")):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] == ["g"]:
                assert tables["group"][words[1]][0] == words[2], line
                seen += 1
            elif words[:1] == ["u"]:
                user, _, group = words[2].partition(":")
                assert tables["passwd"][words[1]] == [user, group or user], line
                assert group or tables["group"][words[1]][0] == user, line
                seen += 1
    assert seen >= 5
    data = recipes.recipe(emulated, "gatehouse")
    assert "--uid 411 --gid 410 --comment 'Gatehouse media' gatehouse-media" in data.getVar("USERADD_PARAM:gatehouse")
    assert data.getVar("GROUPADD_PARAM:gatehouse").startswith("--system --gid 410 gatehouse;")
    for parameters in data.getVar("USERADD_PARAM:gatehouse").split("; "):
        group = parameters.split("--gid ")[1].split()[0]
        assert f"--gid {group} " in data.getVar("GROUPADD_PARAM:gatehouse"), parameters


def test_the_exported_list_is_of_the_emulated_machine_and_has_the_checksums():
    import hashlib
    import json

    output = subprocess.run([sys.executable, recipes.YOCTO / "tools/installed-files"], check=True, stdout=subprocess.PIPE).stdout
    listed = json.loads(output)
    assert listed["machine"] == "gatehouse-qemuarm64"
    by_path = {entry["path"]: entry for entry in listed["root"]}
    unit = recipes.YOCTO / "meta-gatehouse/recipes-gatehouse/gatehouse/files/gatehouse.service"
    assert by_path["/usr/lib/systemd/system/gatehouse.service"]["sha256"] == hashlib.sha256(unit.read_bytes()).hexdigest()
    assert by_path["/usr/bin/gatehouse"] | {"mode": "0755", "sha256": None} == by_path["/usr/bin/gatehouse"]
    assert [entry["path"] for entry in listed["initrd"]] == ["/init", "/sysroot"]
    assert all("hwtest" in entry["path"] for entry in listed["test"])


@pytest.mark.parametrize("tool", ["crates-inc", "npm-inc"])
def test_a_generated_file_is_what_the_lock_file_says(tool):
    subprocess.run([sys.executable, recipes.YOCTO / "tools" / tool, "--check"], check=True)


def test_no_private_key_is_in_git():
    mark = "PRIVATE" + " KEY"
    found = subprocess.run(["git", "grep", "-lI", f"BEGIN .*{mark}"], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    assert found == ""


def test_every_layer_says_whom_to_write_to_and_under_which_licence_it_is():
    for layer in recipes.LAYERS:
        for name in ("README.md", "SECURITY.md", "COPYING.MIT"):
            assert (layer / name).is_file(), layer / name


def test_a_root_that_breaks_a_promise_is_no_image(emulated, tmp_path):
    recipes.recipe(emulated, "gatehouse-image")
    faults = bb.utils.get_context()["gatehouse_faults"]
    good = {
        "etc/passwd": "root:x:0:0::/root:/usr/sbin/nologin\n",
        "etc/shadow": "root:*:1:::::\n",
        "etc/rauc/system.conf": "bundle-formats=-plain\n",
    }
    for name in ("boot/Image", "boot/initrd", "etc/fw_env.config", "usr/bin/gatehouse"):
        good[name] = ""
    for name in ("update-keyring.pem", "web/index.html"):
        good["usr/share/gatehouse/" + name] = ""
    bad = {
        "a login shell": {"etc/passwd": "root:x:0:0::/root:/bin/sh\n"},
        "no password is needed: root": {"etc/shadow": "root::1:::::\n"},
        "a way in: /usr/sbin/sshd": {"usr/sbin/sshd": ""},
        "a private key: /etc/signer.key.pem": {"etc/signer.key.pem": ""},
        "plain bundles are not refused": {"etc/rauc/system.conf": ""},
        "is missing: /boot/Image": {"boot/Image": None},
        "changes its user: /usr/bin/su": {"usr/bin/su": 0o4755},
        "anybody may write: /etc/x": {"etc/x": 0o666},
    }

    def root(number, changes):
        folder = tmp_path / str(number)
        for name, content in (good | changes).items():
            if content is None:
                continue
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else "")
            path.chmod(content if isinstance(content, int) else 0o644)
        return str(folder)

    assert faults(root(0, {}), False) == []
    for number, (fault, changes) in enumerate(bad.items(), 1):
        found = faults(root(number, changes), False)
        assert len(found) == 1 and found[0].startswith(fault), found
