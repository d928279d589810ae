"""Partition table, boot script, RAUC, the tools for the variables and U-Boot mean the same disk."""

import re
import struct
import subprocess
import zlib
from pathlib import Path

import recipes

FILES = recipes.YOCTO / "meta-gatehouse-bsp/recipes-bsp/gatehouse-boot/files"
TABLE = recipes.YOCTO / "meta-gatehouse-bsp/files/wic/gatehouse-ab.wks.in"
IMAGE = recipes.YOCTO.parent / "tests/xtask/src/image"


def partitions(d):
    """Name and the words of each partition, in order."""
    found = []
    for line in d.expand(TABLE.read_text()).splitlines():
        if line.startswith("part "):
            words = line.split()
            found.append((words[words.index("--part-name") + 1], words))
    return found


def option(words, name):
    return words[words.index(name) + 1]


def test_the_partitions_are_those_of_the_plan_and_every_size_is_known(machine):
    table = partitions(machine)
    assert [name for name, _ in table] == ["ubootenv", "boot", "rootfs-a", "rootfs-b", "identity", "data"]
    for name, words in table:
        assert re.fullmatch(r"\d+M?", option(words, "--fixed-size")), name
        assert option(words, "--align") == "1024"
    sizes = dict((name, option(words, "--fixed-size")) for name, words in table)
    assert sizes["rootfs-a"] == sizes["rootfs-b"] == machine.getVar("GATEHOUSE_SLOT_SIZE")


def test_the_emulated_machine_has_the_sizes_of_the_qemu_image(emulated):
    rust = (IMAGE / "disk.rs").read_text()
    for name in ("GATEHOUSE_SLOT_SIZE", "GATEHOUSE_DATA_SIZE"):
        assert f'("{name}", {emulated.getVar(name)})' in rust


def test_the_boot_scripts_are_in_the_same_order_as_in_the_qemu_image(emulated, board):
    rust = (IMAGE / "disk.rs").read_text()
    listed = re.search(r"BOOT_SCRIPT: &\[&str\] = &\[([^\]]+)\]", rust)[1]
    assert emulated.getVar("GATEHOUSE_BOOT_SCRIPT").split() == re.findall(r'"([^"]+)"', listed)
    ours = emulated.getVar("GATEHOUSE_BOOT_SCRIPT").split()
    theirs = board.getVar("GATEHOUSE_BOOT_SCRIPT").split()
    assert {"boot-ab.cmd", "boot-start.cmd"} == set(ours) & set(theirs)
    assert [part.split("-")[-1] for part in ours] == [part.split("-")[-1] for part in theirs]


def test_the_boot_script_starts_the_partitions_that_are_the_slots(emulated):
    numbers = {name: number for number, (name, _) in enumerate(partitions(emulated), 1)}
    start = (FILES / "boot-start.cmd").read_text()
    assert f"setenv gatehouse_part {numbers['rootfs-a']}\n" in start
    assert f'"${{gatehouse_slot}}" = B; then setenv gatehouse_part {numbers["rootfs-b"]}; fi' in start
    load = (FILES / "boot-qemu-load.cmd").read_text()
    assert f"part start virtio 0 {numbers['ubootenv']} " in load
    for path in (recipes.YOCTO / "meta-gatehouse-bsp/recipes-bsp/u-boot/files").glob("gatehouse-*.cfg"):
        assert re.search(rf'CONFIG_BOOTCOMMAND="load mmc \d:{numbers["boot"]} ', path.read_text()), path


def test_rauc_knows_the_slots_by_the_names_of_the_table_and_refuses_plain_bundles(machine):
    recipes.install(recipes.recipe(machine, "gatehouse-rauc-conf"))
    text = Path(machine.expand("${TOPDIR}/work/gatehouse-rauc-conf/image/etc/rauc/system.conf")).read_text()
    names = [name for name, _ in partitions(machine)]
    slots = re.findall(r"\[slot\.rootfs\.\d\]\ndevice=/dev/disk/by-partlabel/(\S+)\ntype=raw\nbootname=(\S+)", text)
    assert slots == [("rootfs-a", "A"), ("rootfs-b", "B")]
    assert {name for name, _ in slots} <= set(names)
    assert "bundle-formats=-plain\n" in text
    assert "bootloader=uboot\n" in text
    assert "data-directory=/data/" in text


