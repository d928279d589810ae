SUMMARY = "Stand-in"
LICENSE = "MIT"
