//! Nodes find each other by one printed line; who has no right to is told.

use std::process::Command;

use crate::program::Program;
use crate::support::{Cluster, text, until};

#[test]
fn the_printed_line_works_word_for_word_and_any_node_can_be_asked() {
    let mut cluster = Cluster::new();
    cluster.up("first");
    // As a user does: the line is pasted into a shell.
    let line = format!("exec peri {}", cluster.join.join(" "));
    let mut shell = cluster.here(Command::new("sh"));
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_peri")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        std::iter::once(binary.to_owned()).chain(std::env::split_paths(&path)),
    );
    shell.args(["-c", &line]).env("PATH", path.unwrap());
    cluster.start_node("pasted", shell);
    until(&|| cluster.logs(), |_| {
        let nodes = cluster.nodes_at("first");
        nodes.len() == 2 && nodes.iter().all(|node| node.state == "up" && node.cores > 0)
    });
    let names: Vec<String> = cluster.nodes_at("first").into_iter().map(|row| row.node).collect();
    let other = names.iter().find(|name| *name != "first").unwrap();

    let program = Program::dialogue(&cluster, "first");
    let there = |row: &crate::support::Row| {
        // A sample has come of it.
        row.core.is_some() && row.memory_bytes.is_some_and(|bytes| bytes > 0)
    };
    let row =
        cluster.until_row("first", &program.pid(), |row| row.state == "waiting" && there(row));
    assert!(row.program.ends_with("lua.wasm"));
    assert_eq!((row.node.as_deref(), row.moves, row.pinned), (Some("first"), 0, false));
    until(&|| cluster.logs(), |_| {
        let mut asked_here = cluster.nodes_at("first");
        let mut asked_there = cluster.nodes_at(other);
        for (rows, own) in [(&mut asked_here, "first"), (&mut asked_there, other.as_str())] {
            for row in rows {
                assert_eq!(row.asked, row.node == own);
                row.asked = false;
            }
        }
        asked_here == asked_there && cluster.ps_at("first") == cluster.ps_at(other)
    });
    program.finish(&cluster);
    assert!(cluster.ps_at(other).is_empty());
}

/// Of those that were named one is not there, and the other one is named twice.
#[test]
fn one_of_several_nodes_that_answers_is_enough() {
    let mut cluster = Cluster::new();
    cluster.up("first");
    let address = cluster.join[2].clone();
    // Nobody listens here: the listener is gone by the time that it is called.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = nobody.to_string();
    let by_name = address.replace("127.0.0.1", "localhost");
    let token = cluster.join[4].clone();
    let mut words = vec!["up".to_owned()];
    for one in [&nobody, &by_name, &address] {
        words.extend(["--join".to_owned(), one.clone()]);
    }
    words.extend(["--token".to_owned(), token.clone()]);
    cluster.up_with("second", &words);
    cluster.until_linked();
    // If none is of use the node ends, with what the last one said.
    let wrong = "a".repeat(52);
    let words = ["up", "--name", "b", "--join", &address, "--join", &address, "--token", &wrong];
    let output = cluster.output(words);
    assert_eq!(output.status.code(), Some(68));
    assert!(text(&output.stderr).contains("another token"), "{}", text(&output.stderr));
    let words = ["up", "--name", "b", "--join", &address, "--join", "x", "--token", &token];
    assert_eq!(cluster.output(words).status.code(), Some(2));
}

#[test]
fn who_has_no_right_to_join_is_told() {
    let mut cluster = Cluster::of(&["first"]);
    let address = cluster.join[2].clone();
    let refused = |words: &[&str], code: i32, says: &str| {
        let output = cluster.output(words);
        let line = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(line.starts_with("peri: ") && line.contains(says), "{line:?}");
    };
    let token = "a".repeat(52);
    refused(&["up", "--name", "b", "--join", &address], 2, "needs the cluster's token");
    refused(&["up", "--name", "b", "--join", &address, "--token", "short"], 2, "52 characters");
    refused(&["up", "--name", "b", "--join", &address, "--token", &token], 68, "another token");
    refused(&["up", "--name", "first"], 68, "runs already");
    refused(&["up", "--name", "no/name"], 2, "a node's name");
    refused(&["nodes", "--at", "absent"], 68, "those that do: first");
    refused(&["migrate", "p1", "first"], 69, "no such process");
    assert_eq!(cluster.nodes_at("first").len(), 1);
    let node = cluster.node("first");
    assert_eq!(node.said("was refused"), 1, "{}", node.log());
}
