# Shortcuts for contributors; https://just.systems runs them. CI uses the commands themselves.

# Lists the shortcuts.
default:
    @just --list

# All tests.
test *ARGS:
    cargo test --locked {{ARGS}}

# Format, lints and documentation, as CI checks them.
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

# Everything that guards a change.
ci:
    .ci/run

# Checks that take too long for every change; `just long WORD` runs the sections with that word.
long *WORD:
    .ci/long {{ if WORD == "" { "" } else { "--only '" + WORD + "'" } }}

# Benchmarks of whole runs and stages, with their lower bounds.
bench *ARGS:
    benches/table.sh {{ARGS}}

# One fuzz target, for three minutes. Needs a nightly compiler and cargo-fuzz.
fuzz TARGET SECONDS="180":
    cargo +nightly fuzz run --fuzz-dir fuzz --sanitizer none {{TARGET}} fuzz/corpus/{{TARGET}} -- -max_total_time={{SECONDS}}

# Writes the reference pages and the outputs shown in pages; read the difference before you commit it.
docs:
    REPOSYNC_UPDATE_DOCS=1 cargo test --locked --test it -- docs

# The documentation as a site, in target/book. Needs `cargo install mdbook`.
site:
    mdbook build

# Workflows, shell scripts, spelling, and the site with its links. Needs Python and npm.
check-scripts:
    .ci/lint

# Writes the snapshots of what users see; read the difference before you commit it.
snapshots *ARGS:
    INSTA_UPDATE=always cargo test --locked {{ARGS}}
