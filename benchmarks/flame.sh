#!/usr/bin/env bash
# Where the time of an agent's and a coordinator's loop goes, as a flame graph: three fused hops, log in memory.
#   benchmarks/flame.sh FOLDER OUT.svg      py-spy is installed into FOLDER, outside the repository
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1 out=$2 ours=${VENV_PYTHON:-.venv/bin/python}
[ -x "$folder/bin/python" ] || python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check "py-spy>=0.4,<0.5"
"$folder/bin/py-spy" record --function --rate 400 --output "$out" -- "$ours" "$here/loops.py"
# The tool writes where things lie on this machine; what matters begins at the package.
sed -i -E 's#(id="title"[^>]*>)[^<]*#\1Three fused hops, started directly, then by command: agent and coordinator in one thread#' "$out"
sed -i -E 's#\(/[^)]*/(farandole|benchmarks|lib/python3[.0-9]*|site-packages)/#(\1/#g' "$out"