def test_the_init_finds_the_partitions_by_the_names_of_the_table(emulated):
    init = (recipes.YOCTO / "meta-gatehouse/recipes-core/gatehouse-initrd/files/init").read_text()
    names = {name for name, _ in partitions(emulated)}
    assert set(re.findall(r"\$\(partition (\w+)\)", init)) <= names
    assert '"rootfs-$slot"' in init
    unit = (recipes.YOCTO / "meta-gatehouse/recipes-core/gatehouse-system/files/data.mount").read_text()
    assert "What=/dev/disk/by-partlabel/data\n" in unit


def copies():
    """Where the two copies lie on the partition, and their size: fw_env.config."""
    lines = [line.split() for line in (FILES / "fw_env.config").read_text().splitlines() if not line.startswith("#")]
    assert [line[0] for line in lines] == ["/dev/disk/by-partlabel/ubootenv"] * 2
    [(first, size), (second, other)] = [(int(line[1], 16), int(line[2], 16)) for line in lines]
    assert size == other
    return first, second, size


def test_u_boot_reads_the_variables_where_the_tools_write_them(emulated):
    first, second, size = copies()
    start = 1 << 20  # The first partition begins at the first whole MiB.
    assert partitions(emulated)[0][0] == "ubootenv"
    cfg = (recipes.YOCTO / "meta-gatehouse-bsp/recipes-bsp/u-boot/files/gatehouse.cfg").read_text()
    settings = dict(re.findall(r"^(CONFIG_\w+)=(\S+)$", cfg, re.M))
    assert int(settings["CONFIG_ENV_OFFSET"], 16) == start + first
    assert int(settings["CONFIG_ENV_OFFSET_REDUND"], 16) == start + second
    assert int(settings["CONFIG_ENV_SIZE"], 16) == size
    assert settings["CONFIG_ENV_REDUNDANT"] == settings["CONFIG_SYS_REDUNDAND_ENVIRONMENT"] == "y"


def test_the_qemu_script_reads_and_writes_the_same_copies():
    first, second, size = copies()
    load = (FILES / "boot-qemu-load.cmd").read_text()
    save = (FILES / "boot-qemu-save.cmd").read_text()
    assert first == 0
    assert f"setexpr env_second_block ${{env_first_block}} + {second // 512:#x}" in load
    assert load.count(f"{size // 512:#x}\n") == 2
    assert f"{size - 5:#x}" in load and f"{size - 5:#x}" in save
    rust = (recipes.YOCTO.parent / "hwtest/src/boot_variables.rs").read_text()
    assert f"SIZE: usize = {size:#x}" in rust
    assert f"COPIES: [usize; 2] = [{first}, {second:#x}]" in rust


def test_the_variables_of_a_new_box_are_two_good_copies(emulated, tmp_path):
    """The recipe's own commands are run, and the result read as U-Boot reads it."""
    first, second, size = copies()
    data = recipes.recipe(emulated, "gatehouse-boot")
    run(data, "do_compile", tmp_path)
    image = (tmp_path / "build/ubootenv.img").read_bytes()
    for at in (first, second):
        checksum, _count = struct.unpack_from("<IB", image, at)
        content = image[at + 5 : at + size]
        assert zlib.crc32(content) == checksum
        variables = [word.decode() for word in content.split(b"\0\0")[0].split(b"\0")]
        assert variables == ["BOOT_ORDER=A B", "BOOT_A_LEFT=3", "BOOT_B_LEFT=0"]


def test_a_boards_script_names_its_disk_and_is_one_that_u_boot_takes(board, tmp_path):
    data = recipes.recipe(board, "gatehouse-boot")
    run(data, "do_compile", tmp_path)
    text = (tmp_path / "build/boot.cmd").read_text()
    assert 'setenv gatehouse_disk "mmc 2"\n' in text
    assert "@" not in text
    assert text.index("saveenv") < text.index("ext4load")
    assert (tmp_path / "build/boot.scr").read_bytes()[:4] == bytes.fromhex("27051956")


