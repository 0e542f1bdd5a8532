//! P14 to P16: peers that end their side, break off, or are silently gone.

use crate::crowds::Guest;
use crate::faults::{can, in_network_of, speaks_within, under_strace, wrap};
use crate::harness::{Client, Server, are_installed, is_installed, may_open, shell, tool, until, untimed};

#[test]
fn p14_a_half_closed_client_gets_what_is_due_to_it_and_is_closed() {
    let server = Server::bare(&[]);
    let mut bob = server.join();
    let mut ann = server.join();
    ann.send("hello\n");
    ann.half_close();
    let said = format!("{}: hello", ann.name);
    let lines = ann.rest_lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(untimed(&lines[0]), said);
    assert_eq!(untimed(&bob.line()), said);
}

#[test]
fn p14_a_half_closed_client_who_never_reads_is_closed_after_linger() {
    let mut server = Server::bare(&["--linger", "0.3", "--rate", "off", "--unsent", "8K"]);
    let mut ann = server.join_with_little_room();
    ann.send("/help\n".repeat(500));
    ann.half_close();
    // More answers than all buffers hold: they are never read, and no further byte will come.
    server.log().until(" left: ");
    drop(ann);
}

#[test]
fn p15_two_thousand_who_reset_in_one_turn_take_nobody_along() {
    if !may_open(2500) {
        return;
    }
    // Closing them one within the other would take more than this stack (half of which a debug build needs to
    // read its arguments); each has notices due to all.
    let script = "ulimit -s 512; exec \"$@\"";
    let mut server = Server::spawn(shell(script, &["--history", "0", "--notice-members", "10000"]));
    let mut ann = server.join_as("ann");
    let mut crowd: Vec<Client> = server.in_one_turn(|| (0..2000).map(|_| server.connect()).collect());
    crowd.iter_mut().for_each(|member| member.say("/rooms"));
    let are_there = |server: &mut Server, count: usize| {
        until(&format!("{count} in the lobby"), || {
            let rooms = server.answer("rooms");
            rooms.iter().any(|row| row.split_whitespace().take(2).eq(["lobby", &count.to_string()]))
        });
    };
    are_there(&mut server, 2001);
    server.in_one_turn(|| crowd.into_iter().for_each(Client::reset));
    are_there(&mut server, 1);
    ann.say("still here");
    ann.until(" ann: still here");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn p16_keep_alive_is_set_on_every_connection() {
    if !is_installed("ss") {
        return;
    }
    let server = Server::bare(&[]);
    let ann = server.join();
    let port = server.addresses[0].rsplit_once(':').expect("a port").1;
    let remote = ann.tcp().local_addr().expect("connected").port();
    let output = tool("ss")
        .args(["-tnoH", &format!("sport = :{port} and dport = :{remote}")])
        .output()
        .expect("ss runs");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let timer = line.split("timer:(keepalive,").nth(1).expect("a timer of keep-alive");
    // The kernel's own default is two hours: `119min`.
    let seconds = timer.split("sec").next().expect("a time");
    let is_due_within_a_minute =
        timer.starts_with("1min") || seconds.parse().is_ok_and(|seconds: f32| seconds <= 60.0);
    assert!(is_due_within_a_minute, "{line:?}");
}

#[test]
fn p16_the_kernel_is_told_to_ask_after_a_minute_and_to_give_up_after_four_questions() {
    let arguments = ["serve", "--listen", "127.0.0.1:0"];
    let Some(command) = under_strace(&["-qq", "-e", "trace=setsockopt"], &arguments) else { return };
    let mut server = Server::spawn(command);
    for option in ["TCP_KEEPIDLE, [60]", "TCP_KEEPINTVL, [15]", "TCP_KEEPCNT, [4]"] {
        server.log().until(option);
    }
}

/// The server in a network of its own, where keep-alive asks after one second, and once more: it takes the
/// network's figures, for the system calls that would set its own do nothing.
#[track_caller]
fn server_that_asks_soon() -> Option<Server> {
    if !are_installed(&["nft", "nc", "ip"]) || !can("unshare --net nft list ruleset") {
        return None;
    }
    let skip_its_own = ["-qq", "-e", "trace=setsockopt", "-e", "inject=setsockopt:retval=0:when=5..7"];
    let arguments = ["serve", "--quiet", "--history", "0", "--listen", "127.0.0.1:0"];
    let mut command = under_strace(&skip_its_own, &arguments)?;
    let script = "ip link set lo up && cd /proc/sys/net/ipv4 && echo 1 > tcp_keepalive_time && \
                  echo 1 > tcp_keepalive_intvl && echo 2 > tcp_keepalive_probes && exec \"$@\"";
    wrap(&mut command, &["unshare", "--net", "/bin/sh", "-c", script, "sh"]);
    let mut server = Server::spawn(command);
    for option in ["TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"] {
        let line = server.log().until(option).pop().expect("the line with it");
        assert!(line.contains("INJECTED"), "{line}");
    }
    Some(server)
}

#[test]
fn p16_who_is_gone_without_a_word_is_closed_once_the_kernel_has_asked_in_vain() {
    let Some(mut server) = server_that_asks_soon() else { return };
    let port = server.addresses[0].rsplit_once(':').expect("a port").1;
    let mut ann = Guest::from(&server, "127.0.0.1");
    ann.lines.expect("-- you are ");
    // The cable is cut: nothing arrives any more, and no end.
    let cut = format!(
        "nft add table t && nft add chain t c '{{ type filter hook input priority 0; }}' && \
         nft add rule t c tcp dport {port} drop && nft add rule t c tcp sport {port} drop"
    );
    let status = in_network_of(&server, &["/bin/sh", "-c", &cut]).status().expect("sh is there");
    assert!(status.success());
    server.log().until("left: connection timed out");
    assert_eq!(server.answer("clients").iter().filter(|line| line.contains("127.0.0.1")).count(), 0);
    // It was not ann who ended.
    assert!(!speaks_within(&ann.lines.source, 0));
}
