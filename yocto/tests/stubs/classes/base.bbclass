# Stand-in: where files are looked for, and the tasks.
def base_filespath(d):
    folder = d.getVar("FILE_DIRNAME")
    extra = (d.getVar("FILESEXTRAPATHS") or "").replace("__default:", "").split(":")
    places = extra + [os.path.join(folder, name) for name in (d.getVar("BP"), d.getVar("BPN"), "files")]
    overrides = reversed(d.getVar("OVERRIDES").split(":"))
    return ":".join(p for p in [os.path.join(place, o) for o in overrides for place in places if place] + places if p)

FILESPATH = "${@base_filespath(d)}"

base_do_install() {
    :
}
EXPORT_FUNCTIONS do_install
