//! Gatehouse against real peers: browsers, telephones and an IMS core, each as a value that is
//! started, asked and dropped. Nothing here reads SIP or RTP itself: tshark does.

pub mod authority;
pub mod browser;
pub mod capture;
pub mod cases;
pub mod child;
pub mod dns;
pub mod driver;
pub mod gateway;
pub mod guest;
pub mod header_table;
pub mod hss;
pub mod identity_provider;
pub mod ims;
pub mod issuer;
pub mod judge;
pub mod lab;
pub mod network;
pub mod page;
pub mod sipp;
pub mod sweep;
pub mod telephone;
pub mod terminal;
pub mod tone;
pub mod trace;
pub mod wire;
