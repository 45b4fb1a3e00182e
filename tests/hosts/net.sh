#!/usr/bin/env bash
# Pretend hosts on one Linux machine, for tests that want several machines.
#
#   net.sh hold N [DIR]     N hosts, h1 to hN, until standard input ends; below, what it understands there
#   net.sh sweep            remove what holders that were killed have left in the temporary directory
#   net.sh able [delay]     exit 0 if hosts, and delays, can be had on this machine, else say what is missing and exit 77
#   net.sh selftest         try all of it; a few seconds
#
# A host has a network, PID, UTS and mount namespace of its own, home directories, /tmp, /run and /var/log
# of its own, and a sshd. Host i is 192.0.2.i (a range that is never routed); names up to h9 are known
# everywhere. `ssh hN` works on every host for root and for a second user, ann, without any option: the keys are
# in their ~/.ssh. The program DIR/bin/pspawn, if there, is in the PATH on h1 and hidden on the others. Nothing outside
# of DIR and the namespaces is written, no network outside is reached.
#
# When the holder ends, however it ends, the kernel ends all processes of all hosts: nothing in them outlives it. It writes
# the pid of each host's first process, as seen from outside, to DIR/hN/pid: what else is to be run on a host is run by
#   nsenter -t "$(cat DIR/h2/pid)" -m -u -n -p -- COMMAND
#
# `hold` says `ready DIR` and then takes one command a line, answers `ok` or `failed: WHY`:
#   cut H, restore H        a silent partition: nobody sees a reset or a lost carrier; connections go on after `restore`
#   part H H, join H H      the same between two hosts
#   silent H H, frank H H   the first host opens no connection to the second (its SYNs vanish), as behind a NAT or a firewall
#   delay H MS, loss H PERCENT, rate H MBIT      each way; 0 takes it off; a delay needs python3
#   crash H, boot H         power off: all processes end at once and no packet tells of it; its disk stays; start again
#   capture on|off          all packets between all hosts into DIR/capture.pcap, in the format of tcpdump
set -euo pipefail
NET=192.0.2
NAMES=9
ANN=4242
PATH=$PATH:/usr/sbin:/sbin
SELF=$(readlink -f "$0")

say() { echo "net.sh: $*" >&2; }

able() {
    local missing="" tool
    [ "$(uname)" = Linux ] || { say "hosts need Linux"; return 77; }
    [ "$(id -u)" = 0 ] || { say "hosts need root"; return 77; }
    for tool in ip tc:iproute2 bridge:iproute2 unshare:util-linux nsenter:util-linux setpriv:util-linux \
        ssh:openssh-client ssh-keygen:openssh-client sshd:openssh-server tcpdump; do
        command -v "${tool%:*}" >/dev/null || missing="$missing ${tool%:*} (package ${tool#*:})"
    done
    [ -z "$missing" ] || { say "hosts need$missing"; return 77; }
    [ "${1-}" != delay ] || command -v python3 >/dev/null || { say "delays need python3"; return 77; }
    unshare --net --mount --uts --pid --fork true 2>/dev/null || { say "hosts need namespaces, which this container forbids"; return 77; }
    unshare --net sh -ec "ip link add one type veth peer name two; ip link add br0 type bridge" 2>/dev/null ||
        { say "hosts need veth and bridge devices, which this kernel lacks"; return 77; }
    unshare --net sh -ec "ip link add one type veth peer name two; tc qdisc add dev one clsact
        tc filter add dev one egress pref 1 protocol all bpf direct-action bytecode '1,6 0 0 2'
        tc qdisc add dev one root tbf rate 1mbit burst 128kb latency 400ms" 2>/dev/null ||
        { say "hosts need tc's clsact, bpf and tbf, which this kernel lacks"; return 77; }
}

# --- a host's life ---------------------------------------------------------------------------------

