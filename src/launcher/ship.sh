# Makes sure that this executable is in the cache, and becomes it. What it says on standard output is read by the
# master: ship.rs. Standard input carries the executable if it is needed, and then belongs to it.
say() { printf 'pspawn-ship 1 %s\n' "$*"; }
no() { step=$1; shift; say NO "$step" "$(printf '%s' "$*" | tr '\n' ' ')"; exit 97; }
sum() { sha256sum <"$1" | cut -d ' ' -f 1; }
ours() { [ "$3" = "$(id -u)" ]; }
mask=$(umask)
umask 077
# Whatever has been said before us may lack the end of its line.
printf '\n'
say SHELL "$(uname -s) $(uname -m)"
for tool in sha256sum head mktemp find; do
    command -v "$tool" >/dev/null 2>&1 || no shell "there is no $tool in the PATH of a login without a terminal"
done
# A folder of our own in any case: it is swept.
if [ -n "$dir" ]; then
    dir=$dir/pspawn-$(id -u)
elif [ -n "$XDG_CACHE_HOME$HOME" ]; then
    dir=${XDG_CACHE_HOME:-$HOME/.cache}/pspawn
else
    no cache "neither HOME nor XDG_CACHE_HOME is set"
fi
why=$(mkdir -p "$dir" 2>&1) || no cache "$why"
# Who may write there may have us run anything, and hand it our keys.
ours $(ls -ldn "$dir/." 2>/dev/null) || no cache "$dir belongs to another user"
chmod go-w "$dir/." 2>/dev/null
bin=$dir/pspawn-$sha
[ ! -d "$bin" ] || no cache "$bin is a folder"
if [ -f "$bin" ] && [ "$(sum "$bin")" = "$sha" ]; then
    touch "$bin" 2>/dev/null
    say HAVE
else
    [ -w "$dir" ] || no cache "$dir may not be written to"
    # What an interrupted copy has left may be just what is in the way.
    find "$dir"/.ship.* -prune -type f -mmin +60 -exec rm -f {} + 2>/dev/null
    free=$(df -Pk "$dir" 2>/dev/null | sed -n '$s/.* \([0-9][0-9]*\)  *[0-9][0-9]*%.*/\1/p')
    [ -z "$free" ] || [ "$free" -ge $((size / 1024 + 64)) ] ||
        no cache "there are $free KiB free in $dir, and the executable has $((size / 1024)) KiB"
    tmp=$(mktemp "$dir/.ship.XXXXXX" 2>&1) || no cache "$tmp"
    trap 'rm -f "$tmp"' EXIT
    trap 'exit 98' HUP INT PIPE TERM
    say NEED
    why=$(head -c "$size" 2>&1 >"$tmp") || no cache "$why"
    came=$(wc -c <"$tmp" | tr -d ' ')
    [ "$came" = "$size" ] || no ship "$came of $size bytes have come"
    [ "$(sum "$tmp")" = "$sha" ] || no ship "what has come is not what was sent: its SHA-256 differs"
    chmod 700 "$tmp" || no cache "chmod"
    limit=
    ! command -v timeout >/dev/null 2>&1 || limit='timeout 10'
    why=$($limit "$tmp" --pspawn-check 2>&1 </dev/null) || no run "${why:-it ends with code $?}"
    why=$(mv -f "$tmp" "$bin" 2>&1) || no cache "$why"
    trap - EXIT HUP INT PIPE TERM
    say DONE
    find "$dir"/pspawn-* -prune -type f -mtime +30 -exec rm -f {} + 2>/dev/null
fi
umask "$mask"
exec "$bin" "$@"
