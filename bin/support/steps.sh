# shellcheck shell=bash
# Runs named steps one after the other and keeps count. Sourced; must not know what a step does.

STEPS_PASSED=0

# step NAME COMMAND [ARGUMENT...]: the first that fails ends the run with its name and its exit code.
step() {
  local name=$1 began=$SECONDS code=0
  shift
  printf '\n[%s] %s\n' "$(clock "$SECONDS")" "$name"
  "$@" </dev/null || code=$?
  [ "$code" -eq 0 ] || give_up "$name" "$code"
  STEPS_PASSED=$((STEPS_PASSED + 1))
  printf '[%s] %s: passed in %s\n' "$(clock "$SECONDS")" "$name" "$(clock $((SECONDS - began)))"
}

give_up() {
  printf '\n[%s] %s: failed with exit code %s\n%s passed, 1 failed: %s\n' \
    "$(clock "$SECONDS")" "$1" "$2" "$STEPS_PASSED" "$1"
  exit "$2"
}

# summary NOUN: the last line of a run in which every step passed. NOUN is `steps ` or nothing.
summary() {
  printf '\n[%s] done\n%s %spassed, 0 failed\n' "$(clock "$SECONDS")" "$STEPS_PASSED" "$1"
}

clock() {
  printf '%d:%02d' $(($1 / 60)) $(($1 % 60))
}