# Runs in the namespaces of the host, as its first process: the kernel ends all others with it.
first_process() { # first_process H HOME
    local host=$1 home=$2 file
    set -e
    hostname "$host"
    mount --make-rprivate /
    mount -t proc proc /proc
    mount -t tmpfs -o mode=755 none /run
    mkdir -p /run/sshd /run/net/bin
    cp "$D/etc/sshd_config" "$D/keys/host" "$D/keys/authorized_keys" /run/net/
    [ "$host" != h1 ] || mount --bind "$D/bin" /run/net/bin
    for file in hosts passwd group; do mount --bind "$D/etc/$file" "/etc/$file"; done
    mount -t tmpfs none /var/log
    mount --bind "$D/$host/root" "$home"
    mount --bind "$D/$host/home" /home
    exec 9<>"$D/nothing"
    until ip -o address show dev eth0 2>/dev/null | grep -q inet; do pause; done
    mount --bind "$D/$host/tmp" /tmp # hides DIR, if that is below
    cd /
    ulimit -c unlimited # so that tests can look into cores
    "$(command -v sshd)" -f /run/net/sshd_config -E /var/log/sshd.log 9>&-
    : > /run/net/ready
    while :; do read -r _ <&9 || true; done # for ever; meanwhile the shell buries orphans, as a first process has to
}