def test_every_board_says_where_its_disk_its_console_and_its_device_tree_are(machine):
    if machine.getVar("MACHINE") == "gatehouse-qemuarm64":
        return
    disk, number = machine.getVar("GATEHOUSE_DISK").split()
    assert disk == "mmc"
    name = machine.getVar("MACHINE").removeprefix("gatehouse-")
    cfg = (recipes.YOCTO / f"meta-gatehouse-bsp/recipes-bsp/u-boot/files/gatehouse-{name}.cfg").read_text()
    assert f"CONFIG_SYS_MMC_ENV_DEV={number}\n" in cfg
    assert f"CONFIG_ENV_MMC_DEVICE_INDEX={number}\n" in cfg
    assert f"load mmc {number}:2 " in cfg
    assert machine.getVar("GATEHOUSE_DTB").endswith(".dtb")
    assert re.fullmatch(r"tty\w+,115200", machine.getVar("GATEHOUSE_CONSOLE"))


def test_a_slot_is_made_with_the_parameters_of_the_qemu_image(emulated):
    data = recipes.recipe(emulated, "gatehouse-image")
    rust = (IMAGE / "slot.rs").read_text()
    assert f'FILE_SYSTEM_ID: &str = "{data.getVar("GATEHOUSE_SLOT_ID")}"' in rust
    assert f'SALT: &str = "{data.getVar("GATEHOUSE_SLOT_SALT")}"' in rust
    features = re.search(r"-O (\S+)", data.getVar("EXTRA_IMAGECMD:ext4"))[1]
    assert f'"{features}"' in rust
    for words in ("-b 4096", "-m 0", "-L gatehouse"):
        assert words in data.getVar("EXTRA_IMAGECMD:ext4")


def test_a_slot_that_the_class_makes_is_one_that_verifies(emulated, tmp_path):
    """The class's own commands make a slot of a small file system; veritysetup verifies it."""
    data = recipes.recipe(emulated, "gatehouse-image")
    data.setVar("IMGDEPLOYDIR", str(tmp_path))
    ext4 = tmp_path / f"{data.getVar('IMAGE_NAME')}.ext4"
    (tmp_path / "root/boot").mkdir(parents=True)
    (tmp_path / "root/boot/Image").write_bytes(b"kernel" * 4000)
    words = data.getVar("EXTRA_IMAGECMD:ext4").split()
    subprocess.run(["mkfs.ext4", "-F", *words, "-d", tmp_path / "root", ext4, "2048"], check=True)
    script = tmp_path / "run"
    # It is a function of the class under a name that no shell takes.
    script.write_text("bbfatal() { echo \"$@\"; exit 1; }\n" + data.getVar("IMAGE_CMD:slot"))
    subprocess.run(["bash", "-e", script], check=True)

    slot = ext4.with_suffix(".slot")
    image = slot.read_bytes()
    blocks = struct.unpack_from("<I", image, 1024 + 4)[0]
    text = dict(line.split(" ", 1) for line in image[blocks * 4096 :][:4096].rstrip(b"\0").decode().splitlines())
    assert (text["gatehouse-verity"], text["blocks"]) == ("1", str(blocks))
    verify = ["veritysetup", "verify", "--hash-offset", str((blocks + 1) * 4096), slot, slot]
    subprocess.run([*verify, text["root"]], check=True)
    damaged = bytearray(image)
    damaged[4096 * 20] ^= 1
    slot.write_bytes(damaged)
    assert subprocess.run([*verify, text["root"]], stderr=subprocess.DEVNULL).returncode != 0


def run(data, task, folder):
    """Runs a task of a recipe in a folder."""
    data.setVar("WORKDIR", str(folder))
    for name in ("B", "UNPACKDIR"):
        Path(data.getVar(name)).mkdir(parents=True, exist_ok=True)
    for name, path in recipes.sources(data).items():
        (Path(data.getVar("UNPACKDIR")) / name).write_bytes(Path(path).read_bytes())
    import bb.data

    with open(folder / "run", "w") as script:
        bb.data.emit_func(task, script, data)
        script.write(f"{task}\n")
    subprocess.run(["bash", "-e", folder / "run"], check=True, cwd=data.getVar("B"), stdout=subprocess.DEVNULL)
