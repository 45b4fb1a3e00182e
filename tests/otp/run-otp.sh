#!/bin/sh
# Carries out scenarios and supervisor traces on real Erlang/OTP: run-otp.sh FILE, or - for standard input.
# Prints one outcome a line. Starts nodes of its own, needs and starts no epmd, and leaves nothing running.
set -eu
[ $# -eq 1 ] || { echo "usage: run-otp.sh FILE, or - for standard input" >&2; exit 2; }
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
home=$(mktemp -d "${TMPDIR:-/tmp}/pspawn-otp.XXXXXX")
trap 'rm -rf "$home"' EXIT
trap 'exit 1' HUP INT TERM
erlc -o "$home" "$here"/*.erl
cp "$here/erl.args" "$home"
# The nodes' cookie and phone book are in $home, which nobody else may read.
HOME=$home ERL_CRASH_DUMP_SECONDS=0 erl -args_file "$home/erl.args" -pa "$home" -name n0@127.0.0.1 \
    -s runner main -extra "$1"