boot() {
    local host=$1 i=${1#h} unshare init
    ! alive "$host" || return 0
    # The first process of a host that a holder leaves behind has no parent any more, and ends by that.
    setpriv --pdeathsig KILL unshare --net --mount --uts --pid --fork --kill-child \
        env D="$D" "$BASH" "$SELF" first-process "$host" "$HOME_OF_ROOT" </dev/null >>"$D/$host/log" 2>&1 &
    unshare=$!
    disown
    for _ in $(seq 500); do
        init=$(pgrep -P "$unshare" || true)
        [ -z "$init" ] || break
        pause
    done
    [ -n "$init" ] || { echo "$host did not start: $(tail -n 1 "$D/$host/log")"; return 1; }
    echo "$init" > "$D/$host/pid"
    switch ip link add "$host" type veth peer name eth0 netns "$init"
    switch ip link set "$host" master br0 up
    # One address for ever: after a reboot nobody holds a stale one.
    on "$host" ip link set eth0 address "02:00:00:00:00:0$i"
    on "$host" ip link set lo up
    on "$host" ip link set eth0 up
    on "$host" ip address add "$NET.$i/24" dev eth0
    [ ! -s "$D/$host/filters" ] || filter "$host"
    for _ in $(seq 1000); do
        [ ! -e "/proc/$init/root/run/net/ready" ] || return 0
        [ -d "/proc/$init" ] || break
        pause
    done
    echo "$host did not start: $(tail -n 1 "$D/$host/log")"
    return 1
}

crash() { # off the switch first: nobody hears of the end of its connections
    local host=$1 init
    alive "$host" || return 0
    switch ip link set "$(port "$host")" nomaster
    init=$(cat "$D/$host/pid")
    kill -9 "$init"
    until_gone "$init"
    rm "$D/$host/pid"
    delay "$host" 0 off
    switch ip link delete "$host" 2>/dev/null || true
}

alive() { [ -e "$D/$1/pid" ]; }
on() { local host=$1; shift; nsenter -t "$(cat "$D/$host/pid")" -n -- "$@"; } # only its network
switch() { nsenter -t "$SWITCH" -n -- "$@"; }
port() { if [ -e "$D/$1/delay" ]; then echo "$1.out"; else echo "$1"; fi; }
until_gone() { while [ -d "/proc/$1" ]; do pause; done; }
pause() { read -r -t 0.005 <&9 || true; } # nothing is ever written there

# --- what happens to packets -----------------------------------------------------------------------

cut_off() { switch ip link set "$(port "$1")" nomaster; }
restore() { switch ip link set "$(port "$1")" master br0 up; }

# Filters are programs of the kernel's classic packet filter, as tc takes them: 2 drops, -1 lets the next one look.
drop_all_to() { echo "6,40 0 0 12,21 0 3 2048,32 0 0 30,21 0 1 $1,6 0 0 2,6 0 0 4294967295"; }
# IPv4, TCP, to this address, of SYN and ACK only SYN
drop_syn_to() {
    echo "12,40 0 0 12,21 0 9 2048,48 0 0 23,21 0 7 6,32 0 0 30,21 0 5 $1,177 0 0 14,80 0 0 27,84 0 0 18,21 0 1 2,6 0 0 2,6 0 0 4294967295"
}
drop_some() { echo "4,32 0 0 4294963256,53 1 0 $(($1 * 42949672)),6 0 0 2,6 0 0 4294967295"; } # a random number below that
address() { echo $(((192 << 24) | (2 << 8) | ${1#h})); }

rule() { # rule H NAME on|off WAYS PROGRAM: in the file of the host's filters, and in force
    local host=$1 name=$2 state=$3 way
    touch "$D/$host/filters"
    sed -i "/^$name /d" "$D/$host/filters"
    if [ "$state" = on ]; then
        for way in $4; do echo "$name $way $5" >> "$D/$host/filters"; done
    fi
    ! alive "$host" || filter "$host"
}

filter() {
    local host=$1 way program n=1
    on "$host" tc qdisc delete dev eth0 clsact 2>/dev/null || true
    on "$host" tc qdisc add dev eth0 clsact
    while read -r _ way program; do
        on "$host" tc filter add dev eth0 "$way" pref "$n" protocol all bpf direct-action bytecode "$program"
        n=$((n + 1))
    done < "$D/$host/filters"
}

part() { # part A B on|off
    rule "$1" "part-$2" "$3" egress "$(drop_all_to "$(address "$2")")"
    rule "$2" "part-$1" "$3" egress "$(drop_all_to "$(address "$1")")"
}

rate() {
    local host=$1 mbit=$2
    if [ "$mbit" = 0 ]; then
        switch tc qdisc delete dev "$host" root
        on "$host" tc qdisc delete dev eth0 root
    else
        switch tc qdisc replace dev "$host" root tbf rate "${mbit}mbit" burst 128kb latency 400ms
        on "$host" tc qdisc replace dev eth0 root tbf rate "${mbit}mbit" burst 128kb latency 400ms
    fi
}

# Not every kernel can delay packets: a process takes them from the host's cable and puts them on the switch's.
delay() { # delay H MS [off]: with off, the host's cable is not plugged in again
    local host=$1 ms=$2
    if [ -e "$D/$host/delay" ]; then
        kill "$(cat "$D/$host/delay")" 2>/dev/null || true
        rm "$D/$host/delay"
        switch ip link delete "$host.out"
        [ "${3-}" = off ] || restore "$host"
    fi
    if [ "$ms" != 0 ]; then
        command -v python3 >/dev/null || { echo "a delay needs python3"; return 1; }
        switch ip link add "$host.in" type veth peer name "$host.out"
        switch ip link set "$host.in" up
        cut_off "$host"
        setpriv --pdeathsig KILL nsenter -t "$SWITCH" -n -- python3 -c "$CABLE" "$host" "$host.in" "$ms" </dev/null >>"$D/$host/log" 2>&1 &
        echo $! > "$D/$host/delay"
        disown
        restore "$host"
    fi
}

# A header goes with each packet in both directions, so that those that the kernel has not cut up or summed up yet stay so.
CABLE='
import heapq, select, socket, struct, sys, time
a, b, delay = sys.argv[1], sys.argv[2], float(sys.argv[3]) / 1000
ends = {}
for name in (a, b):
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    end.setsockopt(263, 15, 1) # SOL_PACKET, PACKET_VNET_HDR
    end.setsockopt(263, 1, struct.pack("iHH8s", socket.if_nametoindex(name), 1, 0, b"")) # PACKET_ADD_MEMBERSHIP, promiscuous
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    end.bind((name, 3))
    end.setblocking(False)
    ends[end.fileno()] = end
fds = list(ends)
other = {fds[0]: ends[fds[1]], fds[1]: ends[fds[0]]}
poll = select.epoll()
for fd in fds: poll.register(fd, select.EPOLLIN)
waiting, n = [], 0
while True:
    now = time.monotonic()
    while waiting and waiting[0][0] <= now:
        _, _, to, packet = heapq.heappop(waiting)
        try: to.send(packet)
        except OSError: pass
    wait = max(0, waiting[0][0] - time.monotonic()) if waiting else None
    for fd, _ in poll.poll(wait):
        for _ in range(64):
            try: packet, source = ends[fd].recvfrom(70000)
            except OSError: break
            if source[2] != 4: # not what we have sent ourselves
                n += 1
                heapq.heappush(waiting, (time.monotonic() + delay, n, other[fd], packet))
'

capture() {
    local pid size=none
    if [ "$1" = on ]; then
        setpriv --pdeathsig KILL nsenter -t "$SWITCH" -n -- tcpdump -i br0 --immediate-mode -U -B 32768 -Z root -w "$D/capture.pcap" ip >"$D/capture.log" 2>&1 &
        pid=$!
        disown
        echo "$pid" > "$D/capture.pid"
        until grep -qs listening "$D/capture.log"; do
            [ -d "/proc/$pid" ] || { tail -n 1 "$D/capture.log"; return 1; }
            pause
        done
    else
        until [ "$(stat -c %s "$D/capture.pcap")" = "$size" ]; do # it has written what it has seen
            size=$(stat -c %s "$D/capture.pcap")
            for _ in $(seq 20); do pause; done
        done
        kill "$(cat "$D/capture.pid")"
        until_gone "$(cat "$D/capture.pid")"
        rm "$D/capture.pid"
    fi
}

# --- the holder ------------------------------------------------------------------------------------

hold() {
    local n=$1 i host home
    able
    case $n in [1-9]) ;; *) say "from 1 to $NAMES hosts"; exit 2;; esac
    D=${2:-$(mktemp -d "${TMPDIR:-/tmp}/pspawn-hosts.XXXXXX")}
    trap 'down' EXIT
    trap 'exit 1' TERM INT HUP
    chmod 700 "$D"
    echo $$ > "$D/holder"
    mkdir -p "$D/bin" "$D/etc" "$D/keys"
    mkfifo "$D/nothing"
    exec 9<>"$D/nothing"
    HOME_OF_ROOT=$(getent passwd 0 | cut -d: -f6)

    { echo "127.0.0.1 localhost"; for i in $(seq "$NAMES"); do echo "$NET.$i h$i"; done; } > "$D/etc/hosts"
    { cat /etc/passwd; echo "ann:x:$ANN:$ANN::/home/ann:/bin/sh"; } > "$D/etc/passwd"
    { cat /etc/group; echo "ann:x:$ANN:"; } > "$D/etc/group"
    ssh-keygen -q -t ed25519 -N '' -C host -f "$D/keys/host"
    ssh-keygen -q -t ed25519 -N '' -C user -f "$D/keys/user"
    cp "$D/keys/user.pub" "$D/keys/authorized_keys"
    for i in $(seq "$NAMES"); do echo "h$i,$NET.$i $(cut -d' ' -f1,2 "$D/keys/host.pub")"; done > "$D/keys/known_hosts"
    cat > "$D/keys/config" <<'E'
Host *
  BatchMode yes
  StrictHostKeyChecking yes
  ConnectTimeout 10
E
    cat > "$D/etc/sshd_config" <<'E'
Port 22
HostKey /run/net/host
AuthorizedKeysFile /run/net/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 200
MaxSessions 200
UseDNS no
PrintMotd no
PrintLastLog no
E
    for i in $(seq "$n"); do
        host=$D/h$i
        mkdir -p "$host/root" "$host/home/ann" "$host/tmp"
        chmod 1777 "$host/tmp"
        for home in "$host/root" "$host/home/ann"; do
            mkdir -m 700 "$home/.ssh"
            cp "$D/keys/config" "$D/keys/known_hosts" "$home/.ssh/"
            cp "$D/keys/user" "$home/.ssh/id_ed25519"
            chmod 700 "$home"
        done
        chown -R "$ANN:$ANN" "$host/home/ann"
    done

    setpriv --pdeathsig KILL unshare --net sleep infinity </dev/null >/dev/null 2>&1 &
    SWITCH=$!
    disown
    until [ "$(readlink "/proc/$SWITCH/ns/net")" != "$(readlink "/proc/$$/ns/net")" ] && [ "$(cat "/proc/$SWITCH/comm")" = sleep ]; do pause; done
    echo "$SWITCH" > "$D/switch"
    switch ip link add br0 type bridge
    switch ip link set br0 up
    for i in $(seq "$n"); do boot "h$i"; done >&2
    echo "ready $D"

    local verb words why
    while read -r verb words; do
        # In this shell: a subshell's end would be the end of what it has started. Silence is success.
        # shellcheck disable=SC2086 # the words of a command
        obey $verb $words >"$D/why" 2>&1 || [ -s "$D/why" ] || echo "no reason is known" > "$D/why"
        why=$(cat "$D/why")
        if [ -z "$why" ]; then echo ok; else echo "failed: ${why//$'\n'/; }"; fi
    done
}

obey() {
    local word
    for word in "${@:2}"; do # hosts must be there, and must not be paths
        case $word in [0-9]* | on | off) ;; h[1-9]) [ -d "$D/$word" ] || { echo "there is no $word"; return 1; } ;; *) echo "$word?"; return 1;; esac
    done
    case $1 in
        cut) cut_off "$2" ;;
        restore | boot | crash | delay | rate | capture) "$@" ;;
        part) part "$2" "$3" on ;;
        join) part "$2" "$3" off ;;
        silent) rule "$2" "silent-$3" on egress "$(drop_syn_to "$(address "$3")")" ;;
        frank) rule "$2" "silent-$3" off ;;
        loss) if [ "$3" = 0 ]; then rule "$2" loss off; else rule "$2" loss on "egress ingress" "$(drop_some "$3")"; fi ;;
        *) echo "no such command: $1"; return 1 ;;
    esac
}

