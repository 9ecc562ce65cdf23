# shellcheck shell=bash
# What this machine has to offer before anything is built, and how it gets there. Sourced by the commands in bin/ and
# .ci/; must not know what they run afterwards.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
COMMAND=$(basename "$(cd "$(dirname "$0")" && pwd)")/${0##*/}
OLDEST_OTP=25
# Packages for apt, each followed by what it is for, and components for rustup.
MISSING=()
COMPONENTS=()

# prepare [WANT...]: leaves a machine on which Rust, a linker and Elixir work, and each WANT as well: `checks` (rustfmt
# and clippy), `proper`, `poolboy`, `dialyzer`, `shellcheck`, `debootstrap`. Refuses before anything is installed, or installs all.
prepare() {
  cd "$ROOT" || exit 1
  use_unicode
  require_rust "$@"
  find_missing "$@"
  install_missing
  install_components
}

# One sentence, and nothing was touched.
refuse() {
  printf '%s: %s\n' "$COMMAND" "$1" >&2
  exit 1
}

say() {
  printf '%s: %s\n' "$COMMAND" "$1" >&2
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# The VM takes file names and output for Latin-1 in a locale that does not say otherwise.
use_unicode() {
  case ${LC_ALL:-${LC_CTYPE:-${LANG:-}}} in
    *[uU][tT][fF]*) ;;
    *) export LC_ALL=C.UTF-8 ;;
  esac
}

# Rust ------------------------------------------------------------------------------------------------------------

require_rust() {
  local oldest found
  oldest=$(oldest_rust)
  has cargo || PATH="${CARGO_HOME:-${HOME:-}/.cargo}/bin:$PATH"
  if ! has cargo || ! has rustc; then
    refuse "Rust $oldest or newer is needed and none was found; install it (rustup does) and run this again."
  fi
  found=$(rustc --version | cut -d ' ' -f 2)
  if older "$found" "$oldest"; then
    refuse "Rust $oldest or newer is needed and this is $found; update it (rustup update) and run this again."
  fi
  if wanted checks "$@"; then require_rust_checks; fi
}

oldest_rust() {
  sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml
}

require_rust_checks() {
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then return; fi
  has rustup || refuse "rustfmt and clippy are needed beside cargo and are not there; install both and run this again."
  COMPONENTS=(rustfmt clippy)
}

# What is missing ---------------------------------------------------------------------------------------------------

find_missing() {
  links || miss gcc "links the native library" libc6-dev "the C library that it links with"
  certified || miss ca-certificates "cargo checks with them whom it downloads crates from"
  if has elixir && has erl; then find_missing_libraries "$@"; else miss_elixir "$@"; fi
  if wanted shellcheck "$@" && ! has shellcheck; then miss shellcheck "checks the commands themselves"; fi
  if wanted debootstrap "$@" && ! can_debootstrap; then
    miss debootstrap "makes the Debian 13 root" debian-archive-keyring "tells that its packages are Debian's"
  fi
}

miss() {
  while [ $# -gt 0 ]; do
    MISSING+=("$1" "$2")
    shift 2
  done
}

miss_elixir() {
  miss elixir "Kantoku's language, with Erlang/OTP below it"
  local library
  for library in proper poolboy dialyzer; do
    if wanted "$library" "$@"; then miss_library "$library"; fi
  done
}

miss_library() {
  case $1 in
    proper) miss erlang-proper "generates the property tests' input" ;;
    poolboy) miss erlang-poolboy "a pool that the benchmarks compare with" ;;
    dialyzer) miss erlang-dialyzer "finds type errors" ;;
  esac
}

# An Elixir that apt did not install has an Erlang that does not see apt's libraries: then they are asked for.
find_missing_libraries() {
  local version otp home absent library
  read -r version otp home absent < <(inspect_elixir) || refuse "the elixir on the PATH does not run; repair it and run this again."
  require_elixir "$version" "$otp"
  for library in $absent; do
    wanted "$library" "$@" || continue
    [ "$home" = /usr/lib/erlang ] ||
      refuse "the Erlang library $library is needed and the Erlang in $home has none; put it on ERL_LIBS and run this again."
    miss_library "$library"
  done
}

