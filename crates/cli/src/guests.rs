//! The programs that are built into the binary, for the demo and the benches: no toolchain and no download is needed
//! to see and to measure. Their sources and licences lie beside them in `guests/`.

/// One program, and the arguments with which it works for half a second to a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    /// What it is, in a few words.
    pub(crate) what: &'static str,
    pub(crate) wasm: &'static [u8],
    args: &'static [&'static str],
}

impl Guest {
    /// A program that is not built in.
    pub(crate) fn foreign(name: &'static str, wasm: &'static [u8]) -> Guest {
        guest(name, "", wasm)
    }

    /// Its arguments, its name first.
    pub(crate) fn arguments(&self) -> Vec<Vec<u8>> {
        [self.name].iter().chain(self.args).map(|arg| arg.as_bytes().to_vec()).collect()
    }
}

const fn guest(name: &'static str, what: &'static str, wasm: &'static [u8]) -> Guest {
    Guest { name, what, wasm, args: &[] }
}

/// All of them; `peri bench overhead` measures exactly these.
pub(crate) const ALL: [Guest; 9] = [
    guest("fib", "naive recursion", include_bytes!("../../../guests/fib.wasm")),
    guest("matmul", "matrix multiply", include_bytes!("../../../guests/matmul.wasm")),
    guest("jacobi", "1-D stencil", include_bytes!("../../../guests/jacobi.wasm")),
    guest("interp", "bytecode interpreter", include_bytes!("../../../guests/interp.wasm")),
    Guest {
        args: &["-e", include_str!("../../../guests/data/workload.lua")],
        ..guest("lua", "Lua 5.4", include_bytes!("../../../guests/lua.wasm"))
    },
    guest("bzip2", "bzip2 1.0.8 round trip", include_bytes!("../../../guests/bzip2.wasm")),
    guest("zstd", "zstd 1.5.7 round trip", include_bytes!("../../../guests/zstd.wasm")),
    guest("sqlite", "SQLite 3.50", include_bytes!("../../../guests/sqlite.wasm")),
    guest("perft", "chess move generator", include_bytes!("../../../guests/perft.wasm")),
];

/// Deep recursion, for the cost of a frame.
pub(crate) const RECURSION: Guest =
    guest("recursion", "deep recursion", include_bytes!("../../../guests/recursion.wasm"));

/// So many MiB that do not compress, and then counting, for the cost of a move.
pub(crate) const BALLAST: Guest =
    guest("ballast", "memory to carry", include_bytes!("../../../guests/ballast.wasm"));

/// Workloads that talk, and the handler that they spawn.
pub(crate) const WORKLOADS: Guest = guest(
    "workloads",
    "workloads of the Savina suite",
    include_bytes!("../../../benches/peers/peripatos/workloads.wasm"),
);
pub(crate) const SERVANT: Guest = guest(
    "servant",
    "what Savina's workloads spawn",
    include_bytes!("../../../benches/peers/peripatos/servant.wasm"),
);
