#!/usr/bin/env bash
# What a Debian 12 or 13 machine needs, in one place; quickstart.sh and tests/run.sh read it.
#
#   . tests/install.sh; install_packages BUILD_PACKAGES DEMO_PACKAGES; python_with VENV REQUIREMENT...
#   tests/install.sh            installs everything, for quickstart and tests
#
# Packages that are there are left alone: apt runs only when one is missing, as root or through sudo.

# Building and running affect and affectd.
BUILD_PACKAGES=(build-essential cmake pkg-config libmicrohttpd-dev libcjson-dev
    libfftw3-dev libsndfile1-dev libsoxr-dev libarchive-dev libpcre2-dev libseccomp-dev
    libsqlite3-dev libopenblas-dev zlib1g-dev)
# The demo: a voice for its speakers, a client, Debian's own interpreter: it needs no package index.
DEMO_PACKAGES=(espeak-ng curl ca-certificates python3 python3-numpy)
# The tests: the same voice, other writers of what we read, an interpreter with room for packages.
TEST_PACKAGES=(espeak-ng curl ca-certificates python3 python3-venv zstd strace)

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ||
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$1:$(dpkg --print-architecture)" 2>/dev/null)" = installed ]
}

# install_packages LIST...: names of the arrays above.
install_packages() {
    local list package missing=() root=()
    for list in "$@"; do
        local -n packages=$list
        for package in "${packages[@]}"; do
            is_installed "$package" || missing+=("$package")
        done
    done
    if [ ${#missing[@]} -eq 0 ]; then
        echo "packages: all there"
        return
    fi
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "missing: ${missing[*]} (install them, or run this as root)" >&2
            return 1
        }
        root=(sudo)
    fi
    echo "packages: installing ${missing[*]}"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 update
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" >/dev/null
}

# python_with VENV REQUIREMENT...: a virtual environment with these packages (pip's own syntax).
# One that is complete costs a second; a half-made one is completed.
python_with() {
    local venv=$1
    shift
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check install -q --progress-bar off "$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -euo pipefail
    cd "$(dirname "$0")/.."
    install_packages BUILD_PACKAGES DEMO_PACKAGES TEST_PACKAGES
    python_with build/venv -r tests/requirements.txt
fi
