# Stand-in.
