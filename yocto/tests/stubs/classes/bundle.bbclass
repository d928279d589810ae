# Stand-in.
BUNDLE_ARGS ??= ""
