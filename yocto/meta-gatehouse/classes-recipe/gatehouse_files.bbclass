# Installs exactly what the recipe's files.list names. `cargo xtask image` reads the same lists, so
# the image for QEMU and the one for a board have the same files at the same places.
#
#   file SOURCE PATH MODE root:root    a file beside the list; @NAME@ in it becomes the value of NAME
#   link TARGET PATH                   a link
#   dir PATH MODE root:root            an empty folder
#
# A *sysusers.conf among the files makes the recipe add these users with these numbers.

# The lists, by name; a machine may append one of its own.
GATEHOUSE_LISTS ?= "files.list"

# Variables whose @NAME@ is replaced in the files.
GATEHOUSE_NAMES ?= "GATEHOUSE_COMPATIBLE"

# Where the files are found after unpacking.
S = "${UNPACKDIR}"

def gatehouse_entries(d):
    """What the lists name: (list, number of the line, words)."""
    entries = []
    for name in d.getVar("GATEHOUSE_LISTS").split():
        path = bb.utils.which(d.getVar("FILESPATH"), name)
        if not path:
            bb.fatal("%s: no %s in %s" % (d.getVar("PN"), name, d.getVar("FILESPATH")))
        bb.parse.mark_dependency(d, path)
        with open(path) as lines:
            for number, line in enumerate(lines, 1):
                words = line.split("#")[0].split()
                if not words:
                    continue
                shape = (words[0], len(words), words[-1] == "root:root")
                if shape not in (("file", 5, True), ("link", 3, False), ("dir", 4, True)):
                    bb.fatal("%s:%d: neither `file SOURCE /PATH MODE root:root` nor `link` nor `dir`" % (path, number))
                entries.append(words)
    return entries

def gatehouse_install_script(d, entries):
    """The shell commands that install them."""
    names = d.getVar("GATEHOUSE_NAMES").split()
    script = []
    for words in entries:
        if words[0] == "dir":
            script.append("install -d -m %s ${D}%s" % (words[2], words[1]))
            continue
        path = words[2]
        script.append("install -d ${D}%s" % os.path.dirname(path))
        if words[0] == "link":
            script.append("ln -s %s ${D}%s" % (words[1], path))
        else:
            script.append("install -m %s ${UNPACKDIR}/%s ${D}%s" % (words[3], words[1], path))
            script.extend("sed -i 's|@%s@|${%s}|g' ${D}%s" % (name, name, path) for name in names)
    return "\n".join("    " + line for line in script)

def gatehouse_accounts(d, entries):
    """The arguments of groupadd and useradd that the sysusers.d files stand for."""
    groups, users, members = [], [], []
    for words in entries:
        if words[0] != "file" or not words[1].endswith("sysusers.conf"):
            continue
        path = bb.utils.which(d.getVar("FILESPATH"), words[1])
        bb.parse.mark_dependency(d, path)
        import shlex
        with open(path) as lines:
            for line in lines:
                fields = shlex.split(line, comments=True)
                if not fields:
                    continue
                kind, name, number = (fields + ["", ""])[:3]
                if kind == "g":
                    groups.append("--system --gid %s %s" % (number, name))
                elif kind == "u":
                    user, _, group = number.partition(":")
                    if not group:
                        groups.append("--system --gid %s %s" % (user, name))  # Of its name, as sysusers has it.
                    users.append("--system --no-create-home --home-dir %s --shell %s --uid %s --gid %s --comment '%s' %s"
                                 % (fields[4], fields[5], user, group or user, fields[3], name))
                elif kind == "m":
                    members.append("%s %s" % (name, number))
                else:
                    bb.fatal("%s: a kind of line that this class does not know: %s" % (path, line))
    return groups, users, members

python () {
    entries = gatehouse_entries(d)
    sources = [words[1] for words in entries if words[0] == "file"]
    for source in sorted(set(sources)):
        d.appendVar("SRC_URI", " file://" + source)
    for name in d.getVar("GATEHOUSE_LISTS").split():
        d.appendVar("SRC_URI", " file://" + name)
    d.setVar("GATEHOUSE_INSTALL", gatehouse_install_script(d, entries))
    paths = [words[1] if words[0] == "dir" else words[2] for words in entries]
    d.appendVar("FILES:" + d.getVar("PN"), " " + " ".join(paths))
    groups, users, members = gatehouse_accounts(d, entries)
    if groups or users:
        d.appendVar("USERADD_PACKAGES", " " + d.getVar("PN"))
        d.setVar("GROUPADD_PARAM:" + d.getVar("PN"), "; ".join(groups))
        d.setVar("USERADD_PARAM:" + d.getVar("PN"), "; ".join(users))
        d.setVar("GROUPMEMS_PARAM:" + d.getVar("PN"), "; ".join("--add %s --group %s" % tuple(pair.split()) for pair in members))
}

gatehouse_files_install() {
${GATEHOUSE_INSTALL}
}

gatehouse_files_do_install() {
    gatehouse_files_install
}

EXPORT_FUNCTIONS do_install
