#!/bin/sh
# Prints REPOSYNC_HOME, the address of the project's repository, such as https://github.com/OWNER/reposync: the variable, or
# else `repository` in Cargo.toml. Prints an empty line while neither is set.
set -eu
cd "$(dirname "$0")/../.."
home=${REPOSYNC_HOME:-$(sed -n 's/^repository = "\(.*\)".*/\1/p' Cargo.toml)}
echo "${home%/}"
