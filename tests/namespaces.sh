#!/usr/bin/env bash
# Two nodes with addresses of their own: usage: tests/namespaces.sh PATH/TO/peri
# Each node lives in a network namespace and a pid namespace, so neither can see of the other more than a machine sees
# of another one. The cable between them is pulled in the middle of migrations and plugged in again. Where namespaces
# cannot be made this says so and ends well. In the end others find each other on the network (peri up --join auto). Everything happens in a directory of its own that goes away.
set -euo pipefail
peri=$(realpath "$1")
guests=$(realpath "$(dirname "$0")/../guests")
first=peri-a-$$ second=peri-b-$$
programs=12
rounds=2500

skip() { printf 'skipped: %s\n' "$1"; exit 0; }
[ "$(id -u)" = 0 ] || skip 'network namespaces can be made by root only'
command -v ip >/dev/null && command -v unshare >/dev/null || skip 'ip or unshare is not there'
ip netns add "$first" 2>/dev/null || skip 'no network namespace can be made here'

scratch=$(mktemp -d)
clean() {
    local one
    for one in "$scratch"/*.pid; do
        [ ! -e "$one" ] || [ -e "${one%.pid}.status" ] || kill -9 "$(cat "$one")" 2>/dev/null || true
    done
    for one in $(jobs -rp); do kill -9 "$one" 2>/dev/null || true; done
    ip netns del "$first" 2>/dev/null || true
    ip netns del "$second" 2>/dev/null || true
    rm -rf "$scratch"
}
trap clean EXIT
ip netns add "$second" || skip 'no second network namespace can be made here'
ip link add cable netns "$first" type veth peer name cable netns "$second" 2>/dev/null ||
    skip 'no cable can be laid between namespaces here'
ip -n "$first" addr add 10.77.0.1/24 dev cable
ip -n "$second" addr add 10.77.0.2/24 dev cable
plug() { ip -n "$first" link set cable up && ip -n "$second" link set cable up; }
pull() { ip -n "$first" link set cable down; }
plug

export XDG_RUNTIME_DIR=$scratch/run XDG_CACHE_HOME=$scratch/cache XDG_STATE_HOME=$scratch/state
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_CACHE_HOME" "$XDG_STATE_HOME"
cd "$scratch"

fail() {
    printf 'FAILED: %s\n' "$1"
    tail -n 30 a.log b.log || true
    "$peri" ps --at a || true
    exit 1
}
# until SECONDS WHAT COMMAND...: waits for it.
until_() {
    local left=$(($1 * 10)) what=$2
    shift 2
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || fail "$what"
        sleep 0.1
    done
}
# node NAME NAMESPACE ADDRESS WORDS...: starts a node there.
node() {
    local name=$1 place=$2 address=$3
    shift 3
    ip netns exec "$place" unshare --pid --fork --kill-child --mount-proc \
        "$peri" "$@" --name "$name" --listen "$address:${port:-7000}" --cores 1 >"$name.out" 2>"$name.log" &
    until_ 30 "node $name does not start" grep -q 'peri up --join' "$name.out"
}
# program NAME WORDS...: runs a program at node a; NAME.pid is there when it runs, NAME.status when it has ended. Who moves programs a thousand
# times uses up all numbers that there are for OS processes, so nobody here asks for one by its number that may have ended.
program() {
    local name=$1
    shift
    (
        "$peri" run --at a "$@" >"$name.out" 2>"$name.err" &
        printf '%s' "$!" >"$name.begun"
        mv "$name.begun" "$name.pid"
        status=0
        wait "$!" || status=$?
        printf '%s' "$status" >"$name.ended"
        mv "$name.ended" "$name.status"
    ) &
    until_ 30 "program $name does not start" test -e "$name.pid"
}
linked() { [ "$("$peri" nodes --at a --output json | grep -c '"state": "up"')" = 2 ]; }
# What the nodes say of the processes that they run, each of its own.
states() {
    { "$peri" ps --at a --output json && "$peri" ps --at b --output json; } 2>/dev/null | sed -n 's/.*"state": "\(.*\)".*/\1/p' | sort | uniq -c | tr -s ' \n' ' '
}

node a "$first" 10.77.0.1 up
read -r -a join < <(sed -n 's/^peri //p' a.out)
# Programs that run there have their files at the other node: they would be told that it is silent, and these do not expect that.
node b "$second" 10.77.0.2 "${join[@]}" --unreachable-after 60s
until_ 30 'the nodes do not find each other' linked
printf 'ok: nodes at 10.77.0.1 and 10.77.0.2\n'

