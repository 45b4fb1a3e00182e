#!/bin/sh
# Carries out scenarios and supervisor traces on real Erlang/OTP: run-otp.sh FILE, or - for standard input.
# Prints one outcome a line. Starts nodes of its own, needs and starts no epmd, and leaves nothing running.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
home=$(mktemp -d "${TMPDIR:-/tmp}/pspawn-otp.XXXXXX")
trap 'rm -rf "$home"' EXIT
trap 'exit 1' HUP INT TERM
erlc -o "$home" "$here"/*.erl
# The nodes' cookie and phone book are in $home, which nobody else may read.
HOME=$home ERL_CRASH_DUMP_SECONDS=0 erl +sbwt none +sbwtdcpu none +sbwtdio none -noinput -boot no_dot_erlang \
    -name n0@127.0.0.1 -epmd_module otp_names -start_epmd false -connect_all false \
    -kernel prevent_overlapping_partitions false logger_level none \
    inet_dist_use_interface '{127,0,0,1}' -pa "$home" -s runner main -extra "$1"
