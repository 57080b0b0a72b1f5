"""Atomic files and folders, checksums, and checks on which files of an untrusted folder may be read."""
