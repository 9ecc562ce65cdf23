# shellcheck shell=bash
# The runs behind the suites, each with its size as argument. Sourced after suite.sh.

# The Elixir suite where nothing runs beside anything else: what waits for another process, or holds the scheduler, shows.
one_scheduler() {
  env ELIXIR_ERL_OPTIONS="${ELIXIR_ERL_OPTIONS:-} +S 1:1" mix test
}

# rust_properties N: the Rust tests, of which every property runs N times its cases (proptest's own default is 256).
rust_properties() {
  env KANTOKU_TIMES="$1" PROPTEST_CASES=$((256 * $1)) cargo test --locked --workspace
}

# elixir_properties N: every property test with N times its cases. No time-out: `--trace` lifts those of the tests. Each instance
# has a name of its own, so room for more atoms than usual.
elixir_properties() {
  if has_tests property; then
    env KANTOKU_TIMES="$1" ELIXIR_ERL_OPTIONS="${ELIXIR_ERL_OPTIONS:-} +t 16777216" mix test --only property --trace
  fi
}

# native_nonsense EACH TOTAL: every function of the native library EACH times at least, and TOTAL calls in all, with whatever terms.
native_nonsense() {
  env KANTOKU_FUZZ_EACH="$1" KANTOKU_FUZZ_TOTAL="$2" mix test test/native/fuzz_test.exs
}

# simulation STEPS: the whole core under one seed.
simulation() {
  env KANTOKU_SIM_STEPS="$1" cargo test --locked -p kantoku_rust_tests --test simulation -- --nocapture
}

# killed_machines TIMES: the VM killed with kill -9 under load, five times TIMES.
killed_machines() {
  env KANTOKU_TIMES="$1" mix test --only chaos test/chaos/durability_test.exs
}

# health_accuracy: whether health takes 10,000 agents for what they are. A minute and a half, in which it needs the machine; with
# periods of two seconds, as of one second a machine that halts for a while takes up too much.
health_accuracy() {
  mix kantoku.health.accuracy --period 2000
}

# loom_models [BOUND]: every loom model, with at most BOUND preemptions of a run, or as many as the model itself says.
# A target folder of its own, as the cfg changes every crate.
loom_models() {
  local bound=()
  if [ $# -gt 0 ]; then bound=("LOOM_MAX_PREEMPTIONS=$1"); fi
  env "${bound[@]}" RUSTFLAGS="--cfg kantoku_loom" CARGO_TARGET_DIR=_build/cargo-loom \
    cargo test --locked -p kantoku_core -p kantoku_rust_tests -- loom
}

# faulty_fleet ENGINE SECONDS: the main job while agents hang, slow down, leak and are killed; each is killed every ten seconds or so,
# and one that hangs is found after five to seven.
faulty_fleet() {
  bin/demo --faults --agents 400 --kill-rate 40 --engine "$1" --seconds "$2" --json
}

# collectors: ones that are dead, slow and flapping, with every exporter at once.
collectors() {
  mix test --only collectors test/exporters/collectors_load_test.exs
}

# Alerts, told to a real Alertmanager, where there is one or apt has it.
alertmanager_tests() {
  if has prometheus-alertmanager || (miss prometheus-alertmanager "is told of alerts" && install_missing); then
    step "Alertmanager" mix test --only alertmanager test/alertmanager
  else
    say "no prometheus-alertmanager is to be had: leaving out test/alertmanager"
  fi
}

# What is served, to be judged by Prometheus' own tool, where there is one or apt has it.
promtool_tests() {
  if has promtool || (miss prometheus "judges what is served by its promtool" && install_missing); then
    step "promtool" mix test --only promtool test/promtool
  else
    say "no promtool is to be had: leaving out test/promtool"
  fi
}

# The dashboard, in a real browser, where there is one or apt has it.
browser_tests() {
  if has chromium || (miss chromium "opens the dashboard" fonts-dejavu-core "has it write there" && install_missing); then
    step "the dashboard in Chromium" mix test --only browser test/browser
  else
    say "no chromium is to be had: leaving out test/browser"
  fi
}

# The tests that look for KANTOKU_SOAK do more of the same, those tagged so run only here.
soak_tests() {
  mix test --only soak --only chaos --trace
}
