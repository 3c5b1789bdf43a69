#!/usr/bin/env bash
# The engine's threads under a simulated scheduler: group commit, versions, backpressure, cache.
# Usage: schedules.sh [COUNT]   schedules of each kind and test, default: 200
set -euo pipefail
cd "$(dirname "$0")/../.."
export COFFER_SCHEDULES=${1:-200}
timeout 3600 cargo test --locked -p coffer-engine --features shuttle --lib schedules
