# shellcheck shell=bash
# Programs that others read our figures and spans with, for the tests of these. Sourced after toolchain.sh and steps.sh. Each is looked for, then fetched
# to a folder outside the tree, and left out with a word where that cannot be.

COUNTERPARTS=${KANTOKU_COUNTERPARTS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kantoku/counterparts}

counterpart_tests() {
  mkdir -p "$COUNTERPARTS"
  if has prometheus || (miss prometheus "scrapes us" && install_missing); then counterpart prometheus; else leave_out prometheus; fi
  if fetched_statsd; then counterpart statsd; else leave_out "npm's statsd"; fi
  if fetched_rotel; then counterpart rotel; else leave_out "PyPI's rotel"; fi
}

counterpart() {
  step "a real counterpart: $1" mix test --only "$1" "test/counterparts/$1_test.exs"
}

leave_out() {
  say "no $1 is to be had: leaving out its test of test/counterparts"
}

# KANTOKU_STATSD: the package's folder.
fetched_statsd() {
  [ -z "${KANTOKU_STATSD:-}" ] || return 0
  has node && has npm || return 1
  local folder="$COUNTERPARTS/npm/node_modules/statsd"
  [ -d "$folder" ] || timeout 120 npm install --silent --no-audit --no-fund --prefix "$COUNTERPARTS/npm" statsd@0.9 >/dev/null 2>&1 || return 1
  export KANTOKU_STATSD=$folder
}

# KANTOKU_ROTEL: the program that the package has.
fetched_rotel() {
  [ -z "${KANTOKU_ROTEL:-}" ] || return 0
  has python3 || return 1
  local program
  program=$(rotel_program)
  if [ -z "$program" ]; then
    { python3 -m venv "$COUNTERPARTS/rotel" && timeout 120 "$COUNTERPARTS/rotel/bin/pip" install -q rotel; } >/dev/null 2>&1 || return 1
    program=$(rotel_program)
  fi
  [ -n "$program" ] || return 1
  export KANTOKU_ROTEL=$program
}

rotel_program() {
  find "$COUNTERPARTS/rotel" -name rotel-agent -type f 2>/dev/null | head -n 1
}
