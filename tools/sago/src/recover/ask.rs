//! Whether any of the other voters is there. Whoever answers, whatever he answers, ends it: the group is not lost.

use super::plan::Plan;
use crate::config::load_credentials;
use crate::exit::{Done, Failure, Kind};
use crate::fsck::{Metadata, Site};
use futures::future::join_all;
use proto::Request;
use proto::node::NodeRequest;
use std::collections::BTreeSet;
use std::time::Duration;
use transport::{Class, Endpoint, TransportConfig, TransportError};
use types::{NodeId, PlacementMap};

/// How long a node is waited for. A machine that is only slow answers a ping within a second.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Asks each of the other voters at every address at which it was ever known here.
///
/// # Errors
/// [`Failure`]: one answered, or one cannot be asked.
pub(super) async fn nobody_answers(site: &Site, found: &Metadata, plan: &Plan) -> Done {
    let noted = node_server::noted_map(&site.meta);
    let first = site.cluster.as_ref().map(|cluster| &cluster.map);
    let maps: Vec<&PlacementMap> = found.groups.map().into_iter().chain(noted.as_ref()).chain(first).collect();
    let credentials = load_credentials(&site.credentials)?;
    let asked = plan.others().map(|node| {
        let known = maps.iter().filter_map(|map| map.node(node)).map(|entry| entry.addr.as_str());
        (node, known.collect::<BTreeSet<_>>())
    });
    let mut calls = Vec::new();
    for (node, addresses) in asked {
        if addresses.is_empty() {
            let message = format!(
                "nobody here knows where {node} was, so it cannot be asked: put the newest cluster file in place"
            );
            return Err(Failure::new(Kind::Failed, message));
        }
        for address in addresses {
            // An endpoint of its own for each: one has one connection to a node.
            let endpoint = Endpoint::client(&credentials, TransportConfig::default()).map_err(Failure::failed)?;
            calls.push(ping(endpoint, node, address));
        }
    }
    match join_all(calls).await.into_iter().flatten().next() {
        Some((node, address)) => {
            let message = format!(
                "{node} answers at {address}: the group is not lost. Nothing was written; start this node, and look at `sago cluster status`"
            );
            Err(Failure::new(Kind::Failed, message))
        }
        None => Ok(()),
    }
}

/// The node and where it is, if anything of it answers.
async fn ping(endpoint: Endpoint, node: NodeId, address: &str) -> Option<(NodeId, String)> {
    let request = Request::Node(NodeRequest::Ping);
    let answer = endpoint.peer(node, address).call(Class::Small, &request, bytes::Bytes::new(), ANSWER_MAX).await;
    endpoint.close().await;
    let answered = match answer {
        Ok(_) | Err(TransportError::Rejected(_)) => true,
        Err(_) => false,
    };
    answered.then(|| (node, address.to_owned()))
}
