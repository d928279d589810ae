//! Everything that touches the network: the access listener (W2), SIP endpoints
//! towards the IMS, name look-ups, and the worker threads that relay media. It owns
//! sockets and threads and decides nothing about protocols.

pub mod admission;
pub mod clock;
pub mod counters;
pub mod crypto;
pub mod endpoint;
pub mod flow;
pub mod http;
pub mod http_client;
pub mod iq_socket;
pub mod pulse;
pub mod resolver;
pub mod rtp;
mod sip_stream;
mod sip_udp;
pub mod tls;
pub mod web_root;
pub mod websocket;
pub mod xfrm;
