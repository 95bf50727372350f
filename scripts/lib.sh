# shellcheck shell=bash disable=SC2086 # one word for each package
# What the scripts share: messages, the Rust toolchain, system packages. To be sourced.
#
# `install_missing` calls the script's own `missing_packages`, which prints the packages that have to be installed.

say() { printf '== %s\n' "$*"; }
die() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Under `sudo`, the Rust toolchain is the caller's own.
find_cargo() {
    local home="$HOME"
    if [ -n "${SUDO_USER:-}" ] && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
        home="$(getent passwd "$SUDO_USER" | cut -d: -f6)"
        export CARGO_HOME="${CARGO_HOME:-$home/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
    fi
    PATH="$PATH:${CARGO_HOME:-$home/.cargo}/bin"
    have cargo || die "cargo is missing: install Rust 1.95 or later with rustup first"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo -n "$@" || die "needs root, or sudo without a password, for: $*"
    else
        die "needs root or sudo for: $*"
    fi
}

# What brings a service (redis-server) does not start it: Debian asks policy-rc.d, and 101 says no.
INSTALL='
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { trap "rm -f $policy" EXIT; printf "#!/bin/sh\nexit 101\n" >"$policy"; chmod 755 "$policy"; }
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
'

# System packages are installed with apt-get, as root or through sudo, and only when something is missing.
install_missing() {
    local missing
    missing="$(missing_packages)"
    if [ -z "$missing" ]; then
        say "system packages: nothing is missing"
        return
    fi
    have apt-get || die "please install:" $missing
    say "installing" $missing
    as_root apt-get update -qq </dev/null
    as_root sh -c "$INSTALL" install $missing </dev/null
    missing="$(missing_packages)"
    [ -z "$missing" ] || die "still missing after installing:" $missing
}
