//! `peri up --join auto`, on this machine's loopback interface. tests/namespaces.sh has it on a network.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::support::{Cluster, until};

/// Whether what is sent to a group on the loopback interface arrives there. (Not that of nodes, to which others may be listening.)
fn loopback_has_multicast() -> bool {
    let group = Ipv4Addr::new(239, 255, 70, 77);
    let tries = || -> std::io::Result<()> {
        let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        receiver.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
        receiver.set_read_timeout(Some(Duration::from_secs(5)))?;
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        rustix::net::sockopt::set_ip_multicast_if(&sender, &Ipv4Addr::LOCALHOST)?;
        sender.send_to(b"here", (group, receiver.local_addr()?.port()))?;
        receiver.recv(&mut [0; 4]).map(drop)
    };
    tries().is_ok()
}

/// A node that is to be found on the loopback interface only.
fn up(cluster: &mut Cluster, name: &str, token: Option<&str>) {
    let words = ["up", "--join", "auto", "--listen", "127.0.0.1:0"];
    let token = token.into_iter().flat_map(|token| ["--token", token]);
    let words: Vec<String> = words.into_iter().chain(token).map(str::to_owned).collect();
    cluster.up_with(name, &words);
}

#[test]
fn nodes_of_one_token_find_each_other_and_no_others() {
    if !loopback_has_multicast() {
        eprintln!("skipped: nothing that is sent to a group arrives on the loopback interface");
        return;
    }
    let mut cluster = Cluster::new();
    up(&mut cluster, "a", None);
    assert_eq!(cluster.join[..3], ["up", "--join", "auto"]);
    let token = cluster.join[4].clone();
    // It has another token, so it is in no cluster with the others; and they are up before there is anybody to be found.
    up(&mut cluster, "stranger", None);
    up(&mut cluster, "b", Some(&token));
    let sees = |at: &str, name: &str| {
        cluster.nodes_at(at).iter().any(|row| row.node == name && row.state == "up")
    };
    until(&|| cluster.logs(), |_| sees("a", "b") && sees("b", "a"));
    let why = "no other node of this cluster is announced on this network; looking on \
               (nodes of others are: is the token the right one?)";
    until(&|| cluster.logs(), |_| cluster.logs().contains(why));
    assert_eq!(cluster.nodes_at("stranger").len(), 1);
    assert_eq!(cluster.nodes_at("a").len(), 2);
}
