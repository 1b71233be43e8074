#!/bin/sh
# Builds every peer into target/release beside this script, where `roas-bench compare --peers` looks
# for them: three workspaces, because each links another SQLite.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for workspace in . sqlx async-sqlite; do
    cargo build --release --locked --manifest-path "$here/$workspace/Cargo.toml" \
        --target-dir "$here/target" "$@"
done
