//! The lab's name server: A and SRV records of `ims.test`, nothing else. RFC 1035, RFC 2782.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;

use anyhow::Context;

use crate::network;

/// Answers on port 53 until the process ends.
pub fn start() -> anyhow::Result<()> {
    let socket = UdpSocket::bind((network::DNS, 53)).context("port 53 of the lab is taken")?;
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            if let Some(answer) = answer(&query[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    Ok(())
}

/// The answer to one query, or nothing if it is not a query.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let (name, end) = read_name(query, 12)?;
    let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    let records = records(&name.to_lowercase(), kind);
    let code: u8 = if records.is_empty() && !is_known(&name.to_lowercase()) {
        3
    } else {
        0
    };
    let mut answer = Vec::new();
    answer.extend_from_slice(&query[..2]);
    answer.extend_from_slice(&[0x85, 0x80 | code, 0, 1]);
    answer.extend_from_slice(&u16::try_from(records.len()).ok()?.to_be_bytes());
    answer.extend_from_slice(&[0; 4]);
    answer.extend_from_slice(query.get(12..end + 4)?);
    for data in records {
        answer.extend_from_slice(&[0xc0, 12]);
        answer.extend_from_slice(&kind.to_be_bytes());
        answer.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        answer.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
        answer.extend_from_slice(&data);
    }
    Some(answer)
}

fn records(name: &str, kind: u16) -> Vec<Vec<u8>> {
    match kind {
        TYPE_A => address(name)
            .map(|address| address.octets().to_vec())
            .into_iter()
            .collect(),
        TYPE_SRV => {
            // The domain's entry point, for those who were given no P-CSCF.
            if !matches!(name, "_sip._udp.ims.test" | "_sip._tcp.ims.test") {
                return Vec::new();
            }
            let mut data = vec![0, 10, 0, 10];
            data.extend_from_slice(&5060u16.to_be_bytes());
            write_name(&mut data, "pcscf.ims.test");
            vec![data]
        }
        _ => Vec::new(),
    }
}

fn address(name: &str) -> Option<Ipv4Addr> {
    match name {
        "pcscf.ims.test" => Some(network::PCSCF),
        "icscf.ims.test" | "ims.test" => Some(network::ICSCF),
        "scscf.ims.test" => Some(network::SCSCF),
        "hss.ims.test" => Some(network::HSS),
        _ => None,
    }
}

fn is_known(name: &str) -> bool {
    address(name).is_some() || !records(name, TYPE_SRV).is_empty()
}

/// The name at an offset and where it ends; queries carry no compressed names.
fn read_name(query: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).into_owned());
        at += length;
    }
}

fn write_name(data: &mut Vec<u8>, name: &str) {
    for label in name.split('.') {
        data.push(u8::try_from(label.len()).expect("a label of ours is short"));
        data.extend_from_slice(label.as_bytes());
    }
    data.push(0);
}

const TYPE_A: u16 = 1;
const TYPE_SRV: u16 = 33;
