#!/bin/sh
# Makes .venv on first use and brings it up to date when the dependencies changed; else only compares a stamp.
set -eu
unset CDPATH PYTHONHOME PYTHONPATH PYTHONSTARTUP VIRTUAL_ENV PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV
export PYTHONNOUSERSITE=1
cd -P -- "$(dirname -- "$0")/.."
venv=.venv
stamp=$venv/installed # written last: without it an install was interrupted
say() { printf 'setup: %s\n' "$*" >&2; }
wanted() { cksum pyproject.toml constraints.txt scripts/setup.sh; }
runs() { "$venv/bin/python" -I -c '' 2>/dev/null; } # no more, once the interpreter behind it was removed
up_to_date() { [ -f "$stamp" ] && [ "$(wanted)" = "$(cat "$stamp")" ] && runs; }
# usable PYTHON VERSION: it runs (a pyenv shim may not), is a 64-bit CPython with a GIL, and can make environments.
usable() {
    "$1" -I -c 'import sys, sysconfig, venv, ensurepip
want = tuple(map(int, sys.argv[1].split(".")))
sys.exit(not (sys.implementation.name == "cpython" and sys.maxsize > 2**32 and sys.version_info >= (3, 10)
              and sys.version_info[:len(want)] == want and not sysconfig.get_config_var("Py_GIL_DISABLED")))' \
        "$2" >/dev/null 2>&1
}
candidates() ( # VERSION: every folder of PATH, then the folders of pyenv and uv; one path a line
    IFS=:
    for folder in $PATH /usr/bin /usr/local/bin /opt/homebrew/bin \
        "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$1".*/bin \
        "${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-${HOME:-}/.local/share}/uv/python}/cpython-$1"*/bin
    do
        if [ -x "$folder/python$1" ]; then printf '%s\n' "$folder/python$1"; fi
    done
)
find_python() {
    for version in 3.12 3.10 3.11 3.13 3.14 3; do # ttnn has wheels for the first two
        found=$(candidates "$version" | while IFS= read -r python; do
            if usable "$python" "$version"; then printf '%s\n' "$python"; break; fi
        done)
        if [ -n "$found" ]; then printf '%s\n' "$found"; return; fi
    done
    say "no 64-bit CPython >= 3.10 with venv found; 3.12 is best (Debian, Ubuntu: apt install python3-venv)"
    return 1
}
if up_to_date; then exit 0; fi
if command -v flock >/dev/null 2>&1; then # children inherit fd 9: the lock lasts until the last one is gone
    exec 9>.venv.lock
    if ! flock -n 9; then say "another set-up of this clone is running; waiting for it"; flock 9; fi
    if up_to_date; then exit 0; fi
fi
before=$(wanted)
if ! { [ -f "$stamp" ] && runs; }; then
    python=${MIXTRAL_PYTHON:-$(find_python)}
    usable "$python" 3 || { say "$python is not a 64-bit CPython >= 3.10 with venv and ensurepip"; exit 1; }
    say "using $("$python" -V) ($python)"
    if [ -e "$venv" ]; then say "removing an unfinished or broken $venv"; rm -rf "$venv"; fi
    "$python" -m venv "$venv"
fi
earlier=$(cat "$stamp" 2>/dev/null || :)
rm -f "$stamp"
failed() { # an update that could not be made leaves the environment usable, and the next call tries again
    if [ -n "$earlier" ]; then printf '%s\n' "$earlier" >"$stamp"; fi
    say "the installation failed; what it needs: the network, and space in this folder"
    exit 1
}
"$venv/bin/python" -m pip install -qq --disable-pip-version-check uv==0.13.9 >&2 || failed
uv() { "$venv/bin/python" -m uv pip install --python "$venv/bin/python" "$@" >&2; }
torch=$(sed -n 's/^ *"\(torch==[^"]*\)",$/\1/p' pyproject.toml)
# --reinstall: ask the index even where torch is installed already
if UV_HTTP_RETRIES=0 uv --quiet --dry-run --no-deps --reinstall --torch-backend cpu "$torch" 2>/dev/null; then
    build="--torch-backend cpu"
    say "installing the dependencies, torch as its CPU build: about 2 GB in $venv; a minute or a few"
else
    build=
    say "installing the dependencies (PyTorch's CPU index does not answer, so torch is its CUDA build): about 4.7 GB in $venv; a minute or a few"
fi
uv $build --quiet --compile-bytecode --requirements pyproject.toml --group dev --constraints constraints.txt || failed
printf '%s\n' "$before" >"$stamp.new"
mv "$stamp.new" "$stamp"
say "ready: $("$venv/bin/python" -V)"
