//! A terminal with an ISIM by script: sec-agree (RFC 3329, TS 33.203 §7) and AKA (RFC 3310) on Gm, in a
//! network namespace of its own. It proves the P-CSCF and the kernel beneath it, not a terminal.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use md5::{Digest, Md5};
use milenage::Milenage;

use crate::{hss, network};

/// The terminal and its four ports' worth of sockets.
#[derive(Debug)]
pub struct Terminal {
    user: String,
    address: Ipv4Addr,
    pcscf: Ipv4Addr,
    /// Port 5060, for the first REGISTER.
    open: UdpSocket,
    /// port-uc: its own requests leave here.
    client: UdpSocket,
    /// port-us: everything is received here.
    server: UdpSocket,
    sequence: u32,
}

/// What the P-CSCF offered in Security-Server.
#[derive(Clone, Debug)]
pub struct Server {
    /// The header field's value, to be repeated in Security-Verify.
    pub value: String,
    client_spi: u32,
    server_spi: u32,
    client_port: u16,
    server_port: u16,
}

impl Terminal {
    /// Binds its ports inside its namespace.
    pub fn start(user: &str, namespace: &str) -> anyhow::Result<Self> {
        let address = network::TERMINAL;
        let bind = move |port| UdpSocket::bind((address, port)).context("a terminal's port");
        let sockets = network::inside(namespace, move || {
            Ok([bind(5060)?, bind(CLIENT_PORT)?, bind(SERVER_PORT)?])
        })?;
        for socket in &sockets {
            socket.set_read_timeout(Some(Duration::from_secs(8)))?;
        }
        let [open, client, server] = sockets;
        Ok(Self {
            user: user.to_owned(),
            address,
            pcscf: network::GM,
            open,
            client,
            server,
            sequence: 0,
        })
    }

    /// Registers: the challenge in the open, the answer under ESP. Returns the 200 and what the
    /// P-CSCF had offered.
    pub fn register(&mut self, namespace: &str) -> anyhow::Result<(String, Server)> {
        let request = self.request(5060, &empty_credentials(&self.user), "");
        self.open
            .send_to(request.as_bytes(), SocketAddrV4::new(self.pcscf, 5060))?;
        let challenge = final_answer(&self.open).context("to the open REGISTER")?;
        ensure!(status(&challenge) == 401, "not challenged: {challenge}");
        let www = header(&challenge, "WWW-Authenticate").context("no challenge")?;
        ensure!(
            parameter(&www, "ck").is_none() && parameter(&www, "ik").is_none(),
            "the session keys were told: {www}"
        );
        let server = Server::read(&header(&challenge, "Security-Server").context("no agreement")?)?;
        let nonce = parameter(&www, "nonce").context("no nonce")?;
        let answer = Aka::answer(&self.user, &nonce)?;
        self.associate(namespace, &server, &answer)?;

        let credentials = answer.credentials(&self.user, &nonce);
        let verify = format!("Security-Verify: {}\r\n", server.value);
        let request = self.request(SERVER_PORT, &credentials, &verify);
        self.client.send_to(
            request.as_bytes(),
            SocketAddrV4::new(self.pcscf, server.server_port),
        )?;
        let registered = final_answer(&self.server).context("to the protected REGISTER")?;
        ensure!(status(&registered) == 200, "not registered: {registered}");
        Ok((registered, server))
    }

    /// The four associations of TS 33.203 §7.1 and the policies that lead to them, on this side.
    fn associate(&self, namespace: &str, server: &Server, aka: &Aka) -> anyhow::Result<()> {
        let own = self.address;
        let peer = self.pcscf;
        let ports = [
            (
                own,
                CLIENT_PORT,
                peer,
                server.server_port,
                server.server_spi,
            ),
            (peer, server.server_port, own, CLIENT_PORT, CLIENT_SPI),
            (peer, server.client_port, own, SERVER_PORT, SERVER_SPI),
            (
                own,
                SERVER_PORT,
                peer,
                server.client_port,
                server.client_spi,
            ),
        ];
        let enc = hex(&aka.confidentiality_key);
        // TS 33.203 annex I: IK and 32 zero bits make the 160 bits of HMAC-SHA-1.
        let auth = format!("{}00000000", hex(&aka.integrity_key));
        for (from, from_port, to, to_port, spi) in ports {
            let direction = if from == own { "out" } else { "in" };
            xfrm(
                namespace,
                &format!(
                    "state add src {from} dst {to} proto esp spi {spi} reqid {spi} mode transport \
                     auth-trunc hmac(sha1) 0x{auth} 96 enc cbc(aes) 0x{enc} \
                     sel src {from} dst {to} sport {from_port} dport {to_port}"
                ),
            )?;
            // UDP by its number: a small Debian has no /etc/protocols.
            xfrm(
                namespace,
                &format!(
                    "policy add src {from} dst {to} proto 17 sport {from_port} dport {to_port} \
                     dir {direction} tmpl src {from} dst {to} proto esp reqid {spi} mode transport"
                ),
            )?;
        }
        Ok(())
    }

