//! What people without a nick are called: by their addresses among those who share a machine, else by numbers.

use crate::harness::{Client, Directory, Server, command, run, untimed};

/// A server that others could reach, and the address by which this machine does.
fn reachable(arguments: &[&str]) -> (Server, String) {
    let everywhere = ["--listen", "0.0.0.0:0", "--history", "0"];
    let server = Server::start(&[&everywhere, arguments].concat());
    let port = server.addresses[0].rsplit_once(':').expect("a port").1;
    let address = format!("127.0.0.1:{port}");
    (server, address)
}

fn address_of(client: &Client) -> String {
    client.tcp().local_addr().expect("connected").to_string()
}

#[test]
fn where_others_can_reach_the_server_they_see_no_addresses() {
    let (mut server, address) = reachable(&[]);
    let mut ann = Client::connect(&address);
    let own = address_of(&ann);
    assert_eq!(ann.line(), format!("-- you are guest-1 ({own}) in lobby; /help lists the commands --"));
    let mut bob = Client::connect(&address).greeted();
    assert_eq!(bob.name, "guest-2");
    bob.appear();
    assert_eq!(ann.line(), "-- guest-2 joined --");
    let mut heard = Vec::new();
    assert_eq!(untimed(&ann.ask("hello")), "guest-1: hello");
    ann.say("/me waves");
    heard.extend(bob.until("* guest-1 waves"));
    heard.extend(["/who", "/lag", "/rooms", "/last"].map(|question| bob.ask(question)));
    heard.push(bob.ask(&format!("/msg {own} psst")));
    assert_eq!(heard.last(), Some(&format!("-- nobody here is called {own}; /who lists the room --")));
    assert_eq!(untimed(&bob.ask("/msg Guest-1 psst")), "you -> guest-1: psst");
    ann.until("guest-2 -> you: psst");
    ann.nick("ann");
    heard.push(bob.line());
    assert_eq!(heard.last().map(String::as_str), Some("-- guest-1 is now ann --"));
    ann.say("quit");
    heard.push(bob.line());
    assert_eq!(heard.last().map(String::as_str), Some("-- ann left --"));
    // The address that is looked for is Bob's answer to his own question about it, and nowhere else.
    let told: Vec<&String> = heard.iter().filter(|line| line.contains("127.0.0.1")).collect();
    assert_eq!(told.len(), 1, "{told:?}");

    // The operator sees both, and can use either.
    let table = server.answer("clients");
    let row = table.iter().find(|line| line.contains("guest-2")).expect("Bob is there");
    assert!(row.contains(&address_of(&bob)), "{row}");
    let joined = format!("guest-2 ({}): connected", address_of(&bob));
    server.log().until(&joined);
    server.operate(&format!("kick {}", address_of(&bob)));
    bob.until("the operator closed your connection");
    let own = address_of(&bob);
    drop(bob);
    server.log().until("left: kicked");
    let closes = server.answer("closed");
    assert!(closes.iter().any(|row| row.contains("guest-2") && row.contains(&own)), "{closes:#?}");
}

#[test]
fn a_newcomer_is_the_lowest_guest_that_nobody_is() {
    let (_server, address) = reachable(&[]);
    let mut guests: Vec<Client> = (0..3).map(|_| Client::connect(&address).greeted()).collect();
    let names: Vec<&str> = guests.iter().map(|guest| guest.name.as_str()).collect();
    assert_eq!(names, ["guest-1", "guest-2", "guest-3"]);
    guests[1].nick("ann");
    guests[0].say("quit");
    guests[0].rest();
    let newcomers = [(); 3].map(|()| Client::connect(&address).greeted());
    let names = newcomers.each_ref().map(|guest| guest.name.as_str());
    assert_eq!(names, ["guest-1", "guest-2", "guest-4"]);
}

#[test]
fn nobody_can_pass_for_a_guest() {
    for server in [Server::start(&[]), Server::start(&["--names", "guest"])] {
        let mut ann = server.join();
        for name in ["guest-1", "GUEST-7", "guest-ann"] {
            let refused =
                format!("-- '{name}' looks like a guest, who has no name yet; choose another name --");
            assert_eq!(ann.ask(&format!("/nick {name}")), refused);
        }
        ann.nick("guest");
    }
}

#[test]
fn among_those_who_share_a_machine_people_are_called_by_their_addresses() {
    let directory = Directory::new();
    let socket = directory.socket("chat");
    let mut server = Server::bare(&["--listen", "127.0.0.1:0", "--listen", &socket]);
    server.next_address();
    let tcp = Client::connect(&server.addresses[0]).greeted();
    assert_eq!(tcp.name, address_of(&tcp));
    let unix = Client::connect(&socket).greeted();
    assert!(unix.name.starts_with("unix#"), "{}", unix.name);
    // One address that others can reach is enough, wherever somebody came in.
    let mut server = Server::bare(&["--listen", "0.0.0.0:0", "--listen", &directory.socket("other")]);
    let address = server.next_address();
    assert_eq!(Client::connect(&address).greeted().name, "guest-1");
}

#[test]
fn the_operator_chooses_what_people_are_called() {
    let (_server, address) = reachable(&["--names", "address"]);
    let ann = Client::connect(&address).greeted();
    assert_eq!(ann.name, address_of(&ann));
    let server = Server::start(&["--names", "guest"]);
    assert_eq!(server.join().name, "guest-1");
    let (code, _, stderr) = run(command(&["--names", "host"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("--names") && stderr.contains("host"), "{stderr}");
}

#[test]
fn a_member_has_one_name_in_every_format() {
    for (format, said) in
        [("line", "guest-2: hello"), ("classic", "guest-2\nhello"), ("ack", "ack hello"), ("raw", "hello")]
    {
        let server = Server::start(&["--names", "guest", "--format", format]);
        let [mut ann, mut bob] = [server.connect(), server.connect()];
        if format == "raw" {
            // Nobody is greeted; what comes back tells that it is in.
            ann.ask("in");
            ann.say("in, too");
            bob.until("in, too");
        } else {
            ann.expect("-- you are guest-1 ");
            bob.expect("-- you are guest-2 ");
        }
        bob.say("hello");
        let heard = ann.until("hello").join("\n");
        assert!(heard.ends_with(said), "{format}: {heard}");
        let joined = heard.contains("-- guest-2 joined --");
        assert_eq!(joined, format != "raw", "{format}: {heard}");
        assert!(!heard.contains("127.0.0.1"), "{format}: {heard}");
    }
}
