//! Runs one script of the specification: plain, rewritten, or rewritten and frozen at every check.
//!
//! A directive passes if what the script asserts holds. What cannot be run is skipped with a reason;
//! everything that depends on it is skipped with the same reason.

mod linking;
mod refusal;
mod values;

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use peripatos_instrument::{Error, Options, Program};
use wasmtime::{Engine, Extern, Global, Instance, Module, Store, ThrownException, Trap, Val};
use wast::{QuoteWat, Wast, WastDirective, WastExecute, WastInvoke};

use crate::host::{self, GuestId, Host, Hot};

/// How modules are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As they are, by wasmtime.
    Plain,
    /// Through the pass, never frozen.
    Rewritten,
    /// Through the pass, frozen at every check and resumed in place.
    Forced,
}

/// What became of a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With the kind of trap, where one was asserted.
    Passed(String),
    Skipped(&'static str),
    Failed(String),
}

/// A run over one script.
pub(crate) struct Report {
    /// A directive each: its line (from 1) and what became of it.
    pub(crate) outcomes: Vec<(usize, Outcome)>,
    /// Instantiations, by number, that share a table of functions with another one.
    pub(crate) meeting: BTreeSet<usize>,
    /// How often a guest was frozen and resumed.
    pub(crate) freezes: u64,
}

pub(crate) const MEETING: &str = "functions of several modules meet in a table or global";
const TEXT: &str = "malformed text: there is no module to rewrite";
const NO_TARGET: &str = "the instance was skipped";

/// Runs `text`. `unforced`: instantiations that are not frozen in [`Mode::Forced`].
pub(crate) fn run(
    engine: &Engine,
    text: &str,
    mode: Mode,
    unforced: &BTreeSet<usize>,
) -> Result<Report, wast::Error> {
    let mut lexer = wast::lexer::Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = wast::parser::ParseBuffer::new_with_lexer(lexer)?;
    let script = wast::parser::parse::<Wast<'_>>(&buffer)?;
    let mut runner = Runner::new(engine, mode, unforced);
    let mut outcomes = vec![];
    for directive in script.directives {
        let line = directive.span().linecol_in(text).0 + 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| runner.directive(directive)));
        let outcome = outcome.unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<String>().cloned();
            let message = message.or(panic.downcast_ref::<&str>().map(|m| m.to_string()));
            Outcome::Failed(format!("panicked: {}", message.unwrap_or_default()))
        });
        outcomes.push((line, outcome));
    }
    let freezes = runner.store.data().freezes;
    Ok(Report { outcomes, meeting: runner.tables.meeting(), freezes })
}