    fn request(&mut self, via_port: u16, credentials: &str, more: &str) -> String {
        self.sequence += 1;
        let Self {
            user,
            address,
            sequence,
            ..
        } = self;
        let domain = hss::DOMAIN;
        format!(
            "REGISTER sip:{domain} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {address}:{via_port};branch=z9hG4bK{user}{sequence};rport\r\n\
             From: <sip:{user}@{domain}>;tag={user}\r\n\
             To: <sip:{user}@{domain}>\r\n\
             Call-ID: {user}-terminal\r\n\
             CSeq: {sequence} REGISTER\r\n\
             Max-Forwards: 70\r\n\
             Contact: <sip:{user}@{address}:{SERVER_PORT}>;expires=600\r\n\
             Supported: path, sec-agree\r\n\
             Require: sec-agree\r\n\
             Proxy-Require: sec-agree\r\n\
             Security-Client: ipsec-3gpp;prot=esp;mod=trans;spi-c={CLIENT_SPI};spi-s={SERVER_SPI};\
             port-c={CLIENT_PORT};port-s={SERVER_PORT};alg=hmac-sha-1-96;ealg=aes-cbc\r\n\
             Authorization: {credentials}\r\n\
             {more}Content-Length: 0\r\n\r\n"
        )
    }
}

impl Server {
    fn read(value: &str) -> anyhow::Result<Self> {
        let number = |name: &str| -> anyhow::Result<u32> {
            parameter(value, name)
                .and_then(|text| text.parse().ok())
                .with_context(|| format!("no {name} in {value}"))
        };
        Ok(Self {
            value: value.to_owned(),
            client_spi: number("spi-c")?,
            server_spi: number("spi-s")?,
            client_port: u16::try_from(number("port-c")?)?,
            server_port: u16::try_from(number("port-s")?)?,
        })
    }
}

/// What the ISIM makes of a challenge.
#[derive(Debug)]
struct Aka {
    result: [u8; 8],
    confidentiality_key: [u8; 16],
    integrity_key: [u8; 16],
}

impl Aka {
    /// RFC 3310 §3.2: the nonce is RAND and AUTN.
    fn answer(user: &str, nonce: &str) -> anyhow::Result<Self> {
        let bytes = from_base64(nonce).context("the nonce is not base64")?;
        let random: [u8; 16] = bytes
            .get(..16)
            .and_then(|random| random.try_into().ok())
            .context("the nonce is too short")?;
        let mut isim = Milenage::new_with_opc(hss::key(user), hss::operator_key(user));
        let (result, confidentiality_key, integrity_key, anonymity_key) = isim.f2345(&random);
        let Some((counter, [amf @ .., _, _, _, _, _, _, _, _])) =
            bytes.get(16..32).map(|autn| autn.split_at(6))
        else {
            bail!("the nonce has no AUTN");
        };
        let mut sequence = [0; 6];
        for (at, byte) in sequence.iter_mut().enumerate() {
            *byte = counter[at] ^ anonymity_key[at];
        }
        let mac = isim.f1(&random, &sequence, &[amf[0], amf[1]]);
        ensure!(bytes[24..32] == mac, "not our network: AUTN's MAC is wrong");
        Ok(Self {
            result,
            confidentiality_key,
            integrity_key,
        })
    }

