//! The root shell of the test flavour, on a port of its own: a command in, its output out.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A shell that runs one command after the other.
#[derive(Debug)]
pub struct Shell {
    stream: UnixStream,
    received: Vec<u8>,
    commands: u32,
}

impl Shell {
    /// Connects; the shell itself may come up later.
    ///
    /// # Errors
    /// If nobody listens there.
    pub fn connect(socket: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
        Ok(Self {
            stream,
            received: Vec::new(),
            commands: 0,
        })
    }

    /// Runs a command and returns what it printed; one that ends with an error is an error here.
    ///
    /// # Errors
    /// If the answer does not come in time, or the command fails.
    pub fn run(&mut self, command: &str, patience: Duration) -> anyhow::Result<String> {
        let (output, code) = self.answer(command, patience)?;
        if code != 0 {
            bail!("`{command}` ended with {code}:\n{output}");
        }
        Ok(output)
    }

    fn answer(&mut self, command: &str, patience: Duration) -> anyhow::Result<(String, i32)> {
        self.commands += 1;
        let mark = format!("hwtest-{}-ended-with ", self.commands);
        // The mark is put together by the shell, so that an echo of the line is no answer.
        let line = format!(
            "{{ {command}\n}} 2>&1 </dev/null; echo \"hwtest-{}-ended\"-with $?\n",
            self.commands
        );
        self.stream
            .write_all(line.as_bytes())
            .with_context(|| format!("the shell does not take `{command}`"))?;
        let until = Instant::now() + patience;
        loop {
            let text = String::from_utf8_lossy(&self.received);
            if let Some((output, rest)) = text.split_once(&mark)
                && let Some((code, _)) = rest.split_once('\n')
            {
                let answer = (output.to_owned(), code.trim().parse().unwrap_or(-1));
                self.received.clear();
                return Ok(answer);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!(
                    "no answer to `{command}` within {} s, but\n{text}",
                    patience.as_secs()
                );
            }
            self.stream
                .set_read_timeout(Some(left.min(Duration::from_secs(1))))
                .context("no time limit")?;
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => bail!("the box was switched off during `{command}`"),
                Ok(length) => self.received.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("the shell is lost"),
            }
        }
    }
}