/// An instance that directives can name.
#[derive(Clone, Copy)]
enum Target {
    Plain(Instance),
    Guest { id: GuestId, number: usize },
    Absent(&'static str),
}

/// Why something did not happen.
enum Failure {
    Skip(&'static str),
    /// The pass or wasmtime says that the module is not valid.
    Invalid(String),
    /// What was run ended like this.
    Ended(wasmtime::Error),
    Other(String),
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Failure {
        Failure::Ended(error)
    }
}

struct Runner<'u> {
    engine: Engine,
    store: Store<Host>,
    mode: Mode,
    unforced: &'u BTreeSet<usize>,
    spectest: HashMap<&'static str, Extern>,
    named: HashMap<String, Target>,
    registered: HashMap<String, Target>,
    definitions: HashMap<Option<String>, Vec<u8>>,
    last: Target,
    tables: linking::Meetings,
    instantiations: usize,
}

impl<'u> Runner<'u> {
    fn new(engine: &Engine, mode: Mode, unforced: &'u BTreeSet<usize>) -> Self {
        let mut store = Store::new(engine, Host::default());
        let spectest = linking::spectest(&mut store);
        Runner {
            engine: engine.clone(),
            store,
            mode,
            unforced,
            spectest,
            named: HashMap::new(),
            registered: HashMap::new(),
            definitions: HashMap::new(),
            last: Target::Absent(NO_TARGET),
            tables: linking::Meetings::default(),
            instantiations: 0,
        }
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Outcome {
        let result = self.perform(directive);
        let _ = self.store.take_pending_exception();
        match result {
            Ok(seen) => Outcome::Passed(seen),
            Err(Failure::Skip(reason)) => Outcome::Skipped(reason),
            Err(Failure::Invalid(message)) => Outcome::Failed(format!("invalid: {message}")),
            Err(Failure::Ended(error)) => Outcome::Failed(format!("ended: {error:?}")),
            Err(Failure::Other(message)) => Outcome::Failed(message),
        }
    }

    fn perform(&mut self, directive: WastDirective<'_>) -> Result<String, Failure> {
        match directive {
            WastDirective::Module(mut module) => {
                let name = module.name().map(|id| id.name().to_string());
                self.last = Target::Absent(NO_TARGET);
                let wasm = encode(&mut module)?;
                self.define_instance(name, &wasm)
            }
            WastDirective::ModuleDefinition(mut module) => {
                let name = module.name().map(|id| id.name().to_string());
                let wasm = encode(&mut module)?;
                self.definitions.insert(name, wasm.clone());
                self.definitions.insert(None, wasm);
                Ok("defined".into())
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let module = module.map(|id| id.name().to_string());
                let wasm = self.definitions.get(&module).cloned();
                let wasm = wasm.ok_or(Failure::Skip(NO_TARGET))?;
                self.define_instance(instance.map(|id| id.name().to_string()), &wasm)
            }
            WastDirective::Register { name, module, .. } => {
                let target = self.target(module);
                self.registered.insert(name.to_string(), target);
                self.present(target).map(|()| "registered".into())
            }
            WastDirective::AssertMalformed { mut module, .. }
            | WastDirective::AssertInvalid { mut module, .. } => {
                let wasm = module.encode().map_err(|_| Failure::Skip(TEXT))?;
                self.assert_rejected(&wasm)
            }
            WastDirective::Invoke(invoke) => self.invoke(invoke).map(|_| "returned".into()),
            WastDirective::AssertReturn { exec, results, .. } => {
                let got = self.execute(exec)?;
                values::assert_match(&mut self.store, &got, &results).map_err(Failure::Other)?;
                Ok("returned".into())
            }
            WastDirective::AssertTrap { exec, .. } => self.assert_trap(exec, |_| true),
            WastDirective::AssertExhaustion { call, .. } => {
                self.assert_trap(WastExecute::Invoke(call), |trap| trap == Trap::StackOverflow)
            }
            WastDirective::AssertException { exec, .. } => match self.execute(exec) {
                Err(Failure::Ended(error)) if error.is::<ThrownException>() => Ok("thrown".into()),
                Ok(_) => Err(Failure::Other("returned instead of throwing".into())),
                Err(other) => Err(other),
            },
            WastDirective::AssertUnlinkable { module, .. } => {
                let wasm = encode(&mut QuoteWat::Wat(module))?;
                match self.instantiate(&wasm) {
                    Err(Failure::Ended(error)) if !error.is::<Trap>() => Ok("unlinkable".into()),
                    Ok(_) => Err(Failure::Other("was linked".into())),
                    Err(other) => Err(other),
                }
            }
            WastDirective::AssertSuspension { .. } => Err(Failure::Skip("stack switching")),
            WastDirective::Thread(_) | WastDirective::Wait { .. } => Err(Failure::Skip("threads")),
            WastDirective::AssertInvalidCustom { .. }
            | WastDirective::AssertMalformedCustom { .. } => {
                Err(Failure::Skip("custom sections mean nothing to the pass"))
            }
        }
    }

    fn define_instance(&mut self, name: Option<String>, wasm: &[u8]) -> Result<String, Failure> {
        let result = self.instantiate(wasm);
        self.last = match &result {
            Ok(target) => *target,
            Err(Failure::Skip(reason)) => Target::Absent(reason),
            Err(_) => Target::Absent(NO_TARGET),
        };
        if let Some(name) = name {
            self.named.insert(name, self.last);
        }
        result.and_then(|target| self.present(target)).map(|()| "instantiated".into())
    }

    /// Runs the pass in every mode: what it refuses is skipped.
    fn rewrite(&self, wasm: &[u8]) -> Result<Hot, Failure> {
        let every = i32::from(self.mode == Mode::Forced);
        Hot::new(&self.engine, wasm, every).map_err(|error| match error.downcast_ref::<Error>() {
            Some(Error::Refused { .. }) => Failure::Skip(refusal::reason(wasm)),
            Some(Error::Invalid(message)) => Failure::Invalid(message.clone()),
            _ => Failure::Other(format!("{error:?}")),
        })
    }

    fn instantiate(&mut self, wasm: &[u8]) -> Result<Target, Failure> {
        let number = self.instantiations;
        self.instantiations += 1;
        if self.mode == Mode::Plain {
            let rewritten = Program::analyse(wasm, Options::default()).and_then(|p| p.hot_module());
            if let Err(Error::Refused { .. }) = rewritten {
                return Err(Failure::Skip(refusal::reason(wasm)));
            }
            let module = Module::new(&self.engine, wasm);
            let module = module.map_err(|error| Failure::Invalid(format!("{error:?}")))?;
            let imports = self.imports(&module, number)?;
            return Ok(Target::Plain(Instance::new(&mut self.store, &module, &imports)?));
        }
        let hot = self.rewrite(wasm)?;
        let imports = self.imports(hot.module(), number)?;
        let forced = self.mode == Mode::Forced && !self.unforced.contains(&number);
        // Counting down from zero wraps around long after the script's end.
        let every = if forced { 1 } else { i32::MAX };
        let id = host::instantiate(&mut self.store, &hot, &imports, every)?;
        host::start(&mut self.store, id)?;
        Ok(Target::Guest { id, number })
    }

    /// Not valid: neither for wasmtime nor for the pass.
    fn assert_rejected(&mut self, wasm: &[u8]) -> Result<String, Failure> {
        let accepted = match self.mode {
            Mode::Plain => Module::validate(&self.engine, wasm).is_ok(),
            _ => Program::analyse(wasm, Options::default()).and_then(|p| p.hot_module()).is_ok(),
        };
        match accepted {
            false => Ok("rejected".into()),
            true => Err(Failure::Other("was accepted".into())),
        }
    }

    fn assert_trap(
        &mut self,
        exec: WastExecute<'_>,
        expected: impl Fn(Trap) -> bool,
    ) -> Result<String, Failure> {
        match self.execute(exec) {
            Ok(_) => Err(Failure::Other("returned instead of trapping".into())),
            Err(Failure::Ended(error)) => match error.downcast_ref::<Trap>() {
                Some(trap) if expected(*trap) => Ok(format!("{trap:?}")),
                _ => Err(Failure::Ended(error)),
            },
            Err(other) => Err(other),
        }
    }

    fn execute(&mut self, exec: WastExecute<'_>) -> Result<Vec<Val>, Failure> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(invoke),
            WastExecute::Wat(module) => {
                let wasm = encode(&mut QuoteWat::Wat(module))?;
                self.instantiate(&wasm).map(|_| vec![])
            }
            WastExecute::Get { module, global, .. } => {
                let target = self.target(module);
                self.present(target)?;
                let found = self.export(target, global).and_then(Extern::into_global);
                let found: Global = found.ok_or_else(|| Failure::Other(format!("no {global}")))?;
                Ok(vec![found.get(&mut self.store)])
            }
        }
    }

