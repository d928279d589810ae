"""The services are what systemd takes, and are locked up well."""

import os
import re
import shutil
import subprocess

import pytest
import recipes

UNITS = sorted(path for path in recipes.YOCTO.glob("meta-*/**/files/*") if path.suffix in (".service", ".mount", ".path", ".socket", ".timer"))

# Ours; those that run for as long as the box does.
SERVICES = [path for path in UNITS if path.name.startswith("gatehouse") and path.suffix == ".service"]
LASTING = [path for path in SERVICES if "Type=notify\n" in path.read_text()]

# Settings of systemd 254 and later, which the systemd of Debian 12 does not know.
NEWER = ("RestartSteps=", "RestartMaxDelaySec=")

# Exposure as systemd counts it, in tenths.
THRESHOLD = 20


@pytest.fixture(scope="module")
def root(emulated, tmp_path_factory):
    """A root with our units where the recipes install them, and the rest as on this machine."""
    root = tmp_path_factory.mktemp("root")
    for name in recipes.in_the_root(emulated):
        data = recipes.recipe(emulated, name)
        recipes.install(data)
        shutil.copytree(data.getVar("D"), root, symlinks=True, dirs_exist_ok=True)
    for name in re.findall(r"^Exec\w+=[-+!@:]*(\S+)", "\n".join(path.read_text() for path in UNITS), re.M):
        place = root / name.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch(mode=0o755, exist_ok=True)
        os.chmod(place, 0o755)
    for name in ("sysinit.target", "basic.target", "shutdown.target", "multi-user.target", "network.target", "local-fs.target", "systemd-journal-flush.service", "systemd-fsck@.service"):
        unit = root / "usr/lib/systemd/system" / name
        if not unit.exists():
            text = "[Service]\nType=oneshot\nExecStart=/bin/sleep 0\n" if name.endswith(".service") else "[Unit]\n"
            unit.write_text(text)
    (root / "bin/sleep").parent.mkdir(parents=True, exist_ok=True)
    (root / "bin/sleep").touch(mode=0o755)
    return root


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_has_nothing_to_say_of_a_unit(unit, root):
    place = root / "usr/lib/systemd/system" / unit.name
    lines = unit.read_text().splitlines(keepends=True)
    place.write_text("".join("#\n" if line.startswith(NEWER) else line for line in lines))
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={root}", place.name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0 and not result.stdout, result.stdout


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.name)
def test_a_service_is_locked_up(unit, root):
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD}", "--no-pager", f"--root={root}", unit.name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", result.stdout)
    assert level, result.stdout
    print(f"{unit.name}: exposure {level[1]}")
    assert float(level[1]) < THRESHOLD / 10, result.stdout
    assert result.returncode == 0


def test_no_service_of_ours_is_root():
    for path in SERVICES:
        text = path.read_text()
        assert re.search(r"^(User=(?!root$)\w|DynamicUser=yes)", text, re.M), path.name
        assert "Type=oneshot\n" in text or path in LASTING, path.name


def test_every_lasting_service_is_watched_and_runs_as_a_user_of_its_own():
    assert len(LASTING) >= 2
    users = set()
    for path in LASTING:
        text = path.read_text()
        [user] = re.findall(r"^User=(.+)$", text, re.M)
        assert user != "root" and user not in users, path.name
        users.add(user)
        assert re.search(r"^WatchdogSec=\d+$", text, re.M), path.name
        assert re.search(r"^Restart=always$", text, re.M), path.name


def test_every_unit_that_the_preset_starts_is_ours_or_systemds():
    names = {path.name for path in UNITS}
    for path in recipes.YOCTO.glob("meta-*/**/*.preset"):
        for line in path.read_text().splitlines():
            if line.startswith("enable ") and not line.split()[1].startswith("systemd-"):
                assert line.split()[1] in names, line
