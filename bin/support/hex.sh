# shellcheck shell=bash
# Whether the optional packages come from Hex or are left out. Sourced after toolchain.sh.

# With Hex in reach its packages are fetched; without, or where they do not build on this Elixir, KANTOKU_DEPS_DIR names
# an empty folder, and Kantoku does without. A folder that the user named is left alone.
choose_dependencies() {
  [ -z "${KANTOKU_DEPS_DIR:-}" ] || return 0
  unset KANTOKU_DEPS_DIR
  local refused
  refused="_build/without-hex-$(elixir_stamp)"
  if [ -e "$refused" ]; then
    do_without "the packages from Hex did not build on this Elixir"
  elif ! fetch_dependencies; then
    do_without "Hex cannot be reached"
  elif ! mix deps.compile >_build/hex.log 2>&1; then
    touch "$refused"
    do_without "the packages from Hex do not build on this Elixir (_build/hex.log says why)"
  fi
}

do_without() {
  say "$1: going on without the optional packages"
  export KANTOKU_DEPS_DIR="$ROOT/_build/no-packages"
  mkdir -p "$KANTOKU_DEPS_DIR"
}

# Asked outside the project, whose mix.exs cannot be read without Hex.
fetch_dependencies() {
  mkdir -p _build
  (cd / && timeout 20 mix local.hex --force --if-missing && timeout 20 mix local.rebar --force --if-missing) \
    </dev/null >_build/hex.log 2>&1 && timeout 120 mix deps.get </dev/null >>_build/hex.log 2>&1
}

elixir_stamp() {
  { elixir --version && cat mix.exs; } | cksum | cut -d ' ' -f 1
}
