#!/usr/bin/env bash
# Installs the test tools at their pinned versions into the folder given: a Python environment in venv/, Go programs in bin/.
# It does nothing if that folder already holds exactly these pins. Run through `make tools`.
set -euo pipefail

target=${1:?usage: install.sh FOLDER}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pins=$(cat "$here/requirements.txt" "$here/go.txt" "$here/install.sh" | sha256sum | cut -c1-16)
stamp=$target/installed-$pins

if [[ -e $stamp ]]; then
    exit 0
fi

for needed in python3 go; do
    if ! command -v "$needed" >/dev/null; then
        echo "The integration tests need '$needed', which is not installed." >&2
        exit 1
    fi
done

mkdir -p "$target"
target=$(cd "$target" && pwd)
rm -f "$target"/installed-*

echo "installing test tools: Python packages"
rm -rf "$target/venv"
python3 -m venv "$target/venv"
"$target/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"

toolchain=$(awk '$1 == "toolchain" { print $2 }' "$here/go.txt")
while read -r module; do
    echo "installing test tools: $module"
    GOTOOLCHAIN=$toolchain GOBIN=$target/bin GOFLAGS=-mod=mod go install "$module" </dev/null 2>"$target/go-install.log" || {
        cat "$target/go-install.log" >&2
        exit 1
    }
done < <(grep -Ev '^(#|toolchain|$)' "$here/go.txt")

touch "$stamp"
echo "test tools are in $target"
