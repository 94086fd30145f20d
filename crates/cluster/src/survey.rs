//! What the processes of this node do just now, for whoever lists them: only the cores know, and are asked for it then.

use peripatos_abi::Pid;

use crate::event::Action;
use crate::limits::{SURVEY_WAIT_MAX, SURVEYS_MAX};
use crate::message::{Doing, Message, ProcessRow, RowState};
use crate::node::Node;
use crate::{NodeId, Time};

/// A list that waits for what the cores say.
#[derive(Debug)]
pub(crate) struct Survey {
    asker: Asker,
    rows: Vec<ProcessRow>,
    pub(crate) deadline: Time,
}

/// Who wants the list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    /// This node, for its own question of that number.
    Own(u64),
    /// Another node, under its number.
    Peer(NodeId, u64),
}

impl Node {
    /// Somebody wants to know what runs here.
    pub(crate) fn survey(&mut self, asker: Asker, out: &mut Vec<Action>) {
        let rows = self.known_rows();
        let here = |row: &&ProcessRow| {
            row.node == self.config.node
                && !matches!(row.state, RowState::Moving | RowState::InDoubt)
        };
        let pids: Vec<Pid> = rows.iter().filter(here).map(|row| row.process.pid).collect();
        if pids.is_empty() || self.surveys.len() >= SURVEYS_MAX {
            return self.surveyed_for(asker, rows, out);
        }
        let number = self.next_number();
        let deadline = self.now + SURVEY_WAIT_MAX;
        self.surveys.insert(number, Survey { asker, rows, deadline });
        out.push(Action::Survey { survey: number, pids });
    }

    /// The cores have said what they know.
    pub(crate) fn surveyed(
        &mut self,
        number: u64,
        mut doings: Vec<(Pid, Doing)>,
        out: &mut Vec<Action>,
    ) {
        let Some(Survey { asker, mut rows, .. }) = self.surveys.remove(&number) else { return };
        doings.sort_unstable_by_key(|(pid, _)| *pid);
        for row in &mut rows {
            let at = doings.binary_search_by_key(&row.process.pid, |(pid, _)| *pid);
            row.doing = at.ok().map(|at| doings[at].1);
        }
        self.surveyed_for(asker, rows, out);
    }

    /// Cores that are busy do not hold up a list.
    pub(crate) fn end_late_surveys(&mut self, out: &mut Vec<Action>) {
        let late = |_: &u64, survey: &mut Survey| survey.deadline <= self.now;
        let late: Vec<(u64, Survey)> = self.surveys.extract_if(.., late).collect();
        for (_, Survey { asker, rows, .. }) in late {
            self.surveyed_for(asker, rows, out);
        }
    }

    fn surveyed_for(&mut self, asker: Asker, processes: Vec<ProcessRow>, out: &mut Vec<Action>) {
        match asker {
            Asker::Own(number) => self.listed(self.config.node, number, processes, out),
            Asker::Peer(to, request) => {
                out.push(Action::Send { to, message: Message::Listed { request, processes } });
            }
        }
    }
}
