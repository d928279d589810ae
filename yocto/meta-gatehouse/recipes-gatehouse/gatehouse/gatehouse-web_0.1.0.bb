SUMMARY = "The softphone page that the box serves"
DESCRIPTION = "Bundled from the page's own source and the packages of its lock file; esbuild is one program and needs no Node.js."
SECTION = "net"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://${GATEHOUSE_TREE}/LICENSE-MIT;md5=2566c67bb0f24be29e6e9b22367c2f8e \
                    file://${GATEHOUSE_TREE}/LICENSE-APACHE;md5=22a53954e4e0ec258dfce4391e905dac"

inherit allarch

require gatehouse-source.inc
require gatehouse-web-npm.inc

# Where npm packages are had from: the site says so, from outside (see yocto/README.md).
GATEHOUSE_NPM ??= ""

python () {
    if not d.getVar("GATEHOUSE_NPM"):
        raise bb.parse.SkipRecipe("GATEHOUSE_NPM is not set: the address that `npm config get registry` prints, without the last slash")
}

S = "${UNPACKDIR}/gatehouse"
PAGE = "${S}/firmware/supervisor/web"
B = "${WORKDIR}/build"

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"

# The options are those of build.mjs; yocto/tests compares them.
do_compile() {
    rm -rf ${PAGE}/node_modules
    cp -r ${UNPACKDIR}/node_modules ${PAGE}/node_modules
    cd ${PAGE}
    ${UNPACKDIR}/node_modules/@esbuild/linux-${GATEHOUSE_ESBUILD}/bin/esbuild src/main.js src/style.css \
        --bundle --minify --sourcemap --format=esm --target=chrome110,firefox115,safari16 \
        --outdir=${B}/dist --define:global=globalThis '--define:process.env.NODE_ENV="production"' \
        --legal-comments=linked --log-level=warning
    cp src/index.html src/icon.svg ${B}/dist/
}
do_compile[cleandirs] = "${B}"

do_install() {
    install -d ${D}${datadir}/gatehouse/web
    install -m 0644 ${B}/dist/* ${D}${datadir}/gatehouse/web/
}

FILES:${PN} += "${datadir}/gatehouse/web"
