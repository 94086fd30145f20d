//! `peri explain` and `peri events`: what was moved, what was not, and why.

use super::ps::age;
use crate::cluster::{self, At, failure};
use crate::exit::{End, Result, say};
use crate::output::{Align, Format, Table};
use peripatos_cluster::NodeId;
use peripatos_cluster::journal::{Happening, Kept, Reason, Standing, Told, Weighed};
use peripatos_cluster::message::RowOfNode;
use peripatos_host::node::NodeClient;
use serde::Serialize;
use std::fmt::Write as _;

/// Says where a process would be moved, or why it stays, and what has become of it so far.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    at: At,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// The process, as `peri ps` shows it
    pid: String,
}

/// Lists the last moves, and those that were not made, with what spoke for them and against them.
#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    #[command(flatten)]
    at: At,
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// A line in JSON.
#[derive(Serialize)]
struct Row {
    age_ms: u64,
    pid: String,
    from: String,
    to: String,
    /// moved, failed (it was to move, and did not), kept (a node has asked, and did not get it).
    what: &'static str,
    /// balance, drain, labels, command; of what was kept: closed, labels, memory, rate, balanced, dear.
    why: &'static str,
    /// Of what was kept: how often in a row.
    times: u32,
    /// Of what has failed.
    error: Option<String>,
    freeze_us: Option<u64>,
    total_us: Option<u64>,
    carried_bytes: Option<u64>,
    terms: Option<Terms>,
}

/// What was weighed, in JSON.
#[derive(Serialize)]
struct Terms {
    /// Seconds that all processes together save in a second.
    gain: f64,
    /// Of that, as it would talk with others on the same node; negative: as it does where it is.
    talk: f64,
    /// And what counts as saved as it prefers the other node; negative: as lost.
    preference: f64,
    /// How much longer the process is expected to want a core.
    goes_on_s: f64,
    /// What the move takes.
    price_s: f64,
    from_demand: f64,
    from_cores: u32,
    from_speed: f64,
    to_demand: f64,
    to_cores: u32,
    to_speed: f64,
}

/// What would become of a process, in JSON.
#[derive(Serialize)]
struct Now {
    node: String,
    demand: f64,
    cpu_ms: u64,
    memory_bytes: u64,
    memory_bytes_needed: u64,
    moving: bool,
    balancing: bool,
    pinned: bool,
    /// None: until it is released.
    stays_ms: Option<u64>,
    others: Vec<Other>,
}

#[derive(Serialize)]
struct Other {
    node: String,
    /// pays, or why not: closed, labels, memory, rate, balanced, dear.
    verdict: &'static str,
    terms: Option<Terms>,
}

#[derive(Serialize)]
struct Explained {
    now: Option<Now>,
    before: Vec<Row>,
}

pub(crate) fn events(options: &Events) -> Result<End> {
    let mut client = options.at.connect()?;
    let names = Names::of(&mut client)?;
    let events = client.events(None).map_err(|error| failure("events", &error))?;
    not_heard(&events.silent);
    let rows: Vec<Row> = events.told.iter().map(|told| names.row(told)).collect();
    options.output.show(&rows, || names.table(&events.told))?;
    Ok(End::SUCCESS)
}

pub(crate) fn explain(options: &Explain) -> Result<End> {
    let mut client = options.at.connect()?;
    let (pid, _) = cluster::process(&mut client, &options.pid)?;
    let names = Names::of(&mut client)?;
    let events = client.events(Some(pid)).map_err(|error| failure("explain", &error))?;
    not_heard(&events.silent);
    let explained = Explained {
        now: events.standing.as_ref().map(|standing| names.now(standing)),
        before: events.told.iter().map(|told| names.row(told)).collect(),
    };
    options.output.show(&explained, || {
        let now = events.standing.as_ref().map(|standing| names.in_words(&options.pid, standing));
        let now = now
            .unwrap_or_else(|| format!("{} is on its way, or its node is silent.\n", options.pid));
        if events.told.is_empty() { now } else { now + "\n" + &names.table(&events.told) }
    })?;
    Ok(End::SUCCESS)
}

fn not_heard(silent: &[String]) {
    for node in silent {
        say(format_args!("node {node} does not answer; what it knows is not listed"));
    }
}

/// What nodes are called.
struct Names(Vec<RowOfNode>);

impl Names {
    fn of(client: &mut NodeClient) -> Result<Names> {
        client.nodes().map(Names).map_err(|error| failure("nodes", &error))
    }

    fn name(&self, node: NodeId) -> String {
        let known = self.0.iter().find(|one| one.node == node);
        known.map_or_else(|| format!("{node:#}"), |one| one.name.clone())
    }

