//! The hall: it has the tables, takes commands while philosophers eat, and adds everything up in the end.

use std::time::{Duration, Instant};

use peripatos::{Error, Pid, link, receive_timeout, spawn_fn};

use crate::services::{HallClient, HallRequest, TableClient};
use crate::table::table;
use crate::total::Total;

/// What it begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) philosophers: u32,
    pub(crate) tables: u32,
    /// Plates on each table.
    pub(crate) plates: u32,
    /// Of each table.
    pub(crate) waiters: u32,
    /// When everybody goes home.
    pub(crate) time: Duration,
    /// Meals until a philosopher goes home by itself; u64::MAX: when it is told to.
    pub(crate) meals: u64,
}

struct Hall {
    setting: Setting,
    tables: Vec<TableClient>,
    /// Philosophers that were let in and have not said goodbye.
    present: u32,
    total: Total,
    is_stopping: bool,
}

/// Until everybody has gone home: what was counted.
///
/// # Errors
/// A process cannot be made, or has failed.
pub(crate) fn run(setting: Setting) -> Result<Total, Error> {
    let total = Total::default();
    let mut hall = Hall { setting, tables: Vec::new(), present: 0, total, is_stopping: false };
    for table in 0..setting.tables {
        let share = setting.philosophers / setting.tables;
        hall.open(share + u32::from(table < setting.philosophers % setting.tables))?;
    }
    let begun = Instant::now();
    let mut buffer = [0; 256];
    while hall.present > 0 || !hall.is_stopping {
        let left = setting.time.saturating_sub(begun.elapsed());
        match receive_timeout(if hall.is_stopping { Duration::MAX } else { left }, &mut buffer) {
            Ok(received) => {
                let Some(request) = received.message().and_then(HallRequest::of) else { continue };
                hall.serve(request)?;
            }
            Err(Error::TimedOut) => hall.stop()?,
            Err(error) => return Err(error),
        }
        if hall.present == 0 && setting.meals < u64::MAX && !hall.is_stopping {
            hall.stop()?;
        }
    }
    hall.total.time = begun.elapsed();
    Ok(hall.total)
}

impl Hall {
    fn serve(&mut self, request: HallRequest) -> Result<(), Error> {
        match request {
            HallRequest::Add { philosophers, reply } => {
                self.add(philosophers)?;
                reply.send(&())
            }
            HallRequest::Remove { philosophers, reply } => {
                self.remove(philosophers)?;
                reply.send(&())
            }
            HallRequest::Tables { change, reply } => {
                for _ in 0..change {
                    self.open(self.setting.plates)?;
                }
                for _ in change..0 {
                    self.close_last()?;
                }
                reply.send(&())
            }
            HallRequest::Plates { change, reply } => {
                for table in &self.tables {
                    let plates = change.unsigned_abs();
                    if change > 0 { table.lay(plates, 0)? } else { table.clear(plates)? }
                }
                reply.send(&())
            }
            HallRequest::Report { reply } => {
                let report = self.report()?;
                reply.send(&report)
            }
            HallRequest::Stop { reply } => {
                reply.send(&())?;
                self.stop()
            }
            HallRequest::Goodbye { record, reply } => {
                self.present -= 1;
                self.total.add(reply.pid(), &record);
                reply.send(&())
            }
        }
    }

    /// Another table, with so many philosophers.
    fn open(&mut self, philosophers: u32) -> Result<(), Error> {
        let hall = HallClient::new(Pid::own());
        let Setting { waiters, meals, .. } = self.setting;
        let pid = spawn_fn(table, &(hall, waiters, meals))?;
        // If something goes wrong there, the run has failed.
        link(pid)?;
        let table = TableClient::new(pid);
        self.tables.push(table);
        self.present += philosophers;
        table.lay(self.setting.plates, philosophers)
    }

    /// To the table that has most room.
    fn add(&mut self, philosophers: u32) -> Result<(), Error> {
        let mut roomiest = None;
        for table in &self.tables {
            let counts = table.counts()?;
            let room = i64::from(counts.places) - i64::from(counts.philosophers);
            if roomiest.is_none_or(|(most, _)| room > most) {
                roomiest = Some((room, *table));
            }
        }
        if let Some((_, table)) = roomiest {
            self.present += philosophers;
            table.lay(0, philosophers)?;
        }
        Ok(())
    }

    fn remove(&mut self, philosophers: u32) -> Result<(), Error> {
        let mut left = philosophers;
        for table in &self.tables {
            left -= table.dismiss(left)?;
        }
        Ok(())
    }

    fn close_last(&mut self) -> Result<(), Error> {
        if let Some(table) = self.tables.pop() {
            self.total.add_table(table.close()?);
        }
        Ok(())
    }

    fn report(&self) -> Result<String, Error> {
        let mut lines = Vec::new();
        for (number, table) in self.tables.iter().enumerate() {
            let counts = table.counts()?;
            let (philosophers, places) = (counts.philosophers, counts.places);
            lines.push(format!("table {number}: {philosophers} philosophers, {places} plates"));
        }
        Ok(lines.join("\n"))
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.is_stopping = true;
        while !self.tables.is_empty() {
            self.close_last()?;
        }
        Ok(())
    }
}
