#!/bin/sh
# Fails if a program needs a newer C library than docs/install.md says.
#
#   deploy/release/glibc.sh PROGRAM
set -eu
oldest=$(sed -n 's/^glibc=//p' "$(dirname "$0")/../build-release.sh")
needed=$(objdump -T "$1" | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -uV | tail -n 1)
[ -n "$needed" ] || { echo "$1 is not linked to glibc" >&2; exit 1; }
echo "$1 needs glibc $needed; at most $oldest is allowed"
[ "$(printf '%s\n%s\n' "$needed" "$oldest" | sort -V | tail -n 1)" = "$oldest" ]
