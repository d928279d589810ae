# Stand-in.
cargo_do_install() {
    :
}
EXPORT_FUNCTIONS do_install
