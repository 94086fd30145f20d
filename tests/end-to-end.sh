#!/usr/bin/env bash
# End-to-end checks: usage: tests/end-to-end.sh PATH/TO/peri
# The demo, two nodes, a freeze carried to another OS process, and, where ../shared/corpus is there, real programs that nobody here
# wrote, undisturbed and frozen. Everything happens in a directory of its own that goes away.
set -euo pipefail
peri=$(realpath "$1")
guests=$(realpath "$(dirname "$0")/../guests")
corpus=$(realpath -m "$(dirname "$0")/../../shared/corpus")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export XDG_CACHE_HOME=$scratch/cache XDG_RUNTIME_DIR=$scratch/run
mkdir -m 700 "$XDG_CACHE_HOME" "$XDG_RUNTIME_DIR"
cd "$scratch"
passed=0

# same NAME EXPECTED ACTUAL
same() {
    if [ "$2" != "$3" ]; then
        printf 'FAILED: %s\nexpected: %s\nactual:   %s\n' "$1" "$2" "$3"
        exit 1
    fi
    passed=$((passed + 1))
    printf 'ok: %s\n' "$1"
}

# frozen NAME ARGS...: the program's output is the same plain, migratable, and frozen in both ways.
frozen() {
    local name=$1 plain
    shift
    plain=$("$peri" run --plain "$@")
    same "$name, migratable" "$plain" "$("$peri" run "$@")"
    same "$name, frozen at random moments" "$plain" "$("$peri" run --freeze-random 11 "$@")"
    same "$name, frozen at every 20,011th check" "$plain" "$("$peri" run --freeze-every 20011 "$@")"
}

"$peri" demo >demo.txt || { cat demo.txt; exit 1; }
grep -q 'identical to that of undisturbed runs: \([0-9]*\) of \1$' demo.txt
same 'demo: nothing differs' 0 "$(grep -c -i 'differ' demo.txt || true)"

# A running program, frozen by another command, goes on in a third OS process.
"$peri" run "$guests/fib.wasm" 42 >first.txt &
running=$!
for _ in $(seq 100); do
    pid=$("$peri" ps --output json | tr -d ' \n' | sed -n 's/.*"pid":"\?\([0-9a-z-]*\)"\?.*/\1/p')
    [ -n "$pid" ] && break
    sleep 0.05
done
sleep 0.3
"$peri" freeze "$pid" -o fib.image >/dev/null
wait "$running" || true
same 'a frozen program has said nothing yet' '' "$(cat first.txt)"
same 'and ends where it is thawed' 'fib 42 = 267914296' "$("$peri" thaw fib.image)"
same 'also the second time' 'fib 42 = 267914296' "$("$peri" thaw fib.image)"

if [ -d "$corpus" ]; then
    frozen 'zstd' "$corpus/zstd_driver.wasm" 1 3
    frozen 'SQLite in memory' "$corpus/sqlite_driver.wasm" :memory: 3000
    frozen 'setjmp' "$corpus/sj.wasm"
    cp "$corpus/t.lua" .
    frozen 'Lua with files' --dir "$scratch::/data" "$corpus/lua.wasm" /data/t.lua
    head -c 300000 "$corpus/bzip2.wasm" >plain.bin
    frozen_files() { "$peri" run --freeze-random 5 --dir "$scratch::/" "$corpus/bzip2.wasm" "$@"; }
    frozen_files -k -f -9 /plain.bin
    cp plain.bin.bz2 compressed.bz2
    cp plain.bin.bz2 kept.bin
    frozen_files -d -f /compressed.bz2
    same 'bzip2 there and back, files in use' "$(cksum <plain.bin)" "$(cksum <compressed)"
fi
# Two nodes, and programs that are moved between them.
nodes=()
trap 'for one in "${nodes[@]}"; do kill -9 "$one" 2>/dev/null || true; done; rm -rf "$scratch"' EXIT
"$peri" up --name a --cores 1 >a.out 2>a.log &
nodes+=($!)
until grep -q 'peri up --join' a.out; do sleep 0.05; done
read -r -a join < <(sed -n 's/^peri //p' a.out)
"$peri" "${join[@]}" --name b --cores 1 >b.out 2>b.log &
nodes+=($!)
for _ in $(seq 200); do
    [ "$("$peri" nodes --at a --output json | grep -c '"state": "up"')" = 2 ] && break
    sleep 0.05
done
# moved NAME ARGS...: the program's output is the same on nodes, moved to and fro at random moments.
moved() {
    local name=$1 plain running count=0 to=b
    shift
    plain=$("$peri" run --plain "$@")
    rm -f some.db plain.bin.bz2
    "$peri" run --at a "$@" >moved.txt &
    running=$!
    while kill -0 "$running" 2>/dev/null; do
        if "$peri" migrate --at a "p$running" "$to" 2>/dev/null; then
            count=$((count + 1))
            [ "$to" = b ] && to=a || to=b
        fi
        sleep "0.0$((RANDOM % 6))"
    done
    wait "$running"
    same "$name, moved $count times" "$plain" "$(cat moved.txt)"
}
moved 'fib' "$guests/fib.wasm" 42
moved 'perft' "$guests/perft.wasm"
moved 'zstd round trip' "$guests/zstd.wasm"

if [ -d "$corpus" ]; then
    moved 'zstd of the corpus' "$corpus/zstd_driver.wasm" 8 9
    moved 'SQLite in memory' "$corpus/sqlite_driver.wasm" :memory: 150000
    moved 'setjmp' "$corpus/sj.wasm"
    moved 'Lua with files' --dir "$scratch::/data" "$corpus/lua.wasm" /data/t.lua
    moved 'bzip2 with files' --dir "$scratch::/" "$corpus/bzip2.wasm" -k -f -9 /plain.bin
    same 'bzip2, the file it left' "$(cksum <kept.bin)" "$(cksum <plain.bin.bz2)"
    for number in 1 2 3; do
        rm -f some.db
        moved "SQLite with a file, $number" --dir "$scratch::/data" "$corpus/sqlite_driver.wasm" /data/some.db 20000
    done
fi
"$peri" down --at b
"$peri" down --at a
wait "${nodes[@]}"
nodes=()
printf '%d passed, 0 failed\n' "$passed"
