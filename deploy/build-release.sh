#!/usr/bin/env bash
# Release build without paths and times of the machine in the output: the same commit and toolchain give the same component
# in any folder. Two builds of the program still differ.
#
#   deploy/build-release.sh                 the program, into target/reproducible/; prints its SHA-256
#   deploy/build-release.sh --archive      the same, and a release archive in target/reproducible/dist, with the components
#                                          that are too large for the program, which `plugins/build.sh` has built into
#                                          target/components
#   deploy/build-release.sh --deb           the same, and a Debian package of it (needs `cargo install cargo-deb`)
#   deploy/build-release.sh --target TRIPLE …   for another C library of this processor: x86_64-unknown-linux-gnu runs on
#                                          glibc 2.28, x86_64-unknown-linux-musl needs none. Needs rustup's target and
#                                          `pip install cargo-zigbuild ziglang`
#   deploy/build-release.sh --compare       builds in two folders and compares: the Rust plugin's
#                                           native library (takes seconds)
#   deploy/build-release.sh --compare reposync   the program itself (takes two release builds)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The oldest C library that a program for gnu runs on, as docs/install.md and deploy/release/install.sh say.
glibc=2.28

# build FOLDER OUT PACKAGE [TRIPLE]: a release of a package from the sources in a folder.
build() {
  local folder cargo_home=${CARGO_HOME:-$HOME/.cargo} with=(build)
  folder=$(cd "$1" && pwd)
  case ${4:-} in
    '') ;;
    *-linux-gnu) with=(zigbuild --target "$4.$glibc") ;;
    *-linux-musl) with=(zigbuild --target "$4") ;;
    *) with=(build --target "$4") ;;
  esac
  if [ "$3" = reposync ]; then
    with+=(--features jemalloc)
    # A page of arm64 has 4, 16 or 64 KiB, and jemalloc must know the largest.
    case ${4:-$(rustc -vV | sed -n 's/^host: //p')} in aarch64-*) export JEMALLOC_SYS_WITH_LG_PAGE=16 ;; esac
  fi
  local remap="--remap-path-prefix=$folder=/reposync --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$2=/target"
  # C code (SQLite, grammars) contains file names too; ZERO_AR_DATE leaves times out of archives.
  (cd "$folder" &&
    RUSTFLAGS="$remap" CARGO_TARGET_DIR=$2 SOURCE_DATE_EPOCH=0 ZERO_AR_DATE=1 CARGO_INCREMENTAL=0 \
      CFLAGS="-ffile-prefix-map=$folder=/reposync -ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$2=/target" \
      cargo "${with[@]}" --release --locked --quiet --package "$3")
}

if [ "${1:-}" != "--compare" ]; then
  archive=false deb=false target=
  while [ $# -gt 0 ]; do
    case $1 in
      --archive) archive=true ;;
      --deb) archive=true deb=true ;;
      --target) target=${2:?--target needs a target triple} && shift ;;
      *) echo "unknown option $1" >&2; exit 2 ;;
    esac
    shift
  done
  out=target/reproducible
  build . "$PWD/$out" reposync "$target"
  program=$out/${target:+$target/}release/reposync
  sha256sum "$program" 2>/dev/null || shasum -a 256 "$program"
  $archive || exit 0
  triple=${target:-$(rustc -vV | sed -n 's/^host: //p')}
  packed=$(python3 deploy/release/archive.py --program "$program" --target "$triple" --components target/components --out "$out/dist")
  echo "$packed"
  $deb || exit 0
  # cargo-deb takes its files from a folder with a fixed name: see `package.metadata.deb` in engine/Cargo.toml.
  rm -rf target/deb && cp -R "${packed%.tar.gz}" target/deb
  SOURCE_DATE_EPOCH=0 cargo deb --no-build --no-strip --package reposync --output "$out/dist"
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
