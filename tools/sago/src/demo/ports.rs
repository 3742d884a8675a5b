//! Free ports on the loopback address, for addresses that have to stay the same from one start to the next.
//!
//! They are taken below the range from which the kernel serves clients, so that no outgoing connection sits on one of
//! them when the demo starts again.

use crate::exit::{Done, Failure, Kind};
use rand::Rng;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;

const PORTS: Range<u16> = 17_000..32_000;
const TRIES_MAX: usize = 2_000;

/// Free UDP ports.
///
/// # Errors
/// There are not so many.
pub fn udp(count: u16) -> Done<Vec<u16>> {
    find(count, |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok())
}

/// Free TCP ports.
///
/// # Errors
/// There are not so many.
pub fn tcp(count: u16) -> Done<Vec<u16>> {
    find(count, |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
}

/// Holds each port until all are found, so that none is found twice.
fn find<T>(count: u16, bind: impl Fn(u16) -> Option<T>) -> Done<Vec<u16>> {
    let mut rng = rand::rng();
    let tries = std::iter::repeat_with(|| rng.random_range(PORTS)).take(TRIES_MAX);
    let held: Vec<_> = tries.filter_map(|port| Some((port, bind(port)?))).take(usize::from(count)).collect();
    if held.len() < usize::from(count) {
        return Err(Failure::new(Kind::Failed, format!("no free ports between {} and {}", PORTS.start, PORTS.end)));
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ports_are_free_and_differ() {
        let ports = tcp(20).expect("ports");
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 20);
        assert!(ports.iter().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()));
        assert_eq!(udp(3).expect("ports").len(), 3);
    }
}
