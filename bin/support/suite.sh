# shellcheck shell=bash
# The steps of the two suites. Sourced after toolchain.sh and steps.sh; must not know which machine or root it runs in.

# Kinds of tests that test_helper.exs leaves out by their tag, each in the folder of that name.
SEPARATE_KINDS=(property cluster chaos)

rust_suite() {
  step "cargo fmt" cargo fmt --all --check
  step "cargo clippy" cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
  step "the oldest Rust" asks_for_the_oldest_rust
  step "cargo test" cargo test --locked --workspace
}

# The rust-version in Cargo.toml, which bin/ checks before it installs anything, covers every crate that is built.
asks_for_the_oldest_rust() {
  local ours newest host
  ours=$(oldest_rust)
  host=$(rustc -vV | sed -n 's/^host: //p')
  newest=$(cargo metadata --format-version 1 --locked --filter-platform "$host" |
    grep -o '"rust_version":"[0-9.]*"' | cut -d '"' -f 4 | sort -V | tail -n 1)
  [ -n "$newest" ] || return 1
  if older "$ours" "$newest"; then
    printf 'rust-version in Cargo.toml is %s and a crate needs %s\n' "$ours" "$newest"
    return 1
  fi
}

elixir_suite() {
  if formats_alike; then step "mix format" mix format --check-formatted; fi
  step "mix compile" mix compile --warnings-as-errors
  step "variants of the library" mix run -e 'Kantoku.Variants.prepare()'
  step "mix test" mix test
  separate_suites
}

# Elixir's formatters differ in places (`(() -> term)`): the oldest that we support decides.
formats_alike() {
  case $(elixir -e 'IO.puts(System.version())' </dev/null) in "$(oldest_elixir)".*) true ;; *) false ;; esac
}

separate_suites() {
  local kind
  for kind in "${SEPARATE_KINDS[@]}"; do
    if has_tests "$kind"; then step "mix test --only $kind" mix test --only "$kind"; fi
  done
}

has_tests() {
  [ -d "test/$1" ] && [ -n "$(find "test/$1" -name '*_test.exs' -print -quit)" ]
}
