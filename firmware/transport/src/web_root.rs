//! The folder whose files browsers are served: safe paths, types, caching
//! (RFC 9110 §13.1.2) and the headers that keep a page to itself.

use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;

use crate::http::{PageRequest, Refusal};

/// What is served beside the WebSocket.
#[derive(Clone, Debug, Default)]
pub struct WebRoot {
    /// The folder; `None` serves nothing but what is made here.
    pub folder: Option<PathBuf>,
    /// What the page asks for first: the content of `/config.json`.
    pub config_json: Bytes,
}

/// A response to a [`PageRequest`], ready to be written.
#[derive(Debug)]
pub struct PageResponse {
    /// Status line and headers.
    pub head: Vec<u8>,
    /// The content, if any.
    pub body: Bytes,
}

impl WebRoot {
    /// Finds what was asked for. Reads the disk.
    pub fn answer(&self, request: &PageRequest) -> Result<PageResponse, Refusal> {
        if request.path == CONFIG_PATH {
            let headers = "Content-Type: application/json\r\nCache-Control: no-store\r\n";
            return Ok(response(200, headers, self.config_json.clone(), request));
        }
        let file = self.resolve(&request.path).ok_or(Refusal::Path)?;
        let metadata = file.metadata().map_err(|_| Refusal::Path)?;
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            return Err(Refusal::Path);
        }
        let changed = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |age| age.as_nanos());
        let etag = format!("\"{:x}-{changed:x}\"", metadata.len());
        let headers = format!(
            "Content-Type: {}\r\nETag: {etag}\r\nCache-Control: no-cache\r\n",
            content_type(&file)
        );
        if request
            .if_none_match
            .as_deref()
            .is_some_and(|known| is_known(known, &etag))
        {
            return Ok(response(304, &headers, Bytes::new(), request));
        }
        let content = std::fs::read(&file).map_err(|_| Refusal::Path)?;
        Ok(response(200, &headers, content.into(), request))
    }

    /// The file behind a path, if it lies in the folder and is not hidden.
    fn resolve(&self, path: &str) -> Option<PathBuf> {
        let root = self.folder.as_deref()?.canonicalize().ok()?;
        let decoded = decode(path)?;
        let relative = Path::new(decoded.strip_prefix('/')?);
        let plain = relative.components().all(|part| match part {
            Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
            _ => false,
        });
        if !plain || decoded.contains('\\') {
            return None;
        }
        let mut file = root.join(relative);
        if file.is_dir() {
            file.push("index.html");
        }
        let file = file.canonicalize().ok()?;
        file.starts_with(&root).then_some(file)
    }
}

fn response(code: u16, headers: &str, body: Bytes, request: &PageRequest) -> PageResponse {
    let phrase = if code == 304 { "Not Modified" } else { "OK" };
    // A 304 has no content, and says nothing about its length (RFC 9110 §15.4.5).
    let length = match code {
        304 => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let connection = if request.keep_alive {
        "keep-alive"
    } else {
        "close"
    };
    PageResponse {
        head: format!(
            "HTTP/1.1 {code} {phrase}\r\n{headers}{length}{SECURITY_HEADERS}\
             Connection: {connection}\r\n\r\n"
        )
        .into_bytes(),
        body,
    }
}

/// Whether an If-None-Match names the entity; weak comparison, RFC 9110 §8.8.3.2.
fn is_known(if_none_match: &str, etag: &str) -> bool {
    if_none_match
        .split(',')
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
}

/// Undoes percent-encoding, RFC 3986 §2.1; `None` if it is broken or hides a NUL.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16);
            let value = digit(rest.next())? * 16 + digit(rest.next())?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    if bytes.contains(&0) {
        return None;
    }
    String::from_utf8(bytes).ok()
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("woff2") => "font/woff2",
        Some("mp3") => "audio/mpeg",
        Some("wav") => "audio/wav",
        Some("ogg") => "audio/ogg",
        Some("wasm") => "application/wasm",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

const CONFIG_PATH: &str = "/config.json";

/// A page of the box runs its own scripts and talks to the box, and nobody frames it.
const SECURITY_HEADERS: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; \
    style-src 'self'; img-src 'self' data:; font-src 'self'; media-src 'self' blob: data:; \
    connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n\
    Cross-Origin-Opener-Policy: same-origin\r\nCross-Origin-Resource-Policy: same-origin\r\n\
    Permissions-Policy: microphone=(self), camera=(), geolocation=()\r\n";

/// A page's file is small; a large one is somebody's mistake.
const MAX_FILE: u64 = 32 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("web-root-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("web/sounds")).unwrap();
            fs::write(path.join("web/index.html"), "<!doctype html>").unwrap();
            fs::write(path.join("web/.secret"), "hidden").unwrap();
            fs::write(path.join("outside"), "not yours").unwrap();
            let _ = std::os::unix::fs::symlink("../outside", path.join("web/link"));
            Folder(path)
        }

        fn root(&self) -> WebRoot {
            WebRoot {
                folder: Some(self.0.join("web")),
                config_json: Bytes::from_static(b"{}"),
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn get(path: &str) -> PageRequest {
        PageRequest {
            path: path.into(),
            if_none_match: None,
            keep_alive: true,
        }
    }

    fn head(response: PageResponse) -> String {
        String::from_utf8(response.head).unwrap()
    }

    #[test]
    fn the_folder_itself_is_its_index() {
        let folder = Folder::new("index");
        let response = folder.root().answer(&get("/")).unwrap();
        assert_eq!(&response.body[..], b"<!doctype html>");
        let head = head(response);
        assert!(head.contains("Content-Type: text/html"));
        assert!(head.contains("Content-Security-Policy: default-src 'none'"));
    }

    #[test]
    fn nothing_outside_the_folder_is_served() {
        let folder = Folder::new("outside");
        for path in [
            "/../outside",
            "/%2e%2e/outside",
            "/sounds/../../outside",
            "/link",
            "/.secret",
            "/%00",
            "/%zz",
            "//etc/passwd",
            "/..\\outside",
            "/sounds",
            "/missing",
        ] {
            assert_eq!(
                folder.root().answer(&get(path)).err(),
                Some(Refusal::Path),
                "{path}"
            );
        }
    }

    #[test]
    fn what_the_browser_already_has_is_not_sent_again() {
        let folder = Folder::new("etag");
        let first = head(folder.root().answer(&get("/index.html")).unwrap());
        let etag = first.split_once("ETag: ").unwrap().1;
        let etag = etag.split_once("\r\n").unwrap().0.to_owned();
        let again = PageRequest {
            if_none_match: Some(format!("\"x\", W/{etag}")),
            ..get("/index.html")
        };
        let response = folder.root().answer(&again).unwrap();
        assert!(response.body.is_empty());
        assert!(head(response).starts_with("HTTP/1.1 304 "));
    }

    #[test]
    fn the_page_finds_its_settings_even_without_a_folder() {
        let root = WebRoot {
            folder: None,
            config_json: Bytes::from_static(b"{\"path\":\"/sip\"}"),
        };
        let response = root.answer(&get("/config.json")).unwrap();
        assert_eq!(&response.body[..], b"{\"path\":\"/sip\"}");
        assert_eq!(root.answer(&get("/")).err(), Some(Refusal::Path));
    }
}
