#!/usr/bin/env bash
# kill -9 of the mount under load. Usage: kill-cycles.sh [CYCLES]   default: 50
set -euo pipefail
cd "$(dirname "$0")/../.."
COFFER_KILL_CYCLES=${1:-50} COFFER_SEED=${COFFER_SEED:-$RANDOM} timeout 3600 \
    cargo test --release -p coffer-tests --test it fsynced_files_survive_kill_9 -- --nocapture
