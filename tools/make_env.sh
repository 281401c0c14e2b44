#!/bin/sh
# Makes the virtual environment FOLDER with an interpreter that TensorFlow has wheels for.
#
#   tools/make_env.sh FOLDER
#
# PYTHON names the interpreter, else python3 is taken if it fits, else the newest that
# does. UV is the path of uv, where it is to be used; it brings an interpreter where none
# fits. Only the shell's own commands are needed to find one.
set -eu

folder=$1
versions="3.13 3.12 3.11"   # as requires-python in pyproject.toml

version_of() {   # fails where the command is absent, or stands for nothing
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

fits() {
    case " $versions " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

refuse() {
    echo "error: $1" >&2
    exit 1
}

python=
found=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    version=$(version_of "$candidate") || continue
    found="$found $candidate is $version;"
    if fits "$version"; then
        python=$candidate
        break
    fi
done

if [ -n "${UV:-}" ] && { [ -n "$python" ] || [ -z "${PYTHON:-}" ]; }; then
    exec "$UV" venv --quiet --seed --python "${python:-3.12}" "$folder"
fi
if [ -z "$python" ]; then
    refuse "Python 3.11, 3.12 or 3.13 is needed, for which TensorFlow has wheels.\
 Found:${found:- none;} install one (apt install python3.12 python3.12-venv,\
 brew install python@3.12, conda install python=3.12), or uv, which brings its own\
 (https://docs.astral.sh/uv); or name one: make PYTHON=/path/to/python3.12"
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    refuse "$python has no venv. Install it (apt install python$version-venv), or uv\
 (https://docs.astral.sh/uv)."
fi
exec "$python" -m venv "$folder"
