//! Ports towards the IMS, with played cores on the loopback.

use super::*;

fn endpoints(ports: RangeInclusive<u16>) -> Endpoints {
    let network = Network {
        address: [127, 0, 0, 1].into(),
        ports,
        has_ipsec: false,
        tls: None,
        names: NameService::new(&[]),
    };
    let settings = Settings {
        tenants: vec![network],
        seed: [3; 32],
    };
    Endpoints::new(settings, Arc::default())
}

fn opened(input: Input) -> SocketAddr {
    match input {
        Input::Opened { local, .. } => local,
        other => panic!("{other:?}"),
    }
}

const ONLY: TenantId = TenantId(0);
const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn an_endpoint_is_one_number_for_datagrams_and_for_streams_both_ways() {
    let mut endpoints = endpoints(26100..=26199);
    let id = EndpointId(1);
    let local = opened(endpoints.open(id, ONLY, EndpointKind::Own));

    let core = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let core_address = core.local_addr().unwrap();
    let bytes = Bytes::from_static(OPTIONS);
    assert!(
        endpoints
            .transmit(id, SipTransport::Udp, core_address, bytes.clone())
            .is_none()
    );
    let mut buffer = [0; 2000];
    let (len, from) = core.recv_from(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..len], from), (OPTIONS, local));
    core.send_to(OPTIONS, local).await.unwrap();
    assert!(matches!(
        endpoints.next().await,
        Input::ImsMessage { transport: SipTransport::Udp, from, .. } if from == core_address
    ));

    let core = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = core.local_addr().unwrap();
    assert!(
        endpoints
            .transmit(id, SipTransport::Tcp, to, bytes.clone())
            .is_none()
    );
    assert!(
        endpoints
            .transmit(id, SipTransport::Tcp, to, bytes)
            .is_none()
    );
    let (mut stream, from) = core.accept().await.unwrap();
    assert_eq!(from, local, "streams leave from the endpoint's own number");
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut both = vec![0; 2 * OPTIONS.len()];
    stream.read_exact(&mut both).await.unwrap();
    assert_eq!(both, [OPTIONS, OPTIONS].concat(), "and one is enough");
    stream.write_all(&OPTIONS[..10]).await.unwrap();
    stream.write_all(&OPTIONS[10..]).await.unwrap();
    match endpoints.next().await {
        Input::ImsMessage {
            transport,
            from,
            bytes,
            ..
        } => {
            assert_eq!((transport, from), (SipTransport::Tcp, to));
            assert_eq!(&bytes[..], OPTIONS);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_core_that_connects_is_answered_on_its_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut endpoints = endpoints(26200..=26299);
    let id = EndpointId(1);
    let local = opened(endpoints.open(id, ONLY, EndpointKind::Own));
    let mut core = TcpStream::connect(local).await.unwrap();
    core.write_all(b"\r\n\r\n").await.unwrap();
    core.write_all(OPTIONS).await.unwrap();
    let from = match endpoints.next().await {
        Input::ImsMessage { from, .. } => from,
        other => panic!("{other:?}"),
    };
    assert_eq!(from, core.local_addr().unwrap());
    let answer = Bytes::from_static(b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert!(
        endpoints
            .transmit(id, SipTransport::Tcp, from, answer.clone())
            .is_none()
    );
    let mut read = vec![0; 2 + answer.len()];
    core.read_exact(&mut read).await.unwrap();
    assert_eq!(
        &read[..2],
        b"\r\n",
        "a keepalive has its pong, RFC 5626 §4.4.1"
    );
    assert_eq!(&read[2..], &answer[..]);
}

#[tokio::test]
async fn a_core_is_reached_by_tls_only_if_its_name_is_vouched_for() {
    use crate::tls::{self, CertificateSource, Certificates};
    use tokio::io::AsyncReadExt;
    let folder = std::env::temp_dir().join(format!("endpoint-tls-{}", std::process::id()));
    let certificates = Certificates::load(CertificateSource::SelfSigned {
        folder: folder.clone(),
        names: vec!["pcscf.ims.test".into()],
    })
    .unwrap();
    let acceptor = certificates.acceptor().unwrap();
    let core = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = core.local_addr().unwrap();
    for (name, good) in [("pcscf.ims.test", true), ("evil.ims.test", false)] {
        let mut endpoints = endpoints(26500..=26599);
        endpoints.settings.tenants[0].tls = Some(Tls {
            connector: tls::connector(&folder.join("self-signed.crt")).unwrap(),
            server_name: ServerName::try_from(name).unwrap(),
        });
        let id = EndpointId(1);
        let local = opened(endpoints.open(id, ONLY, EndpointKind::Own));
        let bytes = Bytes::from_static(OPTIONS);
        assert!(
            endpoints
                .transmit(id, SipTransport::Tls, to, bytes)
                .is_none()
        );
        let (stream, from) = core.accept().await.unwrap();
        assert_eq!(from, local);
        if good {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut read = vec![0; OPTIONS.len()];
            stream.read_exact(&mut read).await.unwrap();
            assert_eq!(read, OPTIONS);
        } else {
            let _ = acceptor.accept(stream).await;
            assert!(matches!(
                endpoints.next().await,
                Input::ImsTransportFailed {
                    transport: SipTransport::Tls,
                    ..
                }
            ));
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn an_absent_core_is_reported_on_each_transport() {
    let mut endpoints = endpoints(26300..=26399);
    let id = EndpointId(1);
    opened(endpoints.open(id, ONLY, EndpointKind::Own));
    let gone = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    for transport in [SipTransport::Udp, SipTransport::Tcp] {
        let failure = endpoints.transmit(id, transport, gone, Bytes::from_static(OPTIONS));
        assert!(failure.is_none());
        match endpoints.next().await {
            Input::ImsTransportFailed {
                transport: failed,
                to,
                ..
            } => {
                assert_eq!((failed, to), (transport, gone));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_full_port_range_is_said_and_a_closed_number_is_used_again_last() {
    let mut endpoints = endpoints(26400..=26402);
    let ports: Vec<_> = (0..3)
        .map(|n| opened(endpoints.open(EndpointId(n), ONLY, EndpointKind::Own)).port())
        .collect();
    assert!(matches!(
        endpoints.open(EndpointId(9), ONLY, EndpointKind::Own),
        Input::OpenFailed {
            reason: OpenFailure::NoPorts,
            ..
        }
    ));
    endpoints.close(EndpointId(2));
    endpoints.close(EndpointId(0));
    tokio::task::yield_now().await;
    assert_eq!(
        opened(endpoints.open(EndpointId(10), ONLY, EndpointKind::Own)).port(),
        ports[2]
    );
}

#[tokio::test]
async fn tenants_share_a_range_or_have_their_own_and_give_numbers_back_to_it() {
    let network = |last, ports| Network {
        address: [127, 0, 0, last].into(),
        ports,
        has_ipsec: false,
        tls: None,
        names: NameService::new(&[]),
    };
    let tenants = vec![
        network(1, 26600..=26601),
        network(1, 26600..=26601),
        network(2, 26600..=26600),
    ];
    let seed = [3; 32];
    let mut endpoints = Endpoints::new(Settings { tenants, seed }, Arc::default());
    assert_eq!(endpoints.ports_left(), 3);
    let locals = [0, 1, 2]
        .map(|n| opened(endpoints.open(EndpointId(n as u64), TenantId(n), EndpointKind::Own)));
    assert_ne!(locals[0], locals[1]);
    assert_eq!(locals[2], "127.0.0.2:26600".parse().unwrap());
    assert!(matches!(
        endpoints.open(EndpointId(9), TenantId(1), EndpointKind::Own),
        Input::OpenFailed { .. }
    ));
    endpoints.close(EndpointId(0));
    tokio::task::yield_now().await;
    let again = opened(endpoints.open(EndpointId(10), TenantId(1), EndpointKind::Own));
    assert_eq!(again, locals[0]);
}

#[tokio::test]
async fn a_shared_number_is_the_one_that_was_asked_for_or_none() {
    let mut endpoints = endpoints(46700..=46700);
    let kind = EndpointKind::Shared { port: 46750 };
    let local = opened(endpoints.open(EndpointId(1), ONLY, kind));
    assert_eq!(local.port(), 46750);
    assert!(matches!(
        endpoints.open(EndpointId(2), ONLY, kind),
        Input::OpenFailed {
            reason: OpenFailure::Refused,
            ..
        }
    ));
    endpoints.close(EndpointId(1));
    assert_eq!(endpoints.ports_left(), 1, "it is none of the users' own");
}

#[tokio::test]
async fn a_number_of_before_a_restart_is_opened_again_and_given_to_nobody_else() {
    let mut endpoints = endpoints(26800..=26801);
    let again = |port| EndpointKind::Again { port };
    let local = opened(endpoints.open(EndpointId(7), ONLY, again(26_801)));
    assert_eq!(local.port(), 26_801);
    let other = opened(endpoints.open(EndpointId(8), ONLY, EndpointKind::Own));
    assert_eq!(other.port(), 26_800);
    assert_eq!(endpoints.ports_left(), 0);
    assert!(matches!(
        endpoints.open(EndpointId(9), ONLY, again(26_800)),
        Input::OpenFailed {
            reason: OpenFailure::Refused,
            ..
        }
    ));
    // One that the operator has taken out of the range serves as long as it must.
    let outside = opened(endpoints.open(EndpointId(10), ONLY, again(26_850)));
    assert_eq!(outside.port(), 26_850);
    endpoints.close(EndpointId(10));
    assert_eq!(endpoints.ports_left(), 0);
}
