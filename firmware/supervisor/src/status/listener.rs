//! The technician's listening socket, whose loop has a pulse.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use transport::pulse::Pulse;

/// Takes connections, and beats each time that it looked for one.
pub(super) struct Beating {
    pub(super) listener: TcpListener,
    pub(super) pulse: Pulse,
}

impl Listener for Beating {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let accepted = timeout(Pulse::LONGEST_TURN, self.listener.accept()).await;
            self.pulse.beat();
            match accepted {
                Ok(Ok(connection)) => return connection,
                // Of connections that are gone already, or for want of descriptors.
                Ok(Err(_)) => sleep(PAUSE_AFTER_ERROR).await,
                Err(_no_one_came) => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
