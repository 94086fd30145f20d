//! A `peri run` whose input is written and whose output is read while it runs.

use std::io::Write as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::support::{Cluster, Collected, guest, until};

/// Reads lines, counts them, answers each on standard output and in a file. At its input's end it says how many there
/// were. An error of reading or writing makes it run for ever, so that it can be seen in `ps`.
const DIALOGUE: &str = "
local file = assert(io.open('/data/answers.txt', 'w'))
local function checked(good, problem, number)
  if good then return end
  if number == 29 then while true do end end
  error(problem)
end
local lines = 0
while true do
  local line, problem, number = io.read('L')
  if not line then checked(not problem, problem, number) break end
  lines = lines + 1
  local answer = lines .. ' ' .. line
  checked(file:write(answer)) checked(file:flush())
  checked(io.write(answer)) checked(io.flush())
end
print('lines ' .. lines)
";

/// A program on a node. Dropped, it is ended.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) said: Collected,
    pub(crate) errors: Collected,
    sent: usize,
}

impl Program {
    /// Starts it, and waits until it is in the list of the node that was asked.
    pub(crate) fn start(cluster: &Cluster, at: &str, command: Command) -> Program {
        let mut program = Program::begin(command);
        let (pid, errors) = (program.pid(), program.errors.clone());
        until(&|| cluster.logs(), |_| {
            let ended = program.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?} {}{}", errors.text(), cluster.logs());
            cluster.row(at, &pid).is_some()
        });
        program
    }

    /// Starts it, and does not wait for anything.
    pub(crate) fn begin(mut command: Command) -> Program {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Collected::of(child.stdout.take().unwrap());
        let errors = Collected::of(child.stderr.take().unwrap());
        Program { child, said, errors, sent: 0 }
    }

    /// A guest with these arguments, on this node.
    pub(crate) fn guest(cluster: &Cluster, at: &str, name: &str, args: &[&str]) -> Program {
        let mut command = cluster.peri(["run", "--at", at, &guest(name)]);
        command.args(args);
        Program::start(cluster, at, command)
    }

    /// The dialogue, on this node.
    pub(crate) fn dialogue(cluster: &Cluster, at: &str) -> Program {
        Program::heavy_dialogue(cluster, at, 0)
    }

    /// The dialogue with so many bytes of memory, on this node.
    pub(crate) fn heavy_dialogue(cluster: &Cluster, at: &str, bytes: usize) -> Program {
        let directory = format!("{}::/data", cluster.work().display());
        let script = format!("local ballast = string.rep('x', {bytes})\n{DIALOGUE}");
        let words = ["run", "--at", at, "--dir", &directory, &guest("lua"), "-e", &script];
        Program::start(cluster, at, cluster.peri(words))
    }

    /// What never ends by itself.
    pub(crate) fn endless(cluster: &Cluster, at: &str) -> Program {
        Program::guest(cluster, at, "lua", &["-e", "while true do end"])
    }

    /// Its short name.
    pub(crate) fn pid(&self) -> String {
        format!("p{}", self.child.id())
    }

    pub(crate) fn write(&mut self, text: &str) {
        // Who reads may be gone: that shows in what it says.
        let _ = self.child.stdin.as_mut().unwrap().write_all(text.as_bytes());
    }

    /// Sends the dialogue a line.
    pub(crate) fn say(&mut self) {
        self.sent += 1;
        let line = format!("line {} of many\n", self.sent);
        self.write(&line);
    }

    /// What the dialogue must have said by now.
    pub(crate) fn expected(&self) -> String {
        (1..=self.sent).map(|number| format!("{number} line {number} of many\n")).collect()
    }

    /// Waits until the dialogue has answered everything, or has ended. Whether it has answered.
    #[track_caller]
    pub(crate) fn answers(&mut self) -> bool {
        let (expected, mut ended) = (self.expected(), false);
        let seen = (self.said.clone(), self.errors.clone());
        until(&|| format!("it said {:?} {:?}", seen.0.text(), seen.1.text()), |_| {
            ended = self.child.try_wait().unwrap().is_some();
            ended || self.said.text().len() >= expected.len()
        });
        let said = self.said.text();
        assert!(expected.starts_with(&said), "it said {said:?}");
        said == expected
    }

    /// Ends the dialogue's input: everything must have been answered once, to the byte, in both places.
    #[track_caller]
    pub(crate) fn finish(mut self, cluster: &Cluster) {
        let expected = self.expected();
        drop(self.child.stdin.take());
        let status = self.ended();
        assert!(status.success(), "{status} {}{}", self.errors.text(), cluster.logs());
        let said = format!("{expected}lines {}\n", self.sent);
        self.until_output(&said);
        let file = std::fs::read_to_string(cluster.work().join("answers.txt")).unwrap();
        assert_eq!(file, expected);
    }

    /// Waits until this is its output: the collecting thread may be behind.
    #[track_caller]
    pub(crate) fn until_output(&self, expected: &str) {
        let said = self.said.clone();
        until(&|| format!("it said {:?}", said.text()), |_| said.text().len() >= expected.len());
        assert_eq!(self.said.text(), expected);
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let seen = (self.said.clone(), self.errors.clone());
        until(&|| format!("it goes on; said {:?} {:?}", seen.0.text(), seen.1.text()), |_| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Waits for its end with this code and this on standard error.
    #[track_caller]
    pub(crate) fn ends_with(&mut self, code: i32, says: &str) {
        let status = self.ended();
        let errors = self.errors.clone();
        until(&|| format!("{:?} does not say {says:?}", errors.text()), |_| {
            errors.text().contains(says)
        });
        assert_eq!(status.code(), Some(code), "{}", errors.text());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
