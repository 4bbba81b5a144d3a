#!/usr/bin/env bash
# One command to a running set of proxy, KES and storage: docker/up.sh, and docker/up.sh compose.sidecar.yaml in front of
# storage that holds data. What follows goes to `docker compose up`.
set -euo pipefail
cd "$(dirname "$0")"
file=compose.yaml
if [[ ${1:-} == *.yaml ]]; then
    file=$1
    shift
fi
./dev-secrets.sh dev
echo "Clients: http://127.0.0.1:9000, keys in docker/dev/env (CLIENT_ACCESS_KEY, CLIENT_SECRET_KEY)"
exec docker compose --env-file dev/env --file "$file" up --build "$@"
