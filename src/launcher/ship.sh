# Makes sure that this executable is in the cache, and becomes it. What it says on standard output is read by the
# master: ship.rs. Standard input carries the executable if it is needed, and then belongs to it.
say() { printf 'pspawn-ship 1 %s\n' "$*"; }
no() { step=$1; shift; say NO "$step" "$(printf '%s' "$*" | tr '\n' ' ')"; exit 97; }
sum() { sha256sum <"$1" | cut -d ' ' -f 1; }
umask 077
platform="$(uname -s) $(uname -m)"
say SHELL "$platform"
for tool in sha256sum head mktemp; do
    command -v "$tool" >/dev/null 2>&1 || no shell "there is no $tool in the PATH of a login without a terminal"
done
if [ -z "$dir" ]; then
    [ -n "$XDG_CACHE_HOME$HOME" ] || no cache "neither HOME nor XDG_CACHE_HOME is set"
    dir=${XDG_CACHE_HOME:-$HOME/.cache}/pspawn
fi
why=$(mkdir -p "$dir" 2>&1) || no cache "$why"
[ -w "$dir" ] || no cache "$dir may not be written to"
bin=$dir/pspawn-$sha
if [ -f "$bin" ] && [ "$(sum "$bin")" = "$sha" ]; then
    touch "$bin" 2>/dev/null
    say HAVE
else
    free=$(df -Pk "$dir" 2>/dev/null | awk 'END { print $4 }')
    case $free in
    '' | *[!0-9]*) ;;
    *) [ "$free" -ge $((size / 1024 + 64)) ] || no cache "there are $free KiB free in $dir, and the executable has $((size / 1024)) KiB" ;;
    esac
    tmp=$(mktemp "$dir/.ship.XXXXXX" 2>&1) || no cache "$tmp"
    trap 'rm -f "$tmp"' EXIT
    trap 'exit 98' HUP INT TERM
    say NEED
    why=$(head -c "$size" 2>&1 >"$tmp") || no cache "$why"
    came=$(wc -c <"$tmp" | tr -d ' ')
    [ "$came" = "$size" ] || no ship "$came of $size bytes have come"
    [ "$(sum "$tmp")" = "$sha" ] || no ship "what has come is not what was sent: its SHA-256 differs"
    chmod 700 "$tmp" || no cache "chmod"
    why=$("$tmp" --pspawn-check 2>&1 </dev/null) || no run "${why:-it ends with code $?}"
    why=$(mv -f "$tmp" "$bin" 2>&1) || no cache "$why"
    trap - EXIT HUP INT TERM
    find "$dir" -type f -name 'pspawn-*' -mtime +30 -exec rm -f {} + 2>/dev/null
    find "$dir" -type f -name '.ship.*' -mmin +60 -exec rm -f {} + 2>/dev/null
    say DONE
fi
exec "$bin" "$@"