    fn invoke(&mut self, invoke: WastInvoke<'_>) -> Result<Vec<Val>, Failure> {
        let target = self.target(invoke.module);
        let skipped = self.present(target);
        let Some(function) = self.export(target, invoke.name).and_then(Extern::into_func) else {
            skipped?;
            return Err(Failure::Other(format!("no function {}", invoke.name)));
        };
        let args = values::arguments(&mut self.store, &invoke.args).map_err(Failure::Skip)?;
        let results = match target {
            Target::Guest { id, .. } => host::call(&mut self.store, id, function, &args)?,
            _ => {
                let count = function.ty(&self.store).results().len();
                let mut results = vec![Val::I32(0); count];
                function.call(&mut self.store, &args, &mut results)?;
                results
            }
        };
        // What an unforced guest did counts for nothing, but what comes after it depends on it.
        skipped.map(|()| results)
    }

    fn target(&self, name: Option<wast::token::Id<'_>>) -> Target {
        match name {
            None => self.last,
            Some(id) => self.named.get(id.name()).copied().unwrap_or(Target::Absent(NO_TARGET)),
        }
    }

    /// May a pass be counted for this target?
    fn present(&self, target: Target) -> Result<(), Failure> {
        match target {
            Target::Absent(reason) => Err(Failure::Skip(reason)),
            Target::Guest { number, .. }
                if self.mode == Mode::Forced && self.unforced.contains(&number) =>
            {
                Err(Failure::Skip(MEETING))
            }
            _ => Ok(()),
        }
    }

    fn export(&mut self, target: Target, name: &str) -> Option<Extern> {
        let instance = match target {
            Target::Plain(instance) => instance,
            Target::Guest { id, .. } => host::instance(&self.store, id),
            Target::Absent(_) => return None,
        };
        instance.get_export(&mut self.store, name)
    }
}

fn encode(module: &mut QuoteWat<'_>) -> Result<Vec<u8>, Failure> {
    module.encode().map_err(|error| Failure::Other(format!("text: {error}")))
}