    /// RFC 3310 §3.3: RES, as raw bytes, is the password.
    fn credentials(&self, user: &str, nonce: &str) -> String {
        let domain = hss::DOMAIN;
        let mut ha1 = Md5::new();
        ha1.update(format!("{user}@{domain}:{domain}:"));
        ha1.update(self.result);
        let ha1 = hex(&ha1.finalize());
        let ha2 = hex(&Md5::digest(format!("REGISTER:sip:{domain}")));
        let response = hex(&Md5::digest(format!(
            "{ha1}:{nonce}:00000001:terminal:auth:{ha2}"
        )));
        format!(
            "Digest username=\"{user}@{domain}\", realm=\"{domain}\", nonce=\"{nonce}\", \
             uri=\"sip:{domain}\", response=\"{response}\", algorithm=AKAv1-MD5, qop=auth, \
             nc=00000001, cnonce=\"terminal\""
        )
    }
}

/// What the kernel of a namespace holds: `src … dst … spi …` for each association.
pub fn associations(namespace: Option<&str>) -> anyhow::Result<Vec<String>> {
    let mut ip = Command::new("ip");
    if let Some(namespace) = namespace {
        ip.args(["-n", namespace]);
    }
    let output = ip
        .args(["xfrm", "state"])
        .output()
        .context("could not start ip")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(ends) = lines.next() {
        // Keys follow, which nobody needs to see.
        if ends.starts_with("src ") {
            let index = lines.next().and_then(|line| line.split_once(" spi "));
            let index = index.and_then(|(_, rest)| rest.split(' ').next());
            found.push(format!("{ends} spi {}", index.unwrap_or("?")));
        }
    }
    Ok(found)
}

/// Forgets what the kernels of both sides hold.
pub fn forget_associations(namespace: &str) -> anyhow::Result<()> {
    for words in ["state flush", "policy flush"] {
        xfrm(namespace, words)?;
        let mut ip = Command::new("ip");
        ip.arg("xfrm").args(words.split(' '));
        let status = ip.status().context("could not start ip")?;
        ensure!(status.success(), "ip xfrm {words}: {status}");
    }
    Ok(())
}

fn xfrm(namespace: &str, words: &str) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(["-n", namespace, "xfrm"])
        .args(words.split_whitespace())
        .output()
        .context("could not start ip")?;
    ensure!(
        output.status.success(),
        "ip xfrm {words}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn empty_credentials(user: &str) -> String {
    let domain = hss::DOMAIN;
    format!(
        "Digest username=\"{user}@{domain}\", realm=\"{domain}\", nonce=\"\", uri=\"sip:{domain}\", response=\"\""
    )
}

fn final_answer(socket: &UdpSocket) -> anyhow::Result<String> {
    let mut packet = [0; 4096];
    loop {
        let length = socket.recv(&mut packet).context("no answer")?;
        let answer = String::from_utf8_lossy(&packet[..length]).into_owned();
        if status(&answer) >= 200 {
            return Ok(answer);
        }
    }
}

fn status(answer: &str) -> u16 {
    let code = answer.split(' ').nth(1);
    code.and_then(|code| code.parse().ok()).unwrap_or_default()
}

fn header(message: &str, name: &str) -> Option<String> {
    let lines = message.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.trim().to_owned())
}

/// The value of a parameter, after a comma, a semicolon or a space.
fn parameter(value: &str, name: &str) -> Option<String> {
    let parts = value.split([',', ';', ' ']).map(str::trim);
    let mut values = parts.filter_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    values
        .next()
        .map(|value| value.trim_matches('"').to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 4648 §4.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = alphabet.iter().position(|known| *known == letter)?;
        bits = (bits << 6) | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

const CLIENT_PORT: u16 = 40100;
const SERVER_PORT: u16 = 40101;
const CLIENT_SPI: u32 = 1_000_001;
const SERVER_SPI: u32 = 1_000_002;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parameters_are_found_in_both_kinds_of_lists() {
        let server = "ipsec-3gpp;q=0.1;prot=esp;spi-c=4096;spi-s=4097;port-c=5100;port-s=5200";
        let read = Server::read(server).unwrap();
        assert_eq!((read.client_spi, read.server_port), (4096, 5200));
        assert_eq!(
            parameter("Digest realm=\"a\", nonce=\"b==\"", "nonce").unwrap(),
            "b=="
        );
    }

    #[test]
    fn base64_is_read() {
        assert_eq!(from_base64("aGVsbG8=").unwrap(), b"hello");
        assert_eq!(from_base64("aGVsbG8h").unwrap(), b"hello!");
        assert_eq!(from_base64("a-"), None);
    }
}
