#!/usr/bin/env bash
# Builds the chunkers in this folder from source, and tests each with its golden outputs and the
# built-in edge-case documents of `plugin test`.
#
# usage: plugins/build.sh [--install] [--update] [--templates] [NAME…]
#   --install    first install missing toolchains: with apt (as root), and pip and npm below target/tools
#   --update     also update the components in the repository and their digests
#   --templates  also build and test the templates of `plugin new`, in the languages of the chunkers
#
# Uses the `reposync` binary in $REPOSYNC, or builds one.
set -euo pipefail
cd "$(dirname "$0")/.."

# Committed to the repository: small, and needed by the default reposync.toml and the tests.
committed=(changelog notebook sql)
tools=$PWD/target/tools
out=$PWD/target/components

install=false update=false templates=false names=()
for argument in "$@"; do
  case $argument in
    --install) install=true ;;
    --update) update=true ;;
    --templates) templates=true ;;
    -*) echo "unknown option $argument" >&2; exit 2 ;;
    *) names+=("$argument") ;;
  esac
done
[ ${#names[@]} -gt 0 ] || names=(changelog sql notebook restructuredtext)

# pip and npm install into a private folder, so that they do not affect the system.
export PATH="$tools/python/bin:$tools/js/node_modules/.bin:$PATH"

say() { printf '%s\n' "$*"; }

wants() { for name in "${names[@]}"; do [ "$name" = "$1" ] && return 0; done; return 1; }

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

packages() {
  say "installing $*"
  [ -n "${apt_updated:-}" ] || { as_root apt-get update -qq; apt_updated=yes; }
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

has_linker() { compgen -c wasm-ld >/dev/null; }

# rustup's target, or Debian's compiler with the source code of the standard library.
has_rust_target() {
  [ -d "$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null)" ] ||
    { [ -d /usr/lib/rustlib/src/rust/library ] && [ -x /usr/bin/cargo ] && has_linker; }
}

has_c() {
  [ -n "${WASI_SDK_PATH:-}" ] ||
    { [ -d /usr/include/wasm32-wasi ] && compgen -c clang >/dev/null && has_linker; }
}

if $install; then
  if wants changelog && ! has_rust_target; then
    # Fall back to Debian's compiler if rustup is missing or cannot download the target.
    rustup target add wasm32-unknown-unknown 2>/dev/null || packages rustc-web cargo-web rust-web-src lld-22
  fi
  if wants sql && ! has_c; then
    packages clang-22 lld-22 wasi-libc libclang-rt-22-dev-wasm32 ||
      packages clang lld wasi-libc libclang-rt-dev-wasm32
  fi
  if wants notebook && ! command -v jco >/dev/null; then
    command -v npm >/dev/null || packages npm
    say "installing jco"
    mkdir -p "$tools/js"
    npm install --silent --no-audit --no-fund --prefix "$tools/js" @bytecodealliance/jco@1.35.0
  fi
  if wants restructuredtext && ! command -v componentize-py >/dev/null; then
    say "installing componentize-py"
    # Debian's python3 lacks venv; --clear replaces the leftovers of the failed attempt.
    python3 -m venv "$tools/python" 2>/dev/null ||
      { packages python3 python3-venv; python3 -m venv --clear "$tools/python"; }
    "$tools/python/bin/pip" install --quiet componentize-py==0.25.1
  fi
fi

if [ -z "${REPOSYNC:-}" ]; then
  cargo build --quiet --locked
  REPOSYNC=${CARGO_TARGET_DIR:-target}/debug/reposync
fi

mkdir -p "$out"
for name in "${names[@]}"; do
  started=$SECONDS
  component=$out/$name.wasm
  rm -f "$component"
  "$REPOSYNC" plugin build "plugins/$name" --out "$component"
  [ -s "$component" ] || { say "$name: no component was built"; exit 1; }
  # Builds must be reproducible in every language.
  digest=$(sha256sum "$component")
  "$REPOSYNC" plugin build "plugins/$name" --out "$component" >/dev/null 2>&1
  [ "$digest" = "$(sha256sum "$component")" ] || { say "$name: a second build produced different bytes"; exit 1; }
  documents=()
  for file in "plugins/$name"/fixtures/*; do
    [[ $file == *.chunks.json ]] || documents+=("$file")
  done
  # Fails if the chunks differ from the golden outputs.
  if ! tested=$("$REPOSYNC" plugin test "$component" "${documents[@]}" 2>&1); then
    say "$tested"
    exit 1
  fi
  say "$name: built from source, $(wc -c <"$component") bytes, golden outputs and edge cases passed, $((SECONDS - started)) s"
done

for name in "${committed[@]}"; do
  wants "$name" || continue
  if $update; then
    cp "$out/$name.wasm" "plugins/$name.wasm"
  elif ! cmp -s "$out/$name.wasm" "plugins/$name.wasm"; then
    # The bytes depend on the compiler version, so only check that both give the same chunks.
    say "note: $name.wasm in the repository was built with another compiler version, or from other sources"
    # shellcheck disable=SC2046,SC2010 # our own names, which have no blanks
    "$REPOSYNC" plugin test "plugins/$name.wasm" $(ls "plugins/$name"/fixtures/* | grep -v '\.chunks\.json$') >/dev/null
  fi
done
if $update; then
  (cd plugins && sha256sum "${committed[@]/%/.wasm}" >SHA256SUMS)
fi
(cd plugins && sha256sum --check --quiet SHA256SUMS)

if wants sql; then
  example=$(mktemp -d)
  cp plugin-sdk/c/example.cpp "$example/chunker.cpp"
  "$REPOSYNC" plugin build "$example" >/dev/null
  rm -rf "$example"
  say "C++: the header compiles and the component loads"
fi

if $templates; then
  declare -A languages=([changelog]=rust [sql]=c [notebook]=js [restructuredtext]=python)
  reposync=$(realpath "$REPOSYNC")
  projects=$(mktemp -d)
  trap 'rm -rf "$projects"' EXIT
  cd "$projects"
  for name in "${names[@]}"; do
    language=${languages[$name]}
    started=$SECONDS
    if ! made=$("$reposync" plugin new "fresh-$language" --lang "$language" 2>&1 &&
      cd "fresh-$language" && "$reposync" plugin build 2>&1 &&
      "$reposync" plugin test "fresh-$language.wasm" fixtures/example.txt 2>&1); then
      say "$made"
      exit 1
    fi
    say "template for $language: builds and passes its test unmodified, $((SECONDS - started)) s"
    [ "$language" = js ] || continue
    # The same chunker in TypeScript.
    mkdir fresh-ts
    cp -r fresh-js/fixtures fresh-ts
    sed 's/^let config = {};/let config: { marker?: string } = {};/' fresh-js/chunker.js >fresh-ts/chunker.ts
    "$reposync" plugin build fresh-ts >/dev/null
    "$reposync" plugin test fresh-ts/fresh-js.wasm fresh-ts/fixtures/example.txt >/dev/null 2>&1
    say "TypeScript: builds and gives the same chunks"
  done
fi
