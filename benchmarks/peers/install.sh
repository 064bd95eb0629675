#!/usr/bin/env bash
# Installs the peers into a folder outside the repository, from the public registries alone. Safe to run again.
#   benchmarks/peers/install.sh FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1 python=${PYTHON:-python3} restate=1.7.12
mkdir -p "$folder/restate"
chmod a+rx "$folder"

[ -x "$folder/venv/bin/python" ] || "$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"

[ -d "$folder/restate/node_modules" ] || npm install --silent --prefix "$folder/restate" "@restatedev/restate-server@$restate"

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
ls -d /usr/lib/postgresql/*/bin >/dev/null 2>&1 || command -v postgres >/dev/null || missing+=(postgresql)
if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get install -y -q "${missing[@]}" >/dev/null
	else
		echo "missing: ${missing[*]}. Debian: apt-get install ${missing[*]}; macOS: brew install redis postgresql" >&2
		exit 1
	fi
fi
