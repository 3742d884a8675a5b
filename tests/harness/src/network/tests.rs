use super::*;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

/// Two "nodes" with relays in front of them.
struct Pair {
    network: Network,
    sockets: Vec<UdpSocket>,
    relayed: Vec<Relayed>,
}

fn pair() -> Pair {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let address = |socket: &UdpSocket| socket.local_addr().expect("its address");
    let sockets = vec![bind(), bind()];
    // Free a moment ago.
    let relayed: Vec<Relayed> =
        sockets.iter().map(|own| Relayed { public: address(&bind()), own: address(own) }).collect();
    for socket in &sockets {
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
    }
    Pair { network: Network::start(&relayed, 7).expect("a network"), sockets, relayed }
}

impl Pair {
    fn send(&self, from: usize, to: usize, bytes: &[u8]) {
        self.sockets[from].send_to(bytes, self.relayed[to].public).expect("sent");
    }

    fn receive(&self, at: usize) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = [0; 2048];
        let (len, from) = self.sockets[at].recv_from(&mut buffer).ok()?;
        Some((buffer[..len].to_vec(), from))
    }
}

#[test]
fn answers_find_back_by_the_address_that_was_called() {
    let pair = pair();
    pair.send(0, 1, b"question");
    let (question, relay) = pair.receive(1).expect("it comes");
    assert_eq!(question, b"question");
    pair.sockets[1].send_to(b"answer", relay).expect("sent");
    assert_eq!(pair.receive(0).expect("it comes"), (b"answer".to_vec(), pair.relayed[1].public));
}

#[test]
fn a_cut_in_one_direction_leaves_the_other() {
    let pair = pair();
    pair.network.cut(0, 1);
    pair.send(0, 1, b"lost");
    assert_eq!(pair.receive(1), None);
    pair.send(1, 0, b"passes");
    let (_, relay) = pair.receive(0).expect("it comes");
    // The answer crosses the cut direction.
    pair.sockets[0].send_to(b"lost", relay).expect("sent");
    assert_eq!(pair.receive(1), None);
    assert_eq!(pair.network.carried().dropped, 2);
    pair.network.mend();
    pair.send(0, 1, b"again");
    assert!(pair.receive(1).is_some());
}

#[test]
fn clients_and_nodes_have_links_of_their_own() {
    let pair = pair();
    pair.network.isolate(1, false);
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    client.send_to(b"client", pair.relayed[1].public).expect("sent");
    assert_eq!(pair.receive(1).expect("it comes").0, b"client");
    pair.send(0, 1, b"node");
    assert_eq!(pair.receive(1), None);
    pair.network.isolate(1, true);
    client.send_to(b"client", pair.relayed[1].public).expect("sent");
    assert_eq!(pair.receive(1), None);
}

#[test]
fn loss_doubles_and_damage_come_as_often_as_told() {
    let mut rules = Rules::new(1);
    let (from, to) = (End::Node(0), End::Node(1));
    rules.set(from, to, Link { loss: 30, duplicate: 20, corrupt: 10, ..Link::default() });
    let mut came = 0;
    for _ in 0..10_000 {
        came += rules.pass(from, to, &[0; 100]).len();
    }
    let Carried { sent, dropped, damaged } = rules.carried;
    assert_eq!((came as u64, sent + dropped), (sent, rules.carried.all()));
    assert!((2700..3300).contains(&dropped), "{dropped}");
    assert!((8000..8800).contains(&sent), "{sent}");
    assert!((700..950).contains(&damaged), "{damaged}");
    // The same seed chooses the same.
    let mut again = Rules::new(1);
    again.set(from, to, Link { loss: 30, duplicate: 20, corrupt: 10, ..Link::default() });
    (0..10_000).for_each(|_| drop(again.pass(from, to, &[0; 100])));
    assert_eq!(again.carried, rules.carried);
    assert_eq!(rules.pass(to, from, b"back").len(), 1);
}

#[test]
fn a_delay_is_kept_and_jitter_puts_out_of_order() {
    let pair = pair();
    let delay = Duration::from_millis(50);
    pair.network.set_all(Link { delay, jitter: Duration::from_millis(60), ..Link::default() }, false);
    let start = Instant::now();
    (0..30_u8).for_each(|number| pair.send(0, 1, &[number]));
    let order: Vec<u8> = (0..30).map(|_| pair.receive(1).expect("it comes").0[0]).collect();
    assert!(start.elapsed() >= delay);
    assert!(order.windows(2).any(|two| two[0] > two[1]), "{order:?}");
}