    fn row(&self, told: &Told) -> Row {
        let (what, why, terms) = match &told.happening {
            Happening::Moved { reason, .. } => ("moved", reason_word(reason), reason_terms(reason)),
            Happening::Failed { reason, .. } => {
                ("failed", reason_word(reason), reason_terms(reason))
            }
            Happening::Kept { why, .. } => ("kept", kept_word(why), kept_terms(why)),
        };
        let cost = match &told.happening {
            Happening::Moved { cost, .. } => Some(*cost),
            _ => None,
        };
        Row {
            age_ms: told.age_ms,
            pid: told.pid.to_string(),
            from: self.name(told.at),
            to: self.name(told.to),
            what,
            why,
            times: match &told.happening {
                Happening::Kept { times, .. } => *times,
                _ => 1,
            },
            error: match &told.happening {
                Happening::Failed { why, .. } => Some(why.clone()),
                _ => None,
            },
            freeze_us: cost.map(|cost| cost.freeze_us),
            total_us: cost.map(|cost| cost.total_us),
            carried_bytes: cost.map(|cost| cost.image_bytes.saturating_add(cost.copied_bytes)),
            terms: terms.map(Terms::from),
        }
    }

    fn table(&self, told: &[Told]) -> String {
        let (left, right) = (Align::Left, Align::Right);
        let mut table = Table::new(&[
            ("AGE", right),
            ("PROCESS", left),
            ("FROM", left),
            ("TO", left),
            ("WHAT", left),
            ("WHY", left),
        ]);
        for one in told {
            let (what, why) = match &one.happening {
                Happening::Moved { reason, cost } => {
                    let still = cost.freeze_us as f64 / 1e3;
                    (format!("moved, stood still {still:.1} ms"), reason_text(reason))
                }
                Happening::Failed { reason, why } => {
                    ("stays".to_owned(), format!("{why} (was to move: {})", reason_text(reason)))
                }
                Happening::Kept { why, times } => {
                    let asked = if *times == 1 { "once" } else { &format!("{times} times") };
                    (format!("stays, asked {asked}"), kept_text(why))
                }
            };
            let (from, to) = (self.name(one.at), self.name(one.to));
            table.row(vec![age(one.age_ms / 1_000), format!("{:#}", one.pid), from, to, what, why]);
        }
        table.render()
    }

    fn now(&self, standing: &Standing) -> Now {
        let other = |(node, weighed): &(NodeId, std::result::Result<Weighed, Kept>)| Other {
            node: self.name(*node),
            verdict: weighed.as_ref().map_or_else(kept_word, |_| "pays"),
            terms: weighed
                .as_ref()
                .map_or_else(kept_terms, |weighed| Some(*weighed))
                .map(Terms::from),
        };
        Now {
            node: self.name(standing.node),
            demand: thousandths(standing.demand_permille),
            cpu_ms: standing.cpu_ms,
            memory_bytes: standing.memory_bytes,
            memory_bytes_needed: standing.memory_bytes_needed,
            moving: standing.moving,
            balancing: standing.balancing,
            pinned: standing.pinned,
            stays_ms: (standing.stays_ms != u64::MAX).then_some(standing.stays_ms),
            others: standing.others.iter().map(other).collect(),
        }
    }

    fn in_words(&self, pid: &str, standing: &Standing) -> String {
        let needed = match standing.memory_bytes_needed > standing.memory_bytes {
            true => {
                format!(" of {:.1} MB that it will need", standing.memory_bytes_needed as f64 / 1e6)
            }
            false => String::new(),
        };
        let mut text = format!(
            "{pid} runs on node {} (load: {}). It wants {:.2} of a core, has used {:.1} s, and has {:.1} MB{}.\n",
            self.name(standing.node),
            standing.here,
            thousandths(standing.demand_permille),
            standing.cpu_ms as f64 / 1e3,
            standing.memory_bytes as f64 / 1e6,
            needed,
        );
        if let Some(stays) = stays(standing) {
            text += &stays;
        }
        if standing.others.is_empty() {
            text += "There is no other node that says how loaded it is.\n";
        }
        for (node, weighed) in &standing.others {
            let name = self.name(*node);
            let _ = match weighed {
                Ok(weighed) => {
                    writeln!(text, "Node {name} would get it: {}.", terms_text(weighed))
                }
                Err(kept) => writeln!(text, "Node {name} would not: {}.", kept_text(kept)),
            };
        }
        text
    }
}