down() {
    trap '' TERM INT HUP
    local file pid
    for file in "$D"/h*/pid "$D"/h*/delay "$D"/capture.pid "$D"/switch; do
        [ -e "$file" ] || continue
        pid=$(cat "$file")
        kill -9 "$pid" 2>/dev/null || true
        until_gone "$pid"
    done
    rm -rf --one-file-system "$D"
}

sweep() {
    local left
    for left in "${TMPDIR:-/tmp}"/pspawn-hosts.*/; do
        [ -e "$left/holder" ] || continue
        [ ! -d "/proc/$(cat "$left/holder")" ] || continue
        rm -rf --one-file-system "$left"
        say "swept $left"
    done
}

# --- its own test ----------------------------------------------------------------------------------

selftest() {
    local good=0 bad=0 before a b c
    able
    check() { if eval "$2"; then good=$((good + 1)); else bad=$((bad + 1)); say "FAILED: $1"; fi; }
    ask() { local answer; echo "$*" >&"${HOLDER[1]}"; read -r answer <&"${HOLDER[0]}"; [ "$answer" = ok ] || { say "$*: $answer"; return 1; }; }
    at() { local host=$1; shift; nsenter -t "$(cat "$D/$host/pid")" -m -u -n -p -- "$@"; }
    open() { at "$1" timeout "$3" bash -c "exec 3<>/dev/tcp/$2/22" 2>/dev/null; }
    ms() { local begin; begin=$(date +%s%N); "$@" || return 1; echo $((($(date +%s%N) - begin) / 1000000)); }
    coproc HOLDER { exec "$SELF" hold 3; }
    read -r _ D <&"${HOLDER[0]}"
    check "ssh from each to each" '[ "$(for a in h1 h2 h3; do for b in h1 h2 h3; do at $a ssh $b hostname; done; done | xargs)" = "h1 h2 h3 h1 h2 h3 h1 h2 h3" ]'
    check "a second user" '[ "$(at h1 setpriv --reuid 4242 --regid 4242 --clear-groups env HOME=/home/ann ssh h2 "id -un; pwd" | xargs)" = "ann /home/ann" ]'
    check "a home of its own" 'at h1 ssh h2 touch /root/mine /tmp/mine && ! at h1 ssh h3 "ls /root/mine || ls /tmp/mine" 2>/dev/null'
    check "processes of its own" '[ "$(at h1 ssh h2 "ps ax" | wc -l)" -lt 12 ]'
    check "input arrives" '[ "$(head -c 3000000 /dev/zero | at h1 ssh h2 wc -c)" = 3000000 ]'
    check "a name without a host" '! at h1 ssh -o ConnectTimeout=1 h9 true 2>/dev/null'
    at h1 ssh h2 'for i in $(seq 100); do echo $i; sleep 0.05; done' > "$D/ticks" 2>/dev/null &
    while [ ! -s "$D/ticks" ]; do sleep 0.05; done
    ask cut h2; sleep 0.2; a=$(wc -l < "$D/ticks"); sleep 0.5; b=$(wc -l < "$D/ticks")
    ask restore h2; wait $!; c=$(wc -l < "$D/ticks")
    check "a cut stops a stream, which goes on afterwards" '[ "$a" = "$b" ] && [ "$c" = 100 ]'
    ask part h2 h3
    check "a part between two" '! open h2 h3 1 && ! open h3 h2 1 && open h2 h1 2 && open h1 h3 2'
    ask join h2 h3; check "joined" 'open h2 h3 3'
    ask silent h3 h1; check "reached from one side only" '! open h3 h1 1 && open h1 h3 2 && open h3 h2 2'
    ask frank h3 h1; check "from both again" 'open h3 h1 3'
    if command -v python3 >/dev/null; then
        ask delay h2 50; open h1 h2 3
        check "a delay of 50 ms each way" 'a=$(ms open h1 h2 3) && [ "$a" -ge 95 ] && [ "$a" -lt 1000 ]'
        check "data through the delay" '[ "$(head -c 3000000 /dev/zero | at h1 ssh h2 wc -c)" = 3000000 ]'
        ask cut h2; check "a cut behind the delay" '! open h1 h2 1'; ask restore h2
        ask delay h2 0; open h1 h2 3; check "no delay any more" 'a=$(ms open h1 h2 3) && [ "$a" -lt 95 ]'
    fi
    ask loss h2 100; check "all lost" '! open h1 h2 1'; ask loss h2 0; check "nothing lost" 'open h1 h2 3'
    ask rate h2 20; check "a slow line" 'a=$(ms at h1 sh -c "head -c 2000000 /dev/zero | ssh h2 wc -c >/dev/null") && [ "$a" -gt 600 ]'; ask rate h2 0
    ask capture on
    at h1 bash -c 'exec 3<>/dev/tcp/h3/22; read -r line <&3; touch /tmp/open; read -r -t 2 line <&3; [ $? -gt 128 ]' &
    b=$!
    while [ ! -e "$D/h1/tmp/open" ]; do sleep 0.02; done
    at h3 sleep 1000 & a=$!; touch "$D/h3/root/disk"
    ask crash h3; check "a host that dies takes all along" '! wait $a; ! open h1 h3 1'
    check "and nobody is told" 'wait $b'
    ask boot h3; check "it comes back with its disk" 'at h1 ssh h3 test -e /root/disk'
    ask capture off; check "packets were captured" '[ "$(tcpdump -r "$D/capture.pcap" -n 2>/dev/null | grep -c "192.0.2.3.22")" -gt 4 ]'
    check "an unknown command is refused" 'echo fly h2 >&"${HOLDER[1]}"; read -r a <&"${HOLDER[0]}"; [ "${a%%:*}" = failed ]'
    before=$(cat "$D"/h*/pid "$D/switch"); a=$HOLDER_PID
    eval "exec ${HOLDER[1]}>&-"; wait "$a" || true
    gone() { local process; for process in $before; do [ ! -d "/proc/$process" ] || return 1; done; }
    check "nothing is left" '[ ! -e "$D" ] && gone'
    coproc HOLDER { exec "$SELF" hold 2; }
    read -r _ D <&"${HOLDER[0]}"; before=$(cat "$D"/h*/pid "$D/switch")
    kill -9 "$HOLDER_PID"; wait "$HOLDER_PID" 2>/dev/null || true
    for _ in $(seq 100); do ! gone || break; sleep 0.02; done
    check "also not after a kill -9" 'gone'
    "$SELF" sweep 2>/dev/null; check "a sweep removes its files" '[ ! -e "$D" ]'
    echo "net.sh: $good passed, $bad failed"
    [ "$bad" = 0 ]
}

verb=${1:-help}
shift || true
case $verb in
    hold | sweep | able | selftest) "$verb" "$@" ;;
    first-process) first_process "$@" ;;
    *) sed -n '2,/^set /p' "$SELF" | sed 's/^# \{0,1\}//;/^set /d' ;;
esac
