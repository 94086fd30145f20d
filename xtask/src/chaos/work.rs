//! Pieces of work: one `peri run` each, with what must come out.

use super::random::Random;
use super::world::World;
use crate::shell::root;
use anyhow::{Context as _, Result, ensure};
use peripatos_guests::{Run, Work as Size};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const SERVER: &str = include_str!("guests/server.wat");
const CLIENT: &str = include_str!("guests/client.wat");
const LINES: &str = include_str!("guests/lines.lua");
/// Lines of a file that a piece may write.
const ROUNDS: [u32; 3] = [60, 200, 500];
/// Programs of the catalogue whose longer runs take a second or some.
const PROGRAMS: [&str; 7] = ["fib", "interp", "jacobi", "perft", "bzip2", "zstd", "sqlite"];
/// Real programs that are not of this tree: used where they are there, beside it.
const CORPUS: [(&str, &[&str]); 4] = [
    ("zstd_driver", &["4", "3"]),
    ("zstd_driver", &["2", "19"]),
    ("sqlite_driver", &[":memory:", "20000"]),
    ("sj", &[]),
];
/// How often a piece is looked at.
const PAUSE: Duration = Duration::from_millis(50);
/// A piece that is interrupted has so long to end.
const INTERRUPTED: Duration = Duration::from_secs(20);

/// What there is to do, prepared.
pub(super) struct Works {
    /// Where everything lies: modules, what pieces write.
    directory: PathBuf,
    programs: Vec<Program>,
    /// For each of [`ROUNDS`], the file.
    files: Vec<Vec<u8>>,
}

struct Program {
    name: String,
    module: PathBuf,
    args: Vec<String>,
    stdout: Vec<u8>,
    exit: i32,
}

/// One piece, not begun.
pub(super) struct Work {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// `peri run`'s words.
    words: Vec<String>,
}

/// What must come out.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// These bytes, and this code.
    Program { stdout: Vec<u8>, exit: i32 },
    /// A file of so many lines, with these bytes.
    File { rounds: u32, contents: Vec<u8> },
    /// A dinner counts its meals itself.
    Dinner,
    /// Counts its requests itself.
    Client,
    /// Runs until it is ended.
    Server,
}

/// One piece, and what has become of it.
pub(super) struct Piece {
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Of the names of what it has written.
    stem: PathBuf,
    /// The node to which its `peri run` was attached.
    pub(super) node: String,
    pub(super) from: Duration,
    pub(super) until: Duration,
    /// `None`: it did not end.
    pub(super) status: Option<ExitStatus>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Works {
    /// Errors: a program is missing, or undisturbed it does not do what it should.
    pub(super) fn prepare(peri: &Path, directory: &Path) -> Result<Works> {
        for (name, text) in [("server", SERVER), ("client", CLIENT)] {
            let module = wat::parse_str(text).with_context(|| format!("{name}.wat"))?;
            fs::write(directory.join(name).with_extension("wasm"), module)?;
        }
        fs::write(directory.join("lines.lua"), LINES)?;
        let mut works =
            Works { directory: directory.to_owned(), programs: catalogue()?, files: Vec::new() };
        works.programs.extend(corpus(peri)?);
        for rounds in ROUNDS {
            let place = works.directory.join("undisturbed");
            fs::create_dir_all(&place)?;
            let mut command = Command::new(peri);
            command.args(["run", "--local", "--plain"]).args(works.lines(&place, rounds)?);
            ensure!(command.stdin(Stdio::null()).status()?.success(), "lines.lua fails");
            works.files.push(fs::read(place.join("lines"))?);
        }
        Ok(works)
    }

    /// The words behind `peri run` for a file with so many lines.
    fn lines(&self, place: &Path, rounds: u32) -> Result<Vec<String>> {
        fs::copy(self.directory.join("lines.lua"), place.join("lines.lua"))?;
        let lua = peripatos_guests::directory().join("lua.wasm");
        let mut words = vec!["--dir".to_owned(), format!("{}::/d", place.display())];
        words.push(lua.display().to_string());
        words.extend(["/d/lines.lua", "/d/lines"].map(str::to_owned));
        words.push(rounds.to_string());
        Ok(words)
    }

    pub(super) fn program(&self, random: &mut Random) -> Work {
        let program = random.one_of(&self.programs);
        let mut words = vec![program.module.display().to_string()];
        words.extend(program.args.iter().cloned());
        let kind = Kind::Program { stdout: program.stdout.clone(), exit: program.exit };
        Work { name: program.name.clone(), kind, words }
    }

    pub(super) fn file(&self, random: &mut Random) -> Work {
        let index = random.below(ROUNDS.len());
        let kind = Kind::File { rounds: ROUNDS[index], contents: self.files[index].clone() };
        // Its words name a directory, which it has when it has a number.
        Work { name: "lines".into(), kind, words: Vec::new() }
    }

    pub(super) fn dinner(&self, random: &mut Random) -> Work {
        let hall = root().join("examples/philosophers");
        let (fork, program) = (hall.join("fork.wasm"), hall.join("philosophers.wasm"));
        let philosophers = random.one_of(&["5", "12", "30"]);
        let seconds = random.one_of(&["3", "6", "12"]);
        let tables = random.one_of(&["1", "2"]);
        let words = [
            "--with",
            &fork.display().to_string(),
            &program.display().to_string(),
            philosophers,
            "--seconds",
            seconds,
            "--tables",
            tables,
        ];
        let words = words.map(str::to_owned).to_vec();
        Work { name: "dinner".into(), kind: Kind::Dinner, words }
    }

    pub(super) fn server(&self) -> Work {
        let module = self.directory.join("server.wasm").display().to_string();
        let words = vec!["--restart".to_owned(), "on-node-loss".to_owned(), module];
        Work { name: "server".into(), kind: Kind::Server, words }
    }

    pub(super) fn client(&self, random: &mut Random) -> Work {
        let module = self.directory.join("client.wasm").display().to_string();
        let seconds = random.one_of(&["5", "10", "20"]);
        let interval_ms = random.one_of(&["2", "5", "20"]);
        let words = vec![module, seconds.to_string(), interval_ms.to_string()];
        Work { name: "client".into(), kind: Kind::Client, words }
    }
}

/// Runs of the programs of this tree.
fn catalogue() -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for guest in peripatos_guests::all()? {
        if !PROGRAMS.contains(&guest.name.as_str()) {
            continue;
        }
        let is_fit = |run: &&Run| {
            run.work == Size::Large
                && run.trap.is_none()
                && !run.directory
                && run.stdin.is_empty()
                && !run.stdout.is_empty()
        };
        for run in guest.runs.iter().filter(is_fit) {
            programs.push(Program {
                name: guest.name.clone(),
                module: guest.path(),
                args: run.args.clone(),
                stdout: run.stdout.clone().into_bytes(),
                exit: i32::from(run.exit),
            });
        }
    }
    Ok(programs)
}

