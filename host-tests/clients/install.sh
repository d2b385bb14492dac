#!/bin/sh
# Installs the client and server libraries for run.py into FOLDER: usage: install.sh FOLDER
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cp "$here/package.json" "$folder"
npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts --prefix "$folder"
test -x "$folder/python/bin/python" || python3 -m venv "$folder/python"
"$folder/python/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
