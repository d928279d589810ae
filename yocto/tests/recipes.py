"""Our recipes as BitBake's own parser reads them, with stand-ins for the layers below ours."""

import glob
import hashlib
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import types
from pathlib import Path

# BitBake's package has the parser whole, but not these two, which it only wants to exist.
for name in ("hashserv", "hashserv.client"):
    sys.modules.setdefault(name, types.ModuleType(name))

import bb  # noqa: E402
import bb.cache  # noqa: E402
import bb.data  # noqa: E402
import bb.fetch2  # noqa: E402
import bb.parse  # noqa: E402
import bb.siggen  # noqa: E402
from bb.parse.parse_py import BBHandler  # noqa: E402

YOCTO = Path(__file__).resolve().parents[1]
STUBS = YOCTO / "tests/stubs"
LAYERS = [YOCTO / name for name in ("meta-gatehouse", "meta-gatehouse-distro", "meta-gatehouse-bsp")]
MACHINES = sorted(path.stem for path in YOCTO.glob("meta-gatehouse-bsp/conf/machine/*.conf"))

# What stands for the things that a build is given from outside.
OUTSIDE = {
    "GATEHOUSE_NPM": "https://npm.invalid",
    "RAUC_KEY_FILE": "pkcs11:token=signer",
    "RAUC_CERT_FILE": "signer.cert.pem",
    "RAUC_KEYRING_FILE": "keyring.pem",
}

# Stands for what only a build makes.
BUILT = b"made by the build\n"


def configuration(machine, folder, outside=OUTSIDE):
    """The data that all recipes of a machine start from."""
    d = bb.data.init()
    d.setVar("TOPDIR", str(folder))
    d.setVar("MACHINE", machine)
    d.setVar("DISTRO", "gatehouse")
    d.setVar("BB_ORIGENV", bb.data.init())
    d.setVar("BBPATH", str(STUBS))
    for name, value in outside.items():
        d.setVar(name, value)
    bb.parse.init_parser(d)
    read(d, STUBS / "conf/bitbake.conf")
    for layer in LAYERS:
        d.setVar("LAYERDIR", str(layer))
        read(d, layer / "conf/layer.conf")
        d.expandVarref("LAYERDIR")
        d.delVar("LAYERDIR")
    read(d, Path(f"conf/machine/{machine}.conf"))
    read(d, Path("conf/distro/gatehouse.conf"))
    d.setVar("__bbclasstype", "recipe")
    BBHandler.inherit("base", "configuration", 0, d)
    return d


def read(d, path):
    bb.parse.handle(str(path), d, 1)


def recipe_files(d):
    """Every .bb of our layers."""
    return sorted(match for pattern in d.getVar("BBFILES").split() for match in glob.glob(pattern) if match.endswith(".bb"))


def append_files(d):
    """Every .bbappend, those for layers that may be absent too."""
    patterns = d.getVar("BBFILES").split()
    patterns += [word.partition(":")[2] for word in d.getVar("BBFILES_DYNAMIC").split()]
    return sorted(match for pattern in patterns for match in glob.glob(pattern) if match.endswith(".bbappend"))


def parse(d, path, appends=()):
    """A recipe with everything expanded; a recipe that is skipped raises bb.parse.SkipRecipe."""
    data = bb.data.createCopy(d)
    data.setVar("FILE", str(path))
    if appends:
        data.setVar("__BBAPPEND", " ".join(map(str, appends)))
    parsed = bb.parse.handle(str(path), data)
    data = parsed[""]
    skipped = data.getVar("__SKIPPED")
    if skipped:
        raise bb.parse.SkipRecipe(skipped)
    return data


def recipe(d, name):
    """One of our recipes by its name."""
    for path in recipe_files(d):
        if Path(path).stem.partition("_")[0] == name:
            return parse(d, path)
    raise KeyError(name)


def sources(data):
    """The files that `file://` of a recipe resolves to, by name; missing ones are None."""
    found = {}
    for uri in (data.getVar("SRC_URI") or "").split():
        if uri.startswith("file://"):
            name = uri.removeprefix("file://").partition(";")[0]
            found[name] = bb.utils.which(data.getVar("FILESPATH"), name) or None
    return found


def install(data):
    """Runs a recipe's do_install and says what it has put where."""
    for name in ("D", "UNPACKDIR", "B"):
        shutil.rmtree(data.getVar(name), ignore_errors=True)
        os.makedirs(data.getVar(name))
    for name, path in sources(data).items():
        shutil.copy(path, os.path.join(data.getVar("UNPACKDIR"), name))
    place_built(data)
    with open(data.expand("${WORKDIR}/run.do_install"), "w") as script:
        script.write("umask 022\n")
        bb.data.emit_func("do_install", script, data)
        script.write("do_install\n")
    subprocess.run(["bash", "-e", script.name], check=True, stdin=subprocess.DEVNULL, cwd=data.getVar("B"))
    return list(entries(Path(data.getVar("D")), data.getVar("PN")))


def place_built(data):
    """What the tasks before would have made."""
    built = {
        "gatehouse": ["${B}/target/${CARGO_TARGET_SUBDIR}/gatehouse"],
        "gatehouse-web": ["${B}/dist/" + name for name in page_files()],
        "gatehouse-rauc-conf": ["${RAUC_KEYRING_FILE}"],
    }
    for name in built.get(data.getVar("PN"), []):
        path = Path(data.getVar("B")) / data.expand(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(BUILT)


def page_files():
    """What esbuild makes of the page, by the names of its sources."""
    script = (YOCTO.parent / "firmware/supervisor/web/build.mjs").read_text()
    bundled = [Path(name).name for name in re.findall(r'"(src/[^"]+)"', script)]
    copied = re.search(r"of \[([^\]]+)\]", script)[1].replace('"', "").split(", ")
    return sorted(bundled + [name + ".map" for name in bundled] + copied)


def entries(root, pn):
    for path in sorted(root.rglob("*")):
        mode = path.lstat()
        entry = {"path": "/" + str(path.relative_to(root)), "recipe": pn, "owner": "root:root"}
        if path.is_symlink():
            yield entry | {"kind": "link", "target": os.readlink(path)}
        elif path.is_dir():
            if not any(path.iterdir()):
                yield entry | {"kind": "folder", "mode": f"{stat.S_IMODE(mode.st_mode):04o}"}
        else:
            content = path.read_bytes()
            digest = None if content == BUILT else hashlib.sha256(content).hexdigest()
            yield entry | {"kind": "file", "mode": f"{stat.S_IMODE(mode.st_mode):04o}", "sha256": digest}


def in_the_root(d):
    """Our recipes that the image installs, with what they need of ours."""
    ours = {Path(path).stem.partition("_")[0] for path in recipe_files(d)}
    wanted, seen = ["packagegroup-gatehouse"], set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        data = recipe(d, name)
        wanted += [need for need in (data.getVar("RDEPENDS:" + name) or "").split() if need in ours]
    return sorted(seen - {"packagegroup-gatehouse"})


logging.getLogger("BitBake").addHandler(logging.StreamHandler())
