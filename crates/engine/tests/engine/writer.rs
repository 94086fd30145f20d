//! Programs that write to all their memories, whatever these are, and say in the end what is in them.

/// A memory of a writer.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    /// `i32` or `i64`.
    pub(crate) index: &'static str,
    /// Pages of WebAssembly at first, and at most.
    pub(crate) pages: [u32; 2],
}

pub(crate) const fn written(index: &'static str, first: u32, most: u32) -> Written {
    Written { index, pages: [first, most] }
}

/// What programs may have: several memories, one of 64 bits alone, one that is empty at first, and a mix.
pub(crate) const WRITERS: [&[Written]; 4] = [
    &[written("i32", 65, 80), written("i32", 130, 150)],
    &[written("i64", 130, 150)],
    &[written("i32", 1, 2), written("i32", 0, 40), written("i64", 130, 150)],
    &[written("i64", 33, 64), written("i64", 0, 70), written("i32", 65, 80)],
];

/// What stands in the first memory's first bytes: what is to be printed, a dot and 16 letters, and then pointers to these.
const DATA: &str = r#"(data (OFFSET) ".")
    (data (OFFSET offset=32) "\00\00\00\00\01\00\00\00\08\00\00\00\10\00\00\00")"#;

/// Writes to all its memories in so many turns, in an order of its own, and prints a hash of them: 16 letters. Each 2^18 turns
/// it makes each of them grow by a page, and prints a dot if it `shows` how far it has come.
pub(crate) fn writer(memories: &[Written], turns: u32, shows: bool) -> Vec<u8> {
    let first = memories[0].index;
    let (mut defined, mut writes, mut grows, mut hashes) = <[String; 4]>::default().into();
    for (at, Written { index, pages: [least, most] }) in memories.iter().enumerate() {
        let is_wide = *index == "i64";
        let address = |value: &str| match is_wide {
            true => format!("(i64.extend_i32_u {value})"),
            false => value.to_owned(),
        };
        let size = format!("(memory.size {at})");
        let size = if is_wide { format!("(i32.wrap_i64 {size})") } else { size };
        let bytes = format!("(i32.shl {size} (i32.const 16))");
        let export = if at == 0 { r#"(export "memory")"# } else { "" };
        defined += &format!("(memory {export} {index} {least} {most})\n");
        // Behind what is printed.
        let somewhere = format!(
            "(i32.add (i32.const 64) (i32.and (i32.const -4)
                (i32.rem_u (local.get $at) (i32.sub {bytes} (i32.const 128)))))"
        );
        writes += &format!(
            "(if {size} (then (i32.store {at} {}
                (i32.xor (local.get $turns) (i32.const {at})))))\n",
            address(&somewhere)
        );
        let last = address(&format!("(i32.sub {bytes} (i32.const 8))"));
        grows += &format!(
            "(drop (memory.grow {at} ({index}.const 1)))
            (i32.store {at} {last} (local.get $turns))\n"
        );
        hashes += &format!(
            "(local.set $at (i32.const 64))
            (if {size} (then (loop $next
                (local.set $hash (i64.add (i64.mul (local.get $hash) (i64.const 31))
                    (i64.load {at} {})))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $next (i32.lt_u (local.get $at) {bytes})))))\n",
            address("(local.get $at)")
        );
    }
    let print = |vector: u32| {
        format!(
            "(drop (call $write (i32.const 1) (i32.const {vector}) (i32.const 1) (i32.const 56)))"
        )
    };
    let data = DATA.replace("OFFSET offset=32", &format!("{first}.const 32"));
    let data = data.replace("OFFSET", &format!("{first}.const 0"));
    let letter = format!(
        "({}(i32.add (i32.const 8) (local.get $at)))",
        if first == "i64" { "i64.extend_i32_u " } else { "i32.add (i32.const 0) " }
    );
    wat::parse_str(format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_write"
            (func $write (param i32 i32 i32 i32) (result i32)))
        {defined} {data}
        (func $work (param $turns i32) (local $at i32)
            (loop $again
                (local.set $at (i32.add
                    (i32.mul (local.get $at) (i32.const 1664525)) (i32.const 1013904223)))
                {writes}
                (if (i32.eqz (i32.and (local.get $turns) (i32.const 0x3ffff)))
                    (then {grows} {}))
                (br_if $again
                    (local.tee $turns (i32.sub (local.get $turns) (i32.const 1))))))
        (func $hash (result i64) (local $at i32) (local $hash i64)
            {hashes}
            (local.get $hash))
        (func (export "_start") (local $hash i64) (local $at i32)
            (call $work (i32.const {turns}))
            (local.set $hash (call $hash))
            (loop $letter
                (i32.store8 {letter}
                    (i32.add (i32.const 97) (i32.and (i32.const 15) (i32.wrap_i64 (local.get $hash)))))
                (local.set $hash (i64.shr_u (local.get $hash) (i64.const 4)))
                (br_if $letter (i32.lt_u
                    (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 16))))
            {}))"#,
        if shows { print(32) } else { String::new() },
        print(40),
    ))
    .unwrap()
}
