//! `peri thaw`: continues a process from its image, where it was frozen.
//!
//! The image stays: thawed again while the first still runs, the second is a fork and gets a pid of its own.

use super::run::Common;
use crate::exit::{Code, End, Failure, Result, say};
use crate::session::{Session, is_running};
use crate::{directories, image_file, pids, place, program};
use peripatos_abi::descriptors::DescriptorTable;
use peripatos_engine::{LoadOptions, Process, ThawOptions};
use peripatos_host::origin::Origin;
use std::ffi::OsString;
use std::path::PathBuf;

/// Continues a process from its image.
#[derive(Debug, clap::Args)]
pub(crate) struct Thaw {
    /// A directory in place of the one that the process calls GUEST; needed for each if the image is not your own
    #[arg(long, value_name = "HOST::GUEST")]
    dir: Vec<OsString>,
    #[command(flatten)]
    common: Common,
    /// The image; `-` is standard input
    #[arg(value_name = "FILE")]
    image: PathBuf,
}

pub(crate) fn run(options: &Thaw) -> Result<End> {
    let granted = directories::parse(&options.dir)?;
    let image_file::ReadImage { image, vouched } = image_file::read(&options.image)?;
    let damaged = |error: &dyn std::fmt::Display| {
        Failure::new(Code::DamagedImage, options.image.display(), error)
    };
    let mut table = DescriptorTable::decode(image.devices()).map_err(|error| damaged(&error))?;
    directories::grant(&mut table, &granted, vouched)?;

    let wasm = image.program().ok_or_else(|| damaged(&"the image does not carry its program"))?;
    let command: Vec<String> =
        image.args().iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
    let name = command.first().cloned().unwrap_or_default();
    let runtime = place::runtime(options.common.backend(), image.canonical_nan())?;
    let load = LoadOptions { kind: options.common.code_kind() };
    let code = runtime.load(wasm, load).map_err(|error| program::load_failure(&name, &error))?;

    let origin = Origin::new();
    let limits = options.common.limits();
    let pid = if is_running(image.pid()) {
        pids::draw().map_err(|error| Failure::new(Code::Resources, "random numbers", error))?
    } else {
        image.pid()
    };
    for warning in origin.restore(pid, &table) {
        say(format_args!("{name}: {warning}"));
    }
    let thaw = ThawOptions {
        pid: Some(pid),
        devices: Box::new(origin.clone()),
        limits,
        freeze_every: options.common.freeze_every(),
    };
    let process = Process::thaw(&code, &image, thaw)
        .map_err(|error| program::spawn_failure(&name, &error))?;
    drop(image);
    let disturbance = options.common.disturbance();
    options.common.finish(Session { code, process, origin, command, limits, disturbance })
}
