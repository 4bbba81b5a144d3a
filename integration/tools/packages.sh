#!/usr/bin/env bash
# Makes sure that the commands named are there, installing Debian's packages where they are missing and that is possible.
# Usage: packages.sh COMMAND=PACKAGE...
set -euo pipefail

missing=()
for pair in "$@"; do
    PATH=$PATH:/usr/sbin command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
if ((${#missing[@]} == 0)); then
    exit 0
fi
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "Please install: ${missing[*]} (names of Debian packages), then run this again." >&2
    exit 1
fi
echo "installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq </dev/null
apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
