#!/bin/sh
# Installs the Autobahn TestSuite, which needs Python 2.7, and leaves FOLDER/wstest to run it with.
#
# usage: PYTHON27=/path/to/python2.7 install.sh FOLDER
#
# PYTHON27 is a CPython 2.7 with its headers and wide unicode, as Debian 11 has it; python3 with pip fetches the pip it takes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
python=${PYTHON27:-python2.7}

python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 27 --implementation py --abi none \
  --dest "$folder/wheels" pip==20.3.4 setuptools==44.0.0 wheel==0.37.1
for wheel in "$folder"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$folder/tools"; done
PYTHONPATH=$folder/tools "$python" -m pip install --quiet --no-deps --require-hashes --upgrade --target "$folder/site" \
  --requirement "$here/requirements.txt" 2> "$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 1; }

cat > "$folder/wstest" <<END
#!/bin/sh
exec "$python" -c 'import site, sys
sys.path.insert(0, "$folder/site")
site.addsitedir("$folder/site")
from autobahntestsuite import wstest
wstest.run()' "\$@"
END
chmod +x "$folder/wstest"
"$folder/wstest" -a
