#!/bin/sh
# Installs RepoSync: chooses the archive of a release for this system, downloads it, compares its checksum with the list of
# the release, and unpacks it below a prefix. Changes nothing if a check fails.
#
#   sh install.sh --help
set -eu

# Set when a release is made: its address and version.
REPOSYNC_HOME='@REPOSYNC_HOME@'
REPOSYNC_VERSION='@REPOSYNC_VERSION@'
# The oldest C library that the archives for gnu run on.
GLIBC=2.28

fail() {
  printf 'install.sh: %s\n' "$1" >&2
  [ -z "${2:-}" ] || printf 'hint: %s\n' "$2" >&2
  exit 1
}

usage() {
  cat <<'TEXT'
usage: sh install.sh [--prefix DIR] [--version VERSION] [--target TARGET] [--from ADDRESS]

  --prefix DIR       where to install (default: ~/.local, or REPOSYNC_PREFIX)
  --version VERSION  which version (default: that of this script)
  --target TARGET    which archive, such as x86_64-unknown-linux-musl (default: the one for this system)
  --from ADDRESS     where the files of the release are: https://… or file://… (default: the project's releases)
TEXT
}

has() { command -v "$1" >/dev/null 2>&1; }

# newer A B: true if version A is at least B, both MAJOR.MINOR.
newer() {
  [ "${1%%.*}" -gt "${2%%.*}" ] || { [ "${1%%.*}" -eq "${2%%.*}" ] && [ "${1#*.}" -ge "${2#*.}" ]; }
}

# The version of glibc, such as 2.36; nothing on systems without it.
glibc() {
  if has getconf; then
    getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc \([0-9]*\.[0-9]*\).*/\1/p'
  fi
}

# The target triple of this system.
detect() {
  system=$(uname -s)
  machine=$(uname -m)
  case $machine in
    x86_64 | amd64) machine=x86_64 ;;
    aarch64 | arm64) machine=aarch64 ;;
    *) fail "there is no release for the processor $machine" "build from source: docs/install.md" ;;
  esac
  case $system in
    Linux)
      found=$(glibc)
      if [ -n "$found" ] && newer "$found" "$GLIBC"; then
        echo "$machine-unknown-linux-gnu"
      else
        echo "$machine-unknown-linux-musl"
      fi
      ;;
    Darwin)
      # A shell under Rosetta says x86_64 on Apple silicon.
      if [ "$machine" = x86_64 ] && [ "$(sysctl -n hw.optional.arm64 2>/dev/null || echo 0)" != 1 ]; then
        fail "there is no release for Macs with Intel processors" "build from source: docs/install.md"
      fi
      echo aarch64-apple-darwin
      ;;
    *) fail "there is no release for the system $system" "use Linux, macOS or WSL, or build from source: docs/install.md" ;;
  esac
}

# Refuses an archive that cannot run here.
check_target() {
  case $1 in
    *-linux-gnu)
      found=$(glibc)
      if [ -n "$found" ] && ! newer "$found" "$GLIBC"; then
        fail "this system has glibc $found; $GLIBC or newer is needed for $1" "leave out --target, or use --target ${1%gnu}musl"
      fi
      ;;
  esac
}

# download NAME: a file of the release into the temporary folder.
download() {
  case $from in
    file://*) cp "${from#file://}/$1" "$work/$1" 2>/dev/null || fail "cannot read ${from#file://}/$1" ;;
    *)
      if has curl; then
        curl --fail --silent --show-error --location --retry 2 --output "$work/$1" "$from/$1"
      elif has wget; then
        wget --quiet --output-document="$work/$1" "$from/$1"
      else
        fail "neither curl nor wget is installed"
      fi || fail "cannot download $from/$1" "check version and network; a proxy is named by https_proxy"
      ;;
  esac
}

digest() {
  if has sha256sum; then
    sha256sum "$1"
  elif has shasum; then
    shasum -a 256 "$1"
  else
    fail "neither sha256sum nor shasum is installed: the download cannot be checked"
  fi | cut -d ' ' -f 1
}

prefix=${REPOSYNC_PREFIX:-${HOME:-}/.local}
version=$REPOSYNC_VERSION
target=
from=
while [ $# -gt 0 ]; do
  case $1 in
    --prefix | --version | --target | --from)
      [ $# -ge 2 ] || fail "$1 needs a value"
      case $1 in
        --prefix) prefix=$2 ;;
        --version) version=${2#v} ;;
        --target) target=$2 ;;
        --from) from=${2%/} ;;
      esac
      shift 2
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) fail "unknown option $1" "--prefix, --version, --target and --from are known" ;;
  esac
done
case $prefix in
  /*) ;;
  *) prefix=$PWD/$prefix ;;
esac
case $version in
  @*) fail "this script is not part of a release" "name a version: --version 0.1.0" ;;
esac
if [ -z "$from" ]; then
  case $REPOSYNC_HOME in
    @* | '') fail "this script does not know where releases are" "name the folder with the files of a release: --from ADDRESS" ;;
  esac
  from=$REPOSYNC_HOME/releases/download/v$version
fi
case $from in
  https://* | file:///* | http://127.0.0.1:* | http://localhost:*) ;;
  *) fail "$from is not an https:// or file:// address" ;;
esac
if [ -z "$target" ]; then
  target=$(detect)
fi
check_target "$target"
has tar || fail "tar is not installed"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
name=reposync-$version-$target
echo "downloading $name"
download SHA256SUMS
expected=$(sed -n "s/^\([0-9a-f]\{64\}\)  $name\.tar\.gz\$/\1/p" "$work/SHA256SUMS")
[ -n "$expected" ] || fail "there is no release for $target in version $version" "$from/SHA256SUMS lists what there is"
download "$name.tar.gz"
found=$(digest "$work/$name.tar.gz")
[ "$found" = "$expected" ] || fail "the checksum of $name.tar.gz is wrong: $found instead of $expected" "try again; if it stays so, report it. Nothing was installed"
tar -xzf "$work/$name.tar.gz" -C "$work" || fail "$name.tar.gz cannot be unpacked"
printed=$("$work/$name/bin/reposync" --version 2>&1) || {
  case $target in
    *-linux-gnu) hint="try --target ${target%gnu}musl, which needs no C library" ;;
    *) hint="build from source: docs/install.md" ;;
  esac
  fail "the program does not run here: $(printf '%s\n' "$printed" | sed 's|^[^ ]*/bin/reposync: ||; q')" "$hint"
}

mkdir -p "$prefix/bin" 2>/dev/null && [ -w "$prefix/bin" ] || fail "$prefix/bin cannot be written" "name another folder with --prefix"
(cd "$work/$name" && tar -cf - share) | (cd "$prefix" && tar -xf -) || fail "$prefix/share cannot be written" "name another folder with --prefix"
# A program that is running cannot be overwritten, but replaced.
cp "$work/$name/bin/reposync" "$prefix/bin/.reposync.new"
mv -f "$prefix/bin/.reposync.new" "$prefix/bin/reposync"
echo "installed $printed in $prefix/bin"
case :${PATH:-}: in
  *":$prefix/bin:"*) ;;
  *) echo "add it to your PATH: export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
