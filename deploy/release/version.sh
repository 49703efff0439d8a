#!/bin/sh
# Prints `version=…`, the version of the workspace. Fails if the tag that is being released, GITHUB_REF_NAME, names another
# one, or if the changelog has no section for it.
set -eu
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
if [ "${GITHUB_REF_TYPE:-}" = tag ]; then
  if [ "$GITHUB_REF_NAME" != "v$version" ]; then
    echo "the tag is $GITHUB_REF_NAME, but Cargo.toml has version $version" >&2
    exit 1
  fi
  if ! grep -q "^## $version\b" CHANGELOG.md; then
    echo "CHANGELOG.md has no section \"## $version\"" >&2
    exit 1
  fi
fi
echo "version=$version"