/// Those that are not of this tree; what they print undisturbed is what they must print.
fn corpus(peri: &Path) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for (name, args) in CORPUS {
        let module = root().join("../shared/corpus").join(name).with_extension("wasm");
        if !module.exists() {
            continue;
        }
        let mut command = Command::new(peri);
        command.args(["run", "--local", "--plain"]).arg(&module).args(args);
        let output = command.stdin(Stdio::null()).output()?;
        programs.push(Program {
            name: name.to_owned(),
            module,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            stdout: output.stdout,
            exit: output.status.code().context("ended by a signal")?,
        });
    }
    Ok(programs)
}

impl Work {
    /// Whether somebody has to end it.
    pub(super) fn is_endless(&self) -> bool {
        matches!(self.kind, Kind::Server)
    }

    /// Runs it to its end at this machine's node, or until somebody says that it is enough.
    pub(super) fn run(
        mut self,
        works: &Works,
        world: &World,
        machine: usize,
        number: usize,
        enough: &dyn Fn(&Work) -> bool,
    ) -> Piece {
        let (node, from) = (world.name(machine), world.journal.now());
        let stem = works.directory.join(format!("{number}-{}", self.name));
        let mut piece = Piece {
            number,
            name: self.name.clone(),
            stem,
            kind: self.kind.clone(),
            node,
            from,
            until: from,
            status: None,
            stdout: Vec::new(),
            stderr: String::new(),
        };
        if let Err(error) = self.attempt(works, world, machine, &mut piece, enough) {
            piece.stderr = format!("{error:#}");
        }
        piece.until = world.journal.now();
        world.journal.note(&format!(
            "piece {number}, {} at node {}, since {:.3}: {}",
            piece.name,
            piece.node,
            piece.from.as_secs_f64(),
            piece.status.map_or_else(|| "no end".into(), |status| status.to_string()),
        ));
        piece
    }

    fn attempt(
        &mut self,
        works: &Works,
        world: &World,
        machine: usize,
        piece: &mut Piece,
        enough: &dyn Fn(&Work) -> bool,
    ) -> Result<()> {
        if let Kind::File { rounds, .. } = piece.kind {
            fs::create_dir_all(&piece.stem)?;
            self.words = works.lines(&piece.stem, rounds)?;
        }
        let (out, errors) = (piece.stem.with_extension("out"), piece.stem.with_extension("err"));
        let mut words = vec!["run".to_owned(), "--at".to_owned(), piece.node.clone()];
        words.append(&mut self.words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = world.command(machine, &words);
        command.stdout(File::create(&out)?).stderr(File::create(&errors)?);
        let mut child = command.spawn()?;
        while !enough(self) {
            piece.status = child.try_wait()?;
            if piece.status.is_some() {
                break;
            }
            thread::sleep(PAUSE);
        }
        if piece.status.is_none() {
            piece.status = end(&mut child, self.is_endless())?;
        }
        piece.stdout = fs::read(&out)?;
        piece.stderr = fs::read_to_string(&errors)?;
        Ok(())
    }
}

/// Ends a piece that still runs: interrupted, its `peri run` ends what it has started. `None`: it had to be killed, or was not to
/// be ended.
fn end(child: &mut Child, is_endless: bool) -> Result<Option<ExitStatus>> {
    kill_process(Pid::from_child(child), Signal::INT)?;
    let begun = Instant::now();
    while begun.elapsed() < INTERRUPTED {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status).filter(|_| is_endless));
        }
        thread::sleep(PAUSE);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

impl Piece {
    /// Whether its `peri run` had no node to speak to, so that nothing was begun.
    pub(super) fn could_not_start(&self) -> bool {
        matches!(self.status.and_then(|status| status.code()), Some(68 | 77))
    }

    /// What is in the file that it was to write.
    pub(super) fn file(&self) -> Vec<u8> {
        fs::read(self.stem.join("lines")).unwrap_or_default()
    }

    /// How it has ended, for people.
    pub(super) fn end(&self) -> String {
        match self.status {
            None => "did not end".to_owned(),
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("code {code}"),
                (None, signal) => format!("signal {}", signal.unwrap_or_default()),
            },
        }
    }
}
