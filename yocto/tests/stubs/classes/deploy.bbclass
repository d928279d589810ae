# Stand-in.
do_deploy() {
    :
}
