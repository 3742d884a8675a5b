//! TLS 1.3 and QUIC settings. The crypto provider is passed explicitly, never the process's default.

use crate::config::{self, TransportConfig};
use crate::credentials::Decoded;
use crate::error::BindError;
use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, VarInt};
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use std::sync::Arc;

const ALPN: &[u8] = b"sago/1";

/// ring with the suites of TLS 1.3; AES-128 first, it costs the least.
fn provider() -> Arc<CryptoProvider> {
    use ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256};
    Arc::new(CryptoProvider {
        cipher_suites: vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256],
        ..ring::default_provider()
    })
}

fn roots(own: &Decoded) -> Result<Arc<RootCertStore>, BindError> {
    let mut roots = RootCertStore::empty();
    roots.add(own.ca.clone())?;
    Ok(Arc::new(roots))
}

/// Accepts peers with a certificate of the cluster's authority. No tickets and no early data: nothing can be replayed.
pub(crate) fn server(own: &Decoded, config: &TransportConfig) -> Result<quinn::ServerConfig, BindError> {
    let provider = provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(own)?, provider.clone())
        .build()
        .map_err(|error| BindError::Verifier(error.to_string()))?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![own.cert.clone()], own.key.clone_key())?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    tls.max_early_data_size = 0;
    let tls = QuicServerConfig::try_from(tls).expect("the provider has the suite of QUIC's first packets");
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
    server.transport = Arc::new(transport(config, config.connection_calls_max, config::RAFT_STREAMS_MAX)?);
    server.migration(false);
    Ok(server)
}

/// Connects to nodes whose certificate the cluster's authority made.
pub(crate) fn client(own: &Decoded, config: &TransportConfig) -> Result<quinn::ClientConfig, BindError> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(own)?)
        .with_client_auth_cert(vec![own.cert.clone()], own.key.clone_key())?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    tls.enable_early_data = false;
    let tls = QuicClientConfig::try_from(tls).expect("the provider has the suite of QUIC's first packets");
    let mut client = quinn::ClientConfig::new(Arc::new(tls));
    // The accepting side never opens streams.
    client.transport_config(Arc::new(transport(config, 0, 0)?));
    Ok(client)
}

fn transport(config: &TransportConfig, calls: u32, raft: u32) -> Result<quinn::TransportConfig, BindError> {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(config::MTU_UPPER_BOUND);
    let mut congestion = CubicConfig::default();
    congestion.initial_window(config::INITIAL_WINDOW_BYTES);
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(config::PACKETS_PER_ACK));
    let idle = IdleTimeout::try_from(config.idle_timeout).map_err(|_| BindError::Config("idle_timeout"))?;
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(calls))
        .max_concurrent_uni_streams(VarInt::from_u32(raft))
        .stream_receive_window(VarInt::from_u32(config::STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(config::CONNECTION_WINDOW_BYTES))
        .send_window(u64::from(config::CONNECTION_WINDOW_BYTES))
        .initial_rtt(config::INITIAL_RTT)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(config.keep_alive))
        .mtu_discovery_config(Some(mtu))
        .ack_frequency_config(Some(acks))
        .congestion_controller_factory(Arc::new(congestion))
        .datagram_receive_buffer_size(None);
    Ok(transport)
}

/// The endpoint's settings. The key that authenticates resets is derived from the private key and so outlives the process: a
/// node that was killed and started again can tell peers who still use the old connection that it is gone, instead of
/// leaving them to time out.
pub(crate) fn endpoint(own: &Decoded) -> quinn::EndpointConfig {
    let key = blake3::derive_key("sago 2026 quic stateless reset", own.key.secret_der());
    let mut endpoint = quinn::EndpointConfig::new(Arc::new(ResetKey(key)));
    endpoint
        .cid_generator(|| Box::new(RandomCids))
        .max_udp_payload_size(config::UDP_PAYLOAD_BYTES_MAX)
        .expect("the constant is in range");
    endpoint
}

/// Connection ids without a checksum: quinn's own carry one with a key of the process, by which a restarted node would
/// take its former connections for noise and not reset them.
struct RandomCids;

const CID_BYTES: usize = 8;

impl quinn::ConnectionIdGenerator for RandomCids {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        quinn::ConnectionId::new(&rand::random::<[u8; CID_BYTES]>())
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

struct ResetKey([u8; 32]);

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        signature.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let signature: [u8; 32] = signature.try_into().map_err(|_| quinn::crypto::CryptoError)?;
        // Compared in constant time by blake3.
        (blake3::keyed_hash(&self.0, data) == signature).then_some(()).ok_or(quinn::crypto::CryptoError)
    }
}