inspect_elixir() {
  elixir -e '
    absent = for library <- [:proper, :poolboy, :dialyzer], :code.which(library) == :non_existing, do: library
    IO.puts(Enum.join([System.version(), System.otp_release(), :code.root_dir() | absent], " "))
  ' </dev/null
}

require_elixir() {
  local oldest
  oldest=$(oldest_elixir)
  if older "$1" "$oldest" || older "$2" "$OLDEST_OTP"; then
    refuse "Elixir $oldest or newer on Erlang/OTP $OLDEST_OTP or newer is needed and this is Elixir $1 on OTP $2; update it and run this again."
  fi
}

oldest_elixir() {
  sed -n 's/.* elixir: "~> \(.*\)",/\1/p' mix.exs
}

has() {
  command -v "$1" >/dev/null 2>&1
}

# wanted WORD WANT...
wanted() {
  local word=$1
  shift
  case " $* " in *" $word "*) true ;; *) false ;; esac
}

# older A B: version A comes before version B.
older() {
  [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

links() {
  local program code=0
  has cc || return
  program=$(mktemp)
  cc -x c -o "$program" - <<<'int main(void) { return 0; }' 2>/dev/null || code=1
  rm -f "$program"
  return "$code"
}

# In /usr/sbin, which is not on everyone's PATH.
can_debootstrap() {
  [ -x /usr/sbin/debootstrap ] && [ -e /usr/share/keyrings/debian-archive-keyring.gpg ]
}

certified() {
  [ -n "${SSL_CERT_FILE:-}${CARGO_HTTP_CAINFO:-}" ] || [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/ssl/cert.pem ] ||
    [ -e /etc/pki/tls/certs/ca-bundle.crt ]
}

# Installing ----------------------------------------------------------------------------------------------------------

install_missing() {
  [ ${#MISSING[@]} -gt 0 ] || return 0
  local packages=() index
  for ((index = 0; index < ${#MISSING[@]}; index += 2)); do packages+=("${MISSING[index]}"); done
  require_apt "${packages[@]}"
  say "asking apt which versions there are"
  apt_get update -qq
  require_candidate "${packages[@]}"
  for ((index = 0; index < ${#MISSING[@]}; index += 2)); do say "installing ${MISSING[index]}: ${MISSING[index + 1]}"; done
  apt_get install -qq -y --no-install-recommends "${packages[@]}"
  MISSING=()
}

require_apt() {
  has apt-get ||
    refuse "$* are needed (named as in Debian) and this machine has no apt-get; install them with its own package manager and run this again."
  if [ "$(id -u)" -ne 0 ] && ! has sudo; then
    refuse "$* are needed and only root can install them; run this again as root or with sudo installed."
  fi
}

require_candidate() {
  wanted elixir "$@" || return 0
  local oldest offered
  oldest=$(oldest_elixir)
  offered=$(apt-cache policy elixir | sed -n 's/^ *Candidate: //p')
  case $offered in '' | '(none)') offered=none ;; esac
  if [ "$offered" = none ] || older "$offered" "$oldest"; then
    refuse "Elixir $oldest or newer is needed and apt offers $offered; install a newer one and run this again."
  fi
}

# Quiet unless it fails. In runlevel 1 no package starts a service.
apt_get() {
  local log
  log=$(mktemp)
  if as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1; then
    rm -f "$log"
  else
    cat "$log" >&2
    rm -f "$log"
    refuse "apt-get $1 failed, for the reason above."
  fi
}

install_components() {
  [ ${#COMPONENTS[@]} -gt 0 ] || return 0
  say "adding ${COMPONENTS[*]} to the Rust toolchain: code is formatted and linted with them"
  rustup component add "${COMPONENTS[@]}" >&2 || refuse "rustup could not add ${COMPONENTS[*]}, for the reason above."
}
