#!/usr/bin/env bash
# Reproducible release build: the same commit and toolchain give the same bytes in any folder.
# Paths of the machine are remapped, and nothing depends on the time.
#
#   deploy/build-release.sh                 the program, into target/reproducible/; prints its SHA-256
#   deploy/build-release.sh --archive      the same, and an archive of the program and the components that are too
#                                          large for it, which `plugins/build.sh` has built into target/components
#   deploy/build-release.sh --compare       builds in two folders and compares: the Rust plugin's
#                                           native library (takes seconds)
#   deploy/build-release.sh --compare reposync   the program itself (takes two release builds)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# build FOLDER TARGET PACKAGE: a release of a package from the sources in a folder.
build() {
  local folder cargo_home=${CARGO_HOME:-$HOME/.cargo}
  folder=$(cd "$1" && pwd)
  local remap="--remap-path-prefix=$folder=/reposync --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$2=/target"
  # C code (SQLite, grammars) contains file names too; ZERO_AR_DATE leaves times out of archives.
  (cd "$folder" &&
    RUSTFLAGS="$remap" CARGO_TARGET_DIR=$2 SOURCE_DATE_EPOCH=0 ZERO_AR_DATE=1 CARGO_INCREMENTAL=0 \
      CFLAGS="-ffile-prefix-map=$folder=/reposync -ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$2=/target" \
      cargo build --release --locked --quiet --package "$3")
}

if [ "${1:-}" != "--compare" ]; then
  build . "$PWD/target/reproducible" reposync
  sha256sum target/reproducible/release/reposync
  [ "${1:-}" = "--archive" ] || exit 0
  root=target/reproducible/reposync
  rm -rf "$root"
  mkdir -p "$root/bin" "$root/share/reposync/plugins"
  cp target/reproducible/release/reposync "$root/bin/"
  cp target/components/restructuredtext.wasm "$root/share/reposync/plugins/"
  # Names in order, no owners, no times: the same bytes for the same files.
  tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C target/reproducible -c reposync |
    gzip -n >target/reproducible/reposync.tar.gz
  (cd target/reproducible && sha256sum reposync.tar.gz reposync/share/reposync/plugins/*.wasm)
  exit
fi

package=${2:-reposync-plugin-changelog}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for copy in one another/folder; do
  mkdir -p "$work/$copy"
  git archive HEAD | tar -x -C "$work/$copy"
  build "$work/$copy" "$work/target-${copy%%/*}" "$package"
done
# Linked programs and libraries, without Cargo's metadata files.
digests() { (cd "$1/release" && find . -maxdepth 1 -type f ! -name '*.d' ! -name '.*' -exec sha256sum {} + | sort); }
digests "$work/target-one" | tee "$work/digests"
[ -s "$work/digests" ] || { echo "nothing was built" >&2; exit 1; }
if [ "$(digests "$work/target-another")" = "$(cat "$work/digests")" ]; then
  echo "the same bytes from both folders"
else
  echo "the builds differ:" >&2
  digests "$work/target-another" >&2
  exit 1
fi
