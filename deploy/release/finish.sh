#!/bin/sh
# Completes the files of a release in a folder: list of components (CycloneDX), installer with address and version, notes,
# checksums of everything.
#
#   deploy/release/finish.sh DIR
set -eu
dist=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
home=$(deploy/release/home.sh)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
[ -n "$home" ] || { echo "REPOSYNC_HOME is not set: the installer would not know where releases are" >&2; exit 1; }

# Every crate that is linked into the program; `--override-filename` has no extension, and the file is written next to the manifest.
cargo cyclonedx --manifest-path engine/Cargo.toml --format json --spec-version 1.5 --target all \
  --override-filename "reposync-$version.cdx"
mv "engine/reposync-$version.cdx.json" "$dist/"
# The other members of the workspace get one, too.
find . -name "reposync-$version.cdx.json" -not -path './target/*' -not -path "$dist/*" -delete

sed -e "s|@REPOSYNC_HOME@|$home|" -e "s|@REPOSYNC_VERSION@|$version|" deploy/release/install.sh >"$dist/install.sh"
# The section of this version, else what is unreleased.
awk -v version="$version" '
  /^## / { inside = ($2 == version || (!found && $2 == "Unreleased")); if ($2 == version) { found = 1; text = "" } next }
  inside { text = text $0 "\n" }
  END { printf "%s", text }
' CHANGELOG.md >"$dist/notes.md"
rm -f "$dist/SHA256SUMS"
(cd "$dist" && find . -type f ! -name notes.md -exec sha256sum {} + | sed 's|  \./|  |' | sort -k 2) >"$dist.sums"
mv "$dist.sums" "$dist/SHA256SUMS"
cat "$dist/SHA256SUMS"
