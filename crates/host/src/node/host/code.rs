//! Programs: from peers, from this user's commands, to peers.

use std::io::Read as _;
use std::sync::Arc;

use peripatos_cluster::message::Content;
use peripatos_cluster::{Event, NodeId};
use peripatos_engine::Code;

use super::super::programs::{PROGRAM_BYTES_MAX, ProgramError};
use super::super::protocol::FromNode;
use super::super::{convert, stills};
use super::{Host, Input};

/// Programs that are sent to peers at once, a thread each; who asks for more has to ask again.
const SENDS_MAX: usize = 64;

impl Host {
    pub(super) fn send_code(&mut self, to: NodeId, code: [u8; 32]) {
        let (Some(compiled), Some(standing)) = (self.programs.get(code), self.links.get(&to))
        else {
            return;
        };
        // Each send holds one more handle.
        if Arc::strong_count(&self.sends) > SENDS_MAX {
            self.log_once(&format!("more than {SENDS_MAX} programs are wanted at once"));
            return;
        }
        self.streams += 1;
        let (sender, stream) = (standing.sender.clone(), self.streams);
        let (held, pace) = (Arc::clone(&self.sends), self.pace.clone());
        let _ = stills::aside(move || {
            stills::send_code(&compiled, code, &sender, stream, &pace);
            drop(held);
        });
    }

    /// A program is to come from a peer.
    pub(super) fn expect_code(&mut self, from: NodeId, code: [u8; 32]) {
        let mut arriving = self.expected.expect(from, Content::Code(code), PROGRAM_BYTES_MAX);
        let inputs = self.inputs.clone();
        let _ = stills::aside(move || {
            let mut wasm = Vec::new();
            let read = arriving.read_to_end(&mut wasm);
            let wasm = read.map(|_| wasm).map_err(|error| error.to_string());
            inputs.send(Input::Came { code, wasm });
        });
    }

    pub(super) fn came(&mut self, code: [u8; 32], wasm: Result<Vec<u8>, String>) {
        match wasm {
            Ok(wasm) => self.compile(code, wasm.into()),
            // The link broke, and with it the moves that wanted the program; or another source is asked.
            Err(reason) => self.log_once(&format!("a program did not come: {reason}")),
        }
    }

    pub(super) fn compile(&mut self, code: [u8; 32], wasm: Arc<[u8]>) {
        let compilation = match self.programs.compilation(code, wasm) {
            Ok(compilation) => compilation,
            Err(error) => return self.compiled(code, Err(error)),
        };
        let inputs = self.inputs.clone();
        let compiling = stills::aside(move || {
            let compiled = compilation.run();
            inputs.send(Input::Compiled { code, compiled });
        });
        if let Err(error) = compiling {
            self.log_once(&format!("no thread to compile: {error}"));
        }
    }

    pub(super) fn compiled(&mut self, code: [u8; 32], compiled: Result<Code, ProgramError>) {
        let error = match compiled {
            Ok(compiled) => {
                self.programs.put(code, compiled);
                None
            }
            Err(error) => Some(error),
        };
        for number in self.clients.waiting_for(code) {
            match &error {
                None => self.start(number),
                Some(error) => {
                    let (kind, message) = (convert::bad_program(error), error.to_string());
                    self.clients.say(number, FromNode::BadProgram { kind, message });
                }
            }
        }
        self.tell(match error {
            None => Event::CodeReady(code),
            Some(error) => Event::CodeFailed(code, error.to_string()),
        });
    }
}