cat >work.lua <<'LUA'
local out = assert(io.open('/d/' .. arg[1], 'w'))
for round = 1, tonumber(arg[2]) do
  local sum = 0
  for i = 1, 30000 do sum = (sum * 31 + i) % 1000003 end
  assert(out:write(round, ' ', sum, '\n')) assert(out:flush())
  io.write(round, ' ', out:seek(), '\n') io.flush()
end
LUA
mkdir d && cp work.lua d/
"$peri" run --local --plain --dir "$scratch/d::/d" "$guests/lua.wasm" /d/work.lua plain "$rounds" >plain.out
for number in $(seq "$programs"); do
    program "$number" --dir "$scratch/d::/d" "$guests/lua.wasm" /d/work.lua "$number" "$rounds"
done
listed() { [ "$("$peri" ps --at a --output json | grep -c '"pid"')" = "$programs" ]; }
until_ 60 'the programs do not start' listed
for number in $(seq "$programs"); do
    # To and fro until it is not there any more.
    (
        pid=$(cat "$number.pid")
        while [ ! -e "$number.status" ]; do
            timeout 40 "$peri" migrate --at a "p$pid" b >/dev/null 2>&1 || sleep 0.2
            timeout 40 "$peri" migrate --at a "p$pid" a >/dev/null 2>&1 || sleep 0.2
        done
    ) &
done

doubts=0
silent() { grep -q 'node b is silent: who waits for it is told' a.log; }
for cut in 1 19 19; do
    sleep "1.$((RANDOM % 10))"
    pull
    # Three seconds, and what a busy machine takes to look.
    [ "$cut" -lt 10 ] || until_ 6 'the silence of a node is not seen' silent
    sleep "$cut"
    seen=$(states)
    case $seen in *in-doubt*) doubts=$((doubts + 1)) ;; esac
    printf 'cut for %s s: %s\n' "$cut" "${seen:-no process}"
    plug
    until_ 60 'the nodes do not find each other again' linked
done

for number in $(seq "$programs"); do
    until_ 180 "program $number does not end" test -e "$number.status"
    code=$(cat "$number.status")
    [ "$code" = 0 ] || fail "program $number ended with $code: $(cat "$number.err")"
    cmp -s plain.out "$number.out" || fail "program $number: another output"
    cmp -s d/plain "d/$number" || fail "program $number: another file"
done
printf 'ok: %d programs, the cable pulled three times: outputs and files identical (in doubt after %d cuts)\n' \
    "$programs" "$doubts"
[ -z "$(states)" ] || fail 'something is left'

# The other machine dies: nobody here can know it, until it is back or somebody says so.
"$peri" balance --at a off
program lost "$guests/lua.wasm" -e 'while true do end'
lost=$(cat lost.pid)
there() { "$peri" ps --at a --output json | grep -q "\"p$lost-"; }
until_ 30 'the last program does not start' there
"$peri" migrate --at a "p$lost" b 2>/dev/null
ip netns pids "$second" | xargs kill -9
unreachable() { "$peri" nodes --at a --output json | grep -q unreachable; }
until_ 30 'the death of a node is not seen' unreachable
[ ! -e lost.status ] || fail 'its program was given up without proof'
"$peri" forget --at a b
until_ 30 'the program of a forgotten node is not given up' test -e lost.status
code=$(cat lost.status)
[ "$code" = 76 ] || fail "it ended with $code: $(cat lost.err)"
grep -q 'which ran the process, is gone' lost.err || fail "it says: $(cat lost.err)"
printf 'ok: what a dead machine ran is given up when somebody says so\n'

# Others, that are not told where anybody is.
port=7001
node c "$first" 0.0.0.0 up --join auto
token=$(sed -n 's/^peri up --join auto --token //p' c.out)
node stranger "$second" 10.77.0.2 up --join auto
port=7002
node d "$second" 0.0.0.0 up --join auto --token "$token"
found() { "$peri" nodes --at c | grep -q '^d *10.77.0.2:7002 *up' && "$peri" nodes --at d | grep -q '^c *10.77.0.1:7001 *up'; }
until_ 30 'nodes do not find each other on the network' found
until_ 30 'one with another token does not say that others are there' grep -q 'nodes of others are' stranger.log
[ "$("$peri" nodes --at stranger --output json | grep -c '"state"')" = 1 ] || fail 'one with another token was let in'
printf 'ok: nodes find each other on the network by their token\n'
