//! Just enough SIP text for scripted peers; written apart from the product's parser on purpose.

/// One message, split at its lines.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Message {
    /// Splits a message; `None` for keep-alives and for what has no start line.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.split("\r\n");
        let start = lines
            .next()
            .filter(|line| line.contains("SIP/2.0"))?
            .to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Message {
            start,
            headers,
            body: body.to_owned(),
        })
    }

    /// Every value of a header, in order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The first value of a header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, v)| v.as_str())
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method of a request, or the one that a response's CSeq names.
    pub(crate) fn method(&self) -> &str {
        match self.status() {
            Some(_) => self.header("cseq").split(' ').next_back().unwrap_or(""),
            None => self.start.split(' ').next().unwrap_or(""),
        }
    }

    /// A response with everything that RFC 3261 §8.2.6 wants copied, and more header lines.
    pub(crate) fn response(&self, status: &str, more: &str, body: &str) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for (name, value) in &self.headers {
            if ["via", "from", "call-id", "cseq", "record-route"].contains(&name.as_str()) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let to = self.header("to");
        let tag = if to.contains(";tag=") {
            ""
        } else {
            ";tag=far-end"
        };
        text.push_str(&format!("To: {to}{tag}\r\n{more}"));
        if !body.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        text
    }
}

/// The URI between angle brackets, or the bare one without parameters.
pub(crate) fn uri(value: &str) -> &str {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(rest),
        None => value.split(';').next().unwrap_or(value).trim(),
    }
}

/// The value of the first `a=NAME:` line, or of any line with that beginning.
pub(crate) fn sdp_line<'a>(sdp: &'a str, beginning: &str) -> Option<&'a str> {
    sdp.lines()
        .find_map(|line| line.trim_end().strip_prefix(beginning))
}