/// Why it would not be moved, whatever the others' load.
fn stays(standing: &Standing) -> Option<String> {
    let seconds = standing.stays_ms as f64 / 1e3;
    Some(match standing {
        Standing { moving: true, .. } => "It is on its way to another node.\n".to_owned(),
        Standing { balancing: false, .. } => {
            "Its node gives nothing away for the balance (peri balance on).\n".to_owned()
        }
        Standing { pinned: true, stays_ms: u64::MAX, .. } => {
            "It is pinned there (peri unpin).\n".to_owned()
        }
        Standing { pinned: true, .. } => format!("It is pinned there for {seconds:.1} s more.\n"),
        Standing { stays_ms: 1.., .. } => {
            format!(
                "It has moved, or was to move, just before, and rests for {seconds:.1} s more.\n"
            )
        }
        _ => return None,
    })
}

fn reason_word(reason: &Reason) -> &'static str {
    match reason {
        Reason::Balance(_) => "balance",
        Reason::Emptied => "drain",
        Reason::Unsuited => "labels",
        Reason::ByHand => "command",
    }
}

fn reason_text(reason: &Reason) -> String {
    match reason {
        Reason::Balance(weighed) => terms_text(weighed),
        Reason::Emptied => "its node is being emptied".to_owned(),
        Reason::Unsuited => "it may not run there".to_owned(),
        Reason::ByHand => "somebody wanted it".to_owned(),
    }
}

fn reason_terms(reason: &Reason) -> Option<Weighed> {
    match reason {
        Reason::Balance(weighed) => Some(*weighed),
        Reason::Emptied | Reason::Unsuited | Reason::ByHand => None,
    }
}

fn kept_word(kept: &Kept) -> &'static str {
    match kept {
        Kept::Closed => "closed",
        Kept::Unsuited => "labels",
        Kept::NoMemory => "memory",
        Kept::MoveRate => "rate",
        Kept::Balanced(_) => "balanced",
        Kept::Dear(_) => "dear",
    }
}

fn kept_text(kept: &Kept) -> String {
    match kept {
        Kept::Closed => "it takes nothing".to_owned(),
        Kept::Unsuited => "it does not have the labels".to_owned(),
        Kept::NoMemory => "it does not have the memory".to_owned(),
        Kept::MoveRate => "carrying it would take too long (peri up --move-rate)".to_owned(),
        Kept::Balanced(weighed) if weighed.gain_us > 0 => {
            format!("that is hardly better; {}", terms_text(weighed))
        }
        Kept::Balanced(weighed) => format!("that is no better; {}", terms_text(weighed)),
        Kept::Dear(weighed) => format!("that is not worth the move; {}", terms_text(weighed)),
    }
}

fn kept_terms(kept: &Kept) -> Option<Weighed> {
    match kept {
        Kept::Balanced(weighed) | Kept::Dear(weighed) => Some(*weighed),
        Kept::Closed | Kept::Unsuited | Kept::NoMemory | Kept::MoveRate => None,
    }
}

/// What was weighed, in words.
fn terms_text(weighed: &Weighed) -> String {
    let gain = weighed.gain_us as f64 / 1e6;
    let gain =
        if gain < 0.0 { format!("loses {:.2} s/s", -gain) } else { format!("saves {gain:.2} s/s") };
    let talk = match weighed.talk_us as f64 / 1e6 {
        talk if talk >= 0.005 => format!(", {talk:.2} of it as it is nearer to whom it calls"),
        talk if talk <= -0.005 => format!(", {:.2} lost as it leaves whom it calls", -talk),
        _ => String::new(),
    };
    let preference = match weighed.preference_us as f64 / 1e6 {
        gained if gained >= 0.005 => format!(", {gained:.2} of it as it prefers that node"),
        lost if lost <= -0.005 => format!(", {:.2} lost as it prefers its own node", -lost),
        _ => String::new(),
    };
    format!(
        "{gain}{talk}{preference} ({} here, {} there), goes on {}, costs {}",
        weighed.giving,
        weighed.taking,
        time(weighed.goes_on_us),
        time(weighed.price_us),
    )
}

fn time(us: u64) -> String {
    if us < 1_000_000 {
        format!("{:.1} ms", us as f64 / 1e3)
    } else {
        format!("{:.1} s", us as f64 / 1e6)
    }
}

fn thousandths(permille: u32) -> f64 {
    f64::from(permille) / 1e3
}

impl From<Weighed> for Terms {
    fn from(weighed: Weighed) -> Terms {
        let Weighed { giving, taking, gain_us, talk_us, preference_us, goes_on_us, price_us } =
            weighed;
        Terms {
            gain: gain_us as f64 / 1e6,
            talk: talk_us as f64 / 1e6,
            preference: preference_us as f64 / 1e6,
            goes_on_s: goes_on_us as f64 / 1e6,
            price_s: price_us as f64 / 1e6,
            from_demand: thousandths(giving.demand_permille),
            from_cores: giving.cores,
            from_speed: thousandths(giving.speed_permille),
            to_demand: thousandths(taking.demand_permille),
            to_cores: taking.cores,
            to_speed: thousandths(taking.speed_permille),
        }
    }
}
