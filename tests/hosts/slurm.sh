#!/usr/bin/env bash
# Slurm on the pretend hosts of net.sh: a controller on the first, a node on each.
#
#   slurm.sh up DIR H...    DIR is that of `net.sh hold`; on these hosts srun, salloc, squeue and scancel work from now on
#   slurm.sh able           exit 0 if that can be had on this machine, else say what is missing and exit 77
#   slurm.sh selftest       try it; a few seconds
#
# Keys, sockets, configuration and logs are in /run/slurm and /run/munge of the hosts, and end with them. Nobody else's Slurm is
# touched.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
SELF=$(readlink -f "$0")
HERE=$(dirname "$SELF")

say() { echo "slurm.sh: $*" >&2; }

able() {
    "$HERE/net.sh" able || return 77
    local missing="" tool
    for tool in munged:munge slurmctld:slurm-wlm slurmd:slurm-wlm srun:slurm-wlm; do
        command -v "${tool%:*}" >/dev/null || missing="$missing ${tool%:*} (package ${tool#*:})"
    done
    [ -d /etc/slurm ] || missing="$missing /etc/slurm (package slurm-wlm)"
    [ -z "$missing" ] || { say "Slurm needs$missing"; return 77; }
}

at() { local host=$1; shift; nsenter -t "$(cat "$DIR/$host/pid")" -m -u -n -p -- "$@"; }

up() {
    DIR=$1
    shift
    able
    local host first=$1 all
    all=$(IFS=,; echo "$*")
    configuration "$first" "$@" > "$DIR/etc/slurm.conf"
    (umask 077; [ -s "$DIR/keys/munge" ] || head -c 128 /dev/urandom > "$DIR/keys/munge")
    for host in "$@"; do
        at "$host" mkdir -p /run/slurm/state /run/munge
        at "$host" sh -c 'cat > /run/slurm/slurm.conf' < "$DIR/etc/slurm.conf"
        at "$host" sh -c 'umask 077; cat > /run/slurm/munge.key' < "$DIR/keys/munge"
        at "$host" mount --bind /run/slurm /etc/slurm
        at "$host" munged --force --num-threads=2 --key-file=/run/slurm/munge.key --pid-file=/run/munge/pid \
            --log-file=/run/slurm/munged.log --seed-file=/run/slurm/seed
        [ "$host" != "$first" ] || at "$host" slurmctld
        at "$host" slurmd
    done
    for _ in $(seq 400); do
        [ "$(at "$first" sinfo -h -n "$all" -t idle -o %D 2>/dev/null)" != $# ] || return 0
        read -r -t 0.05 <> <(:) || true
    done
    say "the nodes did not come up"
    for host in "$@"; do at "$host" sh -c 'tail -n 5 /run/slurm/*.log' >&2 || true; done
    return 1
}

configuration() { # configuration CONTROLLER H...
    local host
    cat <<E
ClusterName=pretend
SlurmctldHost=$1(192.0.2.${1#h})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
StateSaveLocation=/run/slurm/state
SlurmdSpoolDir=/run/slurm/spool
SlurmctldLogFile=/run/slurm/slurmctld.log
SlurmdLogFile=/run/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=10
InactiveLimit=0
KillWait=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_min_interval=50000
E
    for host in "${@:2}"; do echo "NodeName=$host NodeAddr=192.0.2.${host#h} CPUs=$(nproc) State=UNKNOWN"; done
    echo "PartitionName=debug Nodes=$(IFS=,; echo "${*:2}") Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8"
}

selftest() {
    local good=0 bad=0 a
    able
    check() { if eval "$2"; then good=$((good + 1)); else bad=$((bad + 1)); say "FAILED: $1"; fi; }
    none() { for _ in $(seq 200); do [ -n "$(at h2 pgrep -f 'sleep 98[.]7' || true)" ] || return 0; sleep 0.05; done; return 1; }
    some() { for _ in $(seq 200); do [ -z "$(at h2 pgrep -f 'sleep 98[.]7' || true)" ] || return 0; sleep 0.05; done; return 1; }
    coproc HOLDER { exec "$HERE/net.sh" hold 3; }
    read -r _ DIR <&"${HOLDER[0]}"
    "$SELF" up "$DIR" h1 h2 h3
    check "srun on 3 nodes" '[ "$(at h1 timeout 20 srun -N3 -l hostname | sort | xargs)" = "0: h1 1: h2 2: h3" ]'
    check "input reaches task 0" '[ "$(head -c 300000 /dev/zero | at h1 timeout 20 srun -N1 -n1 wc -c)" = 300000 ]'
    check "srun inside salloc" '[ "$(at h1 timeout 20 salloc -Q -N3 srun hostname | sort | xargs)" = "h1 h2 h3" ]'
    at h1 srun -N3 sleep 98.7 2>/dev/null & a=$!
    some
    at h1 scancel -u root
    check "scancel ends a step" '! wait "$a"'
    check "with all that runs in it" 'none'
    eval "exec ${HOLDER[1]}>&-"
    wait "$HOLDER_PID" 2>/dev/null || true
    echo "slurm.sh: $good passed, $bad failed"
    [ "$bad" = 0 ]
}

verb=${1:-help}
shift || true
case $verb in
    up | able | selftest) "$verb" "$@" ;;
    *) sed -n '2,/^set /p' "$SELF" | sed 's/^# \{0,1\}//;/^set /d' ;;
esac
