# A release is of a commit that somebody has named.
addhandler gatehouse_release_is_named
gatehouse_release_is_named[eventmask] = "bb.event.ConfigParsed"
python gatehouse_release_is_named() {
    import re
    if not re.fullmatch("[0-9a-f]{40}", d.getVar("GATEHOUSE_REVISION") or ""):
        bb.fatal("a release needs GATEHOUSE_REVISION, the commit it is made from, all 40 digits of it")
}
