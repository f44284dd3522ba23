#!/bin/sh
# Says in one message what this machine lacks: prerequisites.sh <python> <version> [node]
# The exit status is 1 where anything is missing.
python=$1
version=$2
missing=

lacks() {
	missing="$missing
  $1"
}

if ! command -v "$python" >/dev/null; then
	lacks "Python $version or newer: $python is not on the PATH."
elif ! found=$("$python" -c 'import platform; print(platform.python_version())' 2>&1); then
	lacks "Python $version or newer: $python does not run."
elif ! "$python" -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$version'.split('.'))))"; then
	lacks "Python $version or newer: $python is $found."
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
	lacks "Python's venv and pip: $python has none (Debian and Ubuntu: apt install python$version-venv)."
fi
# The versions that Debian and Ubuntu have: https://packages.debian.org/trixie/python3.13 and
# https://packages.ubuntu.com/plucky/python3.13. uv puts python$version on the PATH:
# https://docs.astral.sh/uv/concepts/python-versions/. The Makefile needs a POSIX shell: on Windows,
# WSL has one.
case $missing in
*" or newer"*) missing="$missing
  Microsoft's runtime for Functions needs it. To get it:
    Debian 13, Ubuntu 25.04  sudo apt install python$version python$version-venv
    any Linux                uv python install $version   (uv: https://docs.astral.sh/uv/)
    macOS                    brew install python@$version
    Windows                  wsl --install, then as on Linux
  Or name another one: make PYTHON=/path/to/python$version ..." ;;
esac

# Azurite, the storage emulator, runs on it.
if [ "$3" = node ]; then
	if ! command -v node >/dev/null; then
		lacks "Node.js 20 or newer: node is not on the PATH. See https://nodejs.org/."
	elif ! found=$(node --version 2>&1); then
		lacks "Node.js 20 or newer: node does not run."
	else
		major=${found#v}
		if [ "${major%%.*}" -lt 20 ]; then
			lacks "Node.js 20 or newer: node is $found. See https://nodejs.org/."
		fi
	fi
	command -v npm >/dev/null || lacks "npm, which comes with Node.js: npm is not on the PATH."
fi

if [ -n "$missing" ]; then
	echo "Missing:$missing" >&2
	exit 1
fi
