#!/usr/bin/env bash
# The image from a release archive for musl, in place of the build stage of deploy/Containerfile.
#
#   deploy/release/image.sh tree DIST TRIPLE OUT       unpacks the archive into the tree of the image
#   deploy/release/image.sh build OUT PLATFORM TAG     builds it for this machine's Docker
#   deploy/release/image.sh push OUT PLATFORM TAG      builds and pushes it
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

case ${1:-} in
  tree)
    archive=$(echo "$2"/reposync-*-"$3".tar.gz)
    mkdir -p "$4/image/usr/local" "$4/image/etc/ssl/certs" "$4/image/var/lib/reposync" "$4/image/tmp"
    tar --extract --gzip --file "$archive" --directory "$4/image/usr/local" --strip-components 1
    cp /etc/ssl/certs/ca-certificates.crt "$4/image/etc/ssl/certs/"
    ;;
  build | push)
    output=--load
    [ "$1" = build ] || output=--push
    docker buildx build "$output" --platform "$3" --build-context "build=$2" --file "$root/deploy/Containerfile" --tag "$4" "$root"
    ;;
  *)
    sed -n 's/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
